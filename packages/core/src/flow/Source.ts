/**
 * Where rows come from: files, standard input, arrays and streams.
 *
 * **Details** Files are streamed, so their size does not matter. A byte order mark, CR LF and a missing final line
 * break are accepted. A row that cannot be read or does not fit its schema becomes one failed row, named by file and
 * line; the others continue (`onError`).
 *
 * **Example** (rows of a JSON Lines file)
 *
 * ```ts
 * import { Source } from "@pipe/core"
 * import { Schema } from "effect"
 *
 * const Review = Schema.Struct({ id: Schema.String, text: Schema.String })
 *
 * export const reviews = Source.jsonl("reviews", { path: "reviews.jsonl", schema: Review })
 * ```
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as ExactJson from "../encoding/ExactJson.ts"
import * as TextLine from "../encoding/TextLine.ts"
import * as CsvRecords from "../file/CsvRecords.ts"
import * as FileBytes from "../file/FileBytes.ts"
import * as JsonElements from "../file/JsonElements.ts"
import * as CsvCells from "./CsvCells.ts"
import * as FileSource from "./FileSource.ts"
import * as Node from "./Node.ts"
import * as RowDecoder from "./RowDecoder.ts"

export { type FilePath, type Platform, SourceError } from "./FileSource.ts"

/**
 * Makes standard input and pipes readable more than once while a scope is open, for example for a sample run after a
 * plan: the input is kept in a temporary file.
 */
export const rereadable: Effect.Effect<
  Context.Context<Stdio.Stdio>,
  never,
  Stdio.Stdio | FileSystem.FileSystem | Scope.Scope
> = FileBytes.rereadable

/** The options of a source that reads files of rows. */
export interface FileOptions<A> extends FileSource.FileOptions {
  readonly schema: Schema.Codec<A, unknown>
}

type Files<A> = Node.Node<A, FileSource.SourceError, FileSource.Platform>

/**
 * Reads JSON Lines: one JSON value a line. A value is read as its schema's JSON: a date is a text, a map a list of pairs. An
 * integer with more digits than a number holds is read as text.
 */
export const jsonl = <A>(name: string, options: FileOptions<A>): Files<A> =>
  FileSource.make(
    name,
    options,
    (file) => {
      const decode = RowDecoder.json(options.schema)
      return Stream.map(
        Stream.filter(TextLine.split(file.bytes), (line) => line.problem !== undefined || line.text.trim() !== ""),
        ({ number, offset, problem, text }): Node.ReadRow<A> =>
          fromJson(`${file.label}:${number}`, offset, text, problem, decode)
      )
    },
    ["schema"]
  )

/** Decodes the text of a JSON value. */
const fromJson = <A>(
  position: string,
  offset: number,
  text: string,
  problem: string | undefined,
  decode: RowDecoder.Decode<A>
): Node.ReadRow<A> => {
  if (problem !== undefined) return { position, offset, problem, raw: "" }
  let value: unknown
  try {
    // A file that was joined of others has their byte order marks in it.
    value = ExactJson.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text)
  } catch (error) {
    return { position, offset, problem: `not JSON: ${problemOfJson(error)}`, raw: text }
  }
  return { ...decode(position, value), offset }
}

