/**
 * The input tokens of the files in a request, by the published rules of the models' makers.
 *
 * @internal
 */
import * as FileTokens from "@pipe/core/internal/FileTokens"
import * as Fields from "../provider/Fields.ts"

/** Tokens of a file of which no rule is known. */
const UNKNOWN = 1_000

const soundOf = ({ data, format }: Fields.Fields) => ({ mediaType: `audio/${String(format)}`, data: String(data) })

/** The address or the bytes of a file, with its type, in the forms of the three APIs. */
const fileOf = (part: Fields.Fields): { readonly mediaType: string; readonly data: string } | undefined => {
  const ofUrl = (url: unknown, mediaType: string) => {
    const own = /^data:([^;,]+)/.exec(String(url))?.[1]
    return { mediaType: own ?? mediaType, data: String(url) }
  }
  switch (part["type"]) {
    case "image_url":
      return ofUrl(Fields.fields(part["image_url"])["url"], "image/png")
    case "input_image":
      return ofUrl(part["image_url"], "image/png")
    case "file":
      return ofUrl(Fields.fields(part["file"])["file_data"], "application/pdf")
    case "input_file":
      return ofUrl(part["file_data"] ?? part["file_url"], "application/pdf")
    case "input_audio":
      return soundOf(Fields.fields(part["input_audio"]))
    case "image":
    case "document": {
      const { data, media_type: own, url } = Fields.fields(part["source"])
      const mediaType = typeof own === "string" ? own : part["type"] === "image" ? "image/png" : "application/pdf"
      return { mediaType, data: String(data ?? url) }
    }
    default:
      return undefined
  }
}

/** The tokens of all files of a request. */
export const tokensOf = (body: Fields.Fields): number => {
  const messages: unknown = body["messages"] ?? body["input"]
  if (!Array.isArray(messages)) return 0
  let tokens = 0
  for (const message of messages as ReadonlyArray<unknown>) {
    const { content } = Fields.fields(message)
    if (!Array.isArray(content)) continue
    for (const part of content as ReadonlyArray<unknown>) {
      const file = fileOf(Fields.fields(part))
      if (file === undefined) continue
      const known = FileTokens.of(String(body["model"]), { type: "file", ...file } as Parameters<
        typeof FileTokens.of
      >[1])
      tokens += known.expected ?? known.most ?? UNKNOWN
    }
  }
  return tokens
}
