/**
 * How calls reach an OpenAI-compatible endpoint: by an `undici` pool, or by the SDK itself. Both give the same.
 *
 * @internal
 */
import type * as RateLimitHeaders from "@pipe/core/RateLimitHeaders"
import * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { OpenAI } from "openai"
import type { APIError } from "openai/core/error"
import type { ChatCompletion, ChatCompletionCreateParamsNonStreaming } from "openai/resources/chat/completions"
import type { CreateEmbeddingResponse, EmbeddingCreateParams } from "openai/resources/embeddings"
import type { Response, ResponseCreateParamsNonStreaming } from "openai/resources/responses/responses"
import * as ModelFailure from "@pipe/core/ModelFailure"
import * as SafeText from "@pipe/core/SafeText"
import * as Peer from "../Peer.ts"
import * as Answer from "../transport/Answer.ts"
import * as AnswerSize from "../transport/AnswerSize.ts"
import * as Body from "../transport/Body.ts"
import * as Events from "../transport/Events.ts"
import * as HttpFailure from "../transport/HttpFailure.ts"
import * as Limits from "../transport/Limits.ts"
import * as PoolTransport from "../transport/PoolTransport.ts"
import * as ChatStream from "./ChatStream.ts"
import * as ChatUsage from "./ChatUsage.ts"

export const MODULE = "OpenAi"

/** The three calls, typed by the SDK. */
export interface Client {
  readonly chat: (body: ChatCompletionCreateParamsNonStreaming) => Effect.Effect<ChatCompletion, AiError.AiError>
  readonly responses: (body: ResponseCreateParamsNonStreaming) => Effect.Effect<Response, AiError.AiError>
  readonly embeddings: (body: EmbeddingCreateParams) => Effect.Effect<CreateEmbeddingResponse, AiError.AiError>
}

export interface Options {
  readonly baseUrl: string
  readonly apiKey: string
  readonly keySource: string
  /** How the endpoint says that a request is too long. */
  readonly overflow?: RegExp | undefined
  readonly headers: { readonly [name: string]: string }
  /** Milliseconds for a whole call. */
  readonly timeout: number
  readonly connections: number
}

/** Calls by an `undici` pool: the SDK's types without the SDK. */
export const makePool = Effect.fnUntraced(function* (options: Options) {
  const baseUrl = new URL(options.baseUrl)
  const post = yield* PoolTransport.make({
    baseUrl,
    headers: { authorization: `Bearer ${options.apiKey}`, ...options.headers },
    timeout: options.timeout,
    connections: options.connections,
    module: MODULE
  })
  const call = <A>(path: string, body: object): Effect.Effect<A, AiError.AiError> =>
    Effect.flatMap(post(path, Body.encode(body)), ({ headers, status, text }) => {
      const get: RateLimitHeaders.Get = (name) => {
        const value = headers[name]
        return Array.isArray(value) ? value[0] : value
      }
      return Effect.andThen(
        Limits.observe(status, get),
        Effect.suspend(() => {
          const json = parse(text)
          if (status >= 200 && status < 300) {
            return json === undefined
              ? Effect.fail(
                  HttpFailure.notJson({
                    module: MODULE,
                    url: `${options.baseUrl}${path}`,
                    contentType: get("content-type") ?? undefined,
                    text
                  })
                )
              : Effect.succeed(json as A)
          }
          return refused(options, status, json ?? SafeText.line(text, 200), get)
        })
      )
    })
  return {
    chat: (body) => call("/chat/completions", body),
    responses: (body) => call("/responses", body),
    embeddings: (body) => call("/embeddings", body)
  } satisfies Client as Client
})

/** The SDK's client, its own retries off. */
export const loadSdk = async (options: Options & { readonly fetch?: typeof globalThis.fetch }): Promise<OpenAI> => {
  const { OpenAI } = await import("openai").catch(
    Peer.missing("openai", "OpenAI by its SDK (transport, stream, batches)")
  )
  return new OpenAI({
    apiKey: options.apiKey,
    baseURL: options.baseUrl,
    maxRetries: 0,
    timeout: options.timeout,
    defaultHeaders: { ...options.headers },
    fetch: options.fetch ?? AnswerSize.fetchWithin
  })
}

