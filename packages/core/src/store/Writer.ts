/**
 * Writes in groups: everything appended in one turn of the event loop is one transaction, at the end of the turn. A
 * process that is killed loses what it appended since.
 *
 * A group that the database refuses because of its content is split in halves until one item is left. That item goes to
 * the table `aside`, with one warning, and the others are written. A group that fails for another reason (a lock, a
 * full disk, an unreachable server) is kept whole, and the next group tries again.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type * as SqlError from "effect/sql/SqlError"
import * as Database from "./Database.ts"

/** A table for appended rows. Its `id` counts up. */
export interface WriterTable {
  readonly name: string
  readonly columns: ReadonlyArray<string>
  /**
   * Receives the ids of committed rows, in the order in which they were appended; `undefined` for a row that was set
   * aside.
   */
  readonly committed?: (ids: ReadonlyArray<number | undefined>) => void
}

export interface Writer {
  /** `removes` is deleted in the same transaction that writes the row. */
  readonly append: (table: WriterTable, row: ReadonlyArray<unknown>, removes?: Removal) => void
  /** A statement that runs after the rows appended before it. */
  readonly execute: (sql: string, params: ReadonlyArray<unknown>) => void
  /** Ends when everything appended before is committed. */
  readonly commit: Effect.Effect<void, SqlError.SqlError>
  /** Why the last group could not be written. It stays queued, and the next group tries again. */
  readonly failure: () => SqlError.SqlError | undefined
}

/** Rows per statement: few sizes, so each statement is prepared once. */
const SIZES = [64, 16, 4, 1]

const LAST: Database.Statement = { sql: "SELECT last_insert_rowid() AS id", params: [] }

/** When this many items of one group fail, the table is broken and not the items. */
const MOST_ASIDE = 64

/** A row of a run to delete. Those of one group share statements. */
export interface Removal {
  readonly run: number
  readonly id: number
  /** The statement for this many ids, after the run. */
  readonly sql: (count: number) => string
}

/** A row with what it replaces, or a statement. */
type Item =
  | { readonly table: WriterTable; readonly row: ReadonlyArray<unknown>; readonly removes: Removal | undefined }
  | { readonly table: undefined; readonly statement: Database.Statement }

interface Queue {
  readonly items: ReadonlyArray<Item>
  readonly waiters: Array<(exit: Exit.Exit<void, SqlError.SqlError>) => void>
}

/** What was not written, and why. */
interface Left {
  readonly items: ReadonlyArray<Item>
  readonly error: SqlError.SqlError
}

export const make = Effect.fnUntraced(function* (
  database: Database.Service
): Effect.fn.Return<Writer, never, Scope.Scope> {
  const run = Effect.runForkWith(yield* Effect.context<never>())
  let items: Array<Item> = []
  let waiters: Queue["waiters"] = []
  /** The group in progress. The next waits for it, so rows are committed in the order in which they were appended. */
  let current: Queue | undefined
  let scheduled = false
  let failure: SqlError.SqlError | undefined

  const flush = Effect.suspend(() => {
    const group: Queue = { items, waiters }
    items = []
    waiters = []
    current = group
    scheduled = false
    return Effect.onExitPrimitive(write(database, group.items), (exit) => {
      current = undefined
      const left = exit._tag === "Success" ? exit.value : undefined
      failure = left?.error
      if (exit._tag === "Failure") items = [...group.items, ...items]
      else if (left !== undefined) items = [...left.items, ...items]
      const done = left === undefined ? Exit.asVoid(exit) : Exit.fail(left.error)
      for (const resume of group.waiters) resume(done)
      // What was appended in the meantime is written next. After a failure the next append or commit tries again, not a
      // loop.
      if (waiters.length > 0 || (Exit.isSuccess(done) && items.length > 0)) schedule()
      return undefined
    })
  })

  const schedule = (): void => {
    if (scheduled || current !== undefined) return
    scheduled = true
    setImmediate(() => run(flush))
  }

  const commit: Writer["commit"] = Effect.callback((resume) => {
    if (items.length === 0 && current === undefined) return resume(Effect.void)
    const own = items.length === 0 && current !== undefined ? current.waiters : waiters
    own.push((exit) => resume(exit))
    schedule()
  })

  yield* Effect.addFinalizer(() =>
    Effect.catch(commit, (error) =>
      Effect.logWarning(`${database.name}: the last changes could not be written: ${error.reason.message}`)
    )
  )

  return {
    commit,
    failure: () => failure,
    append: (table, row, removes) => {
      items.push({ table, row, removes })
      schedule()
    },
    execute: (sql, params) => {
      items.push({ table: undefined, statement: { sql, params } })
      schedule()
    }
  }
})

