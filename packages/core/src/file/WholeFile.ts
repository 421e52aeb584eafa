/**
 * Writes a file that appears whole or not at all: it is written next to its destination under another name, and renamed
 * when it is complete. Pipes and devices are written directly.
 *
 * **Details** A link stays a link, and its target is replaced. The mode of a replaced file is kept. An incomplete file
 * is left in `<path>.partial`.
 *
 * **Example** (two lines, or nothing)
 *
 * ```ts
 * import * as WholeFile from "@pipe/core/internal/WholeFile"
 * import { Effect } from "effect"
 *
 * export const write = Effect.scoped(
 *   Effect.gen(function* () {
 *     const file = yield* WholeFile.open("greetings.txt")
 *     yield* file.write("hello\n")
 *     yield* file.write("goodbye\n")
 *     yield* file.finish
 *   })
 * )
 * ```
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as PlatformError from "effect/PlatformError"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { hash, randomBytes } from "node:crypto"
import { statfs } from "node:fs/promises"
import { hostname } from "node:os"
import { basename, dirname, join } from "node:path"
import * as FilePlace from "./FilePlace.ts"
import * as FileProblem from "./FileProblem.ts"
import * as StreamFile from "./StreamFile.ts"

/**
 * A report, a routing file or a cache export cannot be written: its folder is read-only, the disk is full, or the path is not a file.
 *
 * **Remedy** Fix the path that the message names, free disk space, or choose another file.
 */
export class WriteError extends Schema.TaggedError<WriteError>()("WriteError", {
  path: Schema.String,
  message: Schema.String
}) {}

export interface WholeFile {
  readonly write: (text: string) => Effect.Effect<void, WriteError>
  /** Replaces what was written by what `f` makes of it; `undefined` for a stream. */
  readonly rewrite?: (
    f: (bytes: Stream.Stream<Uint8Array, unknown>) => Stream.Stream<string, unknown>
  ) => Effect.Effect<void, WriteError>
  /** Completes the file: moves it to its destination. */
  readonly finish: Effect.Effect<void, WriteError>
}

/** The characters written together. */
const BUFFER = 64 * 1024

/** Creates a file. Without `finish`, its destination is unchanged. */
export const open = Effect.fnUntraced(function* (
  path: string | URL
): Effect.fn.Return<WholeFile, WriteError, FileSystem.FileSystem | Path.Path | Scope.Scope> {
  const fail = failure(String(path))
  const place = yield* Effect.mapError(FilePlace.resolve(path), fail)
  switch (place.kind) {
    case "folder":
      return yield* new WriteError({ path: place.path, message: `${place.path}: cannot be written: it is a folder` })
    case "stream":
      return yield* toStream(place)
    default:
      return yield* toFile(place)
  }
})

const failure = (path: string) => (error: PlatformError.PlatformError) =>
  new WriteError({ path, message: `${path}: cannot be written: ${FileProblem.describe(error)}` })

const toStream = Effect.fnUntraced(function* (place: FilePlace.FilePlace) {
  const fail = failure(place.path)
  const handle = yield* Effect.mapError(StreamFile.open(place), fail)
  const { flush, write } = buffered(handle, fail)
  return { write, finish: flush }
})

const toFile = Effect.fnUntraced(function* (place: FilePlace.FilePlace) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const fail = failure(place.path)
  const folder = path.dirname(place.real)
  yield* Effect.mapError(makeFolder(folder), fail)
  yield* removeAbandoned(place.real)
  const partial = path.join(folder, `${shortened(path.basename(place.real))}.${own()}${PARTIAL}`)
  const mode = place.info === undefined ? undefined : place.info.mode & 0o777
  const handle = yield* Effect.mapError(
    fs.open(partial, { flag: "wx", ...(mode === undefined ? undefined : { mode }) }),
    fail
  )
  // Applies the process's umask to the mode of a new file.
  if (mode !== undefined) yield* Effect.ignore(fs.chmod(partial, mode))
  const { flush, write } = buffered(handle, fail)
  const ended = partialOf(place.real)
  const again = `${partial}.again`
  const rewrite: WholeFile["rewrite"] = (f) =>
    Effect.andThen(
      flush,
      Effect.scoped(
        Effect.gen(function* () {
          const to = yield* fs.open(again, { flag: "wx", mode: mode ?? 0o666 })
          const copy = buffered(to, fail)
          yield* Stream.runForEach(f(fs.stream(partial)), copy.write)
          yield* copy.flush
          yield* to.sync
          yield* fs.rename(again, partial)
        })
      )
    ).pipe(
      Effect.onError(() => Effect.ignore(fs.remove(again))),
      Effect.mapError((error) =>
        error instanceof WriteError
          ? error
          : new WriteError({
              path: place.path,
              message: `${place.path}: cannot be written: ${PlatformError.isPlatformError(error) ? FileProblem.describe(error) : String(error)}`
            })
      )
    )
  let isDone = false
  yield* Effect.addFinalizer(() =>
    isDone ? Effect.void : Effect.andThen(Effect.ignore(flush), Effect.ignore(keep(fs, partial, ended)))
  )
  return {
    write,
    rewrite,
    finish: flush.pipe(
      Effect.andThen(Effect.mapError(handle.sync, fail)),
      Effect.andThen(Effect.mapError(putInPlace(fs, partial, place.real), fail)),
      Effect.andThen(
        Effect.sync(() => {
          isDone = true
        })
      ),
      Effect.andThen(Effect.ignore(removeFile(fs, ended)))
    )
  }
})

