/**
 * The bytes of a source's file: a regular file, a pipe such as `<(zcat rows.gz)`, or a device.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import * as Scope from "effect/Scope"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import type * as FilePlace from "./FilePlace.ts"
import * as StreamFile from "./StreamFile.ts"

type Bytes = Stream.Stream<Uint8Array, PlatformError.PlatformError>

export type Rereadable = (place: FilePlace.FilePlace, bytes: Bytes) => Bytes

/** Makes a stream that can be read once readable again. A run that reads its rows more than once sets it. */
export const Rereadable = Context.Reference<Rereadable>("@pipe/core/FileBytes/Rereadable", {
  defaultValue: () => (_, bytes) => bytes
})

/** Reads a file from beginning to end. */
export const read = (
  place: FilePlace.FilePlace
): Stream.Stream<Uint8Array, PlatformError.PlatformError, FileSystem.FileSystem> =>
  place.kind === "stream"
    ? Stream.unwrap(Effect.withFiberSucceed((fiber) => fiber.getRef(Rereadable)(place, StreamFile.read(place))))
    : Stream.unwrap(Effect.map(FileSystem.FileSystem, (fs) => fs.stream(place.real)))

/** Standard input and pipes that can be read again: each is copied to a file before its first row is processed. */
export const rereadable = Effect.gen(function* () {
  const stdio = yield* Stdio.Stdio
  const fs = yield* FileSystem.FileSystem
  const scope = yield* Effect.scope
  const outer = yield* Rereadable
  const copyOf = (bytes: Bytes) =>
    Effect.runSync(
      Effect.cached(
        Effect.gen(function* () {
          const file = yield* fs.makeTempFileScoped({ prefix: "pipe-stdin-" })
          yield* Stream.run(bytes, fs.sink(file))
          return file
        }).pipe(Effect.provideService(Scope.Scope, scope))
      )
    )
  const stdin = copyOf(stdio.stdin)
  const pipes = new Map<string, ReturnType<typeof copyOf>>()
  const pipe: Rereadable = (place, bytes) => {
    const copy = pipes.get(place.real) ?? copyOf(outer(place, bytes))
    pipes.set(place.real, copy)
    return Stream.unwrap(Effect.map(copy, (file) => fs.stream(file)))
  }
  return Context.make(Stdio.Stdio, {
    ...stdio,
    stdin: Stream.orDie(Stream.unwrap(Effect.map(stdin, (file) => fs.stream(file))))
  }).pipe(Context.add(Rereadable, pipe))
})
