/**
 * OpenAI's Batch API: a file of requests is uploaded, a batch is created from it, and answers and errors are returned
 * as files. Uses the official SDK, which is loaded with the first batch.
 *
 * **Details** 50,000 requests and 200 MB per batch, 50,000 texts for embeddings (platform.openai.com/docs/guides/batch,
 * accessed 2026-11-25).
 *
 * @internal
 */
import type * as BatchProvider from "@pipe/core/BatchProvider"
import * as ModelFailure from "@pipe/core/ModelFailure"
import * as ModelResponse from "@pipe/core/ModelResponse"
import * as SafeText from "@pipe/core/internal/SafeText"
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { createReadStream } from "node:fs"
import type { OpenAI } from "openai"
import type { Batch } from "openai/resources/batches"
import * as Peer from "../Peer.ts"
import * as BatchQueueFull from "../provider/BatchQueueFull.ts"
import * as Body from "../provider/Body.ts"
import type * as Connection from "../provider/Connection.ts"
import * as Fields from "../provider/Fields.ts"
import * as HttpFailure from "../provider/HttpFailure.ts"
import * as JsonLines from "../provider/JsonLines.ts"
import * as Refusal from "../provider/Refusal.ts"
import * as Reply from "../provider/Reply.ts"
import * as Sdk from "../provider/Sdk.ts"
import type * as Api from "./Api.ts"
import * as Client from "./Client.ts"

/** The metadata that identifies our batches. */
const NAME = "pipe_batch"

/**
 * The size limit of a file, for services below OpenAI's (docs.together.ai/docs/batch-inference, accessed 2026-11-28).
 */
const MOST_BYTES: ReadonlyMap<string, number> = new Map([["together", 100e6]])

/** The provider's clock may be behind. */
const SKEW = 10 * 60_000

/** A call of the API. */
type Call = <A>(f: (client: OpenAI, signal: AbortSignal) => PromiseLike<A>) => Effect.Effect<A, AiError.AiError>

const callBy = (connection: Connection.Connection): Call => {
  let made: Promise<OpenAI> | undefined
  const sdk = () => (made ??= Client.loadSdk(connection, { streamsFiles: true }))
  return (f) =>
    Effect.catch(
      Effect.tryPromise({ try: (signal) => sdk().then((client) => f(client, signal)), catch: (error) => error }),
      (error) => Sdk.failure(connection, error)
    )
}

export const make = (connection: Connection.Connection, api: Api.Api): BatchProvider.BatchProvider => {
  const call = callBy(connection)
  return {
    name: api.provider,
    account: connection.account,
    limits: { requests: 50_000, bytes: MOST_BYTES.get(api.provider) ?? 200e6, inputs: 50_000 },
    frame: { head: "", separator: "\n", tail: "\n" },
    encode: (customId, request) => {
      const { model } = request
      if (model === undefined) return Effect.undefined
      const endpoint = `/v1${api.pathOf(request)}`
      const made = api.body(request, model)
      if (made === undefined) return Effect.undefined
      return Effect.map(made, (body) => ({
        endpoint,
        text: Body.encode({ custom_id: customId, method: "POST", url: endpoint, body }),
        inputs: request._tag === "Embedding" ? request.inputs.length : 0
      }))
    },
    ...files(call),
    ...jobs(call),
    results: (status, model) => results(connection, api, call, status, model)
  }
}

/** The files of batches. */
const files = (call: Call): Pick<BatchProvider.BatchProvider, "upload" | "removeUpload" | "findUpload"> => ({
  upload: (job) =>
    call(async (client, signal) => {
      const { toStreamingFile } = await import("openai").catch(Peer.missing("openai", "a batch of OpenAI"))
      const file = await client.files.create(
        {
          file: toStreamingFile(createReadStream(job.file), fileName(job), { type: "application/jsonl" }),
          purpose: "batch"
        },
        { signal, timeout: Sdk.UPLOAD }
      )
      return file.id
    }),
  removeUpload: (id) => Effect.asVoid(call((client, signal) => client.files.delete(id, { signal }))),
  findUpload: (job) =>
    call(async (client, signal) => {
      for await (const file of client.files.list({ purpose: "batch", order: "desc" }, { signal })) {
        if (file.filename === fileName(job)) return file.id
        if (isBefore(job, file.created_at)) return undefined
      }
      return undefined
    })
})

