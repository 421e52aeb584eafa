/**
 * OpenAI's Batch API: a file of requests is uploaded, a batch is created on it, its answers and its errors come back as
 * files. Through the official SDK, which is loaded when the first batch is sent.
 *
 * **Details** 50,000 requests and 200 MB a batch, 50,000 texts for embeddings
 * (platform.openai.com/docs/guides/batch, looked at 2026-11-25).
 *
 * @internal
 */
import type * as BatchProvider from "@pipe/core/BatchProvider"
import type * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { createReadStream } from "node:fs"
import type { OpenAI } from "openai"
import type { Batch } from "openai/resources/batches"
import * as Body from "../transport/Body.ts"
import * as Account from "../transport/Account.ts"
import * as HttpFailure from "../transport/HttpFailure.ts"
import * as Lines from "../transport/Lines.ts"
import * as StreamingFetch from "../transport/StreamingFetch.ts"
import * as Chat from "./Chat.ts"
import * as Client from "./Client.ts"
import * as Embeddings from "./Embeddings.ts"
import * as Responses from "./Responses.ts"

const CHAT = "/v1/chat/completions"
const RESPONSES = "/v1/responses"
const EMBEDDINGS = "/v1/embeddings"

/** The metadata by which a batch of ours is known again. */
const NAME = "pipe_batch"

/** The provider's clock may be behind. */
const SKEW = 10 * 60_000

export const make = (
  options: Client.Options & { readonly api: "chat" | "responses"; readonly chat: Chat.Options }
): BatchProvider.BatchProvider => {
  const { provider } = options.chat
  let made: Promise<OpenAI> | undefined
  const sdk = () => (made ??= Client.loadSdk({ ...options, fetch: StreamingFetch.make(UPLOAD) }))
  const call = <A>(f: (client: OpenAI, signal: AbortSignal) => PromiseLike<A>): Effect.Effect<A, AiError.AiError> =>
    Effect.catch(
      Effect.tryPromise({ try: (signal) => sdk().then((client) => f(client, signal)), catch: (error) => error }),
      (error) => Client.fail(options, error)
    )

  const toBody = (request: ModelRequest.ModelRequest, model: string) =>
    request._tag === "Embedding"
      ? { endpoint: EMBEDDINGS, body: Embeddings.toBody(request, model) }
      : options.api === "responses"
        ? { endpoint: RESPONSES, body: Responses.toBody(request, model) }
        : { endpoint: CHAT, body: Chat.toBody(request, model, options.chat) }

  const isOurs = (job: BatchProvider.Job) => (batch: Batch) => batch.metadata?.[NAME] === job.name

  return {
    name: provider,
    account: Account.make(options),
    limits: { requests: 50_000, bytes: 200e6, inputs: 50_000 },
    frame: { head: "", separator: "\n", tail: "\n" },
    encode: (customId, request) => {
      const { model } = request
      if (model === undefined) return Effect.undefined
      return Body.make(Client.MODULE, () => {
        const { body, endpoint } = toBody(request, model)
        return {
          endpoint,
          text: Body.encode({ custom_id: customId, method: "POST", url: endpoint, body }),
          inputs: request._tag === "Embedding" ? request.inputs.length : 0
        }
      })
    },
    upload: (job) =>
      call(async (client, signal) => {
        const { toStreamingFile } = await import("openai")
        const file = await client.files.create(
          {
            file: toStreamingFile(createReadStream(job.file), fileName(job), { type: "application/jsonl" }),
            purpose: "batch"
          },
          { signal, timeout: UPLOAD }
        )
        return file.id
      }),
    findUpload: (job) =>
      call(async (client, signal) => {
        for await (const file of client.files.list({ purpose: "batch", order: "desc" }, { signal })) {
          if (file.filename === fileName(job)) return file.id
          if (file.created_at * 1_000 < job.at - SKEW) return undefined
        }
        return undefined
      }),
    create: (job) =>
      Effect.map(
        call((client, signal) =>
          client.batches.create(
            {
              input_file_id: job.uploaded!,
              endpoint: job.endpoint as typeof CHAT,
              completion_window: "24h",
              metadata: { [NAME]: job.name }
            },
            { signal }
          )
        ),
        toStatus
      ),
    find: (job) =>
      call(async (client, signal) => {
        let found: Batch | undefined
        for await (const batch of client.batches.list({ limit: 100 }, { signal })) {
          if (isOurs(job)(batch)) {
            // One that was refused for its tokens may have been created anew since.
            if (batch.status !== "failed") return toStatus(batch)
            found ??= batch
          }
          if (batch.created_at * 1_000 < job.at - SKEW) break
        }
        return found === undefined ? undefined : toStatus(found)
      }),
    status: (id) =>
      Effect.catch(
        Effect.map(
          call((client, signal) => client.batches.retrieve(id, { signal })),
          toStatus
        ),
        (error) => (HttpFailure.isNotFound(error) ? Effect.undefined : Effect.fail(error))
      ),
    cancel: (id) => Effect.asVoid(call((client, signal) => client.batches.cancel(id, { signal }))),
    results: (status, model) =>
      Stream.fromIterable(status.files).pipe(
        Stream.flatMap((file) =>
          Lines.parse<ResultLine>(
            { module: Client.MODULE, baseUrl: options.baseUrl, what: `result file ${file}` },
            call((client, signal) => client.files.content(file, { signal, timeout: UPLOAD }))
          )
        ),
        Stream.mapEffect((line) =>
          Effect.map(toOutcome(line, model), (outcome) => ({ customId: line.custom_id, outcome }))
        )
      )
  }

  function toOutcome(line: ResultLine, model: string): Effect.Effect<BatchProvider.Outcome> {
    const { error, response } = line
    if (response !== null && response !== undefined && response.status_code < 300) {
      return Effect.match(toResponse(response.body, model), {
        onSuccess: (response): BatchProvider.Outcome => ({
          _tag: "Answered",
          response: { ...response, serviceTier: "batch" }
        }),
        onFailure: (error): BatchProvider.Outcome => ({ _tag: "Failed", error })
      })
    }
    if (response === null || response === undefined) {
      return Effect.succeed({ _tag: "Unanswered", reason: error?.code ?? error?.message ?? "no answer" })
    }
    // The API's own errors stand in the body; `error` is null then.
    const body = (response.body as { readonly error?: Partial<ErrorBody> } | undefined)?.error ?? error ?? {}
    return Effect.map(Clock.currentTimeMillis, (now): BatchProvider.Outcome => ({
      _tag: "Failed",
      error: HttpFailure.toAiError({
        module: Client.MODULE,
        status: response.status_code,
        message: body.message ?? "no message",
        code: body.code ?? undefined,
        type: body.type ?? undefined,
        headers: () => undefined,
        now,
        keySource: options.keySource,
        overflow: options.overflow
      })
    }))
  }

  function toResponse(body: unknown, model: string): Effect.Effect<ModelResponse.ModelResponse, AiError.AiError> {
    const object = (body as { readonly object?: unknown } | null)?.object
    switch (object) {
      case "list":
        return Embeddings.toResponse(body, model, provider, undefined)
      case "response":
        return Responses.toResponse(body, model, provider)
      default:
        return Chat.toResponse(body, model, options.chat)
    }
  }
}

