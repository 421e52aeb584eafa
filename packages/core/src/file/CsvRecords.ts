/**
 * Reads the records of a CSV file (RFC 4180) with `csv-parse`. A quote inside an unquoted cell is an ordinary
 * character.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import type * as CsvParse from "csv-parse"

export interface CsvRecord {
  /** The line where it begins, from 1. */
  readonly line: number
  /** Bytes from the start of the file to its end. */
  readonly offset: number
  readonly cells: ReadonlyArray<string>
  /** What is wrong with it. */
  readonly problem?: string
}

/** The file cannot be read any further from here. */
export class CsvProblem {
  readonly _tag = "CsvProblem"
  /** Where the record begins that cannot be read. */
  readonly line: number
  readonly offset: number
  readonly message: string
  constructor({ line, offset }: Place, message: string) {
    this.line = line
    this.offset = offset
    this.message = message
  }
}

/** Where a record begins: its line, from 1, and the bytes before it. */
export interface Place {
  readonly line: number
  readonly offset: number
}

interface Options {
  /** A single character. Default: a comma, or what a first line `sep=;` names. */
  readonly delimiter: string | undefined
  /** Whether quotes enclose cells. */
  readonly quote: boolean
  /** The most bytes of a record. */
  readonly maxRecordSize: number
  /** Reads the file again from a place. Without it, a record that never ends is the end of the file. */
  readonly from?: ((offset: number) => Stream.Stream<Uint8Array, unknown>) | undefined
}

const START: Place = { line: 1, offset: 0 }

/** The most records in a group. */
const GROUP = 512

/**
 * Reads records as bytes arrive. A record that never ends, because its quote is not closed, is one bad record: reading
 * continues in the next line.
 */
export const read = <E>(
  bytes: Stream.Stream<Uint8Array, E>,
  options: Options
): Stream.Stream<CsvRecord, E | CsvProblem> =>
  readFrom(bytes, { ...options, found: undefined, broken: 0 }, START, withoutMarks)

/** The options of a file, with the delimiter that its first line names. */
interface Dialect extends Options {
  found: string | undefined
  /** The rows that never ended, so that the file was read again from the next line. */
  broken: number
}

/** The most of them: in a file with more, quotes do not enclose cells. */
const MOST_BROKEN = 500

const readFrom = <E>(
  bytes: Stream.Stream<Uint8Array, E>,
  options: Dialect,
  start: Place,
  beginning: Beginning
): Stream.Stream<CsvRecord, E | CsvProblem> => {
  const { from } = options
  const records = parsed(bytes, options, start, beginning)
  if (from === undefined) return records
  return Stream.catch(records, (error): Stream.Stream<CsvRecord, E | CsvProblem> => {
    if (!(error instanceof CsvProblem)) return Stream.fail(error)
    const { line, message, offset } = error
    if (++options.broken > MOST_BROKEN) {
      const many = `more than ${MOST_BROKEN} rows have an open quote, so quotes do not enclose cells: set { quote: false }`
      return Stream.fail(new CsvProblem({ line, offset }, many))
    }
    const bad: CsvRecord = { line, offset, cells: [], problem: message }
    const rest = Stream.suspend(() =>
      readFrom(from(offset) as Stream.Stream<Uint8Array, E>, options, { line: line + 1, offset }, afterLine)
    )
    return Stream.concat(Stream.succeed(bad), rest)
  })
}

/** Leaves out how bytes begin, and counts what is left out. */
type Beginning = <E>(
  bytes: Stream.Stream<Uint8Array, E>,
  leftOut: (bytes: number) => void
) => Stream.Stream<Uint8Array, E>

const MARK = [0xef, 0xbb, 0xbf]

/** Leaves out byte order marks at the beginning: a file may have several. The parser would change its encoding. */
const withoutMarks: Beginning = (bytes, leftOut) => {
  let isBefore = true
  let seen = 0
  return Stream.map(bytes, (chunk) => {
    if (!isBefore) return chunk
    let at = 0
    while (at < chunk.length && chunk[at] === MARK[seen % MARK.length]) {
      at++
      seen++
    }
    if (at === chunk.length) return chunk.subarray(at)
    isBefore = false
    const rest = seen % MARK.length
    leftOut(seen - rest)
    return rest === 0 ? chunk.subarray(at) : Buffer.concat([Buffer.from(MARK.slice(0, rest)), chunk.subarray(at)])
  })
}

