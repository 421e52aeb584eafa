/**
 * Tracks which calls of a step have failed: a value made from a failure, such as an empty text, is not kept. A later
 * success with the same messages, also by another model, clears the failure.
 *
 * @internal
 */
import type * as Fiber from "effect/Fiber"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as CallContext from "./CallContext.ts"
import type { CallOutcome } from "./CallState.ts"

export const make = (): CallOutcome => ({ failed: undefined })

export const hasFailed = ({ failed }: CallOutcome): boolean => failed !== undefined && failed.size > 0

const keyOf = (request: ModelRequest.ModelRequest): string =>
  JSON.stringify(
    request._tag === "Completion"
      ? request.messages
      : request._tag === "Embedding"
        ? request.inputs
        : [request.state, request.questions]
  )

/** Records a failure. */
export const failed = (fiber: Fiber.Fiber<unknown, unknown>, request: ModelRequest.ModelRequest): void => {
  const outcome = CallContext.stateOf(fiber).outcome
  if (outcome !== undefined) (outcome.failed ??= new Set()).add(keyOf(request))
}

/** Records a success: an earlier failure of the same messages no longer counts. */
export const succeeded = (fiber: Fiber.Fiber<unknown, unknown>, request: ModelRequest.ModelRequest): void => {
  const outcome = CallContext.stateOf(fiber).outcome
  if (outcome?.failed !== undefined) outcome.failed.delete(keyOf(request))
}
