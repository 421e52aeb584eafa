/**
 * Where results go: files, standard output, and custom outputs.
 *
 * **Details** Rows are written as they finish, in the order of the source. A file is written next to its destination
 * and moved there when the run is complete, so it appears whole or not at all. The output of an unfinished run is in
 * `<path>.partial`. Pipes and devices are written directly.
 *
 * **Example** (one record a line, or the value of one node a line)
 *
 * ```ts
 * import { Sink, Source } from "@pipe/core"
 *
 * const letters = Source.fromIterable("letters", ["a", "b"])
 *
 * export const records = Sink.jsonl("records.jsonl", { letter: letters }) // {"letter":"a"}
 * export const values = Sink.jsonl("values.jsonl", letters) // "a"
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as JsonForm from "../encoding/JsonForm.ts"
import * as SafeText from "../encoding/SafeText.ts"
import * as FilePlace from "../file/FilePlace.ts"
import * as FileProblem from "../file/FileProblem.ts"
import * as WholeFile from "../file/WholeFile.ts"
import * as CsvText from "./CsvText.ts"
import * as FolderSink from "./FolderSink.ts"
import * as Node from "./Node.ts"
import * as Parameter from "./Parameter.ts"
import type { FilePath, Platform } from "./Source.ts"

const TypeId = "~@pipe/core/Sink" as const

/** An output of a flow. */
export interface Sink<out E = never, out R = never> {
  readonly [TypeId]: {
    readonly _E: () => E
    readonly _R: () => R
  }
  /** The file, or what the output is, for display. */
  readonly name: string
  readonly inputs: Node.Inputs
  readonly domain: Node.Domain
  readonly toStdout: boolean
  /** The file, or the parameter that names it; `undefined` when it is not a file. */
  readonly path: FilePath | undefined
  /** The folder that holds a file for each row. */
  readonly folder?: FilePath
  /** The same output in a separate place, for simulated runs; `undefined` when it has none. */
  readonly simulated?: Sink<E, R>
  /** Set on an output that is in its separate place. */
  readonly isSimulated?: true
  /** Opens the output. The writer receives rows in order. */
  readonly open: Effect.Effect<SinkWriter<E, R>, E | SinkError, R | Platform | Scope.Scope>
}

/** An output of any type. */
export type Any = Sink<unknown, unknown>

/** Receives the rows of one run. */
export interface SinkWriter<E, R> {
  readonly write: (
    rows: ReadonlyArray<{ readonly [name: string]: unknown }>
  ) => Effect.Effect<void, E | SinkError | UnwritableRow, R>
  /** Called when the run is complete: moves what was written to its destination. */
  readonly finish: Effect.Effect<void, E | SinkError, R>
}

/**
 * An output cannot be written: the disk is full, the folder is read-only, the reader of a pipe is gone, or your own writer failed. Results
 * are kept in the store.
 *
 * **Remedy** Fix the place that the message names and run the same command again: only the output is written.
 */
export class SinkError extends Schema.TaggedError<SinkError>()("SinkError", {
  sink: Schema.String,
  message: Schema.String
}) {}

/**
 * An output cannot represent a row, for example a cyclic object or one that is nested too deeply. Only that row fails.
 *
 * **Remedy** Convert the value with `Flow.map` before the output.
 */
export class UnwritableRow extends Schema.TaggedError<UnwritableRow>()("UnwritableRow", {
  /** The index of the row in what was passed. */
  index: Schema.Int,
  message: Schema.String
}) {}

/** What a sink accepts: nodes by name, written as a record, or a single node, written as its value. */
export type Rows = Node.Inputs | Node.Any

type NodesOf<S extends Rows> = S extends Node.Any ? S : S extends Node.Inputs ? S[keyof S] : never

type RowOf<S extends Rows> = S extends Node.Any ? Node.Value<S> : S extends Node.Inputs ? Node.Values<S> : never

/** Writes JSON Lines: one JSON value a line. The path `"-"` is standard output. */
export const jsonl = <S extends Rows>(
  path: FilePath,
  rows: S
): Sink<Node.Error<NodesOf<S>>, Node.Services<NodesOf<S>> | Platform> =>
  toText(path, rows, () => ({ row: stringify, join: (rows) => rows.map((row) => `${row}\n`).join("") }))

