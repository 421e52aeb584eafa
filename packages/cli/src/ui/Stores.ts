/** The stores that a page reads: the project's own and that of simulated runs, or the one that was named. */
import type * as Store from "@pipe/core/Store"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Indexes from "./Indexes.ts"
import type * as Kept from "./Kept.ts"
import * as LedgerCosts from "./LedgerCosts.ts"
import type * as Located from "./Located.ts"
import * as Problem from "./Problem.ts"
import type * as RowIndex from "./RowIndex.ts"
import * as StoreFiles from "./StoreFiles.ts"

export interface Stores {
  /** The newest runs of all stores. A store that does not exist yet has none. */
  readonly runs: (limit: number) => Effect.Effect<ReadonlyArray<Located.Located>, Problem.Problem>
  /** Why stores cannot be read, while others can. */
  readonly problems: Effect.Effect<ReadonlyArray<string>, Problem.Problem>
  readonly find: (name: string) => Effect.Effect<Located.Located, Problem.Problem>
  /**
   * The index of a run's rows, up to date. Unless all rows are needed, a long update is not waited for.
   */
  readonly index: (located: Located.Located, isWhole?: boolean) => Effect.Effect<RowIndex.RowIndex, Problem.Problem>
  /** The index as it is, which stays until the scope is closed. */
  readonly held: (located: Located.Located) => Effect.Effect<RowIndex.RowIndex, never, Scope.Scope>
  /** The last stored answer to each row of a run, up to date. */
  readonly kept: (located: Located.Located) => Effect.Effect<ReadonlyMap<string, Kept.KeptRow>, Problem.Problem>
  /** What a run has cost so far, added up as its ledger grows. */
  readonly cost: (located: Located.Located) => Effect.Effect<LedgerCosts.LedgerCost, Problem.Problem>
  readonly locationOf: (store: Store.Service) => string
}

/** How long an index is waited for. */
const PATIENCE = "150 millis"

/** Opens stores when they are first read, and closes them with the scope. */
export const make = Effect.fnUntraced(function* (
  locations: ReadonlyArray<string>
): Effect.fn.Return<Stores, never, Scope.Scope> {
  const indexes = yield* Indexes.make()
  const files = yield* StoreFiles.make(indexes.drop)
  const { open } = files
  /** Stores that can be read, and why others cannot. It is a failure when none can. */
  const readable = Effect.gen(function* () {
    const results = yield* Effect.forEach(locations, (location) => Effect.result(open(location)))
    const problems = results.flatMap((result) => (result._tag === "Failure" ? [result.failure] : []))
    const stores = results.flatMap((result) => (result._tag === "Success" ? (result.success ?? []) : []))
    if (stores.length === 0 && problems.length > 0) return yield* problems[0]!
    return { stores, problems }
  })
  const all = Effect.map(readable, ({ stores }) => stores)

  const runsOf = (store: Store.Service, limit: number) =>
    Effect.map(Problem.dead(store.runs.list(limit)), (listed) => listed.map((run) => ({ store, run })))
  const runs: Stores["runs"] = (limit) =>
    Effect.map(
      Effect.flatMap(all, (stores) => Effect.forEach(stores, (store) => runsOf(store, limit))),
      (found) =>
        found
          .flat()
          .toSorted((a, b) => b.run.startedAt - a.run.startedAt)
          .slice(0, limit)
    )

  return {
    runs,
    problems: Effect.map(readable, ({ problems }) => problems.map(({ message }) => message)),
    find: (name) =>
      Effect.gen(function* () {
        for (const store of yield* all) {
          const found = yield* Problem.dead(Effect.catchTag(store.runs.find(name), "RunError", () => Effect.undefined))
          if (found?.name === name) return { store, run: found }
        }
        return yield* new Problem.Problem({ status: 404, message: `no run is named ${name}` })
      }),
    index: (located, isWhole = false) =>
      Effect.scoped(
        Effect.gen(function* () {
          const found = yield* indexes.hold(located)
          const isUpdating = found.updating !== undefined && found.updating.pollUnsafe() === undefined
          if (!isUpdating) found.updating = yield* Effect.forkIn(Problem.unreadable(found.index.update), found.scope)
          const done = Fiber.join(found.updating!)
          yield* isWhole ? done : Effect.raceFirst(done, Effect.sleep(PATIENCE))
          return found.index
        })
      ),
    held: (located) => Effect.map(indexes.hold(located), ({ index }) => index),
    cost: LedgerCosts.make(),
    kept: (located) => Effect.scoped(Effect.flatMap(indexes.hold(located), ({ kept }) => kept.update)),
    locationOf: files.locationOf
  }
})
