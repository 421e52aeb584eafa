/**
 * The bytes of a text file as UTF-8: gzip is decompressed, and other encodings are converted.
 *
 * @internal
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { createGunzip } from "node:zlib"

/** A file cannot be read as text. */
export class TextProblem {
  readonly _tag = "TextProblem"
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

/** How the bytes of a file are encoded. */
export interface Form {
  readonly isCompressed: boolean
  /** A label that `TextDecoder` knows; `undefined` for UTF-8. */
  readonly encoding: string | undefined
}

/** Bytes that are read as they are. */
export const plain: Form = { isCompressed: false, encoding: undefined }

/** The bytes that tell the form of a file. */
export const MARK = 4

const isUtf8 = (label: string): boolean => new TextDecoder(label).encoding === "utf-8"

/** What is wrong with the name of an encoding; `undefined` for one that can be read. */
export const problemOf = (label: string): string | undefined => {
  try {
    new TextDecoder(label)
    return undefined
  } catch {
    return `there is no encoding ${JSON.stringify(label)}: name one that TextDecoder knows, such as "windows-1252", "utf-16le", "shift_jis" or "gb18030"`
  }
}

const isUtf8Mark = ([a, b, c]: Uint8Array): boolean => a === 0xef && b === 0xbb && c === 0xbf

const utf16 = ([a, b]: Uint8Array): string | undefined =>
  a === 0xff && b === 0xfe ? "utf-16le" : a === 0xfe && b === 0xff ? "utf-16be" : undefined

const isGzip = ([a, b]: Uint8Array): boolean => a === 0x1f && b === 0x8b

/** The form of a file, by its first bytes and what its author says. */
export const formOf = (first: Uint8Array, said: string | undefined): Form => {
  // A mark is surer than what is said.
  const encoding = utf16(first) ?? (said === undefined || isUtf8(said) || isUtf8Mark(first) ? undefined : said)
  return { isCompressed: isGzip(first), encoding }
}

const encoder = new TextEncoder()

/** A file may have several parts, each compressed by itself. */
const decompressed = (bytes: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> => {
  const gunzip = createGunzip()
  // Its failure is thrown where the text is read.
  pipeline(Readable.from(bytes), gunzip).catch(() => {})
  return gunzip as AsyncIterable<Uint8Array>
}

async function* converted(bytes: AsyncIterable<Uint8Array>, encoding: string): AsyncGenerator<Uint8Array, void> {
  const decoder = new TextDecoder(encoding, { fatal: true })
  let read = 0
  try {
    for await (const chunk of bytes) {
      const text = decoder.decode(chunk, { stream: true })
      read += chunk.length
      if (text !== "") yield encoder.encode(text)
    }
    const rest = decoder.decode()
    if (rest !== "") yield encoder.encode(rest)
  } catch (error) {
    throw error instanceof TypeError ? new TextProblem(`is not ${encoding} after byte ${read}`) : error
  }
}

async function* withFirst(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  try {
    yield first
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value
  } finally {
    // A reader that stops early closes the file.
    await rest.return?.()
  }
}

/** At least as many bytes as tell the form of a file, unless it is shorter. */
const beginning = async (bytes: AsyncIterator<Uint8Array>): Promise<Uint8Array> => {
  let first = new Uint8Array(0)
  while (first.length < MARK) {
    const next = await bytes.next()
    if (next.done === true) break
    const joined = new Uint8Array(first.length + next.value.length)
    joined.set(first)
    joined.set(next.value, first.length)
    first = joined
  }
  return first
}

async function* utf8(
  bytes: AsyncIterable<Uint8Array>,
  said: string | undefined,
  onForm: (form: Form) => void
): AsyncGenerator<Uint8Array, void> {
  const iterator = bytes[Symbol.asyncIterator]()
  const first = await beginning(iterator)
  const form = formOf(first, said)
  onForm(form)
  const all = withFirst(first, iterator)
  if (!form.isCompressed) return yield* form.encoding === undefined ? all : converted(all, form.encoding)
  // A compressed file has a form of its own.
  yield* utf8(decompressed(all), said, (inner) => onForm({ isCompressed: true, encoding: inner.encoding }))
}

/** Reads bytes as UTF-8. `onForm` receives how they are encoded, when that is known. */
export const toUtf8 = <E>(
  bytes: Stream.Stream<Uint8Array, E>,
  said: string | undefined,
  onForm: (form: Form) => void
): Stream.Stream<Uint8Array, E | TextProblem> =>
  // What is logged while it is read goes where the rest of the run logs.
  Stream.unwrap(
    Effect.contextWith((context: Context.Context<never>) => {
      let failure: { readonly error: E } | undefined
      const input = Stream.toAsyncIterableWith(
        Stream.mapError(bytes, (error) => {
          failure = { error }
          return error
        }),
        context
      )
      const text = Stream.fromAsyncIterable(utf8(input, said, onForm), (error) =>
        failure !== undefined
          ? failure.error
          : error instanceof TextProblem
            ? error
            : new TextProblem(`cannot be decompressed: ${error instanceof Error ? error.message : String(error)}`)
      )
      return Effect.succeed(text)
    })
  )
