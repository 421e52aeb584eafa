/**
 * How calls reach an OpenAI-compatible endpoint: by an `undici` pool, or by the SDK itself. Answers are read the same.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import type { OpenAI } from "openai"
import * as Peer from "../Peer.ts"
import * as Fields from "../transport/Fields.ts"
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
  return new OpenAI(SdkTransport.clientOptions(options))
}

/** Calls by the SDK. */
export const makeSdk = (options: Options) => SdkTransport.load(options, loadSdk)

/** An answer without what it must have. */
export const malformed = (what: string): AiError.AiError => Fields.malformed(MODULE, what)

/** An answer that says that the work failed; `error`: how it says so. */
export const failed = (words: string, error?: unknown): AiError.AiError =>
  Reply.broken(MODULE, { ...Refusal.decode(error), message: words })
