/**
 * A batch API in terms of its own calls. The requests of a batch have the bodies of single calls, and its answers are
 * read like theirs.
 *
 * **Example** (results in JSON Lines)
 *
 * ```ts
 * import { BatchApi } from "@pipe/plugins/provider"
 * import { Schema, Stream } from "effect"
 *
 * const Line = Schema.Struct({ id: Schema.String, answer: Schema.optionalKey(Schema.Json) })
 *
 * const results = Stream.make({ number: 1, value: { id: "a", answer: { text: "yes" } } })
 *
 * export const lines = BatchApi.lines(results, Line, ({ answer, id }) =>
 *   answer === undefined ? { id, unanswered: "expired" } : { id, answer }
 * )
 * ```
 *
 * @since 0.1.0
 */
import type * as BatchProvider from "@pipe/core/BatchProvider"
import * as ModelFailure from "@pipe/core/ModelFailure"
import type * as ModelRequest from "@pipe/core/ModelRequest"
import * as ModelResponse from "@pipe/core/ModelResponse"
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as BatchQueueFull from "./BatchQueueFull.ts"
import * as Body from "./Body.ts"
import type * as Connection from "./Connection.ts"
import * as Fields from "./Fields.ts"
import * as HttpFailure from "./HttpFailure.ts"
import type * as JsonLines from "./JsonLines.ts"
import type * as Operation from "./Operation.ts"
import * as Reply from "./Reply.ts"

/** The result of one request. */
export type Line =
  /** The answer, as a single call would have sent it. */
  | { readonly id: string; readonly answer: unknown }
  /** A refusal, as a single call would have received it. */
  | { readonly id: string; readonly failure: { readonly status: number; readonly body: unknown } }
  /** Nothing was done or billed: it expired or was cancelled. */
  | { readonly id: string; readonly unanswered: string }

/** A line of the results. `undefined`: it cannot be read. */
export interface NumberedLine {
  readonly number: number
  readonly line: Line | undefined
}

/** Reads the lines of the results by a schema. A line for which `read` throws cannot be read. */
export const lines = <W, E>(
  from: Stream.Stream<JsonLines.JsonLine, E>,
  schema: Schema.ConstraintDecoder<W>,
  read: (line: W) => Line
): Stream.Stream<NumberedLine, E> => {
  const decode = Schema.decodeUnknownExit(schema)
  return Stream.map(from, ({ number, value }) => {
    const exit = decode(value)
    if (Exit.isFailure(exit)) return { number, line: undefined }
    try {
      return { number, line: read(exit.value) }
    } catch {
      return { number, line: undefined }
    }
  })
}

/** How a provider takes, keeps and returns batches. See `BatchProvider` for what each function must do. */
export interface BatchApi
  extends
    Pick<
      BatchProvider.BatchProvider,
      "limits" | "upload" | "findUpload" | "removeUpload" | "create" | "find" | "cancel"
    >,
    Partial<Pick<BatchProvider.BatchProvider, "frame">> {
  /** Whether batches take embeddings. Default: `false`, and they are sent as single calls. */
  readonly takesEmbeddings?: boolean
  /** The line of a request, from the body of its single call. */
  readonly line: (id: string, body: object, path: string) => object
  /** The status of a batch. A 404 means that there is none. */
  readonly status: (id: string) => Effect.Effect<BatchProvider.BatchStatus, AiError.AiError>
  /** All lines of all result files, in any order. `lines` reads them. */
  readonly results: (status: BatchProvider.BatchStatus) => Stream.Stream<NumberedLine, AiError.AiError>
}

/** The operations that a provider has. */
interface Operations {
  readonly name: string
  readonly completion?: Operation.CompletionOperation | undefined
  readonly embedding?: Operation.EmbeddingOperation | undefined
}

/** JSON Lines. */
const FRAME: BatchProvider.Frame = { head: "", separator: "\n", tail: "\n" }