/** Writes items in order. Returns what is left when the database cannot be written. */
const write = (database: Database.Service, items: ReadonlyArray<Item>): Effect.Effect<Left | undefined> => {
  let aside = 0
  const part = (some: ReadonlyArray<Item>): Effect.Effect<Left | undefined> =>
    Effect.catch(transact(database, some), (error) => {
      if (!Database.isContent(error) || aside >= MOST_ASIDE) return Effect.succeed({ items: some, error })
      if (some.length === 1) {
        aside++
        return putAside(database, some[0]!, error)
      }
      const half = some.length >> 1
      return Effect.flatMap(part(some.slice(0, half)), (left) =>
        left === undefined
          ? part(some.slice(half))
          : Effect.succeed({ items: [...left.items, ...some.slice(half)], error: left.error })
      )
    })
  return part(items)
}

const inserts = new Map<string, string>()

const insert = (database: Database.Service, table: WriterTable, count: number): string => {
  const key = `${database.dialect}/${table.name}/${table.columns.length}/${count}`
  let sql = inserts.get(key)
  if (sql === undefined) {
    const row = `(${table.columns.map(() => "?").join(", ")})`
    sql = `INSERT INTO ${table.name} (${table.columns.join(", ")}) VALUES ${Array.from({ length: count }, () => row).join(", ")}${
      table.committed === undefined || database.dialect === "sqlite" ? "" : " RETURNING id"
    }`
    inserts.set(key, sql)
  }
  return sql
}

/** Writes all items in one transaction: the rows by table, then the statements. */
const transact = (
  database: Database.Service,
  items: ReadonlyArray<Item>
): Effect.Effect<undefined, SqlError.SqlError> => {
  const byTable = new Map<WriterTable, Array<ReadonlyArray<unknown>>>()
  const after: Array<Database.Statement> = []
  const removals: Array<Removal> = []
  for (const item of items) {
    if (item.table === undefined) {
      after.push(item.statement)
      continue
    }
    const rows = byTable.get(item.table)
    if (rows === undefined) byTable.set(item.table, [item.row])
    else rows.push(item.row)
    if (item.removes !== undefined) removals.push(item.removes)
  }
  const statements: Array<Database.Statement> = []
  const owners: Array<{ readonly table: WriterTable; readonly count: number; readonly statement: number }> = []
  for (const [table, rows] of byTable) {
    let from = 0
    for (const size of SIZES) {
      for (; rows.length - from >= size; from += size) {
        const params: Array<unknown> = []
        for (let i = from; i < from + size; i++) for (const value of rows[i]!) params.push(value)
        statements.push({ sql: insert(database, table, size), params })
        if (table.committed === undefined) continue
        // The rows of one statement have consecutive ids: on SQLite the last one is enough.
        if (database.dialect === "sqlite") statements.push(LAST)
        owners.push({ table, count: size, statement: statements.length - 1 })
      }
    }
  }
  statements.push(...removing(removals), ...after)
  return Effect.map(database.transaction(statements), (results) => {
    const ids = new Map<WriterTable, Array<number>>()
    for (const { count, statement, table } of owners) {
      const own = ids.get(table) ?? []
      const rows = results[statement]!
      if (rows.length === count && count > 1) for (const row of rows) own.push(Number(row["id"]))
      else for (let i = count - 1; i >= 0; i--) own.push(Number(rows[0]!["id"]) - i)
      ids.set(table, own)
    }
    for (const [table, own] of ids) table.committed!(own)
    return undefined
  })
}

/** As few statements as there are runs and sizes. */
const removing = (removals: ReadonlyArray<Removal>): ReadonlyArray<Database.Statement> => {
  const byRun = Map.groupBy(removals, ({ run }) => run)
  return [...byRun].flatMap(([run, all]) => {
    const statements: Array<Database.Statement> = []
    let from = 0
    for (const size of SIZES) {
      for (; all.length - from >= size; from += size) {
        const ids = all.slice(from, from + size).map(({ id }) => id)
        statements.push({ sql: all[from]!.sql(size), params: [run, ...ids] })
      }
    }
    return statements
  })
}

/** Keeps an item that its table refuses as JSON, for inspection. */
const putAside = (
  database: Database.Service,
  item: Item,
  error: SqlError.SqlError
): Effect.Effect<Left | undefined> => {
  const what = item.table?.name ?? "a statement"
  const content = item.table === undefined ? item.statement : item.row
  return Effect.matchEffect(
    database.query("INSERT INTO aside (at, name, error, content) VALUES (?, ?, ?, ?)", [
      Date.now(),
      what,
      error.reason.message,
      JSON.stringify(content, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value)) ?? "null"
    ]),
    {
      onFailure: (failed) => Effect.succeed({ items: [item], error: failed }),
      onSuccess: () => {
        item.table?.committed?.([undefined])
        return Effect.as(
          Effect.logWarning(
            `${database.name}: a row for ${what} cannot be written (${error.reason.message}): it is set aside in the table aside, and the others are written`
          ),
          undefined
        )
      }
    }
  )
}
