/**
 * Splits a text file into numbered lines as bytes arrive.
 *
 * Only LF ends a line (one CR before it is dropped), so U+2028 and a lone CR inside a JSON string are preserved.
 * `effect/encoding`'s NDJSON ends its stream at the first invalid line; here such a line is one bad row.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"

/** A line without its line break, or what is wrong with it. */
export interface TextLine {
  /** From 1. */
  readonly number: number
  /** Bytes from the start of the file to the end of the line. */
  readonly offset: number
  readonly text: string
  readonly problem?: string
}

/** The longest line that is read, in bytes. */
export const maxBytes = 32 * 1024 * 1024

const LF = 0x0a
const CR = 0x0d

const isUtf16 = (bytes: Uint8Array): boolean =>
  (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)

/** What is wrong with bytes that are not UTF-8, and what to do. */
export const notUtf8 = (what: string): string =>
  `the ${what} is not valid UTF-8: save the file as UTF-8, or name its encoding, such as { encoding: "windows-1252" }`

const hasBom = (bytes: Uint8Array): boolean => bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf

/** The problem of a file that begins with UTF-16. */
export const utf16 = "the file is UTF-16: save it as UTF-8"

class Splitter {
  private decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  private pieces: Array<Uint8Array> = []
  private size = 0
  private number = 0
  private offset = 0

  feed(chunk: Uint8Array, out: Array<TextLine>): void {
    let start = 0
    for (;;) {
      const end = chunk.indexOf(LF, start)
      if (end === -1) break
      this.push(chunk.subarray(start, end))
      out.push(this.take())
      start = end + 1
    }
    if (start < chunk.length) this.push(chunk.slice(start))
  }

  end(out: Array<TextLine>): void {
    if (this.size > 0) out.push(this.take())
  }

  private push(piece: Uint8Array): void {
    this.size += piece.length
    // Bytes beyond the limit are counted but not kept.
    if (this.size <= maxBytes) this.pieces.push(piece)
  }

  private take(): TextLine {
    this.number++
    const { pieces, size } = this
    this.pieces = []
    this.size = 0
    const number = this.number
    const offset = (this.offset += size + 1)
    if (size > maxBytes) {
      return {
        number,
        offset,
        text: "",
        problem: `the line has ${size} bytes, more than the limit of ${maxBytes}`
      }
    }
    let bytes = pieces.length === 1 ? pieces[0]! : concat(pieces, size)
    if (number === 1 && hasBom(bytes)) bytes = bytes.subarray(3)
    if (bytes.at(-1) === CR) bytes = bytes.subarray(0, -1)
    try {
      return { number, offset, text: this.decoder.decode(bytes) }
    } catch {
      // A decoder that failed keeps its partial input.
      this.decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      return {
        number,
        offset,
        text: "",
        problem: number === 1 && isUtf16(bytes) ? utf16 : notUtf8("line")
      }
    }
  }
}

const concat = (pieces: ReadonlyArray<Uint8Array>, size: number): Uint8Array => {
  const out = new Uint8Array(size)
  let at = 0
  for (const piece of pieces) {
    out.set(piece, at)
    at += piece.length
  }
  return out
}

/** Splits bytes into lines, including a last line without a line break. */
export const split = <E, R>(bytes: Stream.Stream<Uint8Array, E, R>): Stream.Stream<TextLine, E, R> =>
  Stream.pipeThroughChannel(
    bytes,
    Channel.fromTransform((upstream: Pull.Pull<readonly [Uint8Array, ...Array<Uint8Array>], E, unknown>, _scope) =>
      Effect.sync(() => {
        const splitter = new Splitter()
        let done = false
        type Lines = readonly [TextLine, ...Array<TextLine>]
        const emit = (out: Array<TextLine>): Pull.Pull<Lines, E> =>
          out.length > 0 ? Effect.succeed(out as unknown as Lines) : pull
        const pull: Pull.Pull<Lines, E> = Effect.suspend((): Pull.Pull<Lines, E> => {
          if (done) return Cause.done()
          return Pull.matchEffect(upstream, {
            onSuccess: (chunks) => {
              const out: Array<TextLine> = []
              for (const chunk of chunks) splitter.feed(chunk, out)
              return emit(out)
            },
            onFailure: (cause) => Effect.failCause(cause),
            onDone: () => {
              done = true
              const out: Array<TextLine> = []
              splitter.end(out)
              return out.length > 0 ? emit(out) : Cause.done()
            }
          })
        })
        return pull
      })
    )
  )
