/**
 * The measures of a file that decide its tokens: the pixels of an image, the pages of a PDF document, the seconds of a
 * sound. Each is `undefined` where the bytes do not say.
 *
 * @internal
 */
import { inflateSync } from "node:zlib"

/** The size of an image, by its header. */
export { of as imageSize } from "./ImageSize.ts"

/** The most bytes of a PDF document that are looked through, and that its packed objects may come to. */
const MOST_BYTES = 50e6
const MOST_UNPACKED = 20e6

/** What matters of a PDF dictionary. */
interface Dictionary {
  ofPages: boolean
  ofObjects: boolean
  count: number
}

/** The words of a PDF document by which its dictionaries and streams are told apart. */
const WORDS = /<<|>>|\/Type\s*\/Pages\b|\/Type\s*\/ObjStm\b|\/Count\s+(\d{1,9})|\bstream\r?\n|\bendobj\b/g

/**
 * Reads the dictionaries of a text in one pass, without its streams: the largest number of pages that a tree of pages
 * says, and where its packed streams of objects begin and end.
 */
const dictionaries = (text: string): { readonly pages: number; readonly packed: ReadonlyArray<[number, number]> } => {
  const packed: Array<[number, number]> = []
  const open: Array<Dictionary> = []
  let closed: Dictionary | undefined
  let pages = 0
  WORDS.lastIndex = 0
  for (let found = WORDS.exec(text); found !== null; found = WORDS.exec(text)) {
    const [word, count] = found
    const inner = open.at(-1)
    if (word.startsWith("stream") && closed !== undefined) {
      const start = WORDS.lastIndex
      const end = text.indexOf("endstream", start)
      if (end < 0) break
      if (closed.ofObjects) packed.push([start, end])
      WORDS.lastIndex = end
    }
    closed = undefined
    if (word === "<<") open.push({ ofPages: false, ofObjects: false, count: 0 })
    else if (word === "endobj") open.length = 0
    else if (word === ">>") {
      closed = open.pop()
      if (closed?.ofPages) pages = Math.max(pages, closed.count)
    } else if (inner !== undefined) {
      if (count !== undefined) inner.count = Number(count)
      else if (word.endsWith("Pages")) inner.ofPages = true
      else if (word.endsWith("ObjStm")) inner.ofObjects = true
    }
  }
  return { pages, packed }
}

/**
 * The pages of a PDF document: the count at the root of its tree of pages (ISO 32000-1, 7.7.3), which may be in a packed
 * stream of objects (7.5.7).
 */
export const pdfPages = (bytes: Uint8Array): number | undefined => {
  if (bytes.length > MOST_BYTES) return undefined
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1")
  if (!text.slice(0, 1_024).includes("%PDF-")) return undefined
  const { packed, pages: plain } = dictionaries(text)
  let pages = plain
  let left = MOST_UNPACKED
  for (const [start, end] of packed) {
    try {
      const unpacked = inflateSync(bytes.subarray(start, end), { maxOutputLength: left })
      left -= unpacked.length
      pages = Math.max(pages, dictionaries(unpacked.toString("latin1")).pages)
    } catch (error) {
      // What did not fit may say more pages than the rest does.
      if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") return undefined
      // Not packed in this way: what it holds is not known.
    }
    if (left <= 0) return undefined
  }
  return pages === 0 ? undefined : pages
}

const ascii = (bytes: Uint8Array, at: number, length: number): string =>
  String.fromCharCode(...bytes.subarray(at, at + length))

/** Formats of WAV files whose samples all have the same bytes: PCM, floating point, A-law, μ-law, and an extension of those. */
const EVEN: ReadonlySet<number> = new Set([1, 3, 6, 7, 0xfffe])

/** At most the seconds of a WAV file: its bytes of sound over its bytes per second, as far as its header agrees with itself. */
const wavSeconds = (bytes: Uint8Array): number | undefined => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let perSecond: number | undefined
  for (let at = 12; at + 8 <= bytes.length;) {
    const [name, size] = [ascii(bytes, at, 4), view.getUint32(at + 4, true)]
    if (name === "fmt " && at + 24 <= bytes.length) {
      const format = view.getUint16(at + 8, true)
      const samples = view.getUint32(at + 12, true) * view.getUint16(at + 20, true)
      // Of a packed format only its own figure tells, and it is not to be relied on.
      if (!EVEN.has(format)) return undefined
      perSecond = Math.min(view.getUint32(at + 16, true), samples)
    }
    if (name === "data") {
      const rest = bytes.length - at - 8
      // A file that is written as a stream says no size: players read it to its end.
      return perSecond ? (size === 0 || size > rest ? rest : size) / perSecond : undefined
    }
    at += 8 + size + (size % 2)
  }
  return undefined
}

/** The lowest bit rate of MPEG audio, in bytes per second (ISO/IEC 11172-3 and 13818-3, layer III). */
const LOWEST_RATE = 1_000

/** At most the seconds of a sound. MPEG audio is measured by its lowest bit rate. */
export const soundSeconds = (bytes: Uint8Array, mediaType: string): number | undefined => {
  if (ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 4) === "WAVE") return wavSeconds(bytes)
  // A frame of MPEG audio begins with eleven bits, or tags come first; other sounds may have lower rates.
  const isMpeg = ascii(bytes, 0, 3) === "ID3" || (bytes[0] === 0xff && (bytes[1]! & 0xe0) === 0xe0)
  return isMpeg && /mpeg|mp3/.test(mediaType) ? bytes.length / LOWEST_RATE : undefined
}
