/**
 * Opens the files of a source: one or several, by path or by pattern, compressed or not, in any encoding.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as OptionNames from "../client/OptionNames.ts"
import * as FileBytes from "../file/FileBytes.ts"
import * as FileList from "../file/FileList.ts"
import * as FilePlace from "../file/FilePlace.ts"
import * as FileProblem from "../file/FileProblem.ts"
import * as TextBytes from "../file/TextBytes.ts"
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

/** A file, relative to the working directory. `"-"` is standard input. */
export type FilePath = string | URL | Parameter.Parameter<string> | Parameter.Path

/** Where the rows of a source are. */
export interface FileOptions {
  /**
   * A file, a pattern such as `"data/*.jsonl"`, or a list of them: their rows follow each other, by the names of the
   * files. `"-"` is standard input. Files compressed with gzip are decompressed.
   */
  readonly path: FilePath | ReadonlyArray<FilePath>
  /**
   * The encoding, as `TextDecoder` names it: `"windows-1252"`, `"shift_jis"`. Default: UTF-8, or UTF-16 when the file
   * begins with its byte order mark.
   */
  readonly encoding?: string
  /** What happens to a row that cannot be read. Default: `"keep"`, in the errors file. */
  readonly onError?: Node.OnError
}

/** A file that is open. */
export interface File {
  /** Its name in messages. */
  readonly label: string
  /** UTF-8. */
  readonly bytes: Stream.Stream<Uint8Array, SourceError>
  /** Reads it again from a place; `undefined` for what can be read only once. */
  readonly from: ((offset: number) => Stream.Stream<Uint8Array, SourceError>) | undefined
  readonly fail: (problem: string) => SourceError
}

interface Opened extends File {
  /** In bytes; `undefined` when the offsets of its rows say nothing about it. */
  readonly size: number | undefined
}

type Read<A> = (file: File) => Stream.Stream<Node.ReadRow<A>, SourceError>

const pathsOf = ({ path }: FileOptions): ReadonlyArray<FilePath> =>
  Array.isArray(path) ? (path as ReadonlyArray<FilePath>) : [path as FilePath]

/** Makes a source of files. `options` names those beside the common ones. */
export const make = <A>(
  name: string,
  options: FileOptions,
  read: Read<A>,
  more: ReadonlyArray<string> = []
): Node.Node<A, SourceError, Platform> => {
  OptionNames.check(`source ${name}`, options, ["path", "encoding", "onError", ...more])
  const paths = pathsOf(options)
  const given = options as { readonly schema?: unknown; readonly delimiter?: unknown }
  const wrong =
    paths.length === 0
      ? "it names no file"
      : more.includes("schema") && !Schema.isSchema(given.schema)
        ? "it has no schema: give it one, such as schema: Schema.Struct({ id: Schema.String }), or Schema.Unknown for any row"
        : typeof given.delimiter === "string" && given.delimiter.length !== 1
          ? `its delimiter ${JSON.stringify(given.delimiter)} is not a single character`
          : options.encoding === undefined
            ? undefined
            : TextBytes.problemOf(options.encoding)
  if (wrong !== undefined) throw new Node.FlowError({ message: `source ${name}: ${wrong}` })
  return Node.make(
    name,
    {
      _tag: "Source",
      origin: originOf(paths),
      paths,
      onError: options.onError ?? "keep",
      open: open(name, paths, options, read)
    },
    undefined
  )
}

const originOf = ([path, ...others]: ReadonlyArray<FilePath>): string =>
  others.length > 0 ? "files" : typeof path === "string" ? path : path instanceof URL ? path.pathname : "a file"

