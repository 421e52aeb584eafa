/**
 * The official SDK of Anthropic.
 *
 * @internal
 */
import type { Anthropic } from "@anthropic-ai/sdk"
import * as Peer from "../Peer.ts"
import type * as Connection from "../provider/Connection.ts"
import * as Sdk from "../provider/Sdk.ts"

export const MODULE = "Anthropic"

/** The SDK's client, with its retries off. */
export const loadSdk = async (connection: Connection.Connection, options: Sdk.Options = {}): Promise<Anthropic> => {
  const { Anthropic } = await import("@anthropic-ai/sdk").catch(
    Peer.missing("@anthropic-ai/sdk", "Anthropic by its SDK (transport, batches)")
  )
  return new Anthropic(Sdk.clientOptions(connection, options))
}
