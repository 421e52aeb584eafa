/**
 * A row that failed, as data: what failed, where, with what input.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Semaphore from "effect/Semaphore"
import * as Secret from "../data/Secret.ts"
import * as ModelFailure from "../seam/ModelFailure.ts"
import type * as RowRepo from "../store/RowRepo.ts"

export interface FailedRow extends Omit<RowRepo.StoredFailure, "input"> {
  /** What the node was given. */
  readonly input: unknown
}

/** The tag and the message of what went wrong; secrets are masked. */
export const describe = (cause: Cause.Cause<unknown>): { readonly error: string; readonly message: string } => {
  const failure = cause.reasons.find((reason) => Cause.isFailReason(reason) || Cause.isDieReason(reason))
  if (failure === undefined) return { error: "Interrupted", message: "the row was interrupted" }
  const error: unknown = Cause.isFailReason(failure) ? failure.error : failure.defect
  if (AiError.isAiError(error)) {
    return { error: error.reason._tag, message: Secret.mask(ModelFailure.message(error)) }
  }
  if (error instanceof Error) {
    const tag = "_tag" in error ? String(error._tag) : error.name
    return { error: tag, message: Secret.mask(error.message === "" ? tag : error.message) }
  }
  const tag = typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : "Error"
  return { error: tag, message: Secret.mask(typeof error === "string" ? error : safeJson(error)) }
}

/** JSON of anything; of what has none, some text. */
export const safeJson = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return String(value)
  }
}

/** Collects the failed rows of a run in a file, made when the first comes; a file of an earlier run is removed. */
export interface ErrorsFile {
  readonly path: string
  readonly append: (row: FailedRow) => Effect.Effect<void>
  readonly count: () => number
  /** Forgets what came so far: all rows are gone through anew. */
  readonly restart: Effect.Effect<void>
}

/** Opens the errors file of a run; `keep` gets each row too. */
export const open = Effect.fnUntraced(function* (path: string, keep: (row: FailedRow) => void) {
  const fs = yield* FileSystem.FileSystem
  const remove = Effect.ignore(fs.remove(path))
  yield* remove
  // One row after the other: rows that fail together must not write over each other.
  const writing = Semaphore.makeUnsafe(1)
  let count = 0
  let broken = false
  const file: ErrorsFile = {
    path,
    count: () => count,
    restart: Effect.suspend(() => {
      count = 0
      return remove
    }),
    append: (row) => {
      count++
      keep(row)
      return writing.withPermit(
        Effect.catch(fs.writeFileString(path, `${Secret.mask(safeJson(row))}\n`, { flag: "a" }), (error) => {
          if (broken) return Effect.void
          broken = true
          return Effect.logWarning(`${path}: failed rows cannot be written: ${error.message}`)
        })
      )
    }
  }
  return file
})