/** Recognises a batch by its name, or by the uploaded file: some services keep no metadata. */
const isOurs = (job: BatchProvider.Job, batch: Fields.Fields): boolean =>
  Fields.fields(batch["metadata"])[NAME] === job.name
  || (job.uploaded !== undefined && batch["input_file_id"] === job.uploaded)

/** The batches: created, found, polled, cancelled. */
const jobs = (call: Call): Pick<BatchProvider.BatchProvider, "create" | "find" | "status" | "cancel"> => ({
  create: (job) => {
    const batch = {
      input_file_id: job.uploaded!,
      endpoint: job.endpoint as "/v1/chat/completions",
      completion_window: "24h" as const,
      metadata: { [NAME]: job.name }
    }
    const created = call((client, signal) => client.batches.create(batch, { signal }))
    return BatchQueueFull.rejected(Effect.flatMap(Effect.mapError(created, HttpFailure.notYet), decodeStatus))
  },
  find: (job) =>
    call(async (client, signal) => {
      let found: Batch | undefined
      for await (const batch of client.batches.list({ limit: 100 }, { signal })) {
        if (isOurs(job, Fields.fields(batch))) {
          // A batch that was rejected because of its tokens may have been created again since.
          if (batch.status !== "failed") return toStatus(batch)
          found ??= batch
        }
        if (isBefore(job, batch.created_at)) break
      }
      return found === undefined ? undefined : toStatus(found)
    }),
  status: (id) =>
    Effect.catch(
      Effect.flatMap(
        call((client, signal) => client.batches.retrieve(id, { signal })),
        decodeStatus
      ),
      (error) => (HttpFailure.isNotFound(error) ? Effect.undefined : Effect.fail(error))
    ),
  cancel: (id) => Effect.asVoid(call((client, signal) => client.batches.cancel(id, { signal })))
})

/** The results of a batch, as they are downloaded. */
const results = (
  connection: Connection.Connection,
  api: Api.Api,
  call: Call,
  status: BatchProvider.BatchStatus,
  model: string
): ReturnType<BatchProvider.BatchProvider["results"]> =>
  Stream.fromIterable(status.files).pipe(
    Stream.flatMap((file) => {
      const content = call((client, signal) => client.files.content(file, { signal, timeout: Sdk.UPLOAD }))
      return JsonLines.parse(
        { module: Client.MODULE, baseUrl: connection.baseUrl },
        Effect.mapError(content, HttpFailure.notYet)
      )
    }),
    Stream.mapEffect(({ number, value }): Effect.Effect<BatchProvider.BatchResult> => {
      const line = Fields.fields(value)
      const customId = Fields.text(line["custom_id"])
      return customId === undefined
        ? Effect.succeed({ customId, line: number })
        : Effect.map(toOutcome(connection, api, line, model), (outcome) => ({ customId, outcome }))
    })
  )

const toOutcome = (
  connection: Connection.Connection,
  api: Api.Api,
  line: Fields.Fields,
  model: string
): Effect.Effect<BatchProvider.BatchOutcome> =>
  Effect.map(Clock.currentTimeMillis, (now): BatchProvider.BatchOutcome => {
    const { error, response } = line
    if (!Fields.isRecord(response)) {
      const { code, message } = Refusal.decode(error)
      // Without a reason for its absence, a batch may exist but be lost.
      return Refusal.isPresent(error)
        ? { _tag: "Unanswered", reason: code ?? message }
        : { _tag: "Unreadable", error: ModelFailure.withAnswer(Client.malformed("response"), line) }
    }
    const { body, status_code: said } = response
    const status = Number(said)
    // The API's own errors are in the body; `error` is then null.
    if (status >= 300) {
      const words = Refusal.hasWords(body) || !Refusal.isPresent(error) ? body : { error }
      return { _tag: "Failed", error: Reply.refused(connection, words, { status, now }) }
    }
    const format = api.formatOf(Fields.fields(body)["object"], model)
    const answer = Reply.fromBody(connection, format, body, now)
    return AiError.isAiError(answer)
      ? { _tag: isFree(answer) ? "Failed" : "Unreadable", error: answer }
      : { _tag: "Answered", response: ModelResponse.inTier(answer, "batch") }
  })