interface ErrorBody {
  readonly message: string | null
  readonly code: string | null
  readonly type: string | null
}

interface ResultLine {
  readonly custom_id: string
  readonly response?: { readonly status_code: number; readonly body: unknown } | null
  readonly error?: Partial<ErrorBody> | null
}

/** Milliseconds for a whole file, up or down. */
const UPLOAD = 30 * 60_000

const fileName = (job: BatchProvider.Job): string => `${job.name}.jsonl`

const states: { readonly [S in Batch["status"]]: BatchProvider.Status["state"] } = {
  validating: "running",
  in_progress: "running",
  finalizing: "running",
  cancelling: "cancelling",
  completed: "ended",
  expired: "ended",
  cancelled: "ended",
  failed: "rejected"
}

const isQuota = (code: string | undefined, message: string): boolean =>
  code === "token_limit_exceeded" || /enqueued token limit/i.test(message)

const toStatus = (batch: Batch): BatchProvider.Status => {
  const errors = batch.errors?.data ?? []
  const message = errors
    .slice(0, 3)
    .map(
      ({ line, message }) => `${line === null || line === undefined ? "" : `line ${line}: `}${message ?? "no message"}`
    )
    .join("; ")
  return {
    id: batch.id,
    state: states[batch.status] ?? "running",
    answered: batch.request_counts?.completed ?? 0,
    failed: batch.request_counts?.failed ?? 0,
    ...(batch.status !== "failed"
      ? undefined
      : {
          rejection: {
            kind: isQuota(errors[0]?.code, message) ? ("quota" as const) : ("invalid" as const),
            message: message === "" ? "the provider gave no reason" : message,
            lines: errors.flatMap(({ line, message }) =>
              line === null || line === undefined ? [] : [{ line, message: message ?? "the provider gave no reason" }]
            )
          }
        }),
    // Absent, null and empty mean the same.
    files: [batch.output_file_id, batch.error_file_id].filter((id): id is string => typeof id === "string" && id !== "")
  }
}
