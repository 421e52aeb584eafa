/**
 * Copies a store into an empty one, of the same database or another: every row with its number.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import * as Database from "./Database.ts"
import * as KeyedLog from "./KeyedLog.ts"
import * as Store from "./Store.ts"
import * as Tables from "./Tables.ts"

/** Rows in a statement, and values: a server takes 65,535. */
const MOST_ROWS = 500
const MOST_VALUES = 30_000

/** What is copied: a table, and its rows so far. */
export interface Copied {
  readonly table: string
  readonly rows: number
}

/** Whether a store has nothing in it. */
export const isEmpty = (database: Database.Service): Effect.Effect<boolean, SqlError.SqlError> =>
  Effect.map(
    Effect.forEach(Tables.names, (table) => database.query(`SELECT 1 AS one FROM ${table} LIMIT 1`)),
    (all) => all.every((rows) => rows.length === 0)
  )

/** Copies all tables. The destination is empty. */
export const copy = Effect.fnUntraced(function* (from: Database.Service, to: Database.Service) {
  const copied: Array<Copied> = []
  for (const table of Tables.names) {
    const rows = yield* copyTable(from, to, table)
    copied.push({ table, rows })
    if (rows !== (yield* Database.count(from, table)) || rows !== (yield* Database.count(to, table)))
      return yield* Store.unusable(
        to.name,
        new Error(`${table} has other rows than the store that is copied: copy it again, when no run is active`)
      )
  }
  yield* to.dialect === "pg" ? continueNumbers(to) : KeyedLog.index(to, ["cache", "results"])
  return copied
})

const copyTable = Effect.fnUntraced(function* (from: Database.Service, to: Database.Service, table: string) {
  const there = new Map((yield* Tables.columns(to, table)).map((column) => [column.name, column]))
  // A lease belongs to a process of the other server.
  const columns = (yield* Tables.columns(from, table)).filter(({ name }) => there.has(name) && name !== "lease")
  const names = columns.map(({ name }) => name)
  const size = Math.min(MOST_ROWS, Math.floor(MOST_VALUES / columns.length))
  const hasId = names.includes("id") && table !== "calls"
  // A table without numbers is small, or ordered by its key.
  const order = (hasId ? ["id"] : names.slice(0, 2)).map((name) => `${table}.${name}`).join(", ")
  const row = `(${columns.map((column) => Tables.mark(there.get(column.name)!, to.dialect)).join(", ")})`
  const page = (after: string, at: number) =>
    from.query(
      `SELECT ${columns.map(Tables.read).join(", ")} FROM ${table}${
        hasId
          ? ` WHERE ${table}.id > ${Tables.mark(
              columns.find(({ name }) => name === "id")!,
              from.dialect
            )}`
          : ""
      } ORDER BY ${order} LIMIT ${size}${hasId ? "" : ` OFFSET ${at}`}`,
      hasId ? [after] : []
    )
  let last = "0"
  let count = 0
  while (true) {
    const rows = yield* page(last, count)
    if (rows.length > 0) {
      yield* to.query(
        `INSERT INTO ${table} (${names.join(", ")}) VALUES ${rows.map(() => row).join(", ")}`,
        rows.flatMap((values) => names.map((name) => values[name] ?? null))
      )
      count += rows.length
      last = String(rows.at(-1)!["id"])
    }
    if (rows.length < size) return count
  }
})

/** New rows get numbers after those that were copied. */
const continueNumbers = (to: Database.Service) =>
  Effect.forEach(
    Tables.names,
    (table) =>
      Effect.flatMap(Tables.columns(to, table), (columns) =>
        columns.some(({ name }) => name === "id") && table !== "calls"
          ? to.query(
              `SELECT setval(pg_get_serial_sequence('${table}', 'id'), greatest((SELECT max(id) FROM ${table}), 1), (SELECT count(*) > 0 FROM ${table}))`
            )
          : Effect.void
      ),
    { discard: true }
  )
