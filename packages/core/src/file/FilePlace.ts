/**
 * Resolves a path with all links, even of files that do not exist yet, so that two names of one file are recognised.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as PlatformError from "effect/PlatformError"

/** What is at a path. `stream` is a pipe, a device or a socket, which is read and written sequentially. */
export type Kind = "missing" | "file" | "folder" | "stream"

export interface FilePlace {
  /** As it was given. */
  readonly path: string
  /** Absolute, with all links followed. */
  readonly real: string
  readonly kind: Kind
  /** The device and inode: equal for all names of one file. */
  readonly id: string | undefined
  readonly info: FileSystem.File.Info | undefined
  /** A character device, such as `/dev/null`, which may be shared. */
  readonly isShared: boolean
  /** The open descriptor that it names: `/dev/stdout`, `/dev/fd/3`. It is a stream, even when it leads to a file. */
  readonly descriptor: number | undefined
}

/** The descriptor of standard output. */
export const STDOUT = 1

const STDERR = 2

/** The most links to follow. More of them are a cycle. */
const MOST_LINKS = 40

const isMissing = (error: PlatformError.PlatformError): boolean => error.reason._tag === "NotFound"

const orMissing = <A>(effect: Effect.Effect<A, PlatformError.PlatformError>) =>
  Effect.catch(effect, (error) => (isMissing(error) ? Effect.undefined : Effect.fail(error)))

/** Resolves a path. Fails when it cannot be examined: a cycle of links, a folder without permission. */
export const resolve = Effect.fnUntraced(function* (
  given: string | URL
): Effect.fn.Return<FilePlace, PlatformError.PlatformError, FileSystem.FileSystem | Path.Path> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const named = yield* pathOf(given)
  let at = path.resolve(named)
  const descriptor = yield* descriptorAt(at)
  for (let links = 0; ; links++) {
    const info = yield* orMissing(fs.stat(at))
    const kind =
      info?.type === "Directory" ? "folder" : info?.type === "File" && descriptor === undefined ? "file" : "stream"
    // The name of an open pipe is not a path. Another process may have deleted a file in the meantime.
    const real = info === undefined || kind === "stream" ? at : yield* orMissing(fs.realPath(at))
    if (info !== undefined && real !== undefined) {
      const inode = Option.getOrUndefined(info.ino)
      return {
        path: named,
        real,
        kind,
        id: inode === undefined ? undefined : `${info.dev}:${inode}`,
        info,
        isShared: info.type === "CharacterDevice",
        descriptor
      }
    }
    const link = yield* Effect.option(fs.readLink(at))
    if (Option.isNone(link) || links === MOST_LINKS) break
    at = path.resolve(path.dirname(at), link.value)
  }
  return {
    path: named,
    real: yield* realOfMissing(at),
    kind: "missing",
    id: undefined,
    info: undefined,
    isShared: false,
    descriptor: undefined
  }
})

const unusable = (given: string, description: string) =>
  PlatformError.badArgument({ module: "FilePlace", method: "resolve", description, cause: given })

