/**
 * The content of a file in a prompt: an address, or bytes in base64.
 *
 * @internal
 */
import type * as Prompt from "effect/ai/Prompt"

export type FileData =
  | { readonly _tag: "Url"; readonly url: string }
  | { readonly _tag: "Base64"; readonly base64: string; readonly mediaType: string }

const DATA_URL = /^data:([^;,]+);base64,([\s\S]*)$/

/** A URL for the provider to fetch, or the bytes in base64. */
export const of = (part: Prompt.FilePartEncoded): FileData => {
  const { data, mediaType } = part
  if (data instanceof Uint8Array) return { _tag: "Base64", base64: Buffer.from(data).toString("base64"), mediaType }
  if (data instanceof URL) return fromText(data.href, mediaType)
  if (typeof data === "string") return fromText(data, mediaType)
  return data._tag === "URL" ? fromText(data.href, mediaType) : { _tag: "Base64", base64: data.base64, mediaType }
}

const fromText = (text: string, mediaType: string): FileData => {
  const inline = DATA_URL.exec(text)
  if (inline !== null) return { _tag: "Base64", base64: inline[2]!, mediaType: inline[1]! }
  return /^https?:/.test(text) ? { _tag: "Url", url: text } : { _tag: "Base64", base64: text, mediaType }
}

/** The bytes of a file that is in the prompt; `undefined` for one at an address. */
export const bytesOf = (part: Prompt.FilePartEncoded): Uint8Array | undefined => {
  if (part.data instanceof Uint8Array) return part.data
  const data = of(part)
  return data._tag === "Url" ? undefined : Buffer.from(data.base64, "base64")
}
