/**
 * Reports the limits in an answer's headers.
 *
 * @internal
 */
import * as RateLimitHeaders from "@pipe/core/RateLimitHeaders"
import * as RunHooks from "@pipe/core/RunHooks"
import type * as Fiber from "effect/Fiber"

/** Without a listener the headers are not read. */
export const observe = (
  fiber: Fiber.Fiber<unknown, unknown>,
  reply: { readonly status: number; readonly header: RateLimitHeaders.Get },
  now: number
): void => {
  const limits = fiber.getRef(RunHooks.RunHooks).onLimits
  if (limits === undefined) return
  const observed = RateLimitHeaders.observe(reply.header, reply.status, now)
  if (observed !== undefined) limits(observed)
}
