/**
 * How calls reach an OpenAI-compatible endpoint: by an `undici` pool, or by the SDK itself. Answers are read the same.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type { OpenAI } from "openai"
import * as Peer from "../Peer.ts"
import * as Answer from "../transport/Answer.ts"
import type * as Endpoint from "../transport/Endpoint.ts"
import * as PoolTransport from "../transport/PoolTransport.ts"
import * as Refusal from "../transport/Refusal.ts"
import * as Reply from "../transport/Reply.ts"
import * as SdkTransport from "../transport/SdkTransport.ts"

export const MODULE = "OpenAi"

export interface Options extends Endpoint.Endpoint {
  readonly apiKey: string
  readonly connections: number
}

/** Calls by an `undici` pool. */
export const makePool = (options: Options) =>
  PoolTransport.make(
    { ...options, headers: { authorization: `Bearer ${options.apiKey}`, ...options.headers } },
    options.connections
  )

/** The SDK's client, its own retries off. */
export const loadSdk = async (options: Options & { readonly fetch?: typeof globalThis.fetch }): Promise<OpenAI> => {
  const { OpenAI } = await import("openai").catch(Peer.missing("openai", "OpenAI by its SDK (transport, batches)"))
  const url = new URL(options.baseUrl)
  const query = Object.fromEntries(url.searchParams)
  url.search = ""
  return new OpenAI({
    apiKey: options.apiKey,
    baseURL: url.href.replace(/\/+$/, ""),
    defaultQuery: query,
    maxRetries: 0,
    timeout: options.timeout,
    defaultHeaders: { ...options.headers },
    fetch: SdkTransport.refusing(options.fetch ?? SdkTransport.fetch)
  })
}

/** Calls by the SDK. The deadline of a call is ours: the SDK's own, of the same length, would end some calls in other words. */
export const makeSdk = (options: Options) =>
  Effect.map(
    Effect.promise(() => loadSdk({ ...options, timeout: 2 * options.timeout })),
    (client) => SdkTransport.make(options, client)
  )

/** An answer without what it must have. */
export const malformed = (what: string): AiError.AiError => Answer.malformed(MODULE, what)

/** An answer that says that the work failed; `error`: how it says so. */
export const failed = (words: string, error?: unknown): AiError.AiError =>
  Reply.broken(MODULE, { ...Refusal.decode(error), message: words })
