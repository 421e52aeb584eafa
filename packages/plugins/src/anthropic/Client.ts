/**
 * Anthropic's SDK: how it is loaded, and what its errors mean.
 *
 * @internal
 */
import type { Anthropic, APIError } from "@anthropic-ai/sdk"
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as AnswerSize from "../transport/AnswerSize.ts"
import * as HttpFailure from "../transport/HttpFailure.ts"
import * as Limits from "../transport/Limits.ts"
import * as PoolTransport from "../transport/PoolTransport.ts"

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
  const { Anthropic } = await import("@anthropic-ai/sdk")
  return new Anthropic({
    apiKey,
    baseURL: baseUrl,
    maxRetries: 0,
    timeout,
    defaultHeaders: { ...headers },
    fetch
  })
}

/** What the SDK threw, as an `AiError`. */
export const fail = ({ baseUrl, keySource }: Options, error: unknown): Effect.Effect<never, AiError.AiError> =>
  Effect.gen(function* () {
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
        keySource
      })
    }
    if (error instanceof SyntaxError) {
      return yield* HttpFailure.notJson({ module: MODULE, url: baseUrl, contentType: undefined, text: error.message })
    }
    return yield* PoolTransport.toNetworkError({ module: MODULE, url: baseUrl, error: error as Error, sent: true })
  })

const isApiError = (error: unknown): error is APIError =>
  error instanceof Error && "status" in error && "headers" in error
