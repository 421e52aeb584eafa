/**
 * A row that failed, as data: what failed, where, with what input.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as SafeText from "../encoding/SafeText.ts"
import * as Secret from "../encoding/Secret.ts"
import * as StoredValue from "../encoding/StoredValue.ts"
import type * as FilePlace from "../file/FilePlace.ts"
import * as FileProblem from "../file/FileProblem.ts"
import * as StreamFile from "../file/StreamFile.ts"
import * as WholeFile from "../file/WholeFile.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as RowRepo from "./RowRepo.ts"

export interface FailedRow extends Omit<RowRepo.StoredFailure, "input"> {
  /** What the node was given. */
  readonly input: unknown
}

/** What went wrong, in words and as data. */
export interface Described extends Pick<RowRepo.StoredFailure, "error" | "message" | "details"> {}

/** Characters of a message, at most. */
const MOST_MESSAGE = 10_000

/** The tag and the message of what went wrong, as one line: secrets are masked, control characters are gone. */
export const describe = (cause: Cause.Cause<unknown>): Described => {
  const failure = cause.reasons.find((reason) => Cause.isFailReason(reason) || Cause.isDieReason(reason))
  if (failure === undefined) return { error: "Interrupted", message: "the row was interrupted" }
  const error: unknown = Cause.isFailReason(failure) ? failure.error : failure.defect
  if (AiError.isAiError(error)) {
    const { reason } = error
    const answer = ModelFailure.answerOf(error)
    return {
      error: reason._tag,
      message: SafeText.line(ModelFailure.message(error), MOST_MESSAGE),
      ...(answer === undefined ? undefined : { details: { answer: answer.slice(0, MOST_MESSAGE).toWellFormed() } })
    }
  }
  const fields = fieldsOf(error)
  const at = Cause.isDieReason(failure) && error instanceof Error ? placeOf(error) : undefined
  const details =
    fields === undefined && at === undefined
      ? undefined
      : { details: { ...(at === undefined ? undefined : { at }), ...(fields === undefined ? undefined : { fields }) } }
  if (error instanceof Error) {
    const tag = "_tag" in error ? String(error._tag) : error.name
    const said = error.message === "" ? tag : error.message
    return { error: tag, message: SafeText.line(at === undefined ? said : `${said} (${at})`, MOST_MESSAGE), ...details }
  }
  const tag = typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : "Error"
  return {
    error: tag,
    message: SafeText.line(typeof error === "string" ? error : safeJson(error), MOST_MESSAGE),
    ...details
  }
}

/** What every error has, or says otherwise. */
const COMMON = new Set(["_tag", "message", "name", "stack", "cause"])

/** Characters of an error's own fields, at most. */
const MOST_FIELDS = 10_000

/** The fields of an author's error, as data. */
const fieldsOf = (error: unknown): Schema.Json | undefined => {
  if (typeof error !== "object" || error === null) return undefined
  const own = Object.entries(error).filter(([name]) => !COMMON.has(name) && !name.startsWith("~"))
  if (own.length === 0) return undefined
  const text = safeJson(Object.fromEntries(own))
  return text.length > MOST_FIELDS ? text.slice(0, MOST_FIELDS).toWellFormed() : (JSON.parse(text) as Schema.Json)
}

/** The folder of this package, whose frames say nothing to an author. */
const HERE = new URL("..", import.meta.url).pathname

/** The first place of an error's stack that is in code of the author's own: `flow.ts:12:3`. */
const placeOf = (error: Error): string | undefined => {
  for (const [, path = "", place] of (error.stack ?? "").matchAll(
    /(?:file:\/\/)?(\/[^\s()]+?)(?:\?[^\s():]*)?:(\d+:\d+)/g
  )) {
    if (path.includes("/node_modules/") || path.startsWith(HERE)) continue
    const folder = `${process.cwd()}/`
    const file = decodeURI(path)
    return `${file.startsWith(folder) ? file.slice(folder.length) : file}:${place}`
  }
  return undefined
}

/** JSON of anything: as values are kept where JSON has no form for it, and of what cannot be kept, its name. */
export const safeJson = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? JSON.stringify(String(value))
  } catch {
    return StoredValue.encode(value) ?? withoutRings(value)
  }
}

/** JSON of a value that holds itself, or what JSON has no form for. */
const withoutRings = (value: unknown): string => {
  const seen = new Set<unknown>()
  try {
    return JSON.stringify(value, (_, item: unknown) => {
      if (typeof item === "bigint") return `${item}n`
      if (typeof item !== "object" || item === null) return item
      if (seen.has(item)) return "(as above)"
      seen.add(item)
      return item
    })
  } catch {
    return JSON.stringify(Object.prototype.toString.call(value))
  }
}

/** The row as the store keeps it: without secrets. */
export const toStored = ({ details, input, ...row }: FailedRow): RowRepo.StoredFailure => ({
  ...row,
  input: Secret.mask(safeJson(input)),
  ...(details === undefined
    ? undefined
    : { details: JSON.parse(Secret.mask(JSON.stringify(details))) as RowRepo.Details })
})

