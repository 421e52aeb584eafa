/**
 * Stores the exact cache on a Redis server: machines share answers, and the server drops them when they expire.
 *
 * **Example** (a stack with its cache on a server)
 *
 * ```ts
 * import { Cache, Ledger, Retry, Stack } from "@pipe/core"
 * import { OpenAi, Redis } from "@pipe/plugins"
 * import { Layer } from "effect"
 *
 * export const stack = Stack.make(
 *   Ledger.layer,
 *   Cache.layer({ timeToLive: "30 days" }).pipe(Layer.provide(Redis.layerCache({ url: "redis://localhost:6379" }))),
 *   Retry.layer(),
 *   OpenAi.layer({ model: "gpt-4o-mini" })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as CacheStore from "@pipe/core/CacheStore"
import * as Secret from "@pipe/core/internal/Secret"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RedisClient from "effect/persistence/Redis"
import * as Peer from "./Peer.ts"

/** The options of `Redis.layerCache`. */
export interface Options {
  /** `redis://…` or `rediss://…`. Default: `redis://localhost:6379`. */
  readonly url?: string
  /** The prefix of every key. Default: `"pipe:"`. */
  readonly prefix?: string
}

/** Uses the server that the URL names. Fails when it does not respond. */
export const layerCache = (options: Options = {}): Layer.Layer<CacheStore.CacheStore, CacheStore.CacheStoreError> =>
  Layer.effectContext(
    Effect.gen(function* () {
      Secret.registerUrl(options.url ?? "")
      const NodeRedis = yield* Effect.promise(() =>
        import("@effect/platform-node/NodeRedis").catch(Peer.missing("redis", "A cache on Redis"))
      )
      const server = layer(options).pipe(
        Layer.provide(NodeRedis.layer({ url: options.url ?? "redis://localhost:6379" }))
      )
      return yield* Effect.mapError(Layer.build(server), toError)
    })
  )

/** Uses the `effect/persistence` Redis in context. */
export const layer = (
  options: Pick<Options, "prefix"> = {}
): Layer.Layer<CacheStore.CacheStore, never, RedisClient.Redis> =>
  Layer.effect(
    CacheStore.CacheStore,
    Effect.map(RedisClient.Redis, (redis) => {
      const prefix = options.prefix ?? "pipe:"
      return CacheStore.CacheStore.of({
        // The server drops what has expired.
        get: (key) =>
          Effect.mapError(
            Effect.map(
              Effect.suspend(() => redis.send<string | null>("GET", prefix + key)),
              (value) => value ?? undefined
            ),
            toError
          ),
        set: ({ createdAt, expiresAt, key, value }) =>
          Effect.mapError(
            Effect.asVoid(
              Effect.suspend(() =>
                expiresAt === undefined
                  ? redis.send("SET", prefix + key, value)
                  : redis.send("SET", prefix + key, value, "PX", String(Math.max(1, Math.ceil(expiresAt - createdAt))))
              )
            ),
            toError
          )
      })
    })
  )

const toError = (error: { readonly cause?: unknown }): CacheStore.CacheStoreError =>
  new CacheStore.CacheStoreError({
    message: `the cache on Redis failed: ${error.cause instanceof Error ? error.cause.message : String(error.cause)}`,
    cause: error.cause
  })