/** Without the content of the file, which the message of some versions of Node.js has. */
const problemOfJson = (error: unknown): string => messageOf(error).replace(/, (?:\.\.\.)?".*$/s, "")

/** Reads one row from each line of text. Empty lines are skipped. */
export const lines = (name: string, options: FileSource.FileOptions): Files<string> =>
  FileSource.make(name, options, (file) =>
    Stream.map(
      Stream.filter(TextLine.split(file.bytes), (line) => line.problem !== undefined || line.text !== ""),
      (line): Node.ReadRow<string> => {
        const position = `${file.label}:${line.number}`
        const { offset } = line
        return line.problem === undefined
          ? { position, offset, value: line.text }
          : { position, offset, problem: line.problem, raw: "" }
      }
    )
  )

/** Reads the elements of a file that holds one JSON array, as a stream. An element that is not JSON is one bad row. */
export const json = <A>(name: string, options: FileOptions<A>): Files<A> =>
  FileSource.make(
    name,
    options,
    (file) => {
      const decode = RowDecoder.json(options.schema)
      return JsonElements.split(file.bytes).pipe(
        Stream.mapError((error) => (error instanceof JsonElements.ArrayProblem ? file.fail(error.message) : error)),
        Stream.map(({ index, line, offset, problem, text }): Node.ReadRow<A> => {
          const row = fromJson(`${file.label}[${index}]`, offset, text, problem, decode)
          return "problem" in row ? { ...row, problem: `${row.problem} (line ${line})` } : row
        })
      )
    },
    ["schema"]
  )

/** A field of a record. */
export interface Entry<A> {
  readonly key: string
  readonly value: A
}

/**
 * Reads the fields of a file that holds one JSON record, such as the messages of a language. With `deep`, the fields of
 * records in it are rows too, and their keys are joined by dots: `home.title`.
 */
export const entries = <A>(
  name: string,
  options: FileOptions<A> & {
    /** Default: `false`. */
    readonly deep?: boolean
  }
): Files<Entry<A>> =>
  FileSource.make(
    name,
    options,
    (file) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const decode = RowDecoder.json(options.schema)
          const text = (yield* wholeText(file)).end()
          if (text === undefined) return yield* file.fail(TextLine.notUtf8("file"))
          const record = yield* Effect.try({
            try: () => ExactJson.parse(text.replace(/^\uFEFF/, "")),
            catch: (error) => file.fail(`is not JSON: ${problemOfJson(error)}`)
          })
          if (typeof record !== "object" || record === null || Array.isArray(record))
            return yield* file.fail("holds no JSON record: for an array use Source.json")
          return Stream.map(
            Stream.fromIterable(fieldsOf(record, options.deep === true)),
            ([key, raw]): Node.ReadRow<Entry<A>> => {
              const row = decode(`${file.label} ${key}`, raw)
              return "problem" in row ? row : { ...row, value: { key, value: row.value } }
            }
          )
        })
      ),
    ["schema", "deep"]
  )

function* fieldsOf(record: object, isDeep: boolean, prefix = ""): Generator<readonly [key: string, value: unknown]> {
  for (const [name, value] of Object.entries(record)) {
    const key = `${prefix}${name}`
    if (isDeep && typeof value === "object" && value !== null && !Array.isArray(value))
      yield* fieldsOf(value as object, isDeep, `${key}.`)
    else yield [key, value]
  }
}

/** A file with its text. */
export interface TextFile {
  /** Relative to the working directory when it is inside it. */
  readonly path: string
  readonly text: string
}

/**
 * Reads whole files as rows: their paths and their texts, one file at a time.
 *
 * **Example** (the pages of a folder)
 *
 * ```ts
 * import { Source } from "@pipe/core"
 *
 * export const pages = Source.files("pages", { path: "docs/*.md" })
 * ```
 */
export const files = (name: string, options: FileSource.FileOptions): Files<TextFile> =>
  FileSource.make(name, options, (file) =>
    Stream.unwrap(
      Effect.map(wholeText(file), (all): Stream.Stream<Node.ReadRow<TextFile>> => {
        const text = all.end()
        return Stream.succeed(
          text === undefined
            ? { position: file.label, offset: all.size, problem: TextLine.notUtf8("file"), raw: "" }
            : { position: file.label, offset: all.size, value: { path: file.label, text } }
        )
      })
    )
  )

const wholeText = (file: FileSource.File) =>
  Stream.runFold(
    file.bytes,
    () => new WholeText(),
    (all, chunk) => all.add(chunk)
  )

/** The text of a file, whose bytes arrive in pieces. */
class WholeText {
  private readonly decoder = new TextDecoder("utf-8", { fatal: true })
  private readonly pieces: Array<string> = []
  private isValid = true
  size = 0

  add(chunk: Uint8Array): this {
    this.size += chunk.length
    this.decode(() => this.decoder.decode(chunk, { stream: true }))
    return this
  }

  /** `undefined` for bytes that are not UTF-8. */
  end(): string | undefined {
    this.decode(() => this.decoder.decode())
    return this.isValid ? this.pieces.join("") : undefined
  }

  private decode(text: () => string): void {
    if (!this.isValid) return
    try {
      this.pieces.push(text())
    } catch {
      this.isValid = false
    }
  }
}

/**
 * Reads a CSV file (RFC 4180) whose first record names the columns. Each field is text until its schema decodes it.
 *
 * **Details** An empty cell of an optional column that holds no text is missing, and one of a nullable column is `null`.
 * `TRUE` and `False` are booleans, lists in a cell are JSON, and `review.text` is a field of the record `review`. A second column with the name of another is
 * `name_2`, and one without a name `column_3`: a warning says so. A first line such as `sep=;`, which Excel writes, names
 * the delimiter.
 */
