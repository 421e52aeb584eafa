/**
 * Failures of a whole batch, as failures of the calls that wait for it, and failures of single requests as the store
 * keeps them.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as SqlError from "effect/sql/SqlError"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as Store from "../store/Store.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import type * as BatchRepo from "./BatchRepo.ts"

const make = (description: string): AiError.AiError =>
  AiError.make({ module: "Batch", method: "send", reason: new AiError.UnknownError({ description }) })

/** Turns a failure of the store into a failure of the call. */
export const stored = <A>(
  store: Store.Service,
  effect: Effect.Effect<A, SqlError.SqlError>
): Effect.Effect<A, AiError.AiError> =>
  Effect.mapError(effect, (error) => make(Store.unusable(store.name, error).message))

/** The batch file cannot be written. */
export const unwritable = (file: string, cause: { readonly message: string }): AiError.AiError =>
  make(`${file}: cannot write the requests of a batch: ${cause.message}`)

/** The provider does not know a batch that was sent to it. */
export const gone = (batch: BatchRepo.StoredBatch, account: BatchProvider.Account): AiError.AiError =>
  make(
    `batch ${batch.remote} (${batch.name}, ${batch.requests} requests) was not found at ${batch.provider} with ${account.label}${
      batch.account === account.id
        ? ": it was deleted there, or is too old"
        : `: it was sent from another account (${batch.account})`
    }. With the right key: pipe resume ${batch.runName ?? ""}. To abandon it and send its requests again: pipe batches forget ${batch.name}`
  )

/** Another process is working on a batch. */
export const busy = (batch: BatchRepo.StoredBatch): AiError.AiError =>
  make(`batch ${batch.name} belongs to run ${batch.runName ?? ""}, which is active: stop that run first`)

/** The provider reports more answers than its results contain. */
export const incomplete = (batch: BatchRepo.StoredBatch, owed: number): AiError.AiError =>
  make(
    `batch ${batch.name} (${batch.remote}): ${batch.provider} counts ${owed} ${owed === 1 ? "answer" : "answers"} that its results do not contain. They are paid for, so nothing is sent again: try later with pipe batches collect ${batch.name}, or pipe resume ${batch.runName ?? ""}. To send and pay for them again: pipe batches forget ${batch.name}`
  )

/** The batch was cancelled by someone else. */
export const cancelled = (batch: BatchRepo.StoredBatch): AiError.AiError =>
  invalid(
    `batch ${batch.name} (${batch.remote}) was cancelled without an answer for this row: pipe retry --failed sends it again`
  )

/** Answers of a batch that cannot be read. */
export const unreadable = (batch: BatchRepo.StoredBatch, lines: ReadonlyArray<number>): AiError.AiError =>
  invalid(
    `the answer in batch ${batch.name} (${batch.remote}) cannot be read: line ${lines.slice(0, 10).join(", ")}${lines.length > 10 ? ", …" : ""} of its results. It is paid for; pipe retry sends the request again`
  )

const codec = Schema.fromJsonString(
  Schema.Struct({
    error: Schema.toCodecJson(AiError.AiError),
    /** What was received in place of an answer. */
    answer: Schema.optionalKey(Schema.String)
  })
)

const encodeText = Schema.encodeSync(codec)

/** Encodes a failure as text, with the answer that could not be read. */
export const encode = (error: AiError.AiError): string => {
  const answer = ModelFailure.answerOf(error)
  return encodeText(answer === undefined ? { error } : { error, answer })
}

const decodeText = Schema.decodeUnknownSync(codec)

/** The format of failures before answers were added. */
const decodeBare = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.toCodecJson(AiError.AiError)))

export const decode = (text: string): AiError.AiError => {
  try {
    const { answer, error } = decodeText(text)
    return answer === undefined ? error : ModelFailure.withAnswer(error, answer)
  } catch {
    try {
      return decodeBare(text)
    } catch {
      return make(`a failure in the store cannot be read: ${text.slice(0, 200)}`)
    }
  }
}

/** A request that the provider rejected, with its reason. */
export const invalid = (description: string): AiError.AiError =>
  AiError.make({ module: "Batch", method: "send", reason: new AiError.InvalidRequestError({ description }) })
