/**
 * Tracks which calls of a step have failed: a value made from a failure, such as an empty text, is not kept. A later
 * success with the same messages, also by another model, clears the failure.
 *
 * @internal
 */
import * as Context from "effect/Context"
import type * as Fiber from "effect/Fiber"
import type * as ModelRequest from "../model/ModelRequest.ts"

export interface CallOutcome {
  /** The requests that failed; `undefined` when there are none. */
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

/** Records a failure. */
export const failed = (fiber: Fiber.Fiber<unknown, unknown>, request: ModelRequest.ModelRequest): void => {
  const outcome = fiber.getRef(CallOutcome)
  if (outcome !== undefined) (outcome.failed ??= new Set()).add(keyOf(request))
}

/** Records a success: an earlier failure of the same messages no longer counts. */
export const succeeded = (fiber: Fiber.Fiber<unknown, unknown>, request: ModelRequest.ModelRequest): void => {
  const outcome = fiber.getRef(CallOutcome)
  if (outcome?.failed !== undefined) outcome.failed.delete(keyOf(request))
}
