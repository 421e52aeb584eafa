/**
 * Anthropic's message batches: one call holds all requests, and the results are one file. Uses the official SDK.
 *
 * **Details** 100,000 requests and 256 MB per batch (docs.anthropic.com/en/docs/build-with-claude/batch-processing,
 * accessed 2026-11-25). A batch has no metadata: it is recognised by the ids of its requests, which can be read when it
 * has ended.
 *
 * @internal
 */
import type { Anthropic } from "@anthropic-ai/sdk"
import type { MessageBatch } from "@anthropic-ai/sdk/resources/messages/batches"
import type * as BatchProvider from "@pipe/core/BatchProvider"
import * as ModelResponse from "@pipe/core/ModelResponse"
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { openAsBlob } from "node:fs"
import * as BatchQueueFull from "../provider/BatchQueueFull.ts"
import * as Body from "../provider/Body.ts"
import type * as Connection from "../provider/Connection.ts"
import * as Fields from "../provider/Fields.ts"
import * as HttpFailure from "../provider/HttpFailure.ts"
import * as JsonLines from "../provider/JsonLines.ts"
import * as Refusal from "../provider/Refusal.ts"
import * as Reply from "../provider/Reply.ts"
import * as Sdk from "../provider/Sdk.ts"
import * as Client from "./Client.ts"
import * as MessageAnswer from "./MessageAnswer.ts"
import * as Messages from "./Messages.ts"

const ENDPOINT = "/v1/messages"

/** The provider's clock may be behind. */
const SKEW = 60_000

type Call = <A>(f: (client: Anthropic, signal: AbortSignal) => PromiseLike<A>) => Effect.Effect<A, AiError.AiError>

/** Reads results, and recognises batches by them. */
const reader = (connection: Connection.Connection, call: Call) => {
  /** The results of a batch, line by line. Parsed here, because one invalid line must not lose the others. */
  const linesOf = (id: string) =>
    JsonLines.parse(
      { module: Client.MODULE, baseUrl: connection.baseUrl },
      Effect.mapError(
        call((client, signal) =>
          client
            .get(`/v1/messages/batches/${encodeURIComponent(id)}/results`, {
              headers: { accept: "application/binary" },
              __binaryResponse: true,
              stream: true,
              signal,
              timeout: Sdk.UPLOAD
            })
            .asResponse()
        ),
        HttpFailure.notYet
      )
    )

  /** The id of one request of a batch. */
  const peek = (id: string): Effect.Effect<string | undefined, AiError.AiError> =>
    Effect.map(Stream.runHead(linesOf(id)), (line) =>
      Option.isNone(line) ? undefined : Fields.text(Fields.fields(line.value.value)["custom_id"])
    )

  /**
   * A batch with the same number of requests and our ids. While one of the candidates runs, the answer is undecided.
   */
  const find: BatchProvider.BatchProvider["find"] = (job) =>
    Effect.gen(function* () {
      const candidates = yield* call(async (client, signal) => {
        const found: Array<MessageBatch> = []
        for await (const batch of client.messages.batches.list({ limit: 100 }, { signal })) {
          if (Date.parse(batch.created_at) < job.at - SKEW) break
          if (totalOf(batch) === job.requests && job.others?.has(batch.id) !== true) found.push(batch)
        }
        return found
      })
      for (const batch of candidates) {
        if (batch.processing_status !== "ended") continue
        if ((yield* peek(batch.id))?.startsWith(`${job.name}-`) === true) return yield* decodeStatus(batch)
      }
      const undecided = candidates.some((batch) => batch.processing_status !== "ended")
      return undecided ? ("undecided" as const) : undefined
    })

  return { linesOf, find }
}