export const csv = <A>(
  name: string,
  options: FileOptions<A> & {
    /** A single character. Default: a comma, or what a first line `sep=;` names. */
    readonly delimiter?: string
    /** With `false`, quotes are letters, as in many tab-separated files. Default: `true`, and quotes enclose cells. */
    readonly quote?: boolean
  }
): Files<A> =>
  FileSource.make(
    name,
    options,
    (file) => {
      const decode = RowDecoder.texts(options.schema)
      const read = CsvCells.reader(options.schema)
      const { delimiter, quote = true } = options
      let header: ReadonlyArray<string> | undefined
      const records = CsvRecords.read(file.bytes, {
        delimiter,
        quote,
        maxRecordSize: TextLine.maxBytes,
        from: file.from
      })
      return records.pipe(
        Stream.mapError((error) =>
          error instanceof CsvRecords.CsvProblem
            ? file.fail(`${error.line}: ${error.message}; the rows before it were read`)
            : error
        ),
        Stream.mapEffect((record): Effect.Effect<Node.ReadRow<A> | undefined, FileSource.SourceError> => {
          const { cells, line, offset, problem } = record
          const position = `${file.label}:${line}`
          if (header !== undefined) {
            if (problem !== undefined) return Effect.succeed({ position, offset, problem, raw: JSON.stringify(cells) })
            const row = toRow(position, header, cells, read, decode)
            return Effect.succeed(row === undefined ? undefined : { ...row, offset })
          }
          if (problem !== undefined) return Effect.fail(file.fail(`${line}: ${problem}`))
          header = columnsOf(cells)
          return Effect.as(checkHeader(file.label, cells, header, delimiter ?? ","), undefined)
        }),
        Stream.filter((row): row is Node.ReadRow<A> => row !== undefined)
      )
    },
    ["schema", "delimiter", "quote"]
  )

/** The names of columns: each has one of its own. */
const columnsOf = (cells: ReadonlyArray<string>): ReadonlyArray<string> => {
  const taken = new Set(cells)
  const seen = new Set<string>()
  return cells.map((cell, at) => {
    if (cell !== "" && !seen.has(cell)) {
      seen.add(cell)
      return cell
    }
    const base = cell === "" ? "column" : cell
    let number = cell === "" ? at + 1 : 2
    while (taken.has(`${base}_${number}`) || seen.has(`${base}_${number}`)) number++
    seen.add(`${base}_${number}`)
    return `${base}_${number}`
  })
}

/** Reads an array or any other iterable. */
export const fromIterable = <A>(name: string, rows: Iterable<A>): Node.Node<A> => {
  const total = Array.isArray(rows) ? rows.length : undefined
  return fromReading(
    name,
    "values",
    "keep",
    Effect.sync(() => {
      let read = 0
      return {
        size: total,
        rows: Stream.map(Stream.fromIterable(rows), (value) => ({
          position: `${name}[${read}]`,
          offset: ++read,
          value
        }))
      }
    })
  )
}

/** Rows in place of those that a source reads. */
export interface GivenRows {
  /** The source that is not read. */
  readonly source: Node.Any
  readonly open: Extract<Node.Kind, { readonly _tag: "Source" }>["open"]
}

/**
 * Rows in place of those that a source reads, for a run from code: the rows of a request in a server, or of a test. Its
 * file is not opened.
 *
 * **Example** (a flow over other rows)
 *
 * ```ts
 * import { Flow, Runner, Sink, Source } from "@pipe/core"
 * import { NodeHost } from "@pipe/plugins"
 * import { Effect } from "effect"
 *
 * const words = Source.lines("words", { path: "words.txt" })
 * const shouted = Flow.map("shouted", { word: words }, ({ word }) => word.toUpperCase())
 * const flow = Flow.make("shout", { outputs: [Sink.lines("shouted.txt", shouted)] })
 *
 * const rows = await Effect.runPromise(
 *   Runner.collect(flow, shouted, { sources: [Source.given(words, ["a", "b"])] }).pipe(Effect.provide(NodeHost.layerMemory))
 * )
 * rows // => ["A", "B"]
 * ```
 */
export const given = <A, E, R>(source: Node.Node<A, E, R>, rows: Iterable<A> | Stream.Stream<A>): GivenRows => {
  const { kind } = Stream.isStream(rows) ? fromStream(source.name, rows) : fromIterable(source.name, rows)
  if (kind._tag !== "Source") throw new Node.FlowError({ message: `${source.name} is not a source` })
  return { source, open: kind.open }
}

