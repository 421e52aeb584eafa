/**
 * The rows of a run in a database of their own: what a table sorts and filters by.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { DatabaseSync, type SQLInputValue } from "node:sqlite"

/** Columns that rows are sorted and filtered by. Amounts of money are picodollars. */
const definitions = {
  row: "INTEGER NOT NULL",
  step: "TEXT NOT NULL",
  at: "INTEGER NOT NULL DEFAULT 0",
  model: "TEXT NOT NULL DEFAULT ''",
  origin: "TEXT",
  milliseconds: "INTEGER NOT NULL DEFAULT 0",
  input: "INTEGER NOT NULL DEFAULT 0",
  output: "INTEGER NOT NULL DEFAULT 0",
  cost: "INTEGER DEFAULT 0",
  estimated: "INTEGER NOT NULL DEFAULT 0",
  attempts: "INTEGER NOT NULL DEFAULT 0",
  failed: "INTEGER NOT NULL DEFAULT 0",
  certainty: "REAL",
  error: "TEXT",
  kind: "TEXT",
  position: "TEXT"
} as const

export type Column = keyof typeof definitions

export const columns = Object.keys(definitions) as ReadonlyArray<Column>

export const isNumber = (column: Column): boolean => !definitions[column].startsWith("TEXT")

/** An amount may be too large for a number, so it is read as text. */
export const isMoney = (column: Column): column is "cost" | "estimated" => column === "cost" || column === "estimated"

/** A condition on a column. */
export interface Filter {
  readonly column: Column
  readonly is: "=" | "!=" | ">=" | "<=" | "contains" | "unknown"
  readonly value: string
}

/** Which rows, and in which order. */
export interface Query {
  readonly filters: ReadonlyArray<Filter>
  readonly sort: Column
  readonly isDescending: boolean
  readonly from: number
  readonly count: number
}

/** A step of a row. Money is in picodollars, as text; `null` is unknown. */
export interface IndexedRow {
  readonly row: number
  readonly step: string
  readonly at: number
  readonly model: string
  readonly origin: string | null
  readonly milliseconds: number
  readonly input: number
  readonly output: number
  readonly cost: string | null
  /** The part of the cost that is an upper bound, for calls without a bill. */
  readonly estimated: string
  readonly attempts: number
  readonly failed: number
  /** The lowest probability of an answer, from 0 to 1, where the provider gave one and the exchange was kept. */
  readonly certainty: number | null
  readonly error: string | null
  /** What the error has in common with others of its kind. */
  readonly kind: string | null
  readonly position: string | null
}

/** A value of a column, and how often it occurs. */
export interface ValueCount {
  readonly value: string | number | null
  readonly count: number
}

export interface RowTable {
  /** Runs a statement for each of some values, all or none. */
  readonly insert: (sql: string, values: ReadonlyArray<ReadonlyArray<SQLInputValue>>) => void
  /** Forgets the failures: they are read again. Rows that had nothing else are gone. */
  readonly forgetFailures: () => void
  /** An order that is asked for often has an index: while rows arrive in number, it would make each of them slower. */
  readonly settle: () => void
  /** How many rows match. */
  readonly count: (filters: ReadonlyArray<Filter>) => number
  readonly rows: (query: Query) => ReadonlyArray<IndexedRow>
  /** The values of a column with their numbers, the most frequent first, at most 200. */
  readonly values: (column: Column, filters: ReadonlyArray<Filter>) => ReadonlyArray<ValueCount>
}

const SCHEMA = `CREATE TABLE rows (${columns.map((column) => `${column} ${definitions[column]}`).join(", ")}, PRIMARY KEY (row, step)) WITHOUT ROWID`

const selected = (column: Column): string => (isMoney(column) ? `CAST(${column} AS TEXT)` : column)