/** The path of a `file:` address. */
export const pathOf = Effect.fnUntraced(function* (
  given: string | URL
): Effect.fn.Return<string, PlatformError.PlatformError, Path.Path> {
  const path = yield* Path.Path
  const isAddress = typeof given !== "string" || (/^[a-z][a-z0-9+.-]+:\/\//i.test(given) && URL.canParse(given))
  if (!isAddress) return given
  const url = new URL(given)
  if (url.protocol !== "file:") {
    return yield* unusable(url.href, `it is a URL (${url.protocol}), not a file`)
  }
  return yield* Effect.mapError(path.fromFileUrl(url), ({ cause }) =>
    unusable(url.href, cause instanceof Error ? cause.message : "it is not a path")
  )
})

const DESCRIPTORS = /^(?:\/proc\/(\d+)(?:\/task\/\d+)?\/fd|\/dev\/fd)$/

const descriptorAt = Effect.fnUntraced(function* (start: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  let at = start
  for (let links = 0; links < MOST_LINKS; links++) {
    const folder = yield* Effect.orElseSucceed(fs.realPath(path.dirname(at)), () => "")
    const found = DESCRIPTORS.exec(folder)
    if (found !== null) {
      if (found[1] !== undefined && Number(found[1]) !== process.pid) return undefined
      const number = numberOf(path.basename(at))
      if (number !== undefined && number > STDERR && (yield* isOfNode(number))) {
        return yield* unusable(start, "this descriptor is not open: redirect it, for example 3> file")
      }
      return number
    }
    const link = yield* Effect.option(fs.readLink(at))
    if (Option.isNone(link)) return undefined
    at = path.resolve(path.dirname(at), link.value)
  }
  return undefined
})

/** Tests whether Node opened a descriptor for itself: an event queue, or a pipe of which it holds both ends. */
const isOfNode = Effect.fnUntraced(function* (descriptor: number) {
  const fs = yield* FileSystem.FileSystem
  const folder = "/proc/self/fd"
  const targetOf = (name: string | number) => Effect.orElseSucceed(fs.readLink(`${folder}/${name}`), () => "")
  const target = yield* targetOf(descriptor)
  if (target.startsWith("anon_inode:")) return true
  if (!target.startsWith("pipe:")) return false
  const isWritten = (name: string | number) =>
    Effect.map(
      Effect.orElseSucceed(fs.readFileString(`/proc/self/fdinfo/${name}`), () => ""),
      (info) => (Number.parseInt(/^flags:\s*(\d+)/m.exec(info)?.[1] ?? "0", 8) & 3) !== 0
    )
  const own = yield* isWritten(descriptor)
  for (const name of yield* Effect.orElseSucceed(fs.readDirectory(folder), () => [])) {
    if ((yield* targetOf(name)) === target && (yield* isWritten(name)) !== own) return true
  }
  return false
})

const numberOf = (name: string): number | undefined => (/^\d+$/.test(name) ? Number(name) : undefined)

/** The nearest existing parent folder, with its links followed, and the rest of the path. */
const realOfMissing = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    const real = yield* Effect.catch(fs.realPath(folder), (error) =>
      isMissing(error) && path.dirname(folder) !== folder ? Effect.undefined : Effect.fail(error)
    )
    if (real !== undefined) return path.join(real, path.relative(folder, file))
  }
})

/** The file name in a simulated run: `out.simulated.jsonl` for `out.jsonl`. */
export const simulatedName = (file: string): string => {
  const [, name = file, extension = ""] = /^(.*[^/])(\.[^./]+)$/s.exec(file) ?? []
  return `${name}.simulated${extension}`
}

/** The folder in a simulated run: `out.simulated` for `out/`. */
export const simulatedFolder = (folder: string): string => `${folder.replace(/\/+$/, "")}.simulated`

/** Where a simulated run writes instead. Streams stay the same. */
export const simulatedOf = Effect.fnUntraced(function* (
  given: string | URL
): Effect.fn.Return<string, PlatformError.PlatformError, FileSystem.FileSystem | Path.Path> {
  const place = yield* resolve(given)
  return place.kind === "stream" ? place.path : simulatedName(place.path)
})

/** Tests whether two places are the same. */
export const isSame = (a: FilePlace, b: FilePlace): boolean =>
  a.real === b.real || (a.id !== undefined && a.id === b.id)

/** Why a path cannot be read; `undefined` when it can. */
export const problemOf = (place: FilePlace, what: string, folder: string): string | undefined =>
  place.kind === "missing"
    ? `there is no such file (${what}, looked in ${folder})`
    : place.kind === "folder"
      ? `is a folder, not a file (${what})`
      : place.info?.type === "Socket" && place.descriptor === undefined
        ? `is a socket, not a file (${what})`
        : undefined