/** Writes one JSON array; with `single` the value of the only row, such as that of a reduction. */
export const json = <S extends Rows>(
  path: FilePath,
  rows: S,
  options: {
    /** Writes the only row, and no list. Without a row it is `null`, and a second one is an error. Default: `false`. */
    readonly single?: boolean
  } = {}
): Sink<Node.Error<NodesOf<S>>, Node.Services<NodesOf<S>> | Platform> =>
  toText(path, rows, () => {
    let first = true
    if (options.single === true) {
      return {
        row: stringify,
        join: (rows) => {
          if (!first || rows.length > 1)
            return Effect.fail({ message: "there is more than one row: leave out { single: true }" })
          first = false
          return `${rows[0]}\n`
        },
        end: () => (first ? "null\n" : "")
      }
    }
    return {
      row: stringify,
      join: (rows) =>
        rows
          .map((row) => {
            const text = `${first ? "[\n" : ",\n"}${row}`
            first = false
            return text
          })
          .join(""),
      end: () => (first ? "[]\n" : "\n]\n")
    }
  })

/**
 * Writes CSV with a header. Nested records become columns joined by dots (`review.text`); lists become JSON.
 *
 * All fields of all rows are columns. A file is written once more when later rows have fields that earlier ones lack;
 * standard output and pipes cannot be, and a warning says what is left out.
 */
export const csv = <S extends Rows>(
  path: FilePath,
  rows: S,
  options: CsvText.Options = {}
): Sink<Node.Error<NodesOf<S>>, Node.Services<NodesOf<S>> | Platform> =>
  toText(path, rows, () => {
    const writer = CsvText.make(options)
    return {
      row: (value) => CsvText.cellsOf(value, options),
      join: writer.write,
      completed: writer.completed,
      left: writer.extra
    }
  })

/**
 * Writes each value as one line of text. Line breaks in a value become spaces, with one warning; `jsonl` keeps them.
 */
export const lines = <E, R>(path: FilePath, node: Node.Node<string, E, R>): Sink<E, R | Platform> =>
  toText(path, node, () => {
    let warned = false
    return {
      row: String,
      join: (rows) => {
        const text = rows.map((row) => `${row.replace(LINE_BREAKS, " ")}\n`).join("")
        if (warned || !rows.some((row) => row.search(LINE_BREAKS) !== -1)) return text
        warned = true
        return Effect.as(
          Effect.logWarning(`output ${node.name}: line breaks in values are written as spaces: Sink.jsonl keeps them`),
          text
        )
      }
    }
  })

/** A file that a row is written to. */
export type RowFile = FolderSink.RowFile

/**
 * Writes each row to a file of its own, in a folder: a translated page, a letter, a report for each customer.
 *
 * **Details** Paths are relative to the folder. A file appears whole when its row is done, and replaces one of its name; other files stay. A row whose file is outside the folder, or that of an earlier row, fails. The
 * folder may hold nothing that the run reads. A simulated run writes to `<folder>.simulated`.
 *
 * **Example** (translated pages)
 *
 * ```ts
 * import { Flow, Sink, Source } from "@pipe/core"
 *
 * const page = Source.files("page", { path: "docs/*.md" })
 * const german = Flow.map("german", { page }, ({ page }) => page.text.toUpperCase())
 *
 * export const pages = Sink.files("german", { page, german }, ({ german, page }) => ({ path: page.path, text: german }))
 * ```
 */
export const files = <S extends Rows>(
  folder: FilePath,
  rows: S,
  fileOf: (row: RowOf<S>) => RowFile
): Sink<Node.Error<NodesOf<S>>, Node.Services<NodesOf<S>> | Platform> => toFolder(folder, rows, fileOf as ToFile, false)

type ToFile = (row: unknown) => RowFile

