/**
 * Identifies the account of batches, without revealing the key.
 *
 * @internal
 */
import type * as BatchProvider from "@pipe/core/BatchProvider"
import { hash } from "node:crypto"

export const make = (options: {
  readonly baseUrl: string
  readonly apiKey: string
  readonly keySource: string
}): BatchProvider.Account => {
  const fingerprint = hash("sha256", options.apiKey, "hex").slice(0, 8)
  return {
    id: `${new URL(options.baseUrl).host}/${fingerprint}`,
    label: `the key from ${options.keySource} (fingerprint ${fingerprint})`
  }
}
