/**
 * Detects that rows of a step all fail in the same way: the cause is then not the row, and the others are not tried.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as AiError from "effect/ai/AiError"
import * as ModelFailure from "../model/ModelFailure.ts"

export interface FailureStreak {
  /**
   * Records a failure. Returns why the run should stop; `undefined` to continue. `done` is the number of rows of the
   * step with a value.
   */
  readonly note: (cause: Cause.Cause<unknown>, message: string, done: number) => string | undefined
}

/** The most distinct failures that are counted. */
const MOST_KINDS = 20

/** Equal failures at the start of a step: a wrong model name, address or setting. */
const MOST_EQUAL = 5

/** Consecutive forbidden requests: a firewall may reject one text, a key without permission rejects all. */
const MOST_DENIED = 10

const has = (cause: Cause.Cause<unknown>, is: (error: AiError.AiError) => boolean): boolean =>
  cause.reasons.some((reason) => Cause.isFailReason(reason) && AiError.isAiError(reason.error) && is(reason.error))

/** With `isBatch`, failures arrive together when all their rows are paid for, so equal ones stop nothing. */
export const make = (isBatch: boolean): FailureStreak => {
  const first = new Map<string, number>()
  let denied = 0
  let doneBefore = 0
  return {
    note: (cause, message, done) => {
      if (has(cause, ModelFailure.isHopeless)) return message
      if (has(cause, ModelFailure.isDenied)) {
        denied = done === doneBefore ? denied + 1 : 1
        doneBefore = done
        return denied < MOST_DENIED ? undefined : `${message}: ${denied} consecutive rows were refused in this way`
      }
      if (isBatch || done > 0 || first.size >= MOST_KINDS || !has(cause, ModelFailure.isForAll)) return undefined
      const times = (first.get(message) ?? 0) + 1
      first.set(message, times)
      return times < MOST_EQUAL
        ? undefined
        : `${message}: its first ${times} rows failed in this way, and none got an answer`
    }
  }
}
