/**
 * Compares the files of a run before anything is opened: its sources, its outputs, its errors file, its store and the
 * flow's own file. No output may be another of them, and none replaces more with less.
 *
 * **Details** Links are followed, so two names of one file are recognised. The result of a whole, real run is only
 * replaced by another such run of the same flow; not by fewer rows (`limit`), by none, or by another flow, unless
 * `overwrite` allows it. A file that is not known to come from a run is only replaced by whole runs. Simulated runs
 * write separate files.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as FileList from "../file/FileList.ts"
import * as FilePlace from "../file/FilePlace.ts"
import * as FileProblem from "../file/FileProblem.ts"
import * as WholeFile from "../file/WholeFile.ts"
import type * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import * as Parameter from "../flow/Parameter.ts"
import type * as Sink from "../flow/Sink.ts"
import type { FilePath } from "../flow/Source.ts"
import type * as Store from "../store/Store.ts"
import * as FailedRow from "./FailedRow.ts"
import type * as OutputRepo from "./OutputRepo.ts"

export interface Options {
  /** Decoded parameter values, by name. */
  readonly parameters: ReadonlyMap<string, unknown>
  /** Default: `<flow>.errors.jsonl`. `false` for none. */
  readonly errorsFile?: string | false | undefined
  /** The SQLite file of the store, and other files that nothing may replace. */
  readonly stores?: ReadonlyArray<string> | undefined
  /** The file of the flow. */
  readonly file?: string | undefined
  /** Whether something other than an output is written to standard output. */
  readonly stdout?: boolean | undefined
  /** The sources whose rows are given: their files are not read. */
  readonly given?: ReadonlySet<string> | undefined
  /** Whether the run is simulated. */
  readonly simulate?: boolean | undefined
  /** With `false`, the outputs are not written. */
  readonly outputs?: boolean | undefined
}

/** Whether all outputs of a flow are files that are written aside and then moved to their places. */
export const areAside = ({ outputs }: Flow.Any, files: RunFiles): boolean =>
  outputs.every((sink) => {
    const kind = files.outputs.get(sink)?.kind
    return kind === "file" || kind === "missing"
  })

/** What a run is about to do with its outputs. */
export interface Intent {
  readonly limit?: number | undefined
  readonly simulate: boolean
  readonly overwrite: boolean
}

export interface RunFiles {
  /** Whether an output is written to standard output. */
  readonly toStdout: boolean
  readonly outputs: ReadonlyMap<Sink.Any, FilePlace.FilePlace>
  /** `undefined` when none is written. */
  readonly errors: FilePlace.FilePlace | undefined
}

interface Use {
  /** The use of the file, for display: `source reviews`. */
  readonly what: string
  readonly place: FilePlace.FilePlace
  readonly isWritten: boolean
}

type Effectful<A> = Effect.Effect<A, Node.FlowError, FileSystem.FileSystem | Path.Path>

const refuse = (message: string) => new Node.FlowError({ message })

const resolve = (what: string, path: string | URL, verb = "written"): Effectful<FilePlace.FilePlace> =>
  Effect.mapError(FilePlace.resolve(path), (error) =>
    refuse(`${String(path)}: cannot be ${verb}: ${FileProblem.describe(error)} (${what})`)
  )

/** The errors file of a flow: a valid file name, whatever the flow is called. */
export const errorsFileOf = (flow: string, isSimulated = false): string =>
  `${fileNameOf(flow)}${isSimulated ? ".simulated" : ""}.errors.jsonl`

/** The most characters of a name used in a file name. */
const MOST_NAME = 60

/** Device names on Windows, which no file there can have. */
const RESERVED = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i

/** A name as part of a file name. It never leads to another folder, and different names give different results. */
export const fileNameOf = (name: string): string => {
  const safe = name.replace(/[^\p{L}\p{N}._ -]+/gu, "-").replace(/^\.+/, (dots) => "-".repeat(dots.length))
  return safe === name && name.length <= MOST_NAME && !RESERVED.test(name)
    ? name
    : `${safe.slice(0, MOST_NAME)}-${ContentHash.make(name).slice(0, 8)}`
}

