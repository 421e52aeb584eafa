/**
 * The store of the exact cache: text by key, each with an expiry time.
 *
 * **Example** (a small cache in memory, for one run)
 *
 * ```ts
 * import { Cache, CacheStore, Ledger, Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 * import { Layer } from "effect"
 *
 * export const stack = Stack.make(
 *   Ledger.layer,
 *   Cache.layer().pipe(Layer.provide(CacheStore.layerMemory({ capacity: 1_000 }))),
 *   OpenAi.layer({ model: "gpt-4o-mini" })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Lru from "../store/Lru.ts"

/** An answer in the cache. */
export interface CacheEntry {
  /** A content hash. */
  readonly key: string
  readonly value: string
  /** The model that answered, for statistics. */
  readonly model: string
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** Milliseconds since 1970; `undefined` for never. */
  readonly expiresAt: number | undefined
}

/** The service that a cache reads and writes. Implement it to keep answers elsewhere. */
export class CacheStore extends Context.Service<
  CacheStore,
  {
    /** Returns the value of a key that has not expired at `now`. */
    readonly get: (key: string, now: number) => Effect.Effect<string | undefined, CacheStoreError>
    /** Adds or replaces an entry. */
    readonly set: (entry: CacheEntry) => Effect.Effect<void, CacheStoreError>
    /**
     * Runs work whose answer is about to be paid for, unless another process runs it: then `read` finds its answer. Without
     * it, processes that send the same request at the same time each pay for it.
     */
    readonly once?: <A, E, R>(
      key: string,
      read: Effect.Effect<A | undefined, E, R>,
      work: Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | CacheStoreError, R>
  }
>()("@pipe/core/CacheStore") {}

/**
 * The cache cannot be read or written. The run continues without it and warns once.
 *
 * **Remedy** Restart the cache's server or free disk space; the next run uses it again.
 */
export class CacheStoreError extends Schema.TaggedError<CacheStoreError>()("CacheStoreError", {
  message: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {}

/**
 * Keeps entries in the memory of one process. Beyond `capacity` (default 10,000) the least recently used are dropped.
 */
export const layerMemory = (options?: { readonly capacity?: number }): Layer.Layer<CacheStore> =>
  Layer.sync(CacheStore, () => {
    const entries = Lru.make<string, CacheEntry>(options?.capacity ?? 10_000)
    return CacheStore.of({
      get: (key, now) =>
        Effect.sync(() => {
          const entry = entries.get(key)
          return entry !== undefined && (entry.expiresAt === undefined || entry.expiresAt > now)
            ? entry.value
            : undefined
        }),
      set: (entry) => Effect.sync(() => void entries.set(entry.key, entry))
    })
  })
