/**
 * Rows of a step that fail alike: what is wrong is then no matter of a row, and the others are not tried.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as AiError from "effect/ai/AiError"
import * as ModelFailure from "../model/ModelFailure.ts"

export interface FailureStreak {
  /** Notes a failure. What to say where the run stops by it; `undefined`: it goes on. `done`: rows of the step that have a value. */
  readonly note: (cause: Cause.Cause<unknown>, message: string, done: number) => string | undefined
}

/** Different failures that are counted. */
const MOST_KINDS = 20

/** Equal failures at the beginning of a step: a model's name, an address, a setting. */
const MOST_EQUAL = 5

/** Requests that are not permitted, one after the other: a firewall may refuse one text, and a key without permission refuses all. */
const MOST_DENIED = 10

const has = (cause: Cause.Cause<unknown>, is: (error: AiError.AiError) => boolean): boolean =>
  cause.reasons.some((reason) => Cause.isFailReason(reason) && AiError.isAiError(reason.error) && is(reason.error))

/** `isBatch`: failures come together, when all of their rows are paid: those that are equal stop nothing. */
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
        return denied < MOST_DENIED ? undefined : `${message}: ${denied} rows in succession were refused so`
      }
      if (isBatch || done > 0 || first.size >= MOST_KINDS || !has(cause, ModelFailure.isForAll)) return undefined
      const times = (first.get(message) ?? 0) + 1
      first.set(message, times)
      return times < MOST_EQUAL ? undefined : `${message}: its first ${times} rows failed so, and none got an answer`
    }
  }
}
