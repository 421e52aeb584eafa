/** Implements `pipe store`. */
import { bytes, count } from "@pipe/core/internal/Format"
import * as StoreCopy from "@pipe/core/internal/StoreCopy"
import * as Upkeep from "@pipe/core/internal/Upkeep"
import * as NodeHost from "@pipe/plugins/NodeHost"
import * as Clock from "effect/Clock"
import * as Prompt from "effect/cli/Prompt"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { existsSync } from "node:fs"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Time from "../../flags/Time.ts"
import * as ExitCode from "../../process/ExitCode.ts"
import * as Log from "../../process/Log.ts"
import * as OpenStore from "../../process/OpenStore.ts"
import * as Output from "../../process/Output.ts"

interface Shared {
  readonly simulate: boolean
  readonly store: Option.Option<string>
}

export const stats = (input: Shared & { readonly json: boolean }) =>
  OpenStore.withStore(input, (store) =>
    Effect.flatMap(Upkeep.sizes(store.database), (sizes) => {
      if (input.json) return Console.log(JSON.stringify({ name: store.name, ...sizes }))
      const { bytes: whole, processes, tables, version } = sizes
      return Console.log(
        [
          `${store.name}: ${whole === undefined ? "size unknown" : bytes(whole)}, version ${version}${
            processes === undefined
              ? ""
              : `, ${count(processes)} ${processes === 1 ? "process uses" : "processes use"} it now`
          }`,
          ...tables
            .filter(({ rows }) => rows > 0)
            .map(
              ({ bytes: size, rows, table }) =>
                `  ${table.padEnd(14)} ${count(rows).padStart(12)} rows${size === undefined ? "" : `  ${bytes(size).padStart(10)}`}`
            )
        ].join("\n")
      )
    })
  )

export const check = (input: Shared) =>
  Effect.gen(function* () {
    const { found, name } = yield* OpenStore.withStore(input, ({ database, name }) =>
      Effect.map(Upkeep.check(database), (found) => ({ found, name }))
    )
    for (const text of found) yield* Output.error(text)
    if (found.length > 0) return yield* ExitCode.end(ExitCode.failed)
    yield* Console.log(`${name}: nothing is wrong`)
  })

export const migrate = (input: Shared) =>
  Effect.gen(function* () {
    const location = StoreFlag.resolve(input)
    if (!OpenStore.exists(location)) return yield* ExitCode.refuse(`${location}: there is no store yet`)
    yield* Effect.mapError(NodeHost.migrate(location), (error) => ExitCode.refuse(error.message))
    yield* Console.log("the tables are those of this version")
  }).pipe(Effect.provide(Log.plain))

export const prune = (input: Shared & { readonly olderThan: string; readonly yes: boolean }) =>
  Effect.gen(function* () {
    const age = yield* Time.parse("--older-than", Option.some(input.olderThan))
    if (!input.yes) {
      if (!(yield* Output.Output).canPrompt)
        return yield* ExitCode.refuse("pipe store prune deletes runs with their ledger: confirm with --yes")
      const message = `Delete runs older than ${input.olderThan}, with their ledger?`
      if (!(yield* Prompt.run(Prompt.Confirm({ message, initial: false })))) return
    }
    const before = (yield* Clock.currentTimeMillis) - Duration.toMillis(age!)
    const { runs } = yield* OpenStore.withStore(input, (store) => Upkeep.prune(store.database, before))
    yield* Console.log(`${count(runs)} ${runs === 1 ? "run was" : "runs were"} deleted; answers and results are kept`)
  })

export const copy = ({ from, to }: { readonly from: string; readonly to: string }) =>
  Effect.gen(function* () {
    if (!OpenStore.exists(from)) return yield* ExitCode.refuse(`${from}: there is no such store`)
    if (!NodeHost.isPostgres(to) && existsSync(to))
      return yield* ExitCode.refuse(`${to}: exists already: copy to a new file`)
    const { copied, name } = yield* OpenStore.readable(
      OpenStore.use(from, (source) =>
        Effect.scoped(
          Effect.gen(function* () {
            const active = (yield* source.runs.list(1_000)).find(({ status }) => status === "running")
            if (active !== undefined)
              return yield* ExitCode.refuse(`run ${active.name} is active: copy ${source.name} when it has ended`)
            yield* source.commit
            const database = yield* NodeHost.newDatabase(to)
            if (!(yield* StoreCopy.isEmpty(database)))
              return yield* ExitCode.refuse(`${database.name} is not empty: copy to a new database`)
            return { name: database.name, copied: yield* StoreCopy.copy(source.database, database) }
          })
        )
      )
    )
    const rows = copied.reduce((sum, one) => sum + one.rows, 0)
    yield* Console.log(
      [
        ...copied
          .filter(({ rows }) => rows > 0)
          .map(({ rows, table }) => `  ${table.padEnd(14)} ${count(rows).padStart(12)}`),
        `${count(rows)} rows were copied to ${name}`
      ].join("\n")
    )
  })

export const rights = ({ read, role }: { readonly role: string; readonly read: boolean }) =>
  Console.log(Upkeep.rights(role, read ? "read" : "run"))
