/**
 * Bodies that a proxy has compressed, whether it was asked to or not.
 *
 * @internal
 */
import { pipeline, type Readable, type Transform } from "node:stream"
import { promisify } from "node:util"
import * as zlib from "node:zlib"

const gunzip = promisify(zlib.gunzip)
const inflate = promisify(zlib.inflate)
const inflateRaw = promisify(zlib.inflateRaw)
const brotli = promisify(zlib.brotliDecompress)

type Unpack = (bytes: Buffer, options: { readonly maxOutputLength: number }) => Promise<Buffer>

/** By the names of RFC 9110. Some send `deflate` without its header. */
const ways: ReadonlyMap<string, Unpack> = new Map<string, Unpack>([
  ["gzip", gunzip],
  ["x-gzip", gunzip],
  ["deflate", (bytes, options) => inflate(bytes, options).catch(() => inflateRaw(bytes, options))],
  ["br", brotli],
  ["zstd", (bytes, options) => promisify(zlib.zstdDecompress)(bytes, options)]
])

/** Ways to unpack what is read as it comes. */
const streams: ReadonlyMap<string, () => NodeJS.ReadWriteStream> = new Map<string, () => NodeJS.ReadWriteStream>([
  ["gzip", zlib.createGunzip],
  ["x-gzip", zlib.createGunzip],
  ["deflate", zlib.createUnzip],
  ["br", zlib.createBrotliDecompress],
  ["zstd", zlib.createZstdDecompress]
])

/** A body that is read as it comes, as it was before. */
export const unpackStream = (body: Readable, encoding: string | undefined): Readable => {
  let out = body
  for (const name of (encoding ?? "").toLowerCase().split(",").reverse()) {
    const make = streams.get(name.trim())
    // The failure of one is that of the whole.
    if (make !== undefined) out = pipeline(out, make() as Transform, () => {}) as Transform
  }
  return out
}

/** The body as it was before; no larger than a limit. */
export const unpack = async (bytes: Buffer, encoding: string, limit: number): Promise<Buffer> => {
  let out = bytes
  // The last that was applied stands last.
  for (const name of encoding.toLowerCase().split(",").reverse()) {
    const way = name.trim() === "identity" ? undefined : ways.get(name.trim())
    if (way === undefined && name.trim() !== "identity") throw new Error(`the answer is packed by ${encoding}`)
    if (way === undefined) continue
    out = await way(out, { maxOutputLength: limit }).catch((error: Error) => {
      throw new Error(`the answer says that it is packed by ${name.trim()}, and cannot be unpacked: ${error.message}`)
    })
  }
  return out
}