/** Leaves out the first line. */
const afterLine: Beginning = (bytes, leftOut) => {
  let isAfter = false
  return Stream.map(bytes, (chunk) => {
    if (isAfter) return chunk
    const end = chunk.findIndex((byte) => byte === 0x0a || byte === 0x0d)
    if (end === -1) {
      leftOut(chunk.length)
      return chunk.subarray(chunk.length)
    }
    const after = chunk[end] === 0x0d && chunk[end + 1] === 0x0a ? end + 2 : end + 1
    leftOut(after)
    isAfter = true
    return chunk.subarray(after)
  })
}

const parsed = <E>(
  bytes: Stream.Stream<Uint8Array, E>,
  options: Dialect,
  start: Place,
  beginning: Beginning
): Stream.Stream<CsvRecord, E | CsvProblem> =>
  Stream.unwrap(
    Effect.map(
      // What is logged while it is read goes where the rest of the run logs.
      Effect.all([Effect.promise(() => import("csv-parse")), Effect.context<never>()]),
      ([{ CsvError, parse }, context]) => {
        let last = { lines: 0, bytes: 0 }
        let before = start.offset
        const here = (): Place => ({ line: start.line + skippedLines + last.lines, offset: before + last.bytes })
        let failure: { readonly error: E } | undefined
        const skipped = (count: number) => (before += count)
        const input = Stream.toAsyncIterableWith(
          Stream.tapError(beginning(bytes, skipped), (error) =>
            Effect.sync(() => {
              failure = { error }
            })
          ),
          context
        )
        let skippedLines = 0
        const parserOf = (): CsvParse.Parser =>
          parse({
            delimiter: Buffer.from(options.delimiter ?? options.found ?? ","),
            quote: options.quote ? '"' : false,
            max_record_size: options.maxRecordSize,
            // Bytes stay as they are: whether they are UTF-8 is checked cell by cell.
            encoding: "latin1",
            record_delimiter: ["\r\n", "\n", "\r"],
            info: true,
            // Of a delimiter of several bytes, it has the first alone.
            raw: options.quote && Buffer.byteLength(options.delimiter ?? "") <= 1,
            relax_quotes: true,
            relax_column_count: true
          })
        const named = (line: Separator) => {
          options.found = line.delimiter
          skipped(line.bytes)
          skippedLines = 1
        }
        const open = async (): Promise<AsyncIterable<Uint8Array>> =>
          start === START ? await withoutSeparator(input, named) : input
        /** A record as it is read; the quote of another row may have closed one of its own. */
        const take = ({ info, raw, record }: Parsed): ReadonlyArray<CsvRecord> => {
          const delimiter = options.delimiter ?? options.found ?? ","
          const stray = raw === undefined ? undefined : strayQuote(record, raw, delimiter)
          const isSpread = stray !== undefined && /[\r\n]/.test(raw!.trimEnd())
          const place = here()
          if (isSpread && options.from !== undefined) throw new CsvProblem(place, strayText(stray))
          last = info
          const read = toRecord(record, start.line - 1 + skippedLines + info.lines, before + info.bytes, stray)
          return isSpread ? linesOf(raw!, place, read, strayText(stray)) : [read]
        }
        const problemOf = (error: unknown): E | CsvProblem => {
          if (error instanceof CsvProblem) return error
          if (failure !== undefined) return failure.error
          if (!(error instanceof CsvError)) return new CsvProblem(here(), String(error))
          switch (error.code) {
            case "CSV_QUOTE_NOT_CLOSED":
              return new CsvProblem(
                here(),
                "a quote that starts here is never closed: close it, or set { quote: false } where quotes are letters"
              )
            case "CSV_MAX_RECORD_SIZE":
              return new CsvProblem(here(), `the row is longer than the limit of ${options.maxRecordSize} bytes`)
            default:
              return new CsvProblem(here(), error.message)
          }
        }
        return Stream.flattenIterable(Stream.fromAsyncIterable(readBy(groups(open, parserOf), take), problemOf))
      }
    )
  )

type Parsed = CsvParse.InfoRecord & {
  readonly info: CsvParse.InfoRecord
  readonly record: ReadonlyArray<string>
  /** The text of the record, where quotes enclose cells. */
  readonly raw?: string
}

/** A first line that names the delimiter: `sep=;`. */
interface Separator {
  readonly delimiter: string
  readonly bytes: number
}

const SEPARATOR = /^(?:"sep=(.)"|sep=(.))(?:\r\n|\n|\r)/

/** The most bytes of a line that names the delimiter. */
const MOST_SEPARATOR = 9

