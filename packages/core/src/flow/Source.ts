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
import * as JsonArray from "effect/encoding/JsonArray"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as OptionNames from "../client/OptionNames.ts"
import * as Nesting from "../encoding/Nesting.ts"
import * as TextLine from "../encoding/TextLine.ts"
import * as CsvRecords from "../file/CsvRecords.ts"
import * as FileBytes from "../file/FileBytes.ts"
import * as FilePlace from "../file/FilePlace.ts"
import * as FileProblem from "../file/FileProblem.ts"
import * as Node from "./Node.ts"
import * as Parameter from "./Parameter.ts"

/** The platform services that reading needs. */
export type Platform = FileSystem.FileSystem | Path.Path | Stdio.Stdio

/**
 * A source cannot be read any further: the file is missing or damaged, or a stream failed. The rows read so far are kept.
 *
 * **Remedy** Restore the file or fix the stream, and run the same command again: finished rows are reused.
 */
export class SourceError extends Schema.TaggedError<SourceError>()("SourceError", {
  source: Schema.String,
  message: Schema.String
}) {}

/**
 * Makes standard input and pipes readable more than once while a scope is open, for example for a sample run after a
 * plan: the input is kept in a temporary file.
 */
export const rereadable: Effect.Effect<
  Context.Context<Stdio.Stdio>,
  never,
  Stdio.Stdio | FileSystem.FileSystem | Scope.Scope
> = FileBytes.rereadable

/** A file, relative to the working directory. `"-"` is standard input. */
export type FilePath = string | URL | Parameter.Parameter<string>

/** The options of a source that reads a file. */
export interface FileOptions<A> {
  readonly path: FilePath
  readonly schema: Schema.Codec<A, unknown>
  /** What happens to a row that cannot be read. Default: `"keep"`, in the errors file. */
  readonly onError?: Node.OnError
}

/** Reads JSON Lines: one JSON value a line. */
export const jsonl = <A>(name: string, options: FileOptions<A>): Node.Node<A, SourceError, Platform> =>
  fromFile(name, options, (file) => {
    const decode = decoder(options.schema)
    return Stream.map(
      Stream.filter(TextLine.split(file.bytes), (line) => line.problem !== undefined || line.text.trim() !== ""),
      (line): Node.ReadRow<A> => {
        const position = `${file.label}:${line.number}`
        const { offset } = line
        if (line.problem !== undefined) return { position, offset, problem: line.problem, raw: "" }
        try {
          return { ...decode(position, Nesting.parse(line.text)), offset }
        } catch (error) {
          return { position, offset, problem: `not JSON: ${messageOf(error)}`, raw: line.text }
        }
      }
    )
  })