/** Tests whether a failure has no usage and is of a kind that is not billed. */
const isFree = (error: AiError.AiError): boolean =>
  ModelFailure.usageOf(error) === undefined && !ModelFailure.mayBeBilled(error)

const fileName = (job: BatchProvider.Job): string => `${job.name}.jsonl`

/** Tests whether something is older than a job. An invalid date says nothing. */
const isBefore = (job: BatchProvider.Job, created: unknown): boolean =>
  typeof created === "number" && created > 0 && created * 1_000 < job.at - SKEW

/** States by name, for OpenAI and services that speak its API. */
const states: ReadonlyMap<string, BatchProvider.BatchStatus["state"]> = new Map([
  ...["validating", "in_progress", "finalizing", "queued", "pending", "created", "running", "processing"].map(
    (name) => [name, "running"] as const
  ),
  ...["cancelling", "canceling", "cancellation_requested"].map((name) => [name, "cancelling"] as const),
  ...["completed", "complete", "succeeded", "success", "done", "finished"].map((name) => [name, "ended"] as const),
  ...["expired", "timeout", "timed_out", "timeout_exceeded", "cancelled", "canceled"].map(
    (name) => [name, "ended"] as const
  ),
  ...["failed", "error", "rejected"].map((name) => [name, "rejected"] as const)
])

const WHOLE: ReadonlySet<string> = new Set(["completed", "complete", "succeeded", "success", "done", "finished"])

const decodeStatus = (value: unknown): Effect.Effect<BatchProvider.BatchStatus, AiError.AiError> =>
  Fields.decode(Client.MODULE, () => toStatus(value))

/** Reads the status of a batch. */
const toStatus = (value: unknown): BatchProvider.BatchStatus => {
  const batch = Fields.fields(value)
  const id = Fields.words(batch["id"])
  if (id === undefined) throw new Error("it has no id")
  const errors = (Fields.list(Fields.fields(batch["errors"])["data"]) ?? []).map((value) => {
    const { code, line, message } = Fields.fields(value)
    return {
      code: Fields.text(code),
      line: typeof line === "number" ? line : undefined,
      message: SafeText.line(Fields.words(message) ?? "the provider gave no reason")
    }
  })
  const message = errors
    .slice(0, 3)
    .map(({ line, message }) => `${line === undefined ? "" : `line ${line}: `}${message}`)
    .join("; ")
  const status = (Fields.text(batch["status"]) ?? "").toLowerCase().replace(/^(?:job|batch)_(?:state|status)_/, "")
  const counts = Fields.fields(batch["request_counts"])
  const count = (value: unknown): number | undefined =>
    typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : undefined
  // Absent, null and empty mean the same.
  const files = [batch["output_file_id"], batch["error_file_id"]].flatMap((id) => Fields.words(id) ?? [])
  // A batch with results has ended, whatever its state is called: they are read, and the rest is sent again.
  const named = Fields.oneOf(states, status)
  const state = files.length > 0 && (named === undefined || named === "rejected") ? "ended" : (named ?? "running")
  return {
    id,
    state,
    answered: count(counts["completed"]) ?? 0,
    failed: count(counts["failed"]) ?? 0,
    counted: count(counts["completed"]),
    isWhole: WHOLE.has(status),
    isCancelled: status === "cancelled" || status === "canceled",
    ...(state !== "rejected"
      ? undefined
      : {
          rejection: {
            kind: BatchQueueFull.isFull(`${errors[0]?.code} ${message}`) ? ("quota" as const) : ("invalid" as const),
            message: message === "" ? "the provider gave no reason" : message,
            limit: BatchQueueFull.limitIn(message),
            lines: errors.flatMap(({ line, message }) => (line === undefined ? [] : [{ line, message }]))
          }
        }),
    files
  }
}
