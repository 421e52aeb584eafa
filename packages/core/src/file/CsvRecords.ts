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

/** The file cannot be read any further. */
export class CsvProblem {
  readonly _tag = "CsvProblem"
  readonly line: number
  readonly message: string
  constructor(line: number, message: string) {
    this.line = line
    this.message = message
  }
}

interface Options {
  readonly delimiter: string
  /** The most bytes of a record. */
  readonly maxRecordSize: number
}

/** The most records in a group. */
const GROUP = 512

/** Reads records as bytes arrive. */
export const read = <E>(
  bytes: Stream.Stream<Uint8Array, E>,
  options: Options
): Stream.Stream<CsvRecord, E | CsvProblem> =>
  Stream.unwrap(
    Effect.map(
      Effect.promise(() => import("csv-parse")),
      ({ CsvError, parse }) => {
        let last = 0
        let failure: { readonly error: E } | undefined
        const input = Stream.toAsyncIterable(
          Stream.tapError(bytes, (error) =>
            Effect.sync(() => {
              failure = { error }
            })
          )
        )
        const parser = parse({
          delimiter: Buffer.from(options.delimiter),
          max_record_size: options.maxRecordSize,
          // Bytes stay as they are: whether they are UTF-8 is checked cell by cell.
          encoding: "latin1",
          bom: true,
          // A file may have several byte order marks.
          record_delimiter: ["\r\n", "\n", "\r"],
          info: true,
          relax_quotes: true,
          relax_column_count: true
        })
        const records = Stream.fromAsyncIterable(groups(input, parser), (error) => {
          if (failure !== undefined) return failure.error
          if (!(error instanceof CsvError)) return new CsvProblem(last + 1, String(error))
          switch (error.code) {
            case "CSV_QUOTE_NOT_CLOSED":
              return new CsvProblem(last + 1, "a quote that starts here is never closed")
            case "CSV_MAX_RECORD_SIZE":
              return new CsvProblem(last + 1, `the row is longer than the limit of ${options.maxRecordSize} bytes`)
            default:
              return new CsvProblem(last + 1, error.message)
          }
        })
        return Stream.map(Stream.flattenIterable(records), ({ info, record }) => {
          last = info.lines
          return toRecord(record, info.lines, info.bytes)
        })
      }
    )
  )

type Parsed = CsvParse.InfoRecord & { readonly info: CsvParse.InfoRecord; readonly record: ReadonlyArray<string> }

/** The records parsed so far, in groups. */
async function* groups(
  input: AsyncIterable<Uint8Array>,
  parser: CsvParse.Parser
): AsyncGenerator<ReadonlyArray<Parsed>, void> {
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

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

// oxlint-disable-next-line no-control-regex -- they are what is looked for
const BEYOND_ASCII = /[^\u0000-\u007f]/

const toRecord = (record: ReadonlyArray<string>, end: number, offset: number): CsvRecord => {
  let line = end
  let problem: string | undefined
  const cells = record.map((cell, column) => {
    for (let at = cell.indexOf("\n"); at !== -1; at = cell.indexOf("\n", at + 1)) line--
    if (!BEYOND_ASCII.test(cell)) return cell
    try {
      return decoder.decode(Buffer.from(cell, "latin1"))
    } catch {
      problem ??= `is not UTF-8 (cell ${column + 1}): save the file as UTF-8`
      return Buffer.from(cell, "latin1").toString("utf8")
    }
  })
  return { line, offset, cells, ...(problem === undefined ? undefined : { problem }) }
}