export const make = (connection: Connection.Connection, options: Messages.Options): BatchProvider.BatchProvider => {
  let made: Promise<Anthropic> | undefined
  const sdk = () => (made ??= Client.loadSdk(connection, { streamsFiles: true }))
  const call = <A>(f: (client: Anthropic, signal: AbortSignal) => PromiseLike<A>): Effect.Effect<A, AiError.AiError> =>
    Effect.catch(
      Effect.tryPromise({ try: (signal) => sdk().then((client) => f(client, signal)), catch: (error) => error }),
      (error) => Sdk.failure(connection, error)
    )

  const { find, linesOf } = reader(connection, call)

  return {
    name: "anthropic",
    account: connection.account,
    limits: { requests: 100_000, bytes: 256e6 },
    frame: { head: '{"requests":[', separator: ",\n", tail: "]}" },
    encode: (customId, request) => {
      const { model } = request
      if (request._tag !== "Completion" || model === undefined) return Effect.undefined
      return Body.make(Client.MODULE, () => ({
        endpoint: ENDPOINT,
        text: Body.encode({ custom_id: customId, params: Messages.toBody(request, model, options) }),
        inputs: 0
      }))
    },
    create: (job) =>
      BatchQueueFull.rejected(
        Effect.flatMap(
          call(async (client, signal) =>
            client.post<MessageBatch>("/v1/messages/batches", {
              body: (await openAsBlob(job.file)).stream(),
              headers: { "content-type": "application/json" },
              signal,
              timeout: Sdk.UPLOAD
            })
          ),
          decodeStatus
        )
      ),
    find,
    status: (id) =>
      Effect.catch(
        Effect.flatMap(
          call((client, signal) => client.messages.batches.retrieve(id, {}, { signal })),
          decodeStatus
        ),
        (error) => (HttpFailure.isNotFound(error) ? Effect.undefined : Effect.fail(error))
      ),
    cancel: (id) => Effect.asVoid(call((client, signal) => client.messages.batches.cancel(id, {}, { signal }))),
    results: ({ id }, model) =>
      Stream.mapEffect(linesOf(id), ({ number, value }): Effect.Effect<BatchProvider.BatchResult> => {
        const line = Fields.fields(value)
        const customId = Fields.text(line["custom_id"])
        return customId === undefined
          ? Effect.succeed({ customId, line: number })
          : Effect.map(toOutcome(line["result"], model, connection), (outcome) => ({ customId, outcome }))
      })
  }
}

const count = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : undefined

const totalOf = ({ request_counts }: MessageBatch): number =>
  Object.values(Fields.fields(request_counts)).reduce<number>((sum, value) => sum + (count(value) ?? 0), 0)

const decodeStatus = (value: unknown): Effect.Effect<BatchProvider.BatchStatus, AiError.AiError> =>
  Fields.decode(Client.MODULE, () => {
    const batch = Fields.fields(value)
    const id = Fields.words(batch["id"])
    if (id === undefined) throw new Error("it has no id")
    const counts = Fields.fields(batch["request_counts"])
    const status = Fields.text(batch["processing_status"])?.toLowerCase()
    const undone = count(counts["canceled"]) ?? 0
    const results = Fields.words(batch["results_url"])
    return {
      id,
      state:
        status === "ended" ? "ended" : status === "canceling" || status === "cancelling" ? "cancelling" : "running",
      answered: count(counts["succeeded"]) ?? 0,
      failed: count(counts["errored"]) ?? 0,
      counted: count(counts["succeeded"]),
      isWhole: undone + (count(counts["expired"]) ?? 0) === 0,
      isCancelled: undone > 0,
      files: results === undefined ? [] : [results]
    }
  })

/** Results of requests that were not processed. */
const undone: ReadonlySet<unknown> = new Set(["canceled", "expired"])

const toOutcome = (
  value: unknown,
  model: string,
  connection: Connection.Connection
): Effect.Effect<BatchProvider.BatchOutcome> =>
  Effect.map(Clock.currentTimeMillis, (now): BatchProvider.BatchOutcome => {
    const result = Fields.fields(value)
    if (undone.has(result["type"])) return { _tag: "Unanswered", reason: `batch_${result["type"]}` }
    if (result["type"] === "errored") {
      const { status = 400 } = Refusal.decode(result["error"])
      return { _tag: "Failed", error: Reply.refused(connection, result["error"], { status, now }) }
    }
    const answer = Reply.fromBody(connection, MessageAnswer.format(model), result["message"], now)
    return AiError.isAiError(answer)
      ? { _tag: "Unreadable", error: answer }
      : { _tag: "Answered", response: ModelResponse.inTier(answer, "batch") }
  })
