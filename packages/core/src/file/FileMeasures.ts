/**
 * The measures of a file that decide its tokens: the pixels of an image, the pages of a PDF document, the seconds of a
 * sound. Each is `undefined` where the bytes do not say.
 *
 * @internal
 */
import * as NodeModule from "node:module"
import { inflateSync } from "node:zlib"

/** In pixels. */
export interface Size {
  readonly width: number
  readonly height: number
}

let reader: ((bytes: Uint8Array) => Size) | undefined

/** The size of an image in its header. The reader is loaded with the first image. */
export const imageSize = (bytes: Uint8Array): Size | undefined => {
  try {
    reader ??= (
      NodeModule.createRequire(import.meta.url)("image-size") as { readonly imageSize: (bytes: Uint8Array) => Size }
    ).imageSize
    // It reads to the end of the memory behind the bytes, which a pool of small buffers shares.
    const { height, width } = reader(bytes.byteLength === bytes.buffer.byteLength ? bytes : Uint8Array.from(bytes))
    return width > 0 && height > 0 && Number.isFinite(width * height) ? { width, height } : undefined
  } catch {
    // Broken, or of another kind than images are.
    return undefined
  }
}

/** The most bytes of a PDF document that are looked through, and that one of its parts may unpack to. */
const MOST_BYTES = 50e6
const MOST_UNPACKED = 5e6

const PAGES = /\/Type\s*\/Pages\b[^>]{0,2000}?\/Count\s+(\d{1,7})|\/Count\s+(\d{1,7})[^>]{0,2000}?\/Type\s*\/Pages\b/g

/** The largest number of pages that a tree of pages in a text says. */
const pagesIn = (text: string): number => {
  let most = 0
  for (const [, after, before] of text.matchAll(PAGES)) most = Math.max(most, Number(after ?? before))
  return most
}

/**
 * The pages of a PDF document: the count at the root of its tree of pages (ISO 32000-1, 7.7.3), which may be in a packed
 * stream of objects (7.5.7).
 */
export const pdfPages = (bytes: Uint8Array): number | undefined => {
  if (bytes.length > MOST_BYTES) return undefined
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1")
  if (!text.slice(0, 1_024).includes("%PDF-")) return undefined
  let pages = pagesIn(text)
  if (pages === 0)
    for (const { index, 0: head } of text.matchAll(/\/ObjStm\b[^>]{0,500}>>\s*stream\r?\n/g)) {
      const start = index + head.length
      const end = text.indexOf("endstream", start)
      if (end < 0) break
      try {
        const unpacked = inflateSync(bytes.subarray(start, end), { maxOutputLength: MOST_UNPACKED })
        pages = Math.max(pages, pagesIn(unpacked.toString("latin1")))
      } catch {
        // Not packed in this way: what it holds is not known.
      }
    }
  return pages === 0 ? undefined : pages
}

const ascii = (bytes: Uint8Array, at: number, length: number): string =>
  String.fromCharCode(...bytes.subarray(at, at + length))

/** The seconds of a WAV file: its bytes of sound over its bytes per second. */
const wavSeconds = (bytes: Uint8Array): number | undefined => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let perSecond: number | undefined
  for (let at = 12; at + 8 <= bytes.length;) {
    const [name, size] = [ascii(bytes, at, 4), view.getUint32(at + 4, true)]
    if (name === "fmt " && at + 20 <= bytes.length) perSecond = view.getUint32(at + 16, true)
    // A file that is written as a stream says no size.
    if (name === "data") return perSecond ? Math.min(size, bytes.length - at - 8) / perSecond : undefined
    at += 8 + size + (size % 2)
  }
  return undefined
}

/** The lowest bit rate of MPEG audio, in bytes per second (ISO/IEC 11172-3 and 13818-3, layer III). */
const LOWEST_RATE = 1_000

/** At most the seconds of a sound. MPEG audio is measured by its lowest bit rate. */
export const soundSeconds = (bytes: Uint8Array, mediaType: string): number | undefined => {
  if (ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 4) === "WAVE") return wavSeconds(bytes)
  return /mpeg|mp3/.test(mediaType) ? bytes.length / LOWEST_RATE : undefined
}