const PARTIAL = ".partial"

/** The path of an incomplete file. */
export const partialOf = (file: string): string => join(dirname(file), `${shortened(basename(file))}${PARTIAL}`)

/** The most bytes of a name that is extended: file systems limit names to 255. */
const MOST_NAME = 200

const shortened = (name: string): string =>
  Buffer.byteLength(name) <= MOST_NAME
    ? name
    : `${name.slice(0, MOST_NAME / 4)}-${hash("sha256", name, "hex").slice(0, 8)}`

/** Creates folder by folder, so a path without folders, such as `/proc`, fails at once. */
const makeFolder = (folder: string): Effect.Effect<void, PlatformError.PlatformError, FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (fs) => {
    const make = Effect.catch(fs.makeDirectory(folder), (error) =>
      error.reason._tag === "AlreadyExists" ? Effect.void : Effect.fail(error)
    )
    return Effect.catch(make, (error) =>
      error.reason._tag === "NotFound" && dirname(folder) !== folder
        ? Effect.andThen(makeFolder(dirname(folder)), make)
        : Effect.fail(error)
    )
  })

/** Creates the folder of a file. */
export const makeFolderOf = (file: string): ReturnType<typeof makeFolder> => makeFolder(dirname(file))

/**
 * A file that is a mount point, as in a container, cannot be replaced by renaming: the text is copied into it, if it
 * has room.
 */
const putInPlace = (fs: FileSystem.FileSystem, partial: string, real: string) =>
  Effect.catch(
    fs.rename(partial, real),
    Effect.fnUntraced(function* (error) {
      if (error.reason._tag !== "Busy") return yield* error
      const [written, before] = [yield* fs.stat(partial), yield* fs.stat(real)]
      const room = yield* roomAt(real)
      if (Number(written.size) > Number(before.size) + room) return yield* full(real)
      yield* fs.copyFile(partial, real)
      yield* Effect.ignore(fs.remove(partial))
    })
  )

/** The free bytes on a file's disk. */
const roomAt = (file: string): Effect.Effect<number> =>
  Effect.orElseSucceed(
    Effect.tryPromise(() => statfs(file)).pipe(Effect.map(({ bavail, bsize }) => bavail * bsize)),
    () => Number.POSITIVE_INFINITY
  )

const full = (file: string) =>
  PlatformError.systemError({
    _tag: "Unknown",
    module: "WholeFile",
    method: "finish",
    pathOrDescriptor: file,
    description: "no space is left on its disk: free some space"
  })

const thisHost = hash("sha256", hostname(), "hex").slice(0, 4)

/** A unique name: this machine, this process, and a random part. */
const own = (): string => `${thisHost}-${process.pid}-${randomBytes(4).toString("hex")}`

/** Removes files left by processes of this machine that were killed while writing the same file. */
const removeAbandoned = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = path.dirname(file)
  const names = yield* Effect.orElseSucceed(fs.readDirectory(folder), () => [])
  const start = `${shortened(path.basename(file))}.`
  for (const name of names) {
    if (!name.startsWith(start)) continue
    const [, host, pid] = /^([0-9a-f]{4})-(\d+)-[0-9a-f]{8}\.partial$/.exec(name.slice(start.length)) ?? []
    if (host === thisHost && !isAlive(Number(pid))) yield* Effect.ignore(fs.remove(path.join(folder, name)))
  }
})

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM"
  }
}

/** Leaves what was written where a user finds it. A link or folder with that name is not touched. */
const keep = (fs: FileSystem.FileSystem, partial: string, ended: string) =>
  Effect.flatMap(isOurs(fs, ended), (ours) => (ours ? fs.rename(partial, ended) : Effect.void))

const removeFile = (fs: FileSystem.FileSystem, file: string) =>
  Effect.flatMap(isOurs(fs, file), (ours) => (ours ? fs.remove(file, { force: true }) : Effect.void))

/** Whether a file, or nothing, is at a path. */
const isOurs = Effect.fnUntraced(function* (fs: FileSystem.FileSystem, file: string) {
  if (Option.isSome(yield* Effect.option(fs.readLink(file)))) return false
  const info = yield* Effect.option(fs.stat(file))
  return Option.isNone(info) || info.value.type === "File"
})

const buffered = (handle: StreamFile.StreamFile, fail: (error: PlatformError.PlatformError) => WriteError) => {
  const encoder = new TextEncoder()
  let buffer = ""
  const flush = Effect.suspend(() => {
    const bytes = encoder.encode(buffer)
    buffer = ""
    return bytes.length === 0 ? Effect.void : Effect.mapError(handle.writeAll(bytes), fail)
  })
  return {
    flush,
    write: (text: string) => {
      buffer += text
      return buffer.length < BUFFER ? Effect.void : flush
    }
  }
}
