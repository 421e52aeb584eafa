/**
 * The input tokens of the files in a request, by the published rules of the models' makers.
 *
 * @internal
 */
import * as FileTokens from "@pipe/core/internal/FileTokens"
import type { WireJson } from "./Wire.ts"

/** Tokens of a file of which no rule is known. */
const UNKNOWN = 1_000

/** The address or the bytes of a file, with its type, in the forms of the three APIs. */
const fileOf = (part: WireJson): { readonly mediaType: string; readonly data: string } | undefined => {
  const ofUrl = (url: unknown, mediaType: string) => {
    const own = /^data:([^;,]+)/.exec(String(url))?.[1]
    return { mediaType: own ?? mediaType, data: String(url) }
  }
  switch (part["type"]) {
    case "image_url":
      return ofUrl(part["image_url"]?.url, "image/png")
    case "input_image":
      return ofUrl(part["image_url"], "image/png")
    case "file":
      return ofUrl(part["file"]?.file_data, "application/pdf")
    case "input_file":
      return ofUrl(part["file_data"] ?? part["file_url"], "application/pdf")
    case "input_audio":
      return { mediaType: `audio/${part["input_audio"]?.format}`, data: String(part["input_audio"]?.data) }
    case "image":
    case "document": {
      const { data, media_type: own, url } = part["source"] ?? {}
      const mediaType = own ?? (part["type"] === "image" ? "image/png" : "application/pdf")
      return { mediaType, data: String(data ?? url) }
    }
    default:
      return undefined
  }
}

/** The tokens of all files of a request. */
export const tokensOf = (body: WireJson): number => {
  const messages: unknown = body["messages"] ?? body["input"]
  if (!Array.isArray(messages)) return 0
  let tokens = 0
  for (const { content } of messages as ReadonlyArray<WireJson>) {
    if (!Array.isArray(content)) continue
    for (const part of content as ReadonlyArray<WireJson>) {
      const file = fileOf(part)
      if (file === undefined) continue
      const known = FileTokens.of(String(body["model"]), { type: "file", ...file } as Parameters<
        typeof FileTokens.of
      >[1])
      tokens += known.expected ?? known.most ?? UNKNOWN
    }
  }
  return tokens
}