const toFolder = <E, R>(folder: FilePath, rows: Rows, fileOf: ToFile, isSimulated: boolean): Sink<E, R | Platform> => {
  const { inputs, toRow } = shape(rows)
  const named = nameOf(folder)
  const name = isSimulated ? FilePlace.simulatedFolder(named) : named
  return fromWriter<E, R | Platform>({
    name,
    inputs,
    toStdout: false,
    path: undefined,
    folder,
    ...(isSimulated ? { isSimulated: true } : { simulated: toFolder<E, R>(folder, rows, fileOf, true) }),
    open: Effect.gen(function* () {
      const platform = yield* Effect.context<Platform>()
      const failed = ({ message }: WholeFile.WriteError) => new SinkError({ sink: name, message })
      const given = String(yield* Parameter.valueOf(folder))
      const open = yield* Effect.mapError(
        FolderSink.make(isSimulated ? FilePlace.simulatedFolder(given) : given),
        failed
      )
      const write: SinkWriter<never, never>["write"] = (values) =>
        Effect.flatMap(encodeRows(values, toRow, fileOf), (files): Effect.Effect<void, SinkError | UnwritableRow> => {
          const problem = open.problemOf(files)
          return problem === undefined
            ? Effect.provideContext(Effect.mapError(open.write(files), failed), platform)
            : Effect.fail(new UnwritableRow(problem))
        })
      return { write, finish: Effect.void }
    })
  })
}

const LINE_BREAKS = /\r\n|[\n\v\f\r\u0085\u2028\u2029]/g

/** Passes every row to a function, one after the other; in simulated runs too. */
export const forEach = <S extends Rows, E = never, R = never>(
  name: string,
  rows: S,
  f: (row: RowOf<S>) => Effect.Effect<unknown, E, R>
): Sink<E | Node.Error<NodesOf<S>>, Exclude<R, Scope.Scope> | Node.Services<NodesOf<S>>> => {
  const open = Effect.succeed({
    write: (values: ReadonlyArray<RowOf<S>>) => Effect.forEach(values, f, { discard: true })
  })
  return make(name, rows, { open, simulated: open })
}

/**
 * Makes a custom output. It is opened for the run, receives rows in the order of the source, several at a time, and is
 * finished when the run is complete.
 *
 * **Details** Whatever was opened is closed when the run ends, however it ends. `finish` runs only when all rows are
 * done: commit what was written there. A simulated run writes nothing here, unless `simulated` opens another place.
 *
 * **Example** (rows in a list)
 *
 * ```ts
 * import { Sink, Source } from "@pipe/core"
 * import { Effect } from "effect"
 *
 * const letters = Source.fromIterable("letters", ["a", "b"])
 * export const kept: Array<string> = []
 *
 * export const list = Sink.make("list", letters, {
 *   open: Effect.succeed({ write: (rows) => Effect.sync(() => kept.push(...rows)) })
 * })
 * ```
 */
export const make = <S extends Rows, W extends OpenedSink<RowOf<S>>, E = never, R = never>(
  name: string,
  rows: S,
  options: {
    readonly open: Effect.Effect<W, E, R>
    /** Opens another place for simulated runs, such as a test database. Default: their rows are not written. */
    readonly simulated?: Effect.Effect<W, E, R>
  }
): Sink<
  E | WriterError<W> | Node.Error<NodesOf<S>>,
  Exclude<R | WriterServices<W>, Scope.Scope> | Node.Services<NodesOf<S>>
> => {
  const { inputs, toRow } = shape(rows)
  type Made = Sink<
    E | WriterError<W> | Node.Error<NodesOf<S>>,
    Exclude<R | WriterServices<W>, Scope.Scope> | Node.Services<NodesOf<S>>
  >
  const opened = (open: Effect.Effect<W, E, R>) =>
    Effect.map(open, ({ finish = Effect.void, write }) => ({
      write: (values: Values) => Effect.asVoid(write(values.map((value) => toRow(value) as RowOf<S>))),
      finish: Effect.asVoid(finish)
    })) as Made["open"]
  const sink = { name, inputs, toStdout: false, path: undefined } as const
  return fromWriter({
    ...sink,
    open: opened(options.open),
    simulated: fromWriter({
      ...sink,
      isSimulated: true,
      open: options.simulated === undefined ? unwritten : opened(options.simulated)
    })
  })
}

/** Takes rows and writes none. */
const unwritten = Effect.succeed({ write: () => Effect.void, finish: Effect.void })

/** Tests whether a simulated run leaves an output out. */
export const isUnwritten = (sink: Any): boolean => sink.simulated?.open === unwritten

