/** What runs have cost so far: the ledger is added up from where it was read last. */
import * as Database from "@pipe/core/Database"
import * as Money from "@pipe/core/Money"
import type * as Store from "@pipe/core/Store"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as LogTail from "./LogTail.ts"
import type * as Located from "./Located.ts"
import * as Problem from "./Problem.ts"

/** The cost of a run so far. */
export interface LedgerCost {
  readonly cost: Money.Money
  /** The part of it that is an upper bound, for attempts without a bill. */
  readonly estimated: Money.Money
  readonly attempts: number
  /** Attempts of unknown cost. */
  readonly unpriced: number
}

/** A sum up to an id. */
interface Part extends LedgerCost {
  readonly last: number
}

/** What a run is added up from: entries up to the first sum are all visible, those of the second are added up again. */
interface Known {
  readonly base: Part
  readonly next: Part
  /** When the second was added up. */
  readonly at: number
}

const nothing: Part = { last: 0, cost: Money.zero, estimated: Money.zero, attempts: 0, unpriced: 0 }

const after = Effect.fnUntraced(function* ({ run, store }: Located.Located, before: Part, until?: number) {
  const [sum] = yield* Problem.dead(
    store.database.query(
      `SELECT max(id) AS last, CAST(sum(cost) AS TEXT) AS cost, count(*) AS attempts,
        CAST(sum(CASE WHEN estimated = 1 THEN cost ELSE 0 END) AS TEXT) AS estimated, sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END) AS unpriced
        FROM attempts WHERE run = ? AND id > ?${until === undefined ? "" : " AND id <= ?"}`,
      [run.id, before.last, ...(until === undefined ? [] : [until])]
    )
  )
  return {
    last: Database.toNumber(sum?.["last"]) ?? before.last,
    cost: before.cost + (Database.toBigInt(sum?.["cost"]) ?? Money.zero),
    estimated: before.estimated + (Database.toBigInt(sum?.["estimated"]) ?? Money.zero),
    attempts: before.attempts + Database.total(sum?.["attempts"]),
    unpriced: before.unpriced + Database.total(sum?.["unpriced"])
  } satisfies Part
})

export const make = (): ((located: Located.Located) => Effect.Effect<LedgerCost, Problem.Problem>) => {
  const stores = new WeakMap<Store.Service, Map<number, Known>>()
  return Effect.fnUntraced(function* (located: Located.Located) {
    const { run, store } = located
    const known = stores.get(store) ?? new Map<number, Known>()
    stores.set(store, known)
    const now = yield* Clock.currentTimeMillis
    const { at, base, next } = known.get(run.id) ?? { base: nothing, next: nothing, at: now }
    if (store.database.server === undefined) {
      const sum = yield* after(located, base)
      known.set(run.id, { base: sum, next: sum, at: now })
      return sum
    }
    const isOld = now - at > LogTail.LATE
    const settled = isOld ? yield* after(located, base, next.last) : base
    const sum = yield* after(located, settled)
    known.set(run.id, isOld || next === nothing ? { base: settled, next: sum, at: now } : { base, next, at })
    return sum
  })
}
