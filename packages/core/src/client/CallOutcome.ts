/**
 * Which calls of a step have failed: what the step makes of a failure, an empty text say, is no result that is kept. A call that
 * succeeds later with the same messages, by another model too, makes up for it.
 *
 * @internal
 */
import * as Context from "effect/Context"
import type * as Fiber from "effect/Fiber"
import type * as ModelRequest from "../model/ModelRequest.ts"

export interface CallOutcome {
  /** What was sent in vain; `undefined`: nothing. */
  failed: Set<string> | undefined
}

export const make = (): CallOutcome => ({ failed: undefined })

/** The journal sets one for each result that it may keep. */
export const CallOutcome = Context.Reference<CallOutcome | undefined>("@pipe/core/CallOutcome", {
  defaultValue: () => undefined
})

export const hasFailed = ({ failed }: CallOutcome): boolean => failed !== undefined && failed.size > 0

const keyOf = (request: ModelRequest.ModelRequest): string =>
  JSON.stringify(request._tag === "Completion" ? request.messages : request.inputs)

/** Notes a failure for whoever keeps what comes of it. */
export const failed = (fiber: Fiber.Fiber<unknown, unknown>, request: ModelRequest.ModelRequest): void => {
  const outcome = fiber.getRef(CallOutcome)
  if (outcome !== undefined) (outcome.failed ??= new Set()).add(keyOf(request))
}

/** Notes a success: a failure of the same messages before it counts no more. */
export const succeeded = (fiber: Fiber.Fiber<unknown, unknown>, request: ModelRequest.ModelRequest): void => {
  const outcome = fiber.getRef(CallOutcome)
  if (outcome?.failed !== undefined) outcome.failed.delete(keyOf(request))
}
