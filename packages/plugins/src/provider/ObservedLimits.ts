/**
 * Reports the limits in an answer's headers.
 *
 * @internal
 */
import * as RateLimitHeaders from "@pipe/core/RateLimitHeaders"
import * as RunHooks from "@pipe/core/RunHooks"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** Without a listener the headers are not read. */
export const observe = (status: number, get: RateLimitHeaders.Get): Effect.Effect<void> =>
  Effect.withFiberSucceed((fiber) => {
    const limits = fiber.getRef(RunHooks.RunHooks).onLimits
    if (limits === undefined) return
    const observed = RateLimitHeaders.observe(get, status, fiber.getRef(Clock.Clock).currentTimeMillisUnsafe())
    if (observed !== undefined) limits(observed)
  })
