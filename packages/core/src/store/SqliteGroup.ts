/**
 * Writes a group of rows on SQLite, as one transaction with few statements.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as Database from "./Database.ts"
import * as WriterItem from "./WriterItem.ts"

/** Rows per statement: few sizes, so each statement is prepared once. */
const SIZES = [64, 32, 16, 8, 4, 2, 1]

const inserts = new Map<string, string>()

const insert = (table: WriterItem.WriterTable, count: number): string => {
  const key = `${table.name}/${table.columns.length}/${count}`
  let sql = inserts.get(key)
  if (sql === undefined) {
    const row = `(${table.columns.map(() => "?").join(", ")})`
    sql = `INSERT INTO ${table.name} (${table.columns.join(", ")}) VALUES ${Array.from({ length: count }, () => row).join(", ")}`
    inserts.set(key, sql)
  }
  return sql
}

/** Writes all items in one transaction: the rows by table, then deletions and statements. */
export const write = (
  database: Database.Service,
  items: ReadonlyArray<WriterItem.Item>
): Effect.Effect<void, SqlError.SqlError> => {
  const { removals, rows: byTable, statements: after } = WriterItem.sort(items)
  const statements: Array<Database.Statement> = []
  const owners: Array<{ readonly table: WriterItem.WriterTable; readonly count: number; readonly statement: number }> =
    []
  for (const [table, rows] of byTable) {
    let from = 0
    for (const size of SIZES) {
      for (; rows.length - from >= size; from += size) {
        const { length } = table.columns
        const params = new Array<unknown>(size * length)
        for (let i = 0; i < size; i++) {
          const row = rows[from + i]!
          for (let column = 0; column < length; column++) params[i * length + column] = row[column]
        }
        // The rows of one statement have consecutive ids: the last one is enough.
        if (table.committed !== undefined) owners.push({ table, count: size, statement: statements.length })
        statements.push({ sql: insert(table, size), params, isInsert: true })
      }
    }
  }
  statements.push(...removing(removals), ...after)
  return Effect.map(database.transaction(statements), (results) => {
    const ids = new Map<WriterItem.WriterTable, Array<number>>()
    for (const { count, statement, table } of owners) {
      const own = ids.get(table) ?? []
      const last = Number(results[statement]![0]!["id"])
      for (let i = count - 1; i >= 0; i--) own.push(last - i)
      ids.set(table, own)
    }
    for (const [table, own] of ids) table.committed!(own, byTable.get(table)!)
  })
}

/** As few statements as there are tables, first columns and sizes. */
const removing = (removals: ReadonlyArray<WriterItem.Removal>): ReadonlyArray<Database.Statement> => {
  if (removals.length === 0) return []
  const alike = Map.groupBy(removals, ({ key, table }) => `${table}/${key.slice(0, -1).join("/")}`)
  return [...alike.values()].flatMap((all) => {
    const { columns, key, table } = all[0]!
    const first = key.slice(0, -1)
    const where = columns.map((column, at) => (at < first.length ? `${column} = ?` : `${column} IN `)).join(" AND ")
    const statements: Array<Database.Statement> = []
    let from = 0
    for (const size of SIZES) {
      for (; all.length - from >= size; from += size) {
        const last = all.slice(from, from + size).map(({ key }) => key.at(-1))
        statements.push({
          sql: `DELETE FROM ${table} WHERE ${where}(${Array(size).fill("?").join(", ")})`,
          params: [...first, ...last]
        })
      }
    }
    return statements
  })
}