/** Makes the batch API of a provider. */
export const make = (
  connection: Connection.Connection,
  operations: Operations,
  api: BatchApi
): BatchProvider.BatchProvider => {
  const { completion, embedding, name } = operations
  const lineOf = <R extends ModelRequest.ModelRequest, A extends ModelResponse.ModelResponse>(
    operation: Operation.Operation<R, A> | undefined,
    id: string,
    request: R,
    inputs: number
  ): Effect.Effect<BatchProvider.BatchRequestLine | undefined, AiError.AiError> => {
    const { model } = request
    if (operation === undefined || model === undefined) return Effect.undefined
    const endpoint = operation.path(model, request)
    return Effect.map(operation.body(request, { provider: name, model, request }), (body) => ({
      endpoint,
      text: Body.encode(api.line(id, body, endpoint)),
      inputs
    }))
  }
  return {
    name,
    account: connection.account,
    limits: api.limits,
    frame: api.frame ?? FRAME,
    encode: (id, request) =>
      request._tag === "Completion"
        ? lineOf(completion, id, request, 0)
        : request._tag === "Embedding"
          ? lineOf(api.takesEmbeddings === true ? embedding : undefined, id, request, request.inputs.length)
          : Effect.undefined,
    ...(api.upload === undefined ? undefined : { upload: api.upload }),
    ...(api.findUpload === undefined ? undefined : { findUpload: api.findUpload }),
    ...(api.removeUpload === undefined ? undefined : { removeUpload: api.removeUpload }),
    create: (job) => BatchQueueFull.rejected(Effect.mapError(api.create(job), HttpFailure.notYet)),
    find: (job) =>
      Effect.map(api.find(job), (found) => (found === undefined || found === "undecided" ? found : counted(found))),
    status: (id) =>
      Effect.catch(Effect.map(api.status(id), counted), (error) =>
        HttpFailure.isNotFound(error) ? Effect.undefined : Effect.fail(error)
      ),
    cancel: api.cancel,
    results: (status, model) =>
      Stream.mapEffect(Stream.mapError(api.results(status), HttpFailure.notYet), ({ line, number }) =>
        line === undefined
          ? Effect.succeed<BatchProvider.BatchResult>({ customId: undefined, line: number })
          : Effect.map(
              outcomeOf(connection, operations, line, { model, takesEmbeddings: api.takesEmbeddings === true }),
              (outcome) => ({ customId: line.id, outcome })
            )
      )
  }
}

/**
 * Answers that the provider counts and does not return are looked for: their requests are paid, and not sent again. With
 * a count of 0, nothing is known.
 */
const counted = (status: BatchProvider.BatchStatus): BatchProvider.BatchStatus =>
  status.state === "ended" && status.counted === undefined && status.answered > 0
    ? { ...status, counted: status.answered }
    : status

const outcomeOf = (
  connection: Connection.Connection,
  { completion, embedding, name }: Operations,
  line: Line,
  { model, takesEmbeddings }: { readonly model: string; readonly takesEmbeddings: boolean }
): Effect.Effect<BatchProvider.BatchOutcome> =>
  Effect.map(Clock.currentTimeMillis, (now): BatchProvider.BatchOutcome => {
    if ("unanswered" in line) return { _tag: "Unanswered", reason: line.unanswered }
    if ("failure" in line) {
      const { body, status } = line.failure
      return { _tag: "Failed", error: Reply.refused(connection, body, { status, now }) }
    }
    const asked = { provider: name, model }
    const vectors = takesEmbeddings ? embedding?.format(asked) : undefined
    const format: Reply.Format<ModelResponse.ModelResponse> | undefined =
      vectors?.isAnswer(Fields.fields(line.answer)) === true ? vectors : completion?.format(asked)
    const answer =
      format === undefined
        ? Fields.malformed(connection.module, "form")
        : Reply.fromBody(connection, format, line.answer, now)
    if (!AiError.isAiError(answer)) return { _tag: "Answered", response: ModelResponse.inTier(answer, "batch") }
    // Without usage, and of a kind that is not billed.
    const isFree = ModelFailure.usageOf(answer) === undefined && !ModelFailure.mayBeBilled(answer)
    return { _tag: isFree ? "Failed" : "Unreadable", error: answer }
  })
