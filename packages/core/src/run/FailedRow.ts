/**
 * A row that failed, as data: what failed, where, with what input.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SafeText from "../data/SafeText.ts"
import * as Secret from "../data/Secret.ts"
import * as StoredValue from "../data/StoredValue.ts"
import type * as FilePlace from "../file/FilePlace.ts"
import * as FileProblem from "../file/FileProblem.ts"
import * as StreamFile from "../file/StreamFile.ts"
import * as ModelFailure from "../seam/ModelFailure.ts"
import type * as RowRepo from "../store/RowRepo.ts"

export interface FailedRow extends Omit<RowRepo.StoredFailure, "input"> {
  /** What the node was given. */
  readonly input: unknown
}

/** Characters of a message, at most. */
const MOST_MESSAGE = 10_000

/** The tag and the message of what went wrong, as one line: secrets are masked, control characters are gone. */
export const describe = (cause: Cause.Cause<unknown>): { readonly error: string; readonly message: string } => {
  const failure = cause.reasons.find((reason) => Cause.isFailReason(reason) || Cause.isDieReason(reason))
  if (failure === undefined) return { error: "Interrupted", message: "the row was interrupted" }
  const error: unknown = Cause.isFailReason(failure) ? failure.error : failure.defect
  if (AiError.isAiError(error)) {
    return { error: error.reason._tag, message: SafeText.line(ModelFailure.message(error), MOST_MESSAGE) }
  }
  if (error instanceof Error) {
    const tag = "_tag" in error ? String(error._tag) : error.name
    return { error: tag, message: SafeText.line(error.message === "" ? tag : error.message, MOST_MESSAGE) }
  }
  const tag = typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : "Error"
  return { error: tag, message: SafeText.line(typeof error === "string" ? error : safeJson(error), MOST_MESSAGE) }
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

/** The row as a line of JSON, whatever its input is. */
const lineOf = ({ input, ...row }: FailedRow): string =>
  SafeText.json(`${JSON.stringify(row).slice(0, -1)},"input":${safeJson(input)}}`)

/** Collects the failed rows of a run in a file, made when the first comes; a file of an earlier run is removed. */
export interface ErrorsFile {
  readonly path: string
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

/** Opens the errors file of a run; `keep` gets each row too. Only its owner can read it. */
export const open = Effect.fnUntraced(function* (place: FilePlace.FilePlace, keep: (row: FailedRow) => void) {
  const fs = yield* FileSystem.FileSystem
  const scope = yield* Effect.scope
  const { path } = place
  const isStream = place.kind === "stream"
  const remove = isStream ? Effect.void : Effect.ignore(fs.remove(place.real))
  yield* remove
  // One row after the other: rows that fail together must not write over each other.
  const writing = Semaphore.makeUnsafe(1)
  const encoder = new TextEncoder()
  let count = 0
  let handle: StreamFile.StreamFile | undefined
  /** Lines that could not be written yet: where all file handles are in use, one is free again when the run ends. */
  let pending = ""
  const flush = Effect.gen(function* () {
    if (pending === "") return
    handle ??= yield* Scope.provide(
      isStream
        ? Effect.provideService(StreamFile.open(place), FileSystem.FileSystem, fs)
        : fs.open(place.real, { flag: "a", mode: 0o600 }),
      scope
    )
    yield* handle.writeAll(encoder.encode(pending))
    pending = ""
  })
  yield* Effect.addFinalizer(() =>
    count === 0
      ? remove
      : Effect.catch(flush, (error) =>
          Effect.logWarning(`${path}: failed rows cannot be written: ${FileProblem.describe(error)}`)
        )
  )
  const file: ErrorsFile = {
    path,
    count: () => count,
    restart: writing.withPermit(
      Effect.suspend(() => {
        count = 0
        pending = ""
        return isStream ? Effect.void : handle === undefined ? remove : Effect.ignore(fs.truncate(place.real, 0))
      })
    ),
    append: (row) => {
      count++
      keep(row)
      return writing.withPermit(
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
