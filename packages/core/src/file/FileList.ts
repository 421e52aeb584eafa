/**
 * The files that a path names: one, or all that match a pattern such as `data/*.jsonl`.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as PlatformError from "effect/PlatformError"
import * as FilePlace from "./FilePlace.ts"

const PATTERN = /[*?[{]/

/** The paths that a path or a pattern names, sorted by name. A file whose own name has such characters is itself. */
export const of = Effect.fnUntraced(function* (
  given: string | URL
): Effect.fn.Return<ReadonlyArray<string>, PlatformError.PlatformError, FileSystem.FileSystem | Path.Path> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const named = yield* FilePlace.pathOf(given)
  if (!PATTERN.test(named) || (yield* fs.exists(named))) return [named]
  const found = yield* fs.glob(named, { root: path.resolve(".") })
  const files = yield* Effect.filter(found, (file) => Effect.map(fs.stat(file), ({ type }) => type !== "Directory"))
  if (files.length > 0) return files.toSorted()
  return yield* PlatformError.badArgument({
    module: "FileList",
    method: "of",
    description: "no file matches this pattern",
    cause: named
  })
})
