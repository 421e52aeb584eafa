/**
 * Sends calls to Anthropic's API: through an `undici` pool, or through the SDK. Answers are read in the same way.
 *
 * @internal
 */
import type { Anthropic } from "@anthropic-ai/sdk"
import * as Peer from "../Peer.ts"
import type * as Endpoint from "../transport/Endpoint.ts"
import * as PoolTransport from "../transport/PoolTransport.ts"
import * as SdkTransport from "../transport/SdkTransport.ts"

export const MODULE = "Anthropic"

/** The version of the API (docs.anthropic.com/en/api/versioning). */
const VERSION = "2023-06-01"

export interface Options extends Endpoint.Endpoint {
  readonly apiKey: string
  readonly connections: number
}

/** The headers of every call. */
export const headersOf = ({ apiKey, headers }: Options) => ({
  authorization: `Bearer ${apiKey}`,
  "anthropic-version": VERSION,
  ...headers
})

/** Sends calls through an `undici` pool. */
export const makePool = (options: Options) =>
  PoolTransport.make({ ...options, headers: headersOf(options) }, options.connections)

/** The SDK's client, with its retries off. */
export const loadSdk = async (options: Options & { readonly fetch?: typeof globalThis.fetch }): Promise<Anthropic> => {
  const { Anthropic } = await import("@anthropic-ai/sdk").catch(
    Peer.missing("@anthropic-ai/sdk", "Anthropic by its SDK (transport, batches)")
  )
  return new Anthropic(SdkTransport.clientOptions(options))
}

/** Sends calls through the SDK. */
export const makeSdk = (options: Options) => SdkTransport.load(options, loadSdk)