/** An output of your own that was opened for a run. */
export interface OpenedSink<in Row> {
  /** Receives rows in the order of the source, several at a time. */
  readonly write: (rows: ReadonlyArray<Row>) => Effect.Effect<unknown, unknown, unknown>
  /** Called when all rows are done. */
  readonly finish?: Effect.Effect<unknown, unknown, unknown>
}

type WriterEffect<W extends OpenedSink<never>> = ReturnType<W["write"]> | Exclude<W["finish"], undefined>

type WriterError<W extends OpenedSink<never>> = Effect.Error<WriterEffect<W>>

type WriterServices<W extends OpenedSink<never>> = Effect.Services<WriterEffect<W>>

const fromWriter = <E, R>(sink: Omit<Sink<E, R>, typeof TypeId | "domain">): Sink<E, R> => ({
  [TypeId]: { _E: () => undefined as never, _R: () => undefined as never },
  ...sink,
  domain: Node.commonDomain(`output ${sink.name}`, sink.inputs)
})

type ToRow = (values: { readonly [name: string]: unknown }) => unknown

const shape = (rows: Rows): { readonly inputs: Node.Inputs; readonly toRow: ToRow } =>
  Node.TypeId in rows
    ? {
        inputs: { value: rows as Node.Any },
        // The rows of a group that lacks failed rows are marked.
        toRow: ({ $missing, value }) =>
          $missing !== undefined && typeof value === "object" && value !== null && !Array.isArray(value)
            ? { ...value, $missing }
            : value
      }
    : { inputs: rows as Node.Inputs, toRow: (values) => values }

type Values = ReadonlyArray<{ readonly [name: string]: unknown }>

interface Encoder<A> {
  /** Encodes a single row; throws when it has no form. */
  readonly row: (value: unknown) => A
  readonly join: (rows: ReadonlyArray<A>) => string | Effect.Effect<string, { readonly message: string }>
  readonly end?: () => string
  /** Writes the file once more, with what only its end tells. */
  readonly completed?: CsvText.Writer["completed"]
  /** A field of a row that is not written. */
  readonly left?: CsvText.Writer["extra"]
}

/** The most characters joined at once. */
const MOST_CHARACTERS = 64 * 1024 * 1024

const sizeOf = (rows: ReadonlyArray<unknown>): number =>
  rows.reduce<number>((sum, row) => sum + (typeof row === "string" ? row.length : 0), 0)

const encodeRows = <A>(
  values: Values,
  toRow: ToRow,
  encode: (row: unknown) => A
): Effect.Effect<ReadonlyArray<A>, UnwritableRow> => {
  const rows: Array<A> = []
  for (const value of values) {
    try {
      rows.push(encode(toRow(value)))
    } catch (error) {
      return Effect.fail(
        new UnwritableRow({ index: rows.length, message: error instanceof Error ? error.message : String(error) })
      )
    }
  }
  return Effect.succeed(rows)
}

/** The name of an output in a run: its path has the values of the parameters. */
export const nameIn = ({ folder, isSimulated, name, path }: Any, parameters: ReadonlyMap<string, unknown>): string => {
  const place = path ?? folder
  const resolved = Parameter.within(place).length === 0 ? undefined : Parameter.resolve(place!, parameters)
  if (resolved === undefined) return name
  const named = nameOf(resolved)
  if (isSimulated !== true || named === "-") return named
  return folder === undefined ? FilePlace.simulatedName(named) : FilePlace.simulatedFolder(named)
}

/** The output as a simulated run writes it. */
export const simulated = <E, R>(sink: Sink<E, R>): Sink<E, R> => sink.simulated ?? sink