const open = <A>(
  name: string,
  paths: ReadonlyArray<FilePath>,
  options: FileOptions,
  read: Read<A>
): Effect.Effect<Node.SourceReading<A, SourceError, Platform>, SourceError, Platform> =>
  Effect.gen(function* () {
    const places: Array<string> = []
    for (const path of paths) {
      const given = yield* Parameter.valueOf(path)
      if (given === "-") places.push(given)
      else
        places.push(
          ...(yield* Effect.mapError(
            FileList.of(given),
            (error) =>
              new SourceError({
                source: name,
                message: `${String(given)}: cannot be read: ${FileProblem.describe(error)} (source ${name})`
              })
          ))
        )
    }
    const files: Array<Opened> = []
    for (const place of places) files.push(yield* openFile(name, place, options))
    const sizes = files.map(({ size }) => size)
    let before = 0
    return {
      size: sizes.every((size) => size !== undefined) ? sizes.reduce((all, size) => all + size, 0) : undefined,
      rows:
        files.length === 1
          ? read(files[0]!)
          : Stream.flatMap(Stream.fromIterable(files), (file) => {
              const start = before
              before += file.size ?? 0
              return Stream.map(read(file), (row) => ({ ...row, offset: start + (row.offset ?? 0) }))
            })
    }
  })

const openFile = Effect.fnUntraced(function* (
  name: string,
  given: string,
  { encoding }: FileOptions
): Effect.fn.Return<Opened, SourceError, Platform> {
  if (given === "-") {
    const stdio = yield* Stdio.Stdio
    const fail = (why: string) => new SourceError({ source: name, message: `standard input: ${why}` })
    return asText("standard input", encoding, fail, {
      bytes: Stream.mapError(stdio.stdin, (error) => fail(FileProblem.describe(error))),
      size: undefined
    })
  }
  const path = yield* Path.Path
  const fs = yield* FileSystem.FileSystem
  const fromHere = path.relative(path.resolve("."), path.resolve(given))
  const label = fromHere.startsWith("..") ? given : fromHere
  const fail = (why: string) => new SourceError({ source: name, message: `${label}: ${why}` })
  const unreadable = (error: Parameters<typeof FileProblem.describe>[0]) =>
    fail(`cannot be read: ${FileProblem.describe(error)}`)
  const place = yield* Effect.mapError(FilePlace.resolve(given), unreadable)
  const problem = FilePlace.problemOf(place, `source ${name}`, path.resolve("."))
  if (problem !== undefined) return yield* fail(problem)
  // The length of a pipe is not known in advance.
  const size = place.kind === "file" ? Number(place.info!.size) : undefined
  if (size === 0) yield* Effect.logWarning(`${label} is empty: source ${name} has no rows`)
  const bytes = FileBytes.read(place).pipe(
    Stream.mapError(unreadable),
    // It is read by a fiber of its own.
    Stream.provideContext(yield* Effect.context<FileSystem.FileSystem>())
  )
  if (place.kind !== "file") return asText(label, encoding, fail, { bytes, size })
  const first = yield* Effect.scoped(
    Effect.mapError(
      Effect.flatMap(fs.open(place.real), (file) => file.readAlloc(TextBytes.MARK)),
      unreadable
    )
  )
  const form = TextBytes.formOf(first._tag === "Some" ? first.value : new Uint8Array(0), encoding)
  if (form.isCompressed || form.encoding !== undefined) return asText(label, encoding, fail, { bytes, size: undefined })
  const from = (offset: number) => Stream.mapError(fs.stream(place.real, { offset }), unreadable)
  return { label, bytes, from, fail, size }
})

/** Reads bytes whose form only their beginning tells. */
const asText = (
  label: string,
  encoding: string | undefined,
  fail: File["fail"],
  { bytes, size }: Pick<Opened, "bytes" | "size">
): Opened => {
  let found: TextBytes.Form | undefined
  const text = Stream.mapError(
    TextBytes.toUtf8(bytes, encoding, (form) => (found = form)),
    (error) => (error instanceof TextBytes.TextProblem ? fail(error.message) : error)
  )
  let isSaid = false
  const said = Stream.tap(text, () => {
    if (isSaid) return Effect.void
    isSaid = true
    return found?.encoding === undefined || found.encoding === encoding
      ? Effect.void
      : Effect.logInfo(`${label} is ${found.encoding}, by its byte order mark`)
  })
  return { label, bytes: said, from: undefined, fail, size }
}
