import { assert, it } from "@effect/vitest"
import * as TokenBucket from "../src/resilience/TokenBucket.ts"
import { Duration, Effect } from "effect"
import * as RateLimiter from "effect/persistence/RateLimiter"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"

const take = fc.record({
  key: fc.constantFrom("a", "b"),
  limit: fc.constantFrom(1, 7, 60, 500, 200_000),
  amount: fc.integer({ min: -20, max: 100 }),
  later: fc.oneof(fc.constant(0), fc.nat({ max: 90_000 }))
})

it("a bucket waits as long as one of effect/persistence/RateLimiter", () =>
  fc.assert(
    fc.asyncProperty(fc.array(take, { maxLength: 30 }), (takes) =>
      Effect.runPromise(
        Effect.gen(function* () {
          const limiter = yield* RateLimiter.make
          const buckets = TokenBucket.make()
          let now = 0
          for (const { amount, key, later, limit } of takes) {
            yield* TestClock.adjust(later)
            now += later
            const { delay } = yield* limiter.consume({
              algorithm: "token-bucket",
              onExceeded: "delay",
              window: "1 minute",
              key: `${key} ${limit}`,
              limit,
              tokens: amount
            })
            // Durations have whole nanoseconds.
            assert.closeTo(buckets.take(`${key} ${limit}`, limit, amount, now), Duration.toMillis(delay), 0.01)
          }
        }).pipe(Effect.provide(RateLimiter.layerStoreMemory), Effect.provide(TestClock.layer()))
      )
    ),
    { numRuns: 200 }
  ))
