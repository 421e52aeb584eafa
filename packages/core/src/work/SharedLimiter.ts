/**
 * A rate limiter whose buckets several processes share, on the server of their store.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Duration from "effect/Duration"
import * as RateLimiter from "effect/persistence/RateLimiter"
import type * as SharedState from "../client/SharedState.ts"
import type * as Database from "../store/Database.ts"
import * as Store from "../store/Store.ts"

/** Makes the limiter of a place. Only token buckets are shared: `RateLimit` has no other. */
export const make =
  (database: Database.Service, { repeatable }: NonNullable<Database.Service["server"]>) =>
  (place: string): Effect.Effect<SharedState.SharedLimiter> =>
    Effect.gen(function* () {
      const inMemory = yield* RateLimiter.RateLimiterStore
      const store = RateLimiter.RateLimiterStore.of({
        ...inMemory,
        tokenBucket: ({ allowOverflow, key, limit, refillRate, tokens }) =>
          Effect.matchEffect(
            repeatable("SELECT remaining, elapsed FROM pipe_take(?, ?, ?, ?, ?)", [
              `${place} > ${key}`,
              tokens,
              limit,
              Duration.toMillis(refillRate),
              allowOverflow
            ]),
            {
              onFailure: (error) =>
                Effect.fail(
                  new RateLimiter.RateLimiterError({
                    reason: new RateLimiter.RateLimitStoreError({
                      message: `${database.name}: ${Store.messageOf(error)}`,
                      cause: error
                    })
                  })
                ),
              onSuccess: ([row]) => Effect.succeed([Number(row!["remaining"]), Number(row!["elapsed"])] as const)
            }
          )
      })
      const limiter = yield* Effect.provideService(RateLimiter.make, RateLimiter.RateLimiterStore, store)
      return {
        limiter,
        pause: (keys: ReadonlyArray<string>, milliseconds: number) =>
          // The longer pause counts, so it may be set twice.
          Effect.ignore(
            repeatable(
              `UPDATE buckets SET paused_until = greatest(paused_until, extract(epoch FROM clock_timestamp()) * 1000 + ?)
              WHERE key IN (${keys.map(() => "?").join(", ")})`,
              [milliseconds, ...keys.map((key) => `${place} > ${key}`)]
            )
          )
      }
    }).pipe(Effect.provide(RateLimiter.layerStoreMemory))
