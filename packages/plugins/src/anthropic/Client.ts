/**
 * Anthropic's SDK: how it is loaded, and what its errors mean.
 *
 * @internal
 */
import type { Anthropic, APIError } from "@anthropic-ai/sdk"
import type { MessageCreateParamsNonStreaming } from "@anthropic-ai/sdk/resources/messages"
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Peer from "../Peer.ts"
import * as Answer from "../transport/Answer.ts"
import * as Events from "../transport/Events.ts"
import * as AnswerSize from "../transport/AnswerSize.ts"
import * as HttpFailure from "../transport/HttpFailure.ts"
import * as Limits from "../transport/Limits.ts"
import * as PoolTransport from "../transport/PoolTransport.ts"
import * as MessageStream from "./MessageStream.ts"

export const MODULE = "Anthropic"

export interface Options {
  readonly apiKey: string
  readonly baseUrl: string
  /** Where the key came from, for people. */
  readonly keySource: string
  /** Milliseconds for a whole call. */
  readonly timeout: number
  readonly headers: { readonly [name: string]: string }
}

/** The SDK's client, its own retries off. */
export const load = async ({
  apiKey,
  baseUrl,
  fetch = AnswerSize.fetchWithin,
  headers,
  timeout
}: Options & { readonly fetch?: typeof globalThis.fetch }): Promise<Anthropic> => {
  const { Anthropic } = await import("@anthropic-ai/sdk").catch(Peer.missing("@anthropic-ai/sdk", "Anthropic"))
  return new Anthropic({
    apiKey,
    baseURL: baseUrl,
    maxRetries: 0,
    timeout,
    defaultHeaders: { ...headers },
    fetch
  })
}

/** An answer as it came: read here, as a whole or from the events of a stream. */
export const ask = async (
  client: Anthropic,
  body: MessageCreateParamsNonStreaming,
  { signal, stream }: { readonly stream: boolean; readonly signal: AbortSignal }
): Promise<{ readonly data: unknown; readonly response: Response }> => {
  if (!stream) return client.messages.create(body, { signal }).withResponse()
  const response = await client.messages.create({ ...body, stream: true }, { signal }).asResponse()
  const data: unknown = Events.isStream(response)
    ? await Events.read(response, MessageStream.make())
    : await response.json()
  return { data, response }
}

/** The status that an error has when it stands in an answer (docs.anthropic.com/en/api/errors). */
export const statuses: ReadonlyMap<string, number> = new Map([
  ["invalid_request_error", 400],
  ["authentication_error", 401],
  ["billing_error", 402],
  ["permission_error", 403],
  ["not_found_error", 404],
  ["request_too_large", 413],
  ["rate_limit_error", 429],
  ["api_error", 500],
  ["timeout_error", 504],
  ["overloaded_error", 529]
])

/** Before anything of an answer has come an error is what its status says; later it may be billed. */
const failedInStream = ({ baseUrl, keySource }: Options, { error, isFirst }: Events.ErrorEvent, now: number) => {
  const { message, type } = Answer.fields(error)
  return HttpFailure.toAiError({
    module: MODULE,
    status: isFirst ? (Answer.oneOf(statuses, type) ?? 500) : 500,
    message: Answer.words(message) ?? "no message",
    code: undefined,
    type: Answer.words(type),
    headers: () => undefined,
    now,
    url: baseUrl,
    keySource
  })
}

/** What the SDK threw, or a stream held, as an `AiError`. */
export const fail = (options: Options, error: unknown): Effect.Effect<never, AiError.AiError> =>
  Effect.gen(function* () {
    const { baseUrl, keySource } = options
    if (isApiError(error) && error.status !== undefined) {
      const { headers } = error
      if (headers !== undefined) yield* Limits.observe(error.status, (name) => headers.get(name))
      return yield* HttpFailure.toAiError({
        module: MODULE,
        status: error.status,
        message: error.apiMessage ?? error.message,
        code: undefined,
        type: error.type ?? undefined,
        headers: (name) => error.headers?.get(name),
        now: yield* Clock.currentTimeMillis,
        url: baseUrl,
        keySource
      })
    }
    if (error instanceof Events.ErrorEvent) {
      return yield* failedInStream(options, error, yield* Clock.currentTimeMillis)
    }
    if (error instanceof Events.Cut) {
      return yield* AiError.make({
        module: MODULE,
        method: "send",
        reason: new AiError.InvalidResponseError({ description: error.message })
      })
    }
    if (error instanceof SyntaxError) {
      return yield* HttpFailure.notJson({ module: MODULE, url: baseUrl, contentType: undefined, text: error.message })
    }
    return yield* PoolTransport.toNetworkError({ module: MODULE, url: baseUrl, error: error as Error, sent: true })
  })

const isApiError = (error: unknown): error is APIError =>
  error instanceof Error && "status" in error && "headers" in error