/** Calls by the SDK; `stream` has chat completions sent as a stream, to survive long answers. */
export const makeSdk = Effect.fnUntraced(function* (options: Options & { readonly stream: boolean }) {
  // The deadline of the whole call is ours: the SDK's own, of the same length, would end some calls in other words.
  const client = yield* Effect.promise(() => loadSdk({ ...options, timeout: 2 * options.timeout }))
  const within = <A>(f: (signal: AbortSignal) => PromiseLike<A>) =>
    Effect.tryPromise({ try: (signal) => Promise.resolve(f(signal)), catch: (error) => error }).pipe(
      Effect.timeoutOrElse({
        duration: options.timeout,
        orElse: () => Effect.fail(new Error(`no whole answer within ${options.timeout} ms`))
      }),
      Effect.catch((error) => fail(options, error))
    )
  // The body is read by us: the SDK goes through it as if it were what it should be.
  const call = <A>(
    send: (signal: AbortSignal) => PromiseLike<globalThis.Response>,
    assembly?: () => Events.Assembly
  ): Effect.Effect<A, AiError.AiError> =>
    within(async (signal) => {
      const response = await send(signal)
      if (assembly !== undefined && Events.isStream(response)) {
        return { response, text: "", json: await Events.read(response, assembly()) }
      }
      const text = await response.text()
      return { response, text, json: parse(text) }
    }).pipe(
      Effect.tap(({ response }) => Limits.observe(response.status, (name) => response.headers.get(name))),
      Effect.flatMap(({ json, response, text }) => {
        return json === undefined
          ? Effect.fail(
              HttpFailure.notJson({
                module: MODULE,
                url: response.url === "" ? options.baseUrl : response.url,
                contentType: response.headers.get("content-type") ?? undefined,
                text
              })
            )
          : Effect.succeed(json as A)
      })
    )
  return {
    chat: (body) =>
      options.stream
        ? call(
            (signal) =>
              client.chat.completions
                .create({ ...body, stream: true, stream_options: { include_usage: true } }, { signal })
                .asResponse(),
            ChatStream.make
          )
        : call((signal) => client.chat.completions.create(body, { signal }).asResponse()),
    responses: (body) => call((signal) => client.responses.create(body, { signal }).asResponse()),
    // Floats, as the pool asks for them: the SDK's own default is base64.
    embeddings: (body) =>
      call((signal) => client.embeddings.create({ ...body, encoding_format: "float" }, { signal }).asResponse())
  } satisfies Client as Client
})

/** A status that is no success, with what the provider says of it: `{ error: { message, code, type } }`, or in words of its own. */
const refused = (
  options: Options,
  status: number,
  said: unknown,
  headers: RateLimitHeaders.Get
): Effect.Effect<never, AiError.AiError> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const error = Answer.fields(said)["error"]
    const { code, message, type } = Answer.fields(error)
    return Effect.fail(
      HttpFailure.toAiError({
        module: MODULE,
        status,
        message:
          Answer.words(message)
          ?? Answer.words(error)
          ?? Answer.words(said)
          ?? (said === "" ? "no message" : JSON.stringify(message ?? error ?? said)),
        code: Answer.words(code),
        type: Answer.words(type),
        headers,
        now,
        url: options.baseUrl,
        keySource: options.keySource,
        overflow: options.overflow
      })
    )
  })

const parse = (text: string): unknown => {
  try {
    // Some servers put a byte order mark before it.
    return JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text)
  } catch {
    return undefined
  }
}

/** What the SDK threw, or would have thrown, as an `AiError`. */
export const fail = (options: Options, error: unknown): Effect.Effect<never, AiError.AiError> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    if (isApiError(error) && error.status !== undefined) {
      return Effect.fail(
        HttpFailure.toAiError({
          module: MODULE,
          status: error.status,
          message: messageOf(error),
          code: error.code ?? undefined,
          type: error.type,
          headers: (name) => error.headers?.get(name),
          now,
          url: options.baseUrl,
          keySource: options.keySource,
          overflow: options.overflow
        })
      )
    }
    if (error instanceof Events.ErrorEvent)
      return Effect.fail(counted(failedInStream(options, error, now), error.answer))
    if (error instanceof Events.Cut) return Effect.fail(counted(cutOff(error.message), error.answer))
    if (error instanceof SyntaxError) {
      return Effect.fail(
        HttpFailure.notJson({
          module: MODULE,
          url: options.baseUrl,
          contentType: undefined,
          text: error.message
        })
      )
    }
    return Effect.fail(
      PoolTransport.toNetworkError({ module: MODULE, url: options.baseUrl, error: error as Error, sent: true })
    )
  })

/** A gateway that has not begun to answer gives a status; anything later may be billed. */
const failedInStream = (options: Options, { error, isFirst }: Events.ErrorEvent, now: number): AiError.AiError => {
  const { code, message, type } = Answer.fields(error)
  const words = Answer.words(message) ?? Answer.words(error) ?? "the answer broke off with an error"
  const status = Number(code)
  return isFirst && status >= 400 && status < 600
    ? HttpFailure.toAiError({
        module: MODULE,
        status,
        message: words,
        code: undefined,
        type: Answer.words(type),
        headers: () => undefined,
        now,
        url: options.baseUrl,
        keySource: options.keySource,
        overflow: options.overflow
      })
    : failed(words)
}

/** With the count that had come by then. */
const counted = (error: AiError.AiError, answer: unknown): AiError.AiError =>
  ModelFailure.withUsage(error, ChatUsage.make(Answer.fields(answer)["usage"]))

const cutOff = (description: string): AiError.AiError =>
  AiError.make({ module: MODULE, method: "send", reason: new AiError.InvalidResponseError({ description }) })

const isApiError = (error: unknown): error is APIError => error instanceof Error && "status" in error && "code" in error

/** The SDK puts the status before the provider's own words. */
const messageOf = (error: APIError): string => {
  const own = (error.error as { readonly message?: unknown } | undefined)?.message
  return typeof own === "string" ? own : error.message.replace(/^\d{3} /, "")
}

/** An answer without what it must have. */
export const malformed = (what: string): AiError.AiError => Answer.malformed(MODULE, what)

/** An answer that says that the work failed. */
export const failed = (words: string): AiError.AiError =>
  AiError.make({
    module: MODULE,
    method: "send",
    reason: new AiError.InternalProviderError({ description: SafeText.line(words) })
  })
