/**
 * Recognises batches that a provider refuses because the account has too many tokens enqueued, by the providers'
 * messages.
 *
 * @internal
 */
import type * as BatchProvider from "@pipe/core/BatchProvider"
import * as ModelFailure from "@pipe/core/ModelFailure"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"

const FULL = /enqueued token|token_limit_exceeded|batch queue/i

/** Tests a code or a message. */
export const isFull = (words: string): boolean => FULL.test(words)

/** The tokens that may be enqueued, when a message names them. */
export const limitIn = (message: string): number | undefined => {
  const named = /limit:?\s*([\d,_]+)/i.exec(message)?.[1]
  return named === undefined ? undefined : Number(named.replace(/[,_]/g, ""))
}

/** A creation refused for this reason counts as a rejected batch: it is tried again when there is room. */
export const rejected = (
  create: Effect.Effect<BatchProvider.BatchStatus, AiError.AiError>
): Effect.Effect<BatchProvider.BatchStatus, AiError.AiError> =>
  Effect.catch(create, (error) => {
    const message = ModelFailure.message(error)
    if (!isFull(message) || ModelFailure.kind(error) === "quota") return Effect.fail(error)
    return Effect.succeed({
      id: "",
      state: "rejected",
      answered: 0,
      failed: 0,
      files: [],
      rejection: { kind: "quota", message, limit: limitIn(message), lines: [] }
    })
  })
