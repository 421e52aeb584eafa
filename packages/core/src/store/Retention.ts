/**
 * Deletes answers and results with everything that depends on them: keys, vectors, evidence.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import * as Database from "./Database.ts"
import type * as KeyedLog from "./KeyedLog.ts"

/** Conditions on the rows of each table to delete. */
export interface Where {
  readonly cache: string
  readonly results: string
  readonly reuse: string
}

/** The numbers of deleted rows. */
export interface Removed {
  readonly entries: number
  readonly results: number
  readonly reusable: number
}

export type Remove = (
  where: Where,
  params: ReadonlyArray<unknown>,
  resultParams: ReadonlyArray<unknown>
) => Effect.Effect<Removed, SqlError.SqlError>

/** Deletes rows of all these tables, with their keys. Returns how many. */
export const remove = (
  database: Database.Service,
  answers: Pick<KeyedLog.KeyedLog<KeyedLog.LogEntry>, "settle" | "forget">,
  results: Pick<KeyedLog.KeyedLog<KeyedLog.LogEntry>, "settle" | "forget">
): Remove => {
  const counts = Effect.all({
    entries: Database.count(database, "cache"),
    results: Database.count(database, "results"),
    reusable: Database.count(database, "reuse_entries")
  })
  return Effect.fnUntraced(function* (where, params, resultParams) {
    yield* Effect.andThen(answers.settle, results.settle)
    const before = yield* counts
    const statements: Array<Database.Statement> = [
      { sql: `DELETE FROM cache WHERE ${where.cache}`, params },
      { sql: `DELETE FROM results WHERE ${where.results}`, params: resultParams },
      { sql: `DELETE FROM reuse_entries WHERE ${where.reuse}`, params },
      // The exchanges are deleted when all answers are.
      ...(where.cache === "1 = 1" ? [{ sql: "DELETE FROM exchanges", params: [] }] : []),
      { sql: "DELETE FROM vectors WHERE id NOT IN (SELECT vector FROM reuse_entries)", params: [] },
      // The evidence from deleted answers.
      { sql: "DELETE FROM reuse_lookups WHERE scope NOT IN (SELECT scope FROM reuse_entries)", params: [] }
    ]
    if (database.dialect === "sqlite") {
      for (const table of ["cache", "results"]) {
        statements.push(
          { sql: `DELETE FROM ${table}_index WHERE id NOT IN (SELECT id FROM ${table})`, params: [] },
          // Ids continue from the last remaining row.
          {
            sql: `UPDATE indexed SET upto = coalesce((SELECT max(id) FROM ${table}), 0) WHERE name = ?`,
            params: [table]
          }
        )
      }
    }
    yield* database.transaction(statements)
    answers.forget()
    results.forget()
    // Returns the freed pages to the disk.
    if (database.dialect === "sqlite") yield* database.query("VACUUM")
    const left = yield* counts
    return {
      entries: before.entries - left.entries,
      results: before.results - left.results,
      reusable: before.reusable - left.reusable
    }
  })
}