/** A condition and its values. Names of columns are those of a list; values are bound. */
const whereOf = (
  filters: ReadonlyArray<Filter>
): { readonly sql: string; readonly values: ReadonlyArray<SQLInputValue> } => {
  const parts: Array<string> = []
  const values: Array<SQLInputValue> = []
  for (const { column, is, value } of filters) {
    if (is === "unknown") parts.push(`${column} IS NULL`)
    else if (is === "contains") {
      parts.push(`instr(lower(coalesce(${column}, '')), lower(?)) > 0`)
      values.push(value)
    } else {
      parts.push(`${column} ${is} ?`)
      values.push(isNumber(column) ? Number(value) : value)
    }
  }
  return { sql: parts.length === 0 ? "" : `WHERE ${parts.join(" AND ")}`, values }
}

const COLUMNS = columns.map((column) => `${selected(column)} AS ${column}`).join(", ")

/** The order by a column: unknown values are last in both directions. */
const orderOf = (column: Column, isDescending: boolean): string => {
  const direction = isDescending ? "DESC" : "ASC"
  return column === "row"
    ? `row ${direction}, step ${direction}`
    : `(${column} IS NULL), ${column} ${direction}, row ${direction}, step ${direction}`
}

/** A database without a name is a file that is gone with its process, however that ends. */
const open = Effect.acquireRelease(
  Effect.sync(() => {
    const database = new DatabaseSync("")
    database.exec(SCHEMA)
    return database
  }),
  (database) => Effect.sync(() => database.close())
)

/** Makes the table. It is gone with the scope. */
export const make: Effect.Effect<RowTable, never, Scope.Scope> = Effect.map(open, (database): RowTable => {
  const sorted = new Set<string>()
  const counts = new Map<string, number>()
  let isSettled = false

  const sortedBy = (column: Column, isDescending: boolean): string => {
    const order = orderOf(column, isDescending)
    if (!sorted.has(order) && (isSettled || column !== "row")) {
      database.exec(`CREATE INDEX IF NOT EXISTS by_${column}_${isDescending ? "desc" : "asc"} ON rows (${order})`)
      sorted.add(order)
    }
    return order
  }

  return {
    insert: (sql, all) => {
      const insert = database.prepare(sql)
      database.exec("BEGIN")
      for (const values of all) insert.run(...values)
      database.exec("COMMIT")
      counts.clear()
    },
    forgetFailures: () => {
      database.exec("DELETE FROM rows WHERE error IS NOT NULL AND attempts = 0 AND origin IS NULL")
      database.exec("UPDATE rows SET error = NULL, kind = NULL WHERE error IS NOT NULL")
      counts.clear()
    },
    settle: () => {
      isSettled = true
    },
    count: (filters) => {
      const key = JSON.stringify(filters)
      let count = counts.get(key)
      if (count === undefined) {
        const { sql, values } = whereOf(filters)
        count = Number(database.prepare(`SELECT count(*) AS n FROM rows ${sql}`).get(...values)?.["n"])
        counts.set(key, count)
      }
      return count
    },
    rows: ({ count, filters, from, isDescending, sort }) => {
      const { sql, values } = whereOf(filters)
      // Rows before the page are passed in a narrow index.
      const select = database.prepare(
        `SELECT ${COLUMNS}
          FROM (SELECT row AS page_row, step AS page_step FROM rows ${sql} ORDER BY ${sortedBy(sort, isDescending)} LIMIT ? OFFSET ?)
          CROSS JOIN rows ON rows.row = page_row AND rows.step = page_step`
      )
      return select.all(...values, count, from) as unknown as ReadonlyArray<IndexedRow>
    },
    values: (column, filters) => {
      const { sql, values } = whereOf(filters)
      const select = database.prepare(
        `SELECT ${selected(column)} AS value, count(*) AS count FROM rows ${sql} GROUP BY ${column} ORDER BY count(*) DESC LIMIT 200`
      )
      return select.all(...values) as unknown as ReadonlyArray<ValueCount>
    }
  }
})