/** The files that a path of a source names. */
const usesOf = Effect.fnUntraced(function* (name: string, path: string | URL) {
  const what = `source ${name}`
  if (path === "-") {
    // A file that standard input is redirected from is read like any other.
    const place = yield* Effect.option(FilePlace.resolve("/dev/stdin"))
    return Option.isSome(place) && place.value.kind === "file" ? [{ what, place: place.value, isWritten: false }] : []
  }
  const files = yield* Effect.mapError(FileList.of(path), (error) =>
    refuse(`${String(path)}: cannot be read: ${FileProblem.describe(error)} (${what})`)
  )
  return yield* Effect.forEach(files, (file) =>
    Effect.gen(function* () {
      const place = yield* resolve(what, file, "read")
      const problem = FilePlace.problemOf(place, what, (yield* Path.Path).resolve("."))
      if (problem !== undefined) return yield* refuse(`${place.path}: ${problem}`)
      yield* allowed(place.real, { readable: true }, `${place.path}: cannot be read (${what})`)
      return { what, place, isWritten: false }
    })
  )
})

/**
 * Compares all files of a run. Fails when one cannot be read or written, or when two that must differ are the same.
 */
export const check = Effect.fnUntraced(function* (
  flow: Flow.Any,
  options: Options
): Effect.fn.Return<RunFiles, Node.FlowError, FileSystem.FileSystem | Path.Path> {
  const valueOf = (path: FilePath): string | URL | undefined => Parameter.resolve(path, options.parameters)
  const uses: Array<Use> = []
  for (const { kind, name } of flow.graph.nodes) {
    if (kind._tag !== "Source" || options.given?.has(name) === true) continue
    for (const given of kind.paths) {
      const path = valueOf(given as FilePath)
      if (path !== undefined) uses.push(...(yield* usesOf(name, path)))
    }
  }
  const outputs = new Map<Sink.Any, FilePlace.FilePlace>()
  let toStdout = false
  const folders: Array<FilePlace.FilePlace> = []
  for (const sink of options.outputs === false ? [] : flow.outputs) {
    const folder = sink.folder === undefined ? undefined : valueOf(sink.folder)
    if (folder !== undefined) folders.push(yield* folderOf(sink, folder))
    const named = sink.path === undefined ? undefined : valueOf(sink.path)
    if (named === "-") toStdout = true
    if (named === undefined || named === "-") continue
    const path =
      sink.isSimulated === true
        ? yield* Effect.mapError(FilePlace.simulatedOf(named), (error) =>
            refuse(`${String(named)}: cannot be written: ${FileProblem.describe(error)} (output ${sink.name})`)
          )
        : named
    const place = yield* resolve(`output ${sink.name}`, path)
    yield* writable(`output ${sink.name}`, place)
    if (place.descriptor === FilePlace.STDOUT) toStdout = true
    outputs.set(sink, place)
    uses.push({ what: "an output", place, isWritten: true })
    if (place.kind !== "stream") {
      // What an unfinished run leaves.
      const partial = yield* resolve(`output ${sink.name}`, WholeFile.partialOf(place.real))
      uses.push({ what: `the partial file of output ${sink.name}`, place: partial, isWritten: true })
    }
  }
  const errors =
    options.errorsFile === false
      ? undefined
      : yield* resolve("the errors file", options.errorsFile ?? errorsFileOf(flow.name, options.simulate))
  if (errors !== undefined) {
    yield* writable("the errors file", errors)
    uses.push({ what: "the errors file", place: errors, isWritten: true })
  }
  uses.push(...(yield* ofStores(options.stores)))
  if (options.file !== undefined) {
    uses.push({ what: "the flow file", place: yield* resolve("the flow file", options.file), isWritten: false })
  }
  uses.push(...(yield* ofStreams(toStdout || options.stdout === true)))
  const conflict = conflictIn(uses) ?? foldersConflict(folders, uses, yield* Path.Path)
  if (conflict !== undefined) return yield* refuse(conflict)
  if (errors?.kind === "file" && !(yield* FailedRow.isErrorsFile(errors.real))) {
    return yield* refuse(
      `${errors.path}: is needed for the errors file, but holds something else: move it, or rename the flow`
    )
  }
  return { outputs, errors, toStdout }
})

/** The files of stores: those that belong to one are next to the file that a link points to. */
const ofStores = Effect.fnUntraced(function* (stores: ReadonlyArray<string> = []) {
  const uses: Array<Use> = []
  for (const store of stores) {
    const found = yield* Effect.option(FilePlace.resolve(store))
    // Opening the file reports its problem.
    if (Option.isNone(found)) continue
    for (const suffix of ["", "-wal", "-shm", "-journal"]) {
      const place = yield* resolve("the store", `${found.value.real}${suffix}`)
      uses.push({ what: "the store", place, isWritten: true })
    }
  }
  return uses
})

