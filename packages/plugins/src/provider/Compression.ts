/**
 * Decompresses bodies that a proxy compressed, requested or not.
 *
 * @internal
 */
import { pipeline, type Readable, type Transform } from "node:stream"
import { promisify } from "node:util"
import * as zlib from "node:zlib"

interface Coding {
  /** Decompresses a complete body. */
  readonly whole: (bytes: Buffer, options: { readonly maxOutputLength: number }) => Promise<Buffer>
  /** Decompresses a streamed body. */
  readonly stream: () => Transform
}

const inflate = promisify(zlib.inflate)
const inflateRaw = promisify(zlib.inflateRaw)

const gzip: Coding = { whole: promisify(zlib.gunzip), stream: zlib.createGunzip }

/** By the names of RFC 9110. Some servers send `deflate` without its header. */
const codings: ReadonlyMap<string, Coding> = new Map<string, Coding>([
  ["gzip", gzip],
  ["x-gzip", gzip],
  [
    "deflate",
    {
      whole: (bytes, options) => inflate(bytes, options).catch(() => inflateRaw(bytes, options)),
      stream: zlib.createUnzip
    }
  ],
  ["br", { whole: promisify(zlib.brotliDecompress), stream: zlib.createBrotliDecompress }],
  [
    "zstd",
    {
      whole: (bytes, options) => promisify(zlib.zstdDecompress)(bytes, options),
      stream: () => zlib.createZstdDecompress()
    }
  ]
])

/** The codings of a body, in the order in which to remove them. */
const namesOf = (encoding: string): ReadonlyArray<string> =>
  encoding
    .toLowerCase()
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "identity")
    .reverse()

/** Decompresses a streamed body. */
export const unpackStream = (body: Readable, encoding: string): Readable =>
  namesOf(encoding).reduce<Readable>((packed, name) => {
    const coding = codings.get(name)
    // A failure of either is a failure of the whole.
    return coding === undefined ? packed : pipeline(packed, coding.stream(), () => {})
  }, body)

/** Decompresses a body, up to a size limit. */
export const unpack = async (bytes: Buffer, encoding: string, limit: number): Promise<Buffer> => {
  let out = bytes
  for (const name of namesOf(encoding)) {
    const coding = codings.get(name)
    if (coding === undefined) throw new Error(`the answer is compressed with ${encoding}`)
    out = await coding.whole(out, { maxOutputLength: limit }).catch((error: Error) => {
      throw new Error(`the answer is declared as ${name} and cannot be decompressed: ${error.message}`)
    })
  }
  return out
}