/** Reads a stream, with its errors and requirements. */
export const fromStream = <A, E, R>(name: string, stream: Stream.Stream<A, E, R>): Node.Node<A, E, R> =>
  fromReading(
    name,
    "stream",
    "keep",
    Effect.sync(() => {
      let read = 0
      return {
        size: undefined,
        rows: Stream.map(stream, (value) => ({ position: `${name}[${read++}]`, value }))
      }
    })
  )

/** A row of a custom source: its value, and its position (`orders/17`). */
export interface SourceRow {
  readonly position: string
  readonly value: unknown
}

/**
 * Makes a custom source: rows with their positions, decoded by a schema, from a resource that is opened for the run and
 * closed with it.
 *
 * **Details** A row that does not fit the schema becomes a failed row, named by its position. `size` is the number of
 * rows, when known: the progress display uses it. With batches the source is read more than once, so it must return the
 * same rows each time.
 *
 * **Example** (pages of an API)
 *
 * ```ts
 * import { Source } from "@pipe/core"
 * import { Effect, Schema, Stream } from "effect"
 *
 * const Order = Schema.Struct({ id: Schema.Int, note: Schema.String })
 *
 * export const orders = Source.make("orders", {
 *   schema: Order,
 *   open: Effect.succeed({
 *     rows: Stream.map(Stream.make({ id: 17, note: "late" }), (value) => ({ position: `orders/${value.id}`, value }))
 *   })
 * })
 * ```
 */
export const make = <A, E = never, R = never>(
  name: string,
  options: {
    readonly schema: Schema.Codec<A, unknown>
    readonly open: Effect.Effect<
      { readonly rows: Stream.Stream<SourceRow, E, R>; readonly size?: number | undefined },
      E,
      R
    >
    /** What happens to a row that does not fit the schema. Default: `"keep"`, in the errors file. */
    readonly onError?: Node.OnError
  }
): Node.Node<A, E, Exclude<R, Scope.Scope>> =>
  fromReading<A, E, R>(
    name,
    "a custom source",
    options.onError ?? "keep",
    Effect.map(options.open, ({ rows, size }) => {
      const decode = RowDecoder.make(options.schema)
      let read = 0
      return {
        size,
        rows: Stream.map(rows, ({ position, value }): Node.ReadRow<A> => ({
          ...decode(position, value),
          offset: ++read
        }))
      }
    })
  ) as Node.Node<A, E, Exclude<R, Scope.Scope>>

const fromReading = <A, E, R>(
  name: string,
  origin: string,
  onError: Node.OnError,
  open: Effect.Effect<Node.SourceReading<A, E, R>, E, R>
): Node.Node<A, E, R> => Node.make(name, { _tag: "Source", origin, paths: [], onError, open }, undefined)

const toRow = <A>(
  position: string,
  header: ReadonlyArray<string>,
  cells: ReadonlyArray<string>,
  read: ReturnType<typeof CsvCells.reader>,
  decode: RowDecoder.Decode<A>
): Node.ReadRow<A> | undefined => {
  if (cells.length === 1 && cells[0]!.trim() === "" && header.length > 1) return undefined
  const raw = () => JSON.stringify(cells)
  if (cells.length !== header.length)
    return { position, problem: `has ${cells.length} cells where the header has ${header.length}`, raw: raw() }
  const record = read(header, cells)
  if (typeof record === "string") return { position, problem: record, raw: raw() }
  const row = decode(position, record)
  return "problem" in row && row.problem.includes("Missing key")
    ? { ...row, problem: `${row.problem} (the header has ${oneLine(header.join(", ")).slice(0, MOST_HEADER)})` }
    : row
}

/** The most characters of a header in a message. */
const MOST_HEADER = 200

const checkHeader = (
  label: string,
  cells: ReadonlyArray<string>,
  header: ReadonlyArray<string>,
  delimiter: string
): Effect.Effect<void> => {
  const other = [";", "\t", "|", ","].find((candidate) => candidate !== delimiter && cells[0]!.includes(candidate))
  if (header.length === 1 && other !== undefined) {
    return Effect.logWarning(
      `${label}: one column found, and its name contains ${JSON.stringify(other)}: if that is the delimiter, set { delimiter: ${JSON.stringify(
        other
      )} }`
    )
  }
  const renamed = header.flatMap((name, at) => (name === cells[at] ? [] : [`column ${at + 1} is ${name}`]))
  return renamed.length === 0
    ? Effect.void
    : Effect.logWarning(
        `${label}: ${oneLine(renamed.join(", ")).slice(0, MOST_HEADER)}: its name is empty, or that of another column`
      )
}

const oneLine = (text: string): string => text.replace(/\s*\n\s*/g, " ")

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