/** Reads one row from each line of text. Empty lines are skipped. */
export const lines = (
  name: string,
  options: Omit<FileOptions<string>, "schema">
): Node.Node<string, SourceError, Platform> =>
  fromFile(name, options, (file) =>
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

/** Reads the elements of a file that holds one JSON array, as a stream. */
export const json = <A>(name: string, options: FileOptions<A>): Node.Node<A, SourceError, Platform> =>
  fromFile(name, options, (file) => {
    const decode = decoder(options.schema)
    let index = 0
    return Stream.pipeThroughChannel(withoutBom(file.bytes), JsonArray.decode<SourceError>()).pipe(
      Stream.mapError((error) =>
        error._tag === "SourceError"
          ? error
          : new SourceError({
              source: name,
              message: `${file.label}, element ${index + 1}: ${error.message}: fix the array; for one value per line use Source.jsonl`
            })
      ),
      Stream.map((value): Node.ReadRow<A> => {
        const position = `${file.label}[${index++}]`
        return Nesting.isTooDeep(value) ? { position, problem: Nesting.problem, raw: "" } : decode(position, value)
      })
    )
  })

/**
 * Reads a CSV file (RFC 4180) whose first record names the columns. Each field is text until its schema decodes it.
 */
export const csv = <A>(
  name: string,
  options: FileOptions<A> & {
    /** A single character. Default: a comma. */
    readonly delimiter?: string
  }
): Node.Node<A, SourceError, Platform> =>
  fromFile(name, options, (file) => {
    const decode = decoder(Schema.toCodecStringTree(options.schema) as Schema.Codec<A, unknown>)
    const delimiter = options.delimiter ?? ","
    let header: ReadonlyArray<string> | undefined
    return CsvRecords.read(file.bytes, { delimiter, maxRecordSize: TextLine.maxBytes }).pipe(
      Stream.mapError((error) =>
        error._tag === "SourceError"
          ? error
          : new SourceError({
              source: name,
              message: `${file.label}:${error.line}: ${error.message}: fix the row; the rows before it were read`
            })
      ),
      Stream.mapEffect((record): Effect.Effect<Node.ReadRow<A> | undefined, SourceError> => {
        const { cells, line, offset, problem } = record
        const position = `${file.label}:${line}`
        if (header !== undefined) {
          if (problem !== undefined) return Effect.succeed({ position, offset, problem, raw: JSON.stringify(cells) })
          const row = toRow(position, header, cells, decode)
          return Effect.succeed(row === undefined ? undefined : { ...row, offset })
        }
        header = cells
        const wrong = problem ?? problemOfHeader(cells)
        return wrong === undefined
          ? Effect.as(checkHeader(file.label, cells, delimiter), undefined)
          : Effect.fail(new SourceError({ source: name, message: `${position}: ${wrong}` }))
      }),
      Stream.filter((row): row is Node.ReadRow<A> => row !== undefined)
    )
  })

/** Duplicate column names would lose a value. */
const problemOfHeader = (columns: ReadonlyArray<string>): string | undefined => {
  const seen = new Set<string>()
  for (const column of columns) {
    if (column !== "" && seen.has(column)) return `two columns are named ${column}: rename one of them`
    seen.add(column)
  }
  return undefined
}

/** Reads an array or any other iterable. */
export const fromIterable = <A>(name: string, rows: Iterable<A>): Node.Node<A> => {
  const total = Array.isArray(rows) ? rows.length : undefined
  return fromReading(
    name,
    "values",
    undefined,
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
    undefined,
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
    undefined,
    options.onError ?? "keep",
    Effect.map(options.open, ({ rows, size }) => {
      const decode = decoder(options.schema)
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
  path: FilePath | undefined,
  onError: Node.OnError,
  open: Effect.Effect<Node.SourceReading<A, E, R>, E, R>
): Node.Node<A, E, R> => Node.make(name, { _tag: "Source", origin, path, onError, open }, undefined)

interface File {
  /** The name of the source in messages. */
  readonly label: string
  readonly bytes: Stream.Stream<Uint8Array, SourceError>
}

const fromFile = <A>(
  name: string,
  options: { readonly path: FilePath; readonly onError?: Node.OnError },
  read: (file: File) => Stream.Stream<Node.ReadRow<A>, SourceError>
): Node.Node<A, SourceError, Platform> => {
  OptionNames.check(`source ${name}`, options, ["path", "schema", "onError", "delimiter", "columns"])
  return fromReading(
    name,
    typeof options.path === "string" ? options.path : options.path instanceof URL ? options.path.pathname : "a file",
    options.path,
    options.onError ?? "keep",
    Effect.gen(function* () {
      const given = yield* Parameter.valueOf(options.path)
      let size: number | undefined
      let bytes: Stream.Stream<Uint8Array, SourceError>
      let label: string
      if (given === "-") {
        const stdio = yield* Stdio.Stdio
        label = "standard input"
        bytes = Stream.mapError(
          stdio.stdin,
          (error) => new SourceError({ source: name, message: FileProblem.describe(error) })
        )
      } else {
        const path = yield* Path.Path
        const unreadable = (why: string) => new SourceError({ source: name, message: `${label}: ${why}` })
        const file = yield* Effect.mapError(
          FilePlace.pathOf(given),
          (error) =>
            new SourceError({
              source: name,
              message: `${String(given)}: cannot be read: ${FileProblem.describe(error)}`
            })
        )
        const fromHere = path.relative(path.resolve("."), path.resolve(file))
        label = fromHere.startsWith("..") ? file : fromHere
        const place = yield* Effect.mapError(FilePlace.resolve(file), (error) =>
          unreadable(`cannot be read: ${FileProblem.describe(error)}`)
        )
        const problem = FilePlace.problemOf(place, `source ${name}`, path.resolve("."))
        if (problem !== undefined) return yield* unreadable(problem)
        // The length of a pipe is not known in advance.
        if (place.kind === "file") size = Number(place.info!.size)
        if (size === 0) yield* Effect.logWarning(`${label} is empty: source ${name} has no rows`)
        const fs = yield* FileSystem.FileSystem
        bytes = FileBytes.read(place).pipe(
          Stream.mapError((error) => unreadable(`cannot be read: ${FileProblem.describe(error)}`)),
          Stream.provideService(FileSystem.FileSystem, fs)
        )
      }
      return {
        size,
        rows: read({ label, bytes: checkEncoding(name, label, bytes) })
      }
    })
  )
}

const checkEncoding = (name: string, label: string, bytes: Stream.Stream<Uint8Array, SourceError>) => {
  let first = true
  return Stream.mapEffect(bytes, (chunk) => {
    if (first) {
      first = false
      const [a, b] = chunk
      if (a === 0x1f && b === 0x8b) {
        return Effect.fail(
          new SourceError({
            source: name,
            message: `${label}: the file is compressed with gzip: decompress it, or read it through a pipe (source ${name})`
          })
        )
      }
      if ((a === 0xff && b === 0xfe) || (a === 0xfe && b === 0xff)) {
        return Effect.fail(new SourceError({ source: name, message: `${label}: ${TextLine.utf16} (source ${name})` }))
      }
    }
    return Effect.succeed(chunk)
  })
}

/** `JsonArray` does not expect a byte order mark. */
const withoutBom = <E, R>(bytes: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Uint8Array, E, R> => {
  let first = true
  return Stream.map(bytes, (chunk) => {
    const bom = first && chunk[0] === 0xef && chunk[1] === 0xbb && chunk[2] === 0xbf
    first = false
    return bom ? chunk.subarray(3) : chunk
  })
}

/** Decodes by a schema, or returns the problem. */
const decoder = <A>(schema: Schema.Codec<A, unknown>) => {
  const decode = Schema.decodeUnknownExit(schema)
  return (position: string, raw: unknown): Node.ReadRow<A> => {
    const exit = decode(raw)
    if (Exit.isSuccess(exit)) return { position, value: exit.value }
    const error = Exit.findError(exit)
    return {
      position,
      problem: `does not fit its schema: ${Result.isSuccess(error) ? oneLine(messageOf(error.success)) : "a defect"}`,
      raw: rawOf(raw)
    }
  }
}

/** The value that did not fit, as far as JSON can represent it. */
const rawOf = (raw: unknown): string => {
  try {
    return JSON.stringify(raw) ?? String(raw)
  } catch {
    return String(raw)
  }
}

const toRow = <A>(
  position: string,
  header: ReadonlyArray<string>,
  cells: ReadonlyArray<string>,
  decode: (position: string, raw: unknown) => Node.ReadRow<A>
): Node.ReadRow<A> | undefined => {
  if (cells.length === 1 && cells[0]!.trim() === "" && header.length > 1) return undefined
  if (cells.length !== header.length)
    return {
      position,
      problem: `has ${cells.length} cells where the header has ${header.length}`,
      raw: JSON.stringify(cells)
    }
  const row = decode(position, Object.fromEntries(header.map((column, index) => [column, cells[index]])))
  return "problem" in row && row.problem.includes("Missing key")
    ? { ...row, problem: `${row.problem} (the header has ${oneLine(header.join(", ")).slice(0, MOST_HEADER)})` }
    : row
}

/** The most characters of a header in a message. */
const MOST_HEADER = 200

const checkHeader = (label: string, header: ReadonlyArray<string>, delimiter: string) => {
  const other = [";", "\t", "|", ","].find((candidate) => candidate !== delimiter && header[0]!.includes(candidate))
  return header.length === 1 && other !== undefined
    ? Effect.logWarning(
        `${label}: one column found, and its name contains ${JSON.stringify(other)}: if that is the delimiter, set { delimiter: ${JSON.stringify(
          other
        )} }`
      )
    : Effect.void
}

const oneLine = (text: string): string =>
  text
    .split("\n")
    .map((line) => line.trim())
    .join(" ")

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