/** The files that the standard streams are redirected to. */
const ofStreams = Effect.fnUntraced(function* (toStdout: boolean) {
  const uses: Array<Use> = []
  for (const [what, path, isWritten] of [
    ["standard output", "/dev/stdout", toStdout],
    ["standard error", "/dev/stderr", true]
  ] as const) {
    const place = yield* Effect.option(FilePlace.resolve(path))
    if (isWritten && Option.isSome(place) && place.value.info?.type === "File") {
      uses.push({ what, place: place.value, isWritten })
    }
  }
  return uses
})

const writable = Effect.fnUntraced(function* (what: string, place: FilePlace.FilePlace) {
  const problem = (why: string) => `${place.path}: cannot be written: ${why} (${what})`
  if (place.kind === "folder") return yield* refuse(problem("it is a folder"))
  if (place.info?.type === "Socket" && place.descriptor === undefined) return yield* refuse(problem("it is a socket"))
  if (place.kind === "stream") return
  if (place.kind === "file") yield* allowed(place.real, { writable: true }, problem("it is read-only"))
  // A file is replaced by another one in its folder.
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  let folder = path.dirname(place.real)
  while (!(yield* Effect.orElseSucceed(fs.exists(folder), () => true))) folder = path.dirname(folder)
  yield* allowed(folder, { writable: true }, problem(`${folder} is not writable`))
})

/** Tests whether this process has a permission. When that cannot be answered, it has. */
const allowed = (
  path: string,
  how: { readonly readable?: boolean; readonly writable?: boolean },
  problem: string
): Effectful<void> =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    Effect.catch(fs.access(path, how), (error) =>
      error.reason._tag === "PermissionDenied" || FileProblem.codeOf(error) === "EROFS"
        ? Effect.fail(refuse(problem))
        : Effect.void
    )
  )

/** Written as a stream, and not replaced. */
const isStream = ({ place, what }: Use): boolean => place.descriptor !== undefined || what.startsWith("standard ")

/** Describes two uses of one file that conflict. A device such as `/dev/null` may be used by all. */
const conflictIn = (uses: ReadonlyArray<Use>): string | undefined => {
  for (const [index, one] of uses.entries()) {
    for (const other of uses.slice(index + 1)) {
      if (!one.isWritten && !other.isWritten) continue
      if (one.place.isShared || !FilePlace.isSame(one.place, other.place)) continue
      if (one.what === other.what && one.what === "the store") continue
      // `> all.log 2>&1`, and an output named by its descriptor.
      if (isStream(one) && isStream(other)) continue
      return one.what === other.what
        ? `${one.place.path}: two outputs write this file: give each its own`
        : `${other.place.path}: is both ${one.what} and ${other.what}: change one of the paths`
    }
  }
  return undefined
}

/** The folder of an output with a file for each row. */
const folderOf = Effect.fnUntraced(function* ({ isSimulated, name }: Sink.Any, given: string | URL) {
  const what = `output ${name}`
  const named = String(given)
  const place = yield* resolve(what, isSimulated === true ? FilePlace.simulatedFolder(named) : given)
  if (place.kind === "folder")
    yield* allowed(place.real, { writable: true }, `${place.path}: is not writable (${what})`)
  else if (place.kind !== "missing")
    return yield* refuse(`${place.path}: cannot be written: it is not a folder (${what})`)
  return place
})

