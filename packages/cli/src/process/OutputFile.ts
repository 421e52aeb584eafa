/**
 * Writes a document of a command to a named file: whole or not at all, and never over a file that the command reads.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import type * as Store from "@pipe/core/Store"
import * as WholeFile from "@pipe/core/internal/WholeFile"
import * as NodeHost from "@pipe/plugins/NodeHost"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { closeSync, existsSync, openSync, readSync, realpathSync, statSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as ExitCode from "./ExitCode.ts"
import * as Output from "./Output.ts"

/** Files that must not change, such as `the store`, by path. */
export type KeptOutput = { readonly [what: string]: string | undefined }

/** The files of a command's store. */
export const storeAt = (location: string): KeptOutput =>
  NodeHost.isPostgres(location)
    ? {}
    : {
        "the store": location,
        "the store's log": `${realOf(location)}-wal`,
        "the store's index": `${realOf(location)}-shm`
      }

/** Files of a store are next to the file that a link points to. */
const realOf = (location: string): string => (existsSync(location) ? realpathSync(location) : location)

/** What a run has left at the path of a file, if anything. */
export const resultAt = (store: Store.Service, named: string | undefined): Effect.Effect<KeptOutput> => {
  const file = named === undefined ? undefined : pathOf(named)
  return Effect.map(
    file === undefined || !existsSync(file)
      ? Effect.undefined
      : Effect.orElseSucceed(store.outputs.find(realpathSync(file)), () => undefined),
    (output) => (output === undefined ? {} : { [`the result of run ${output.run}`]: file })
  )
}

/** A document to write. */
export interface Document<E> {
  /** The kind of document, for display: `a report`. */
  readonly what: string
  readonly text: Stream.Stream<string, E>
  /** The beginning of every document of this kind: only such a file is replaced. */
  readonly starts: string
}

/** Writes a document, or reports in one line why the file cannot be created. */
export const write = <E>(
  named: string,
  { starts, text, what: kind }: Document<E>,
  kept: KeptOutput
): Effect.Effect<void, E | ExitCode.Failure> =>
  Effect.gen(function* () {
    const file = pathOf(named)
    for (const [what, path] of Object.entries(kept)) {
      if (path !== undefined && isSame(file, path)) {
        return yield* ExitCode.refuse(`${file}: cannot be written: it is ${what}`)
      }
    }
    if (!isReplaceable(file, starts)) {
      return yield* ExitCode.refuse(`${file}: holds something other than ${kind}: move it, or name another file`)
    }
    const target = yield* WholeFile.open(file)
    yield* Stream.runForEach(text, target.write)
    yield* target.finish
  }).pipe(
    Effect.scoped,
    Effect.provide(NodeServices.layer),
    Effect.mapError((error) => (error instanceof WholeFile.WriteError ? ExitCode.refuse(error.message) : error))
  ) as Effect.Effect<void, E | ExitCode.Failure>

/** A file may be given as a URL. */
const pathOf = (file: string): string => (/^file:\/\//i.test(file) && URL.canParse(file) ? fileURLToPath(file) : file)

/**
 * Tests whether a file may be replaced by a document with this beginning: it is missing, empty, or of the same kind.
 */
const isReplaceable = (file: string, starts: string): boolean => {
  const start = new Uint8Array(starts.length)
  try {
    if (!statSync(file).isFile()) return true
    const handle = openSync(file, "r")
    const length = readSync(handle, start)
    closeSync(handle)
    return length === 0 || new TextDecoder().decode(start) === starts
  } catch {
    // The writer reports why it is impossible.
    return true
  }
}

const isSame = (a: string, b: string): boolean => {
  try {
    return realpathSync(a) === realpathSync(b)
  } catch {
    // There is nothing to replace.
    return false
  }
}

/** The same, on standard output when no file is named. */
export const writeOrPrint = <E>(
  file: string | undefined,
  document: Document<E>,
  kept: KeptOutput
): Effect.Effect<void, E | ExitCode.Failure> =>
  file === undefined
    ? Effect.flatMap(Output.Output, ({ out }) =>
        Stream.runForEach(document.text, (piece) => Effect.sync(() => out(piece)))
      )
    : write(file, document, kept)
