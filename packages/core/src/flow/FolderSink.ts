/**
 * Writes rows to files of their own, in one folder.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as FilePlace from "../file/FilePlace.ts"
import * as FileProblem from "../file/FileProblem.ts"
import * as WholeFile from "../file/WholeFile.ts"

/** A file as a row makes it. */
export interface RowFile {
  /** Relative to the folder: `de/intro.md`. Folders are made. */
  readonly path: string
  readonly text: string
}

/** What is wrong with the file of a row: its index among the rows, and why. */
export interface Problem {
  readonly index: number
  readonly message: string
}

export interface Folder {
  /** The problem of the first file that cannot be in the folder. */
  readonly problemOf: (files: ReadonlyArray<RowFile>) => Problem | undefined
  /** Writes files whole, one after the other. */
  readonly write: (
    files: ReadonlyArray<RowFile>
  ) => Effect.Effect<void, WholeFile.WriteError, FileSystem.FileSystem | Path.Path>
}

/** The most bytes of a name: file systems allow no more. */
const MOST_NAME = 255

/** Nothing is made before the first file is written. */
export const make = Effect.fnUntraced(function* (
  given: string | URL
): Effect.fn.Return<Folder, WholeFile.WriteError, Path.Path> {
  const path = yield* Path.Path
  const named = yield* Effect.mapError(
    FilePlace.pathOf(given),
    (error) =>
      new WholeFile.WriteError({
        path: String(given),
        message: `${String(given)}: cannot be written: ${FileProblem.describe(error)}`
      })
  )
  const root = path.resolve(named)
  const written = new Set<string>()
  /** The folders of the files of rows. */
  const folders = new Set<string>()

  /** The folders above a file, below the root. */
  const foldersOf = (file: string): ReadonlyArray<string> => {
    const above = path.dirname(file)
    return above.length <= root.length ? [] : [above, ...foldersOf(above)]
  }

  const wrong = (file: string): string | undefined => {
    if (file === "" || file.includes("\0")) return "has no name for its file"
    const at = path.relative(root, path.resolve(root, file))
    if (path.isAbsolute(file) || at === "" || at === ".." || at.startsWith(`..${path.sep}`))
      return `its file ${file} is not in the folder ${named}`
    return at.split(path.sep).some((name) => Buffer.byteLength(name) > MOST_NAME)
      ? `a name in the path of its file is longer than ${MOST_NAME} bytes`
      : undefined
  }

  return {
    problemOf: (files) => {
      const here = new Set<string>()
      for (const [index, { path: file, text }] of files.entries()) {
        if (typeof file !== "string" || typeof text !== "string")
          return { index, message: "the file of a row is { path, text }, both text" }
        const message = wrong(file)
        if (message !== undefined) return { index, message }
        const at = path.resolve(root, file)
        if (written.has(at) || here.has(at)) return { index, message: `another row has written the file ${file}` }
        if (folders.has(at))
          return { index, message: `its file ${file} is a folder, which has the file of another row` }
        const above = foldersOf(at)
        const taken = above.find((folder) => written.has(folder) || here.has(folder))
        if (taken !== undefined)
          return {
            index,
            message: `its file ${file} is below ${path.relative(root, taken)}, which another row has written`
          }
        for (const folder of above) folders.add(folder)
        here.add(at)
      }
      return undefined
    },
    write: (files) =>
      Effect.forEach(
        files,
        ({ path: file, text }) => {
          const at = path.resolve(root, file)
          written.add(at)
          return Effect.scoped(
            Effect.flatMap(WholeFile.open(at), (open) => Effect.andThen(open.write(text), open.finish))
          )
        },
        { discard: true }
      )
  }
})
