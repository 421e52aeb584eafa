/**
 * Encodes the files of a prompt in the forms that providers accept.
 *
 * @internal
 */
import * as FileData from "@pipe/core/internal/FileData"

export const of = FileData.of

/** Providers do not accept `image/*`, which means any type. */
export const mediaTypeOf = (mediaType: string): string => (mediaType === "image/*" ? "image/png" : mediaType)

export const toDataUrl = (data: FileData.FileData): string =>
  data._tag === "Url" ? data.url : `data:${mediaTypeOf(data.mediaType)};base64,${data.base64}`
