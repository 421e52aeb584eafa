/**
 * Notices that another process has written to a database of SQLite.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as Database from "./Database.ts"

/** How often this process checks whether another one has written, in milliseconds. */
const REFRESH = 100

const no = Effect.succeed(false)

/** Returns whether another process has written since the last check, at most every `REFRESH`. */
export const make = (database: Database.Service): (() => Effect.Effect<boolean, SqlError.SqlError>) => {
  let version: unknown
  let checkedAt = Number.NEGATIVE_INFINITY
  return () => {
    const now = performance.now()
    if (now - checkedAt < REFRESH) return no
    checkedAt = now
    return Effect.map(database.query("PRAGMA data_version"), (rows) => {
      const current = rows[0]?.["data_version"]
      const other = current !== version
      version = current
      return other
    })
  }
}
