/**
 * A failed row as data: what failed, where, and with which input.
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
  /** The input of the node. */
  readonly input: unknown
}

/** The failure in words and as data. */
export interface Described extends Pick<RowRepo.StoredFailure, "error" | "message" | "details"> {}

/** A row that has failed in another process, and how. */
export class FailedElsewhere extends Error {
  readonly described: Described
  constructor(described: Described) {
    super(described.message)
    this.described = described
  }
}

/** The most characters of a message. */
const MOST_MESSAGE = 10_000

/** The tag and message of a failure in one line, with secrets masked and control characters removed. */
export const describe = (cause: Cause.Cause<unknown>): Described => {
  const failure = cause.reasons.find((reason) => Cause.isFailReason(reason) || Cause.isDieReason(reason))
  if (failure === undefined) return { error: "Interrupted", message: "the step interrupted itself (Effect.interrupt)" }
  const error: unknown = Cause.isFailReason(failure) ? failure.error : failure.defect
  if (error instanceof FailedElsewhere) return error.described
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
    const said = [error.message === "" ? tag : withAdvice(error.message), ...causesOf(error)].join(": ")
    return { error: tag, message: SafeText.line(at === undefined ? said : `${said} (${at})`, MOST_MESSAGE), ...details }
  }
  const tag = typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : "Error"
  return {
    error: tag,
    message: SafeText.line(typeof error === "string" ? error : safeJson(error), MOST_MESSAGE),
    ...details
  }
}

/** The most causes of an error that are shown. */
const MOST_CAUSES = 4

/** The messages of what has caused an error, where it does not say them itself. */
const causesOf = (error: Error): ReadonlyArray<string> => {
  const said: Array<string> = [error.message]
  const add = (cause: unknown): void => {
    if (said.length > MOST_CAUSES || cause === undefined || cause === null) return
    const message = cause instanceof Error ? cause.message : typeof cause === "string" ? cause : safeJson(cause)
    if (message !== "" && !said.some((one) => one.includes(message))) said.push(message)
    if (!(cause instanceof Error)) return
    if (cause instanceof AggregateError) cause.errors.forEach(add)
    add(cause.cause)
  }
  if (error instanceof AggregateError) error.errors.forEach(add)
  add(error.cause)
  return said.slice(1)
}

/** What to do about a service that is missing. The types reject it, but a flow may not have been checked. */
const withAdvice = (message: string): string =>
  message.startsWith("Service not found: ")
    ? `${message.split("\n")[0]}. Provide it to the step (Effect.provide), or to the flow (services)`
    : message

/** Fields that every error has, or that are shown elsewhere. */
const COMMON = new Set(["_tag", "message", "name", "stack", "cause"])

/** The most characters of an error's own fields. */
const MOST_FIELDS = 10_000

/** The fields of an author's error, as data. */
const fieldsOf = (error: unknown): Schema.Json | undefined => {
  if (typeof error !== "object" || error === null) return undefined
  const own = Object.entries(error).filter(([name]) => !COMMON.has(name) && !name.startsWith("~"))
  if (own.length === 0) return undefined
  const text = safeJson(Object.fromEntries(own))
  return text.length > MOST_FIELDS ? text.slice(0, MOST_FIELDS).toWellFormed() : (JSON.parse(text) as Schema.Json)
}

/** The folder of this package. Its stack frames do not help an author. */
const HERE = new URL("..", import.meta.url).pathname

/** The first stack frame in the author's code: `flow.ts:12:3`. */
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

/**
 * Encodes any value as JSON: in the stored form when JSON cannot represent it, and by name when it cannot be stored.
 */
export const safeJson = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? JSON.stringify(String(value))
  } catch {
    return StoredValue.encode(value) ?? withoutRings(value)
  }
}

/** Encodes a value with cycles, or of types that JSON lacks. */
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

/** The row in its stored form, without secrets. */
export const toStored = ({ details, input, ...row }: FailedRow): RowRepo.StoredFailure => ({
  ...row,
  input: Secret.mask(safeJson(input)),
  ...(details === undefined ? undefined : { details: JSON.parse(Secret.json(details)) as RowRepo.Details })
})

/** The row as a line of JSON, whatever its input is. */
const lineOf = ({ details, input, ...row }: FailedRow): string =>
  SafeText.json(`${JSON.stringify({ ...row, ...details }).slice(0, -1)},"input":${safeJson(input)}}`)

/**
 * Collects the failed rows of a run in a file. It is created with the first failed row; the file of an earlier run is
 * removed.
 */
export interface ErrorsFile {
  /** `undefined` when the rows are only in the store. */
  readonly path: string | undefined
  /** Removes the file of an earlier run when no row failed. */
  readonly allWell: Effect.Effect<void>
  /** Writes the file again when a row failed. */
  readonly rewrite: <E>(rows: Stream.Stream<RowRepo.StoredFailure, E>) => Effect.Effect<void, E>
  readonly append: (row: FailedRow) => Effect.Effect<void>
  readonly count: () => number
  /** Discards what was written so far: all rows are replayed. */
  readonly restart: Effect.Effect<void>
}

/** The number of leading characters that identify an errors file. */
const BEGINNING = 2_048

/** Tests whether a file is empty or an errors file written by a run. */
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
 * Opens the errors file of a run; `keep` receives each row too. Only its owner can read it. The file of an earlier run
 * stays until a row fails, or until the run has ended without failures.
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
  // Rows that fail together are written one after the other.
  const writing = Semaphore.makeUnsafe(1)
  const encoder = new TextEncoder()
  let count = 0
  let handle: StreamFile.StreamFile | undefined
  /** Lines that could not be written: when all file handles are in use, one is free at the end of the run. */
  let pending = ""
  /** Replaces the file of an earlier run. */
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
    // A pipe without a reader by then is not waited for.
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

/** The most characters waiting for a file handle. The store has the rows too. */
const MAX_PENDING = 16 * 1024 * 1024