const toText = <A, E, R>(
  path: FilePath,
  rows: Rows,
  encoder: () => Encoder<A>,
  isSimulated = false
): Sink<E, R | Platform> => {
  const { inputs, toRow } = shape(rows)
  const named = nameOf(path)
  const name = isSimulated && path !== "-" && !Parameter.isParameter(path) ? FilePlace.simulatedName(named) : named
  return fromWriter<E, R | Platform>({
    name,
    inputs,
    toStdout: path === "-",
    path,
    ...(isSimulated ? { isSimulated: true } : { simulated: toText<A, E, R>(path, rows, encoder, true) }),
    open: Effect.gen(function* () {
      const asked = yield* Parameter.valueOf(path)
      const given =
        isSimulated && asked !== "-"
          ? yield* Effect.mapError(
              FilePlace.simulatedOf(asked),
              (error) =>
                new SinkError({ sink: name, message: `${name}: cannot be written: ${FileProblem.describe(error)}` })
            )
          : asked
      const target = (yield* isStdout(given)) ? yield* toStdout : yield* toFile(given)
      const encode = encoder()
      const write: SinkWriter<never, never>["write"] = (values) =>
        Effect.flatMap(encodeRows(values, toRow, encode.row), (rows) => {
          // Rows that fit one by one may still be too long for one string.
          if (rows.length > 1 && sizeOf(rows) > MOST_CHARACTERS) {
            const half = values.length >> 1
            return Effect.andThen(
              write(values.slice(0, half)),
              Effect.suspend(() => write(values.slice(half)))
            )
          }
          const text = encode.join(rows)
          return typeof text === "string"
            ? target.write(text)
            : Effect.flatMap(
                Effect.mapError(
                  text,
                  (error) => new SinkError({ sink: name, message: `${name}: cannot be written: ${error.message}` })
                ),
                target.write
              )
        })
      const complete = Effect.suspend(() => {
        const completed = encode.completed?.()
        if (completed !== undefined && target.rewrite !== undefined) return target.rewrite(completed)
        const left = encode.left?.()
        if (completed === undefined && left === undefined) return Effect.void
        return Effect.logWarning(
          `output ${name}: ${left === undefined ? "later rows have fields that the first one lacks" : `rows have a field ${left} that is not a column`}: set the columns with { columns: [...] }`
        )
      })
      return {
        write,
        finish: Effect.suspend(() => (encode.end === undefined ? Effect.void : target.write(encode.end()))).pipe(
          Effect.andThen(complete),
          Effect.andThen(target.finish)
        )
      }
    })
  })
}

/** `-`, and the file names of standard output. */
const isStdout = (given: string | URL) =>
  given === "-"
    ? Effect.succeed(true)
    : Effect.match(FilePlace.resolve(given), {
        onFailure: () => false,
        onSuccess: ({ descriptor }) => descriptor === FilePlace.STDOUT
      })

const nameOf = (path: FilePath): string =>
  typeof path === "string" ? path : path instanceof URL ? shortName(path) : Parameter.show(path)

/** A file name for display: relative to the working directory when it is inside it. */
const shortName = (url: URL): string => {
  const path = decodeURIComponent(url.pathname)
  const folder = `${process.cwd()}/`
  return path.startsWith(folder) ? path.slice(folder.length) : path
}

interface Target {
  readonly write: (text: string) => Effect.Effect<void, SinkError>
  /** Replaces what was written; `undefined` where it cannot be read again. */
  readonly rewrite?: (
    f: (bytes: Stream.Stream<Uint8Array, unknown>) => Stream.Stream<string, unknown>
  ) => Effect.Effect<void, SinkError>
  readonly finish: Effect.Effect<void, SinkError>
}

const toStdout: Effect.Effect<Target, never, Stdio.Stdio> = Effect.map(Stdio.Stdio, (stdio) => {
  let closed = false
  return {
    // A reader that closes the pipe (`| head -1`) does not fail the run.
    write: (text) =>
      closed
        ? Effect.void
        : Effect.catch(Stream.run(Stream.succeed(text), stdio.stdout({ endOnDone: false })), () =>
            Effect.sync(() => {
              closed = true
            })
          ),
    finish: Effect.void
  }
})

const toFile = Effect.fnUntraced(function* (given: string | URL) {
  const fail = ({ message, path }: WholeFile.WriteError) => new SinkError({ sink: path, message })
  const file = yield* Effect.mapError(WholeFile.open(given), fail)
  const target: Target = {
    write: (text) => Effect.mapError(file.write(text), fail),
    ...(file.rewrite === undefined ? undefined : { rewrite: (f) => Effect.mapError(file.rewrite!(f), fail) }),
    finish: Effect.mapError(file.finish, fail)
  }
  return target
})

const stringify = (value: unknown): string => SafeText.json(JsonForm.stringify(value))
