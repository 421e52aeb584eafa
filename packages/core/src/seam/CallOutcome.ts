/**
 * Whether a call of a step has failed: what a step makes of a failure, an empty text say, is no result that is kept.
 *
 * @internal
 */
import * as Context from "effect/Context"
import type * as Fiber from "effect/Fiber"

export interface CallOutcome {
  hasFailed: boolean
}

/** The journal sets one for each result that it may keep. */
export const CallOutcome = Context.Reference<CallOutcome | undefined>("@pipe/core/CallOutcome", {
  defaultValue: () => undefined
})

/** Notes a failure for whoever keeps what comes of it. */
export const failed = (fiber: Fiber.Fiber<unknown, unknown>): void => {
  const outcome = fiber.getRef(CallOutcome)
  if (outcome !== undefined) outcome.hasFailed = true
}
