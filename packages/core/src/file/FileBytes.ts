/**
 * The bytes of a source's file: of a regular file, of a pipe such as `<(zcat rows.gz)`, of a device.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import * as Stream from "effect/Stream"
import { createReadStream } from "node:fs"
import type * as FilePlace from "./FilePlace.ts"

type Bytes = Stream.Stream<Uint8Array, PlatformError.PlatformError>

export type Rereadable = (place: FilePlace.FilePlace, bytes: Bytes) => Bytes

/** Makes what can be read once readable again: a run that goes through its rows more than once sets it. */
export const Rereadable = Context.Reference<Rereadable>("@pipe/core/FileBytes/Rereadable", {
  defaultValue: () => (_, bytes) => bytes
})

/** Reads what stands at a place, from its beginning to its end. */
export const read = (
  place: FilePlace.FilePlace
): Stream.Stream<Uint8Array, PlatformError.PlatformError, FileSystem.FileSystem> =>
  place.kind !== "stream"
    ? Stream.unwrap(Effect.map(FileSystem.FileSystem, (fs) => fs.stream(place.real)))
    : Stream.unwrap(
        Effect.withFiberSucceed((fiber) =>
          fiber.getRef(Rereadable)(
            place,
            Stream.fromAsyncIterable(createReadStream(place.real) as AsyncIterable<Uint8Array>, (cause) =>
              PlatformError.systemError({
                _tag: "Unknown",
                module: "FileBytes",
                method: "read",
                pathOrDescriptor: place.path,
                cause
              })
            )
          )
        )
      )
