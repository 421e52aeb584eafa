/**
 * Splits a file that holds one JSON array into the texts of its elements, as bytes arrive. An element that is not JSON is
 * one bad element: the others are read.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TextLine from "../encoding/TextLine.ts"

/** An element, or what is wrong with it. */
export interface JsonElement {
  /** From 0. */
  readonly index: number
  /** The line where it begins, from 1. */
  readonly line: number
  /** Bytes from the start of the file to its end. */
  readonly offset: number
  readonly text: string
  readonly problem?: string
}

/** The file is no array, or ends inside of it. */
export class ArrayProblem {
  readonly _tag = "ArrayProblem"
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

const [LF, CR, SPACE, TAB] = [0x0a, 0x0d, 0x20, 0x09]
const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c]
const [OPEN, CLOSE, OPEN_RECORD, CLOSE_RECORD] = [0x5b, 0x5d, 0x7b, 0x7d]

const isSpace = (byte: number): boolean => byte === SPACE || byte === LF || byte === CR || byte === TAB

class Splitter {
  private readonly decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  private place: "before" | "inside" | "after" = "before"
  private pieces: Array<Uint8Array> = []
  private size = 0
  private depth = 0
  private isString = false
  private isEscaped = false
  private hasContent = false
  private index = 0
  private line = 1
  private start = 1
  private offset = 0
  private marks = 0

  /** Adds the elements that end in a chunk. Returns what is wrong with the file. */
  feed(chunk: Uint8Array, out: Array<JsonElement>): string | undefined {
    let from = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!
      if (byte === LF) this.line++
      if (this.place !== "inside") {
        const problem = this.outside(byte)
        if (problem !== undefined) return problem
        from = at + 1
        continue
      }
      if (this.isString) {
        if (this.isEscaped) this.isEscaped = false
        else if (byte === BACKSLASH) this.isEscaped = true
        else if (byte === QUOTE) this.isString = false
        continue
      }
      if (this.depth === 0 && (byte === COMMA || byte === CLOSE)) {
        this.keep(chunk.subarray(from, at))
        const isLast = byte === CLOSE
        if (!isLast || this.hasContent || this.index > 0) out.push(this.take(this.offset + at))
        from = at + 1
        if (isLast) this.place = "after"
        continue
      }
      if (!isSpace(byte) && !this.hasContent) {
        this.hasContent = true
        this.start = this.line
      }
      if (byte === QUOTE) this.isString = true
      else if (byte === OPEN || byte === OPEN_RECORD) this.depth++
      else if (byte === CLOSE || byte === CLOSE_RECORD) this.depth--
    }
    if (this.place === "inside") this.keep(chunk.slice(from))
    this.offset += chunk.length
    return undefined
  }

  /** What is wrong with a file that ends here. */
  end(): string | undefined {
    if (this.place === "after" || (this.place === "before" && this.offset === 0)) return undefined
    return this.place === "before"
      ? "it holds no JSON array"
      : `it ends inside of element ${this.index}, which begins in line ${this.start}: the file is cut, or a bracket is not closed`
  }

  private outside(byte: number): string | undefined {
    // A byte order mark has three bytes.
    if (isSpace(byte) || (this.place === "before" && this.marks < 3 && byte === [0xef, 0xbb, 0xbf][this.marks])) {
      if (!isSpace(byte)) this.marks++
      return undefined
    }
    if (this.place === "after") return `there is more after the end of the array, in line ${this.line}`
    if (byte !== OPEN)
      return byte === OPEN_RECORD
        ? "it holds a record and not an array: for one value per line use Source.jsonl, for the fields of one record Source.entries"
        : "it does not begin with [: for one value per line use Source.jsonl"
    this.place = "inside"
    return undefined
  }

  private keep(piece: Uint8Array): void {
    this.size += piece.length
    // Bytes beyond the limit are counted but not kept.
    if (this.size <= TextLine.maxBytes) this.pieces.push(piece)
  }

  private take(offset: number): JsonElement {
    const { hasContent, line, pieces, size } = this
    const element = { index: this.index++, line: hasContent ? this.start : line, offset, text: "" }
    this.pieces = []
    this.size = 0
    this.hasContent = false
    if (!hasContent) return { ...element, problem: "there is nothing between two commas" }
    if (size > TextLine.maxBytes)
      return { ...element, problem: `it has ${size} bytes, more than the limit of ${TextLine.maxBytes}` }
    try {
      return { ...element, text: this.decoder.decode(Buffer.concat(pieces)).trim() }
    } catch {
      return { ...element, problem: "it is not valid UTF-8" }
    }
  }
}

/** Splits bytes into elements. Those before a problem of the whole file are read. */
export const split = <E>(bytes: Stream.Stream<Uint8Array, E>): Stream.Stream<JsonElement, E | ArrayProblem> =>
  Stream.unwrap(
    Effect.sync(() => {
      const splitter = new Splitter()
      const failed = (problem: string | undefined): Stream.Stream<never, ArrayProblem> =>
        problem === undefined ? Stream.empty : Stream.fail(new ArrayProblem(problem))
      const elements = Stream.flatMap(bytes, (chunk) => {
        const out: Array<JsonElement> = []
        const problem = splitter.feed(chunk, out)
        return Stream.concat(Stream.fromIterable(out), failed(problem))
      })
      return Stream.concat(
        elements,
        Stream.suspend(() => failed(splitter.end()))
      )
    })
  )
