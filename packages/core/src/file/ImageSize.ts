/**
 * The size of a PNG, JPEG, GIF or WebP image in pixels, as the largest that a decoder may see: budgets hold it. What is odd
 * in a file leaves its size unknown.
 *
 * Sources: PNG 3rd edition, 11.2.1; ITU T.81, B.1 and B.2.2; GIF89a, 18 and 20; RFC 9649 (WebP), 2.5 to 2.7.
 *
 * @internal
 */

/** In pixels. */
export interface Size {
  readonly width: number
  readonly height: number
}

const startsWith = (view: DataView, at: number, text: string): boolean => {
  if (at + text.length > view.byteLength) return false
  for (let i = 0; i < text.length; i++) if (view.getUint8(at + i) !== text.charCodeAt(i)) return false
  return true
}

/** The header comes first. */
const png = (view: DataView): Size | undefined =>
  startsWith(view, 12, "IHDR") ? { width: view.getUint32(16), height: view.getUint32(20) } : undefined

/** Markers without a length: TEM, and the restart markers. */
const isAlone = (marker: number): boolean => marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)

/** Frames of all kinds: SOF0 to SOF15 but DHT, JPG and DAC. */
const isFrame = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc

const jpeg = (view: DataView): Size | undefined => {
  for (let at = 2; at + 4 <= view.byteLength;) {
    if (view.getUint8(at) !== 0xff) return undefined
    const marker = view.getUint8(at + 1)
    // Any number of fill bytes may precede a marker.
    if (marker === 0xff) at++
    else if (isAlone(marker)) at += 2
    else if (isFrame(marker)) return { height: view.getUint16(at + 5), width: view.getUint16(at + 7) }
    // The image begins, or ends, without a frame.
    else if (marker === 0xda || marker === 0xd9 || marker === 0) return undefined
    else {
      const length = view.getUint16(at + 2)
      if (length < 2) return undefined
      at += 2 + length
    }
  }
  return undefined
}

/** The most blocks of a GIF that are looked through. */
const MOST_BLOCKS = 1_000_000

const larger = (one: Size, other: Size): Size => ({
  width: Math.max(one.width, other.width),
  height: Math.max(one.height, other.height)
})

/** A frame may be larger than the screen. */
const gif = (view: DataView): Size | undefined => {
  const tableOf = (flags: number): number => ((flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1))
  let size: Size = { width: view.getUint16(6, true), height: view.getUint16(8, true) }
  let at = 13 + tableOf(view.getUint8(10))
  let left = MOST_BLOCKS
  const skipBlocks = () => {
    while (left-- > 0) {
      const length = view.getUint8(at)
      at += 1 + length
      if (length === 0) return
    }
  }
  while (at < view.byteLength) {
    if (left <= 0) return undefined
    const kind = view.getUint8(at)
    if (kind === 0x3b) break
    if (kind === 0x21) {
      at += 2
      skipBlocks()
    } else if (kind === 0x2c) {
      if (at + 11 > view.byteLength) break
      const [left, top] = [view.getUint16(at + 1, true), view.getUint16(at + 3, true)]
      size = larger(size, {
        width: left + view.getUint16(at + 5, true),
        height: top + view.getUint16(at + 7, true)
      })
      at += 11 + tableOf(view.getUint8(at + 9))
      skipBlocks()
    } else return undefined
    if (at >= view.byteLength) break
  }
  return size
}

const webp = (view: DataView): Size | undefined => {
  const three = (at: number): number => view.getUint16(at, true) + view.getUint8(at + 2) * 65_536
  if (startsWith(view, 12, "VP8X")) return { width: three(24) + 1, height: three(27) + 1 }
  if (startsWith(view, 12, "VP8 "))
    return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff }
  if (!startsWith(view, 12, "VP8L")) return undefined
  const bits = view.getUint32(21, true)
  return { width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1 }
}

const readerOf = (view: DataView): ((view: DataView) => Size | undefined) | undefined => {
  if (startsWith(view, 0, "\x89PNG\r\n\x1a\n")) return png
  if (startsWith(view, 0, "\xff\xd8\xff")) return jpeg
  if (startsWith(view, 0, "GIF87a") || startsWith(view, 0, "GIF89a")) return gif
  return startsWith(view, 0, "RIFF") && startsWith(view, 8, "WEBP") ? webp : undefined
}

/** The size of an image; `undefined` where its header does not say it. */
export const of = (bytes: Uint8Array): Size | undefined => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  try {
    const size = readerOf(view)?.(view)
    return size === undefined || size.width <= 0 || size.height <= 0 ? undefined : size
  } catch (error) {
    // Cut off.
    if (error instanceof RangeError) return undefined
    throw error
  }
}
