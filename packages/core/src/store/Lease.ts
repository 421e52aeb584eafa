/**
 * The lease of a process on a server: its runs, its calls in flight and its claims are its own while the lease lasts. It
 * is renewed by the clock of the database, so clocks of machines do not matter.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as SqlError from "effect/sql/SqlError"
import { hostname } from "node:os"
import type * as Statement from "./Statement.ts"

export interface Lease {
  /** Begins the lease, if it has not started. Returns its number. */
  readonly begin: Effect.Effect<number, SqlError.SqlError>
  /** The number of the lease; `undefined` before it begins. */
  readonly current: () => number | undefined
  /** A number that no other process of the server has, once the lease has started. */
  readonly next: () => number
  /** Whether another process has ended it. */
  readonly isLost: Effect.Effect<boolean, SqlError.SqlError>
}

/** How long a lease lasts without renewal, and how often it is renewed, in milliseconds. */
export const DURATION = 10_000
const RENEWAL = 2_000

/** How long the end of a lease is waited for: without it the lease lapses. In milliseconds. */
const LAST_WAIT = 1_000

/** Now, by the database, in milliseconds since 1970. */
export const NOW = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"

/**
 * A lease that has lapsed. After a restart of the server every process gets the time to renew its own.
 */
export const LAPSED = `(expires_at = 0 OR expires_at < ${NOW} AND pg_postmaster_start_time() < clock_timestamp() - interval '${DURATION} milliseconds')`

/** Whether the lease in a column lasts, as the column `is_leased`. */
export const lasts = (column: string): string =>
  `EXISTS (SELECT 1 FROM leases WHERE leases.id = ${column} AND is_over = 0 AND NOT ${LAPSED})`

/** This process. */
export const here = (): { readonly host: string; readonly pid: number } => ({ host: hostname(), pid: process.pid })

/**
 * Statements that end leases for good: a group that one of them is writing is waited for, and each later one is refused,
 * even when the process wakes up and renews. `which` selects the numbers of leases that have lapsed.
 */
export const ending = (which: string, params: ReadonlyArray<unknown>): ReadonlyArray<Statement.Statement> => [
  { sql: `UPDATE leases SET is_over = 1 WHERE is_over = 0 AND id IN (${which})`, params },
  { sql: `UPDATE lanes SET number = -1 WHERE lease IN (${which})`, params }
]

export const make = Effect.fnUntraced(function* (
  query: Statement.Query,
  /** Sends a statement once, without waiting for a server that is away. */
  once: Statement.Query
): Effect.fn.Return<Lease, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const opening = Semaphore.makeUnsafe(1)
  const { host, pid } = here()
  let id: number | undefined

  // Made before the writer, so it ends after the last group.
  yield* Effect.addFinalizer(() =>
    id === undefined
      ? Effect.void
      : Effect.ignore(
          Effect.timeoutOption(
            Effect.interruptible(once("UPDATE leases SET expires_at = 0 WHERE id = ?", [id])),
            LAST_WAIT
          )
        )
  )

  const renew = Effect.suspend(() =>
    once(`UPDATE leases SET expires_at = ${NOW} + ${DURATION} WHERE id = ? AND is_over = 0`, [id])
  )

  const begin = opening.withPermit(
    Effect.suspend(() =>
      id !== undefined
        ? Effect.succeed(id)
        : Effect.gen(function* () {
            const [row] = yield* query(
              `INSERT INTO leases (host, pid, expires_at, is_over) VALUES (?, ?, ${NOW} + ${DURATION}, 0) RETURNING id`,
              [host, pid]
            )
            id = Number(row!["id"])
            const renewed = Effect.ignore(Effect.timeoutOption(renew, RENEWAL))
            yield* Effect.forkIn(Effect.forever(Effect.andThen(Effect.sleep(RENEWAL), renewed)), scope)
            return id
          })
    )
  )

  let numbers = 0
  return {
    begin,
    current: () => id,
    next: () => (id ?? 0) * 2 ** 32 + ++numbers,
    isLost: Effect.suspend(() =>
      id === undefined
        ? Effect.succeed(false)
        : Effect.map(
            query("SELECT 1 AS one FROM leases WHERE id = ? AND is_over = 0", [id]),
            (rows) => rows.length === 0
          )
    )
  }
})
