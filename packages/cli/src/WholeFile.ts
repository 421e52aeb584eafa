/** A file that appears whole or not at all: written beside its place, then renamed. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { closeSync, openSync, renameSync, writeSync } from "node:fs"
import * as ExitCode from "./ExitCode.ts"
import * as Output from "./Output.ts"

/** Writes the pieces of a text; one clear line where the file cannot be made. */
export const write = <E>(file: string, text: Stream.Stream<string, E>): Effect.Effect<void, E | ExitCode.Failure> =>
  Effect.try({
    try: () => openSync(`${file}.partial`, "w"),
    catch: (error) => ExitCode.refuse(`${file}: cannot be written: ${error instanceof Error ? error.message : error}`)
  }).pipe(
    Effect.flatMap((handle) =>
      Effect.ensuring(
        Stream.runForEach(text, (piece) => Effect.sync(() => writeSync(handle, piece))),
        Effect.sync(() => closeSync(handle))
      )
    ),
    Effect.andThen(Effect.sync(() => renameSync(`${file}.partial`, file)))
  )

/** The same on standard output where no file is named. */
export const writeOrPrint = <E>(
  file: string | undefined,
  text: Stream.Stream<string, E>
): Effect.Effect<void, E | ExitCode.Failure> =>
  file === undefined
    ? Effect.flatMap(Output.Output, ({ out }) => Stream.runForEach(text, (piece) => Effect.sync(() => out(piece))))
    : write(file, text)
