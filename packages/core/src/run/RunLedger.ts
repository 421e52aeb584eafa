/**
 * The ledger of a run: the entries of its earlier attempts, and new ones.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as RunHooks from "../client/RunHooks.ts"
import * as Stream from "effect/Stream"
import type * as Budget from "../ledger/Budget.ts"
import * as InterruptedCalls from "../ledger/InterruptedCalls.ts"
import type * as LedgerEntry from "../ledger/LedgerEntry.ts"
import * as Usage from "../model/Usage.ts"
import * as Money from "../price/Money.ts"
import * as Database from "../store/Database.ts"
import * as ServerGroups from "../store/ServerGroups.ts"
import * as Store from "../store/Store.ts"
import * as EarlierAnswers from "./EarlierAnswers.ts"
import type * as RowCosts from "./RowCosts.ts"
import type * as RunRepo from "./RunRepo.ts"
import type * as RunState from "./RunState.ts"

/** What rows have cost in earlier attempts of the run. */
const restoreCosts = (
  costs: RowCosts.RowCosts,
  rows: ReturnType<Store.Service["ledger"]["rows"]>,
  { name }: Store.Service
): Effect.Effect<void, Store.StoreError> =>
  Effect.mapError(
    Stream.runForEach(rows, (row) =>
      Effect.sync(() =>
        costs.restore(String(row["step"]), Number(row["row_index"]), {
          money: Number(row["unpriced"]) > 0 ? undefined : Database.toBigInt(row["cost"]),
          calls: Number(row["calls"]),
          milliseconds: Number(row["milliseconds"])
        })
      )
    ),
    (error) => Store.unusable(name, error)
  )

export interface RunLedger {
  readonly record: (entry: LedgerEntry.LedgerEntry) => void
  /** Counts an entry that is in the store already; with `isCharged` the budget has counted it. */
  readonly count: (entry: LedgerEntry.LedgerEntry, isCharged: boolean) => void
  /** Notes a call before it is sent; `undefined` when nothing is kept. */
  readonly calls: RunHooks.RunHooks["onCall"]
  /** Removes the note of a call that was not sent after all. */
  readonly unsent: (call: number) => void
}

/** Restores the totals of earlier attempts, and receives new entries. */
export const open = Effect.fnUntraced(function* (
  run: RunRepo.StoredRun,
  store: Store.Service,
  state: RunState.RunState,
  {
    budget,
    isShared,
    isWorker = false
  }: {
    readonly budget?: Budget.Budget | undefined
    /** Several processes run this attempt. */
    readonly isShared: boolean
    /** A worker has nothing of earlier attempts. */
    readonly isWorker?: boolean
  }
): Effect.fn.Return<RunLedger, Store.StoreError> {
  const { ledger } = store
  const of = { run: run.id, attempt: isShared ? run.tries : undefined }
  const first = InterruptedCalls.firstCall(run.tries)
  let number = first
  const server = store.database.server
  let isEarlier: EarlierAnswers.EarlierAnswers = () => false
  if (run.tries > 1 && !isWorker) {
    isEarlier = yield* Effect.mapError(EarlierAnswers.make(ledger.answered(run.id)), (error) =>
      Store.unusable(store.name, error)
    )
    const sums = yield* Effect.mapError(Effect.andThen(ledger.settle(run.id, first), ledger.sums(run.id)), (error) =>
      Store.unusable(store.name, error)
    )
    for (const sum of sums) state.totals.restore(sum)
    if (state.costs !== undefined) yield* restoreCosts(state.costs, ledger.rows(run.id), store)
    const spent =
      budget === undefined
        ? []
        : yield* Effect.mapError(ledger.spent(run.id), (error) => Store.unusable(store.name, error))
    for (const { model, money, step, tokens } of spent) budget!.spend(step, model, money, tokens)
  }
  return {
    record: (entry: LedgerEntry.LedgerEntry): void => {
      if (entry._tag === "Answer" && isEarlier(entry)) return
      state.totals.record(entry)
      state.costs?.add(entry)
      ledger.append(run.id, entry)
    },
    count: (entry: LedgerEntry.LedgerEntry, isCharged: boolean): void => {
      state.totals.record(entry)
      state.costs?.add(entry)
      if (isCharged || entry._tag !== "Attempt") return
      const tokens = entry.usage === undefined ? 0 : Usage.totalTokens(entry.usage)
      budget?.spend(entry.caller.step, entry.requested ?? entry.model, entry.cost ?? Money.zero, tokens)
    },
    unsent: (call) => ledger.end(run.id, call),
    calls: store.inMemory
      ? undefined
      : (call: InterruptedCalls.OpenCall) => {
          const id = server === undefined ? ++number : server.lease.next()
          const noted = Effect.catch(ledger.begin(of, id, call), (error) => {
            state.stop(
              ServerGroups.isRefused(error)
                ? { kind: "interrupted", message: Store.messageOf(error) }
                : {
                    kind: "failed",
                    message: `${store.name} cannot be written (${Store.messageOf(error)}): nothing more is sent, because answers could not be stored. Fix this, and resume the run`
                  }
            )
            return Effect.interrupt
          })
          return { number: id, noted }
        }
  }
})
