/**
 * Sends calls to an OpenAI-compatible endpoint: through an `undici` pool, or through the SDK. Answers are read in the
 * same way.
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

/** The headers of every call. */
export const headersOf = ({ apiKey, headers }: Options) => ({ authorization: `Bearer ${apiKey}`, ...headers })

/** Sends calls through an `undici` pool. */
export const makePool = (options: Options) =>
  PoolTransport.make({ ...options, headers: headersOf(options) }, options.connections)

/** The SDK's client, with its retries off. */
export const loadSdk = async (options: Options & { readonly fetch?: typeof globalThis.fetch }): Promise<OpenAI> => {
  const { OpenAI } = await import("openai").catch(Peer.missing("openai", "OpenAI by its SDK (transport, batches)"))
  return new OpenAI(SdkTransport.clientOptions(options))
}

/** Sends calls through the SDK. */
export const makeSdk = (options: Options) => SdkTransport.load(options, loadSdk)

/** An answer without a required part. */
export const malformed = (what: string): AiError.AiError => Fields.malformed(MODULE, what)

/** An answer that reports a failure; `error` is how it reports it. */
export const failed = (words: string, error?: unknown): AiError.AiError =>
  Reply.broken(MODULE, { ...Refusal.decode(error), message: words })