/** Leaves out a first line that names the delimiter. */
const withoutSeparator = async (
  input: AsyncIterable<Uint8Array>,
  named: (line: Separator) => void
): Promise<AsyncIterable<Uint8Array>> => {
  const chunks = input[Symbol.asyncIterator]()
  let first = Buffer.alloc(0)
  let isEnd = false
  while (first.length < MOST_SEPARATOR && !isEnd) {
    const { done = false, value } = await chunks.next()
    if (done) isEnd = true
    else first = first.length === 0 ? Buffer.from(value) : Buffer.concat([first, value])
  }
  const [line, quoted, plain] = SEPARATOR.exec(first.subarray(0, MOST_SEPARATOR).toString("latin1")) ?? []
  if (line !== undefined) named({ delimiter: (quoted ?? plain)!, bytes: line.length })
  return (async function* () {
    yield first.subarray(line?.length ?? 0)
    if (!isEnd) yield* { [Symbol.asyncIterator]: () => chunks }
  })()
}

/** The number of the first cell with a quote that is neither doubled nor at its end; `undefined` for none. */
const strayQuote = (cells: ReadonlyArray<string>, raw: string, delimiter: string): number | undefined => {
  // A cell that is enclosed has no quote in front, unless it begins with one itself.
  if (!cells.some((cell) => cell.startsWith('"'))) return undefined
  let at = 0
  for (let column = 1; column <= cells.length; column++) {
    if (raw[at] === '"') {
      let end = at + 1
      while (end < raw.length && (raw[end] !== '"' || raw[end + 1] === '"')) end += raw[end] === '"' ? 2 : 1
      at = end + 1
      if (at < raw.length && !raw.startsWith(delimiter, at) && raw[at] !== "\r" && raw[at] !== "\n") return column
    } else {
      const end = raw.indexOf(delimiter, at)
      at = end === -1 ? raw.length : end
    }
    at += delimiter.length
  }
  return undefined
}

/** Reads the records of groups. Those before one that throws are given first. */
async function* readBy(
  groups: AsyncIterable<ReadonlyArray<Parsed>>,
  take: (parsed: Parsed) => ReadonlyArray<CsvRecord>
): AsyncGenerator<ReadonlyArray<CsvRecord>, void> {
  for await (const group of groups) {
    const records: Array<CsvRecord> = []
    try {
      for (const parsed of group) records.push(...take(parsed))
    } catch (problem) {
      yield records
      throw problem
    }
    yield records
  }
}

/** The records parsed so far, in groups. */
async function* groups(
  open: () => Promise<AsyncIterable<Uint8Array>>,
  parserOf: () => CsvParse.Parser
): AsyncGenerator<ReadonlyArray<Parsed>, void> {
  const input = await open()
  const parser = parserOf()
  let ended = false
  let wake = (): void => {}
  const done = pipeline(Readable.from(input), parser)
  // Its failure is thrown below, after the records before it.
  done
    .catch(() => {})
    .finally(() => {
      ended = true
      wake()
    })
  parser.on("readable", () => wake())
  for (;;) {
    const waiting = new Promise<void>((resolve) => {
      wake = resolve
    })
    const group: Array<Parsed> = []
    while (group.length < GROUP) {
      const parsed = parser.read() as Parsed | null
      if (parsed === null) break
      group.push(parsed)
    }
    if (group.length > 0) yield group
    else if (ended) return await done
    else await waiting
  }
}

/** The lines of what is not one record, where the file cannot be read again: each is a bad row. */
const linesOf = (raw: string, { line }: Place, read: CsvRecord, problem: string): ReadonlyArray<CsvRecord> =>
  raw
    .trimEnd()
    .split(/\r\n|\n|\r/)
    .map((text, at) => ({
      line: line + at,
      offset: read.offset,
      cells: [Buffer.from(text, "latin1").toString("utf8")],
      problem: at === 0 ? problem : `a quote of line ${line} makes it a part of another row: close that quote`
    }))

const strayText = (cell: number): string =>
  `a quote in cell ${cell} is neither doubled nor at its end: double it, or set { quote: false } where quotes are letters`

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

// oxlint-disable-next-line no-control-regex -- they are what is looked for
const BEYOND_ASCII = /[^\u0000-\u007f]/

const toRecord = (record: ReadonlyArray<string>, end: number, offset: number, stray: number | undefined): CsvRecord => {
  let line = end
  let problem = stray === undefined ? undefined : strayText(stray)
  const cells = record.map((cell, column) => {
    for (let at = cell.indexOf("\n"); at !== -1; at = cell.indexOf("\n", at + 1)) line--
    if (!BEYOND_ASCII.test(cell)) return cell
    try {
      return decoder.decode(Buffer.from(cell, "latin1"))
    } catch {
      problem ??= `is not UTF-8 (cell ${column + 1}): save the file as UTF-8, or name its encoding, such as { encoding: "windows-1252" }`
      return Buffer.from(cell, "latin1").toString("utf8")
    }
  })
  return { line, offset, cells, ...(problem === undefined ? undefined : { problem }) }
}
