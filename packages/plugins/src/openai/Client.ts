/**
 * The official SDK of OpenAI, and failures in OpenAI's name.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import type { OpenAI } from "openai"
import * as Peer from "../Peer.ts"
import type * as Connection from "../provider/Connection.ts"
import * as Fields from "../provider/Fields.ts"
import * as Refusal from "../provider/Refusal.ts"
import * as Reply from "../provider/Reply.ts"
import * as Sdk from "../provider/Sdk.ts"

export const MODULE = "OpenAi"

/** The SDK's client, with its retries off. */
export const loadSdk = async (connection: Connection.Connection, options: Sdk.Options = {}): Promise<OpenAI> => {
  const { OpenAI } = await import("openai").catch(Peer.missing("openai", "OpenAI by its SDK (transport, batches)"))
  return new OpenAI(Sdk.clientOptions(connection, options))
}

/** An answer without a required part. */
export const malformed = (what: string): AiError.AiError => Fields.malformed(MODULE, what)

/** An answer that reports a failure; `error` is how it reports it. */
export const failed = (words: string, error?: unknown): AiError.AiError =>
  Reply.broken(MODULE, { ...Refusal.decode(error), message: words })