/** Describes a file of the run in a folder that rows write to: one of them might have its name. */
const foldersConflict = (
  folders: ReadonlyArray<FilePlace.FilePlace>,
  uses: ReadonlyArray<Use>,
  { sep }: Path.Path
): string | undefined => {
  const below = (folder: string, file: string) => file.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`)
  for (const [at, { path, real }] of folders.entries()) {
    const other = folders.find((one, index) => index !== at && (one.real === real || below(real, one.real)))
    if (other !== undefined)
      return `${path}: two outputs write files of rows there (${other.path}), and a row could replace the file of another: give each a folder of its own`
    const inside = uses.find(({ place }) => below(real, place.real))
    if (inside !== undefined)
      return `${path}: holds ${inside.place.path} (${inside.what}), which a row could replace: give rows a folder of their own`
  }
  return undefined
}

/** Refuses to replace the result of a whole, real run with less. */
export const protect = Effect.fnUntraced(function* (
  flow: Flow.Any,
  files: RunFiles,
  store: Pick<Store.Service, "outputs">,
  intent: Intent
): Effect.fn.Return<void, Node.FlowError, FileSystem.FileSystem | Path.Path> {
  if (intent.overwrite || intent.simulate) return
  for (const place of files.outputs.values()) {
    if (place.kind !== "file" || Number(place.info!.size) === 0) continue
    const known = yield* Effect.orElseSucceed(store.outputs.find(place.real), () => undefined)
    const before = known !== undefined && isAsLeft(known, place) ? known : undefined
    const why = lessThan(before, flow, intent)
    if (why !== undefined) {
      return yield* refuse(`${place.path}: ${why}: move the file, change the output, or force it with --overwrite`)
    }
  }
})

/** Tests whether a file is still what the run left. */
const isAsLeft = ({ modified, size }: OutputRepo.WrittenFile, { info }: FilePlace.FilePlace): boolean =>
  Number(info!.size) === size && modifiedOf(info!) === modified

const modifiedOf = (info: FileSystem.File.Info): number =>
  Math.round(Option.match(info.mtime, { onNone: () => 0, onSome: (date) => date.getTime() }))

/** Why a run would leave less than what is there. */
const lessThan = (
  before: OutputRepo.WrittenFile | undefined,
  flow: Flow.Any,
  { limit }: Intent
): string | undefined => {
  if (before === undefined) {
    return limit === undefined ? undefined : `the rows of --limit ${limit} would replace a file that may hold more`
  }
  const { flow: name, isSimulated, isWhole, read, run } = before
  if (name !== flow.name) return `it holds the result of another flow, ${name} (run ${run})`
  if (isSimulated) return undefined
  return isWhole && limit !== undefined && limit < read
    ? `the rows of --limit ${limit} would replace those of run ${run}, which read ${read}`
    : undefined
}

/**
 * Checks again when all rows are done: another run may have left more in the meantime, and an output without rows is
 * less than anything. Returns why the outputs must not replace what is there.
 */
export const problemOf = Effect.fnUntraced(function* (
  flow: Flow.Any,
  files: RunFiles,
  store: Pick<Store.Service, "outputs">,
  intent: Intent,
  rowsOf: (sink: Sink.Any) => number | undefined
) {
  if (intent.overwrite || intent.simulate) return undefined
  const outputs = new Map<Sink.Any, FilePlace.FilePlace>()
  for (const [sink, { real }] of files.outputs) {
    const place = yield* resolve(`output ${sink.name}`, real)
    outputs.set(sink, { ...place, path: sink.name })
    if (rowsOf(sink) === 0 && place.kind === "file" && Number(place.info!.size) > 0) {
      return `${sink.name}: the run gave no row for it, so the existing file is kept: --overwrite replaces it`
    }
  }
  const refused = yield* Effect.result(protect(flow, { ...files, outputs }, store, intent))
  return refused._tag === "Failure" ? refused.failure.message : undefined
})

/** Records what a run has left. */
export const remember = Effect.fnUntraced(function* (
  files: RunFiles,
  store: Pick<Store.Service, "outputs">,
  run: {
    readonly flow: string
    readonly name: string
    readonly read: number
    readonly rowsOf: (sink: Sink.Any) => number | undefined
  },
  intent: Intent
) {
  for (const [sink, { real }] of files.outputs) {
    const place = yield* FilePlace.resolve(real)
    const rows = run.rowsOf(sink)
    if (place.kind !== "file" || rows === undefined) continue
    const { limit } = intent
    const before = yield* Effect.orElseSucceed(store.outputs.find(real), () => undefined)
    const isAsGood = before?.isWhole === true && before.flow === run.flow && run.read >= before.read
    store.outputs.save({
      path: real,
      flow: run.flow,
      run: run.name,
      rows,
      read: run.read,
      // A limit that was not reached is no limit.
      isWhole: limit === undefined || run.read < limit || isAsGood,
      isSimulated: intent.simulate,
      size: Number(place.info!.size),
      modified: modifiedOf(place.info!)
    })
  }
})