/** The row as a line of JSON, whatever its input is. */
const lineOf = ({ details, input, ...row }: FailedRow): string =>
  SafeText.json(`${JSON.stringify({ ...row, ...details }).slice(0, -1)},"input":${safeJson(input)}}`)

/** Collects the failed rows of a run in a file, made when the first comes; a file of an earlier run is removed. */
export interface ErrorsFile {
  /** `undefined`: the rows are in the store alone. */
  readonly path: string | undefined
  /** Takes away what an earlier run has left there, if no row failed. */
  readonly allWell: Effect.Effect<void>
  /** Writes the file anew, where a row failed. */
  readonly rewrite: <E>(rows: Stream.Stream<RowRepo.StoredFailure, E>) => Effect.Effect<void, E>
  readonly append: (row: FailedRow) => Effect.Effect<void>
  readonly count: () => number
  /** Forgets what came so far: all rows are gone through anew. */
  readonly restart: Effect.Effect<void>
}

/** Characters at the beginning of an errors file by which it is known. */
const BEGINNING = 2_048

/** Whether a file is empty, or an errors file that a run has written. */
export const isErrorsFile = Effect.fnUntraced(function* (path: string) {
  const fs = yield* FileSystem.FileSystem
  const start = yield* Effect.scoped(Effect.flatMap(fs.open(path), (file) => file.readAlloc(BEGINNING))).pipe(
    Effect.orElseSucceed(() => Option.none<Uint8Array>())
  )
  if (Option.isNone(start)) return true
  const text = new TextDecoder().decode(start.value)
  return text.startsWith("{") && text.includes('"source":') && text.includes('"position":')
})

/**
 * Opens the errors file of a run; `keep` gets each row too. Only its owner can read it. That of an earlier run stays until a row fails,
 * or until all rows of this run have ended well.
 */
export const open = Effect.fnUntraced(function* (
  place: FilePlace.FilePlace | undefined,
  keep: (row: FailedRow) => void
) {
  const fs = yield* FileSystem.FileSystem
  const platform = yield* Effect.context<FileSystem.FileSystem>()
  // Closed after the last lines are written.
  const scope = yield* Scope.fork(yield* Effect.scope)
  const path = place?.path ?? ""
  const isStream = place?.kind === "stream"
  const remove = place === undefined || isStream ? Effect.void : Effect.ignore(fs.remove(place.real))
  // One row after the other: rows that fail together must not write over each other.
  const writing = Semaphore.makeUnsafe(1)
  const encoder = new TextEncoder()
  let count = 0
  let handle: StreamFile.StreamFile | undefined
  /** Lines that could not be written yet: where all file handles are in use, one is free again when the run ends. */
  let pending = ""
  /** In the place of that of an earlier run. */
  const begin = Effect.suspend(() =>
    remove.pipe(
      Effect.andThen(Effect.provideContext(WholeFile.makeFolderOf(place!.real), platform)),
      Effect.andThen(fs.open(place!.real, { flag: "a", mode: 0o600 }))
    )
  )
  const flush = Effect.gen(function* () {
    if (pending === "" || place === undefined) return
    handle ??= yield* Scope.provide(isStream ? Effect.provideContext(StreamFile.open(place), platform) : begin, scope)
    yield* handle.writeAll(encoder.encode(pending))
    pending = ""
  })
  yield* Effect.addFinalizer(() =>
    // A pipe that nobody has opened by then is not waited for.
    count === 0 || (isStream && handle === undefined)
      ? Effect.void
      : Effect.catch(flush, (error) =>
          Effect.logWarning(`${path}: failed rows cannot be written: ${FileProblem.describe(error)}`)
        )
  )
  const file: ErrorsFile = {
    path: place?.path,
    count: () => count,
    allWell: Effect.suspend(() => (count === 0 ? remove : Effect.void)),
    rewrite: (rows) =>
      count === 0 || place === undefined || isStream
        ? Effect.void
        : Effect.andThen(
            Effect.ignore(fs.truncate(place.real, 0)),
            Stream.runForEach(rows, ({ input, ...row }) =>
              writing.withPermit(
                Effect.suspend(() => {
                  pending += `${lineOf({ ...row, input: JSON.parse(input) as unknown })}\n`
                  return Effect.ignore(flush)
                })
              )
            )
          ),
    restart: writing.withPermit(
      Effect.suspend(() => {
        count = 0
        pending = ""
        return place === undefined || isStream || handle === undefined
          ? Effect.void
          : Effect.ignore(fs.truncate(place.real, 0))
      })
    ),
    append: (row) => {
      count++
      keep(row)
      return place === undefined
        ? Effect.void
        : writing.withPermit(
            Effect.suspend(() => {
              if (pending.length < MAX_PENDING) pending += `${Secret.mask(lineOf(row))}\n`
              return Effect.ignore(flush)
            })
          )
    }
  }
  return file
})

/** Characters of lines that wait for a handle, at most: the store has the rows too. */
const MAX_PENDING = 16 * 1024 * 1024
