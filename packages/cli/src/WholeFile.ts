/** What a command writes to a file that was named: whole or not at all, and never over what the command reads. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import type * as Store from "@pipe/core/Store"
import * as WholeFile from "@pipe/core/WholeFile"
import * as NodeHost from "@pipe/plugins/NodeHost"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { existsSync, realpathSync } from "node:fs"
import * as ExitCode from "./ExitCode.ts"
import * as Output from "./Output.ts"

/** Files that must stay as they are: `the store`, by its path. */
export type Kept = { readonly [what: string]: string | undefined }

/** The store of a command, with the files that belong to it. */
export const storeAt = (location: string): Kept =>
  NodeHost.isPostgres(location)
    ? {}
    : {
        "the store": location,
        "the store's log": `${realOf(location)}-wal`,
        "the store's index": `${realOf(location)}-shm`
      }

/** What belongs to a store stands beside the file that a link leads to. */
const realOf = (location: string): string => (existsSync(location) ? realpathSync(location) : location)

/** What a run has left at the place of a file, if it has. */
export const resultAt = (store: Store.Service, file: string | undefined): Effect.Effect<Kept> =>
  Effect.map(
    file === undefined || !existsSync(file)
      ? Effect.undefined
      : Effect.orElseSucceed(store.outputs.find(realpathSync(file)), () => undefined),
    (output) => (output === undefined ? {} : { [`the result of run ${output.run}`]: file })
  )

/** Writes the pieces of a text; one clear line where the file cannot be made. */
export const write = <E>(
  file: string,
  text: Stream.Stream<string, E>,
  kept: Kept
): Effect.Effect<void, E | ExitCode.Failure> =>
  Effect.gen(function* () {
    for (const [what, path] of Object.entries(kept)) {
      if (path !== undefined && isSame(file, path)) {
        return yield* ExitCode.refuse(`${file}: cannot be written: it is ${what}`)
      }
    }
    const target = yield* WholeFile.open(file)
    yield* Stream.runForEach(text, target.write)
    yield* target.finish
  }).pipe(
    Effect.scoped,
    Effect.provide(NodeServices.layer),
    Effect.mapError((error) => (error instanceof WholeFile.WriteError ? ExitCode.refuse(error.message) : error))
  ) as Effect.Effect<void, E | ExitCode.Failure>

const isSame = (a: string, b: string): boolean => {
  try {
    return realpathSync(a) === realpathSync(b)
  } catch {
    // What is not there yet is replaced by nothing.
    return false
  }
}

/** The same on standard output where no file is named. */
export const writeOrPrint = <E>(
  file: string | undefined,
  text: Stream.Stream<string, E>,
  kept: Kept
): Effect.Effect<void, E | ExitCode.Failure> =>
  file === undefined
    ? Effect.flatMap(Output.Output, ({ out }) => Stream.runForEach(text, (piece) => Effect.sync(() => out(piece))))
    : write(file, text, kept)
