/**
 * Anthropic's message batches: one call holds all requests, and the results come back as one file. Through the official
 * SDK.
 *
 * **Details** 100,000 requests and 256 MB a batch (docs.anthropic.com/en/docs/build-with-claude/batch-processing, looked at
 * 2026-11-25). A batch has no metadata: it is known again by the ids of its requests, which can be read when it has ended.
 *
 * @internal
 */
import type { Anthropic } from "@anthropic-ai/sdk"
import type {
  MessageBatch,
  MessageBatchIndividualResponse,
  MessageBatchResult
} from "@anthropic-ai/sdk/resources/messages/batches"
import type * as BatchProvider from "@pipe/core/BatchProvider"
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { openAsBlob } from "node:fs"
import * as Account from "../transport/Account.ts"
import * as Body from "../transport/Body.ts"
import * as HttpFailure from "../transport/HttpFailure.ts"
import * as StreamingFetch from "../transport/StreamingFetch.ts"
import * as Client from "./Client.ts"
import * as Messages from "./Messages.ts"

const ENDPOINT = "/v1/messages"

/** The provider's clock may be behind. */
const SKEW = 60_000

/** Milliseconds for a whole file, up or down. */
const UPLOAD = 30 * 60_000

export const make = (options: Client.Options & { readonly defaultMaxTokens: number }): BatchProvider.BatchProvider => {
  let made: Promise<Anthropic> | undefined
  const sdk = () => (made ??= Client.load({ ...options, fetch: StreamingFetch.make(UPLOAD) }))
  const call = <A>(f: (client: Anthropic, signal: AbortSignal) => PromiseLike<A>): Effect.Effect<A, AiError.AiError> =>
    Effect.catch(
      Effect.tryPromise({ try: (signal) => sdk().then((client) => f(client, signal)), catch: (error) => error }),
      (error) => Client.fail(options, error)
    )

  /** The id of one of a batch's requests. */
  const peek = async (client: Anthropic, id: string, signal: AbortSignal): Promise<string | undefined> => {
    for await (const line of await client.messages.batches.results(id, {}, { signal })) return line.custom_id
    return undefined
  }

  return {
    name: "anthropic",
    account: Account.make(options),
    limits: { requests: 100_000, bytes: 256e6 },
    frame: { head: '{"requests":[', separator: ",\n", tail: "]}" },
    encode: (customId, request) => {
      const { model } = request
      if (request._tag === "Embedding" || model === undefined) return Effect.undefined
      return Body.make(Client.MODULE, () => ({
        endpoint: ENDPOINT,
        text: Body.encode({ custom_id: customId, params: Messages.toBody(request, model, options.defaultMaxTokens) }),
        inputs: 0
      }))
    },
    create: (job) =>
      Effect.map(
        call(async (client, signal) =>
          client.post<MessageBatch>("/v1/messages/batches", {
            body: (await openAsBlob(job.file)).stream(),
            headers: { "content-type": "application/json" },
            signal,
            timeout: UPLOAD
          })
        ),
        toStatus
      ),
    find: (job) =>
      call(async (client, signal) => {
        let undecided = false
        for await (const batch of client.messages.batches.list({ limit: 100 }, { signal })) {
          if (Date.parse(batch.created_at) < job.at - SKEW) break
          if (totalOf(batch) !== job.requests) continue
          if (batch.processing_status !== "ended") undecided = true
          else if ((await peek(client, batch.id, signal))?.startsWith(`${job.name}-`) === true) return toStatus(batch)
        }
        return undecided ? ("undecided" as const) : undefined
      }),
    status: (id) =>
      Effect.catch(
        Effect.map(
          call((client, signal) => client.messages.batches.retrieve(id, {}, { signal })),
          toStatus
        ),
        (error) => (HttpFailure.isNotFound(error) ? Effect.undefined : Effect.fail(error))
      ),
    cancel: (id) => Effect.asVoid(call((client, signal) => client.messages.batches.cancel(id, {}, { signal }))),
    results: ({ id }, model) =>
      Stream.unwrap(
        Effect.map(
          call((client, signal) => client.messages.batches.results(id, {}, { signal, timeout: UPLOAD })),
          (lines) => Stream.fromAsyncIterable(lines, (error) => error)
        )
      ).pipe(
        Stream.catch((error) => Stream.fromEffect(Client.fail(options, error))),
        Stream.mapEffect(({ custom_id, result }: MessageBatchIndividualResponse) =>
          Effect.map(toOutcome(result, model, options.keySource), (outcome) => ({ customId: custom_id, outcome }))
        )
      )
  }
}

const totalOf = ({ request_counts }: MessageBatch): number =>
  Object.values(request_counts).reduce((sum, count) => sum + count, 0)

const toStatus = (batch: MessageBatch): BatchProvider.Status => ({
  id: batch.id,
  state:
    batch.processing_status === "ended" ? "ended" : batch.processing_status === "canceling" ? "cancelling" : "running",
  answered: batch.request_counts.succeeded,
  failed: batch.request_counts.errored,
  files: batch.results_url === null ? [] : [batch.results_url]
})

/** The status that an error has when it answers a single request (docs.anthropic.com/en/api/errors). */
const statuses: { readonly [type: string]: number } = {
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 500,
  timeout_error: 504,
  overloaded_error: 529
}

const toOutcome = (
  result: MessageBatchResult,
  model: string,
  keySource: string
): Effect.Effect<BatchProvider.Outcome> => {
  switch (result.type) {
    case "succeeded":
      return Effect.match(Messages.toResponse(result.message, model), {
        onSuccess: (response): BatchProvider.Outcome => ({
          _tag: "Answered",
          response: { ...response, serviceTier: "batch" }
        }),
        onFailure: (error): BatchProvider.Outcome => ({ _tag: "Failed", error })
      })
    case "errored": {
      const { message, type } = result.error.error
      return Effect.map(Clock.currentTimeMillis, (now): BatchProvider.Outcome => ({
        _tag: "Failed",
        error: HttpFailure.toAiError({
          module: Client.MODULE,
          status: statuses[type] ?? 400,
          message,
          code: undefined,
          type,
          headers: () => undefined,
          now,
          keySource
        })
      }))
    }
    default:
      return Effect.succeed({ _tag: "Unanswered", reason: `batch_${result.type}` })
  }
}
