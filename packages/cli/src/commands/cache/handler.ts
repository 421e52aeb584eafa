/** Implements `pipe cache`. */
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as CacheRepo from "@pipe/core/internal/CacheRepo"
import type * as Retention from "@pipe/core/internal/Retention"
import { bytes, count } from "@pipe/core/internal/Format"
import * as Secret from "@pipe/core/internal/Secret"
import type * as Store from "@pipe/core/Store"
import * as TextLine from "@pipe/core/internal/TextLine"
import * as Clock from "effect/Clock"
import * as Prompt from "effect/cli/Prompt"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { createReadStream } from "node:fs"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Time from "../../flags/Time.ts"
import * as ExitCode from "../../process/ExitCode.ts"
import * as OpenStore from "../../process/OpenStore.ts"
import * as Output from "../../process/Output.ts"
import * as OutputFile from "../../process/OutputFile.ts"

interface Shared {
  readonly simulate: boolean
  readonly store: Option.Option<string>
}

export const stats = (input: Shared & { readonly json: boolean }) =>
  OpenStore.withStore(input, (store) =>
    Effect.flatMap(store.cache.stats, (found) =>
      Console.log(
        input.json
          ? JSON.stringify(found)
          : [
              `${store.name}${found.storeBytes === undefined ? "" : `: ${bytes(found.storeBytes)}`}`,
              `  answers  ${count(found.entries)} (${bytes(found.bytes)})${found.expired === 0 ? "" : `, ${count(found.expired)} expired: pipe cache prune`}${
                found.oldest === undefined ? "" : `, the oldest of ${new Date(found.oldest).toISOString().slice(0, 10)}`
              }`,
              ...found.models.map(({ entries, model }) => `    ${model.padEnd(32)} ${count(entries).padStart(10)}`),
              `  results  ${count(found.results)}`,
              ...(found.reusable === 0 && found.vectors === 0
                ? []
                : [`  by meaning  ${count(found.reusable)} answers, ${count(found.vectors)} vectors`])
            ].join("\n")
      )
    )
  )

const gone = ({ entries, results, reusable }: Retention.Removed): string =>
  `${count(entries)} answers${reusable === 0 ? "" : `, ${count(reusable)} reusable by meaning`} and ${count(results)} results were deleted`

export const clear = (input: Shared & { readonly yes: boolean }) =>
  Effect.gen(function* () {
    if (!input.yes) {
      if (!(yield* Output.Output).canPrompt)
        return yield* ExitCode.refuse("pipe cache clear deletes all answers: confirm with --yes")
      const yes = yield* Prompt.run(
        Prompt.Confirm({ message: "Delete all cached answers and results?", initial: false })
      )
      if (!yes) return
    }
    yield* OpenStore.withStore(input, (store) =>
      Effect.flatMap(store.cache.clear, (removed) => Console.log(`${gone(removed)}; run history and ledger are kept`))
    )
  })

export const prune = (
  input: Shared & { readonly olderThan: Option.Option<string>; readonly model: Option.Option<string> }
) =>
  Effect.gen(function* () {
    const age = yield* Time.parse("--older-than", input.olderThan)
    const now = yield* Clock.currentTimeMillis
    yield* OpenStore.withStore(input, (store) =>
      Effect.flatMap(
        store.cache.prune({
          before: age === undefined ? undefined : now - Duration.toMillis(age),
          model: Option.getOrUndefined(input.model)
        }),
        (removed) => Console.log(gone(removed))
      )
    )
  })

export const exportAll = (input: Shared & { readonly file: Option.Option<string> }) =>
  OpenStore.withStore(input, (store) =>
    Effect.gen(function* () {
      let entries = 0
      const lines = Stream.map(store.cache.exportAll, (entry) => {
        entries++
        // An answer may repeat a secret from its prompt.
        return `${Secret.mask(JSON.stringify(entry))}\n`
      })
      const file = Option.getOrUndefined(input.file)
      const document = { what: "exported answers", text: lines, starts: '{"key":"' }
      yield* OutputFile.writeOrPrint(file, document, {
        ...OutputFile.storeAt(StoreFlag.resolve(input)),
        ...(yield* OutputFile.resultAt(store, file))
      })
      if (file !== undefined) yield* Console.log(`${count(entries)} answers are in ${file}`)
    })
  )

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(CacheRepo.Exported))

/** Imports one exported answer. */
const importLine = Effect.fnUntraced(function* (
  store: Store.Service,
  file: string,
  line: { readonly text: string; readonly number: number },
  sums: { added: number; known: number }
) {
  const entry = yield* Effect.mapError(decode(line.text), (error) =>
    ExitCode.refuse(
      `${file}:${line.number}: is not an exported answer (${error.message.split("\n")[0]}); ${count(sums.added)} before it were imported`
    )
  )
  if (yield* store.cache.importOne(entry)) sums.added++
  else sums.known++
  if (sums.added % 1_000 === 0) yield* store.commit
})

export const importAll = (input: Shared & { readonly file: string }) =>
  Effect.gen(function* () {
    const stdio = yield* Stdio.Stdio
    const unreadable = (error: unknown) =>
      ExitCode.refuse(`${input.file}: cannot be read: ${error instanceof Error ? error.message : String(error)}`)
    const bytes =
      input.file === "-"
        ? Stream.mapError(stdio.stdin, unreadable)
        : NodeStream.fromReadable<Uint8Array, ExitCode.Failure>({
            evaluate: () => createReadStream(input.file),
            onError: unreadable
          })
    const sums = { added: 0, known: 0 }
    yield* OpenStore.withStore(input, (store) => {
      const written = Stream.filter(TextLine.split(bytes), (line) => line.text.trim() !== "")
      return Effect.andThen(
        Stream.runForEach(written, (line) => importLine(store, input.file, line, sums)),
        store.commit
      )
    })
    const { added, known } = sums
    yield* Console.log(`${count(added)} answers were imported${known === 0 ? "" : `; ${count(known)} existed already`}`)
  })
