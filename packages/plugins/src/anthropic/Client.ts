/**
 * How calls reach Anthropic's API: by an `undici` pool, or by the SDK itself. Answers are read the same.
 *
 * @internal
 */
import type { Anthropic } from "@anthropic-ai/sdk"
import * as Effect from "effect/Effect"
import * as Peer from "../Peer.ts"
import type * as Endpoint from "../transport/Endpoint.ts"
import * as PoolTransport from "../transport/PoolTransport.ts"
import * as SdkTransport from "../transport/SdkTransport.ts"

export const MODULE = "Anthropic"

/** The version of the API that is spoken (docs.anthropic.com/en/api/versioning). */
const VERSION = "2023-06-01"

export interface Options extends Endpoint.Endpoint {
  readonly apiKey: string
  readonly connections: number
}

/** Calls by an `undici` pool. */
export const makePool = (options: Options) =>
  PoolTransport.make(
    {
      ...options,
      headers: { authorization: `Bearer ${options.apiKey}`, "anthropic-version": VERSION, ...options.headers }
    },
    options.connections
  )

/** The SDK's client, its own retries off. */
export const loadSdk = async (options: Options & { readonly fetch?: typeof globalThis.fetch }): Promise<Anthropic> => {
  const { Anthropic } = await import("@anthropic-ai/sdk").catch(
    Peer.missing("@anthropic-ai/sdk", "Anthropic by its SDK (transport, batches)")
  )
  const url = new URL(options.baseUrl)
  const query = Object.fromEntries(url.searchParams)
  url.search = ""
  return new Anthropic({
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
