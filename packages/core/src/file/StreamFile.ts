/**
 * Reads and writes pipes, devices and open descriptors. Waiting for the other end of a named pipe holds no thread, so
 * it can be interrupted.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import * as Stream from "effect/Stream"
import type * as Scope from "effect/Scope"
import { constants, createReadStream, openSync, writeFile } from "node:fs"
import { Socket } from "node:net"
import type { Readable } from "node:stream"
import type * as FilePlace from "./FilePlace.ts"

/** Receives bytes in order. */
export interface StreamFile {
  readonly writeAll: (bytes: Uint8Array) => Effect.Effect<void, PlatformError.PlatformError>
}

const isPipe = (place: FilePlace.FilePlace): boolean => place.info?.type === "FIFO"

const failure = (place: FilePlace.FilePlace, method: string) => (cause: unknown) =>
  PlatformError.systemError({
    _tag: "Unknown",
    module: "StreamFile",
    method,
    pathOrDescriptor: place.path,
    description: cause instanceof Error ? cause.message : String(cause),
    cause
  })

/** Reads to the end. */
export const read = (place: FilePlace.FilePlace): Stream.Stream<Uint8Array, PlatformError.PlatformError> =>
  fromReadable(
    () =>
      // On other systems a pipe without a writer may look like one that has ended.
      isPipe(place) && process.platform === "linux"
        ? new Socket({ fd: openSync(place.real, constants.O_RDONLY | constants.O_NONBLOCK), writable: false })
        : createReadStream(place.real),
    failure(place, "read")
  )

const fromReadable = (
  open: () => Readable,
  fail: (cause: unknown) => PlatformError.PlatformError
): Stream.Stream<Uint8Array, PlatformError.PlatformError> =>
  Stream.unwrap(
    Effect.map(
      Effect.acquireRelease(Effect.try({ try: open, catch: fail }), (readable) =>
        Effect.sync(() => {
          readable.destroy()
        })
      ),
      (readable) => {
        let failed: PlatformError.PlatformError | undefined
        let wake: () => void = () => {}
        readable.on("error", (error) => {
          failed = fail(error)
          wake()
        })
        readable.on("readable", () => wake())
        readable.on("end", () => wake())
        const pull = Effect.callback<readonly [Uint8Array], PlatformError.PlatformError | Cause.Done>((resume) => {
          const look = () => {
            const chunk = readable.read() as Uint8Array | null
            const next =
              chunk !== null
                ? Effect.succeed([chunk] as const)
                : failed !== undefined
                  ? Effect.fail(failed)
                  : readable.readableEnded
                    ? Cause.done()
                    : undefined
            if (next === undefined) return
            // Bytes that arrive early stay where they are.
            wake = () => {}
            resume(next)
          }
          wake = look
          look()
        })
        return Stream.fromPull(Effect.succeed(pull))
      }
    )
  )

/** How often a pipe is checked for a reader. */
const LOOK = "50 millis"

/** Opens a path for writing. A named pipe waits for its reader. */
export const open = (
  place: FilePlace.FilePlace
): Effect.Effect<StreamFile, PlatformError.PlatformError, FileSystem.FileSystem | Scope.Scope> => {
  const fail = failure(place, "write")
  if (isPipe(place)) return toPipe(place, fail)
  const { descriptor } = place
  return descriptor === undefined
    ? // Without a position, because a device has none.
      Effect.flatMap(FileSystem.FileSystem, (fs) => fs.open(place.real, { flag: "a" }))
    : Effect.succeed({
        writeAll: (bytes) =>
          Effect.callback((resume) =>
            writeFile(descriptor, bytes, (error) => resume(error === null ? Effect.void : Effect.fail(fail(error))))
          )
      })
}

const toPipe = Effect.fnUntraced(function* (
  place: FilePlace.FilePlace,
  fail: (cause: unknown) => PlatformError.PlatformError
) {
  const openNow = Effect.try({
    try: () => openSync(place.real, constants.O_WRONLY | constants.O_NONBLOCK),
    catch: (cause) => cause as NodeJS.ErrnoException
  }).pipe(
    Effect.map((fd) => new Socket({ fd, readable: false })),
    // It has no reader yet.
    Effect.catch((cause) => (cause.code === "ENXIO" ? Effect.undefined : Effect.fail(fail(cause))))
  )
  let socket = yield* openNow
  if (socket === undefined) yield* Effect.logWarning(`${place.path}: waits for a reader of the pipe`)
  while (socket === undefined) {
    yield* Effect.sleep(LOOK)
    socket = yield* openNow
  }
  const pipe = yield* Effect.acquireRelease(Effect.succeed(socket), (it) =>
    Effect.sync(() => {
      it.destroy()
    })
  )
  // The writer is notified.
  pipe.on("error", () => {})
  const file: StreamFile = {
    writeAll: (bytes) =>
      Effect.callback((resume) => {
        pipe.write(bytes, (error) => resume(error ? Effect.fail(fail(error)) : Effect.void))
      })
  }
  return file
})
