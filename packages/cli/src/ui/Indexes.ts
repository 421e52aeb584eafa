/** The indexes of the runs that are looked at: made once, followed while they are used, and dropped some time after. */
import type * as Store from "@pipe/core/Store"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Kept from "./Kept.ts"
import type * as Located from "./Located.ts"
import type * as Problem from "./Problem.ts"
import * as RowIndex from "./RowIndex.ts"

/** What is kept of a run. */
export interface Indexed {
  readonly store: Store.Service
  readonly run: number
  readonly index: RowIndex.RowIndex
  readonly kept: Kept.Kept
  readonly scope: Scope.Closeable
  updating?: Fiber.Fiber<unknown, Problem.Problem>
  /** How many requests need it now. */
  users: number
  usedAt: number
}

export interface Indexes {
  /** The index of a run, which stays until the scope is closed. */
  readonly hold: (located: Located.Located) => Effect.Effect<Indexed, never, Scope.Scope>
  /** Drops the indexes of a store. */
  readonly drop: (store: Store.Service) => Effect.Effect<void>
}

/** The most runs with an index that was not used of late, and in all: more have one only while they are in use. */
const MOST_IDLE = 4
const MOST = 16

/** Milliseconds after which an index that no request has asked for is idle. */
const IDLE = 60_000

/** Makes them in the scope of the server. */
export const make = Effect.fnUntraced(function* (): Effect.fn.Return<Indexes, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const alone = Semaphore.makeUnsafe(1)
  let all: ReadonlyArray<Indexed> = []

  const dropAll = (dropped: ReadonlyArray<Indexed>) => {
    all = all.filter((one) => !dropped.includes(one))
    return Effect.forEach(dropped, (one) => Scope.close(one.scope, Exit.void), { discard: true })
  }

  /** Makes room for one more. */
  const evict = (now: number) => {
    const unused = all.filter(({ users }) => users === 0).toSorted((a, b) => a.usedAt - b.usedAt)
    const idle = unused.filter(({ usedAt }) => now - usedAt > IDLE)
    const extra = Math.max(0, all.length + 1 - MOST)
    return dropAll([
      ...new Set([...unused.slice(0, extra), ...idle.slice(0, Math.max(0, idle.length + 1 - MOST_IDLE))])
    ])
  }

  const find = Effect.fnUntraced(function* (located: Located.Located) {
    const { run, store } = located
    const now = yield* Clock.currentTimeMillis
    let found = all.find((one) => one.store === store && one.run === run.id)
    if (found === undefined) {
      yield* evict(now)
      const own = yield* Scope.fork(scope)
      found = {
        store,
        run: run.id,
        index: yield* Effect.provideService(RowIndex.make(store, run.id), Scope.Scope, own),
        kept: Kept.make(located),
        scope: own,
        users: 0,
        usedAt: now
      }
      all = [...all, found]
    }
    found.users++
    return found
  })

  const release = (one: Indexed) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      one.users--
      one.usedAt = now
    })

  return {
    hold: (located) => Effect.acquireRelease(alone.withPermit(find(located)), release),
    drop: (store) => alone.withPermit(Effect.suspend(() => dropAll(all.filter((one) => one.store === store))))
  }
})
