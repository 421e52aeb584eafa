/**
 * Writes in groups: whatever is appended in one turn of the event loop is one transaction, at the turn's end. A process
 * that is killed loses what it appended since.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type * as SqlError from "effect/sql/SqlError"
import type * as Database from "./Database.ts"

/** Rows are appended to it; its `id` counts up. */
export interface Table {
  readonly name: string
  readonly columns: ReadonlyArray<string>
  /** Receives the ids of rows, in the order in which they were appended, when they are committed. */
  readonly committed?: (ids: ReadonlyArray<number>) => void
}

export interface Writer {
  readonly append: (table: Table, row: ReadonlyArray<unknown>) => void
  /** A statement that runs in the same transaction, after the rows. */
  readonly execute: (sql: string, params: ReadonlyArray<unknown>) => void
  /** Ends when all that was appended before is committed. */
  readonly commit: Effect.Effect<void, SqlError.SqlError>
  /** Why the last group could not be written; it stays queued, and the next group tries again. */
  readonly failure: () => SqlError.SqlError | undefined
}

/** Rows of one statement: few sizes, so that each statement is prepared once. */
const SIZES = [64, 16, 4, 1]

const LAST: Database.Statement = { sql: "SELECT last_insert_rowid() AS id", params: [] }

interface Queue {
  readonly rows: Map<Table, Array<ReadonlyArray<unknown>>>
  readonly statements: Array<Database.Statement>
  readonly waiters: Array<(exit: Exit.Exit<void, SqlError.SqlError>) => void>
}

const emptyQueue = (): Queue => ({ rows: new Map(), statements: [], waiters: [] })

export const make = Effect.fnUntraced(function* (
  database: Database.Service
): Effect.fn.Return<Writer, never, Scope.Scope> {
  const run = Effect.runForkWith(yield* Effect.context<never>())
  let queue = emptyQueue()
  /** The group that is on its way: the next waits for it, so that rows are committed in the order of their appending. */
  let current: Queue | undefined
  let scheduled = false
  let failure: SqlError.SqlError | undefined
  const inserts = new Map<string, string>()

  const insert = (table: Table, count: number): string => {
    const key = `${table.name}/${count}`
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

  const flush = Effect.suspend(() => {
    const group = queue
    queue = emptyQueue()
    current = group
    scheduled = false
    const statements: Array<Database.Statement> = []
    const owners: Array<{ readonly table: Table; readonly count: number; readonly statement: number }> = []
    for (const [table, rows] of group.rows) {
      let from = 0
      for (const size of SIZES) {
        for (; rows.length - from >= size; from += size) {
          const params: Array<unknown> = []
          for (let i = from; i < from + size; i++) for (const value of rows[i]!) params.push(value)
          statements.push({ sql: insert(table, size), params })
          if (table.committed === undefined) continue
          // The rows of one statement have ids one after the other: on SQLite the last of them is enough.
          if (database.dialect === "sqlite") statements.push(LAST)
          owners.push({ table, count: size, statement: statements.length - 1 })
        }
      }
    }
    statements.push(...group.statements)
    return Effect.onExitPrimitive(database.transaction(statements), (exit) => {
      current = undefined
      if (Exit.isSuccess(exit)) {
        failure = undefined
        const ids = new Map<Table, Array<number>>()
        for (const { count, statement, table } of owners) {
          const own = ids.get(table) ?? []
          const rows = exit.value[statement]!
          if (rows.length === count && count > 1) for (const row of rows) own.push(Number(row["id"]))
          else for (let i = count - 1; i >= 0; i--) own.push(Number(rows[0]!["id"]) - i)
          ids.set(table, own)
        }
        for (const [table, own] of ids) table.committed!(own)
      } else {
        const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")
        if (error !== undefined) failure = error.error
        restore(group)
      }
      for (const resume of group.waiters) resume(Exit.asVoid(exit))
      // What came meanwhile is written next. After a failure that is for the next append or commit to try, not for a loop.
      if (queue.waiters.length > 0 || (Exit.isSuccess(exit) && !isEmpty())) schedule()
      return undefined
    })
  })

  /** Puts a group that could not be written before what came since. */
  const restore = (group: Queue): void => {
    const later = queue
    queue = { rows: group.rows, statements: [...group.statements, ...later.statements], waiters: later.waiters }
    for (const [table, rows] of later.rows) queue.rows.set(table, [...(queue.rows.get(table) ?? []), ...rows])
  }

  const schedule = (): void => {
    if (scheduled || current !== undefined) return
    scheduled = true
    setImmediate(() => run(flush))
  }

  const isEmpty = () => queue.rows.size === 0 && queue.statements.length === 0

  const commit: Writer["commit"] = Effect.callback((resume) => {
    const group = isEmpty() ? current : queue
    if (group === undefined) return resume(Effect.void)
    group.waiters.push((exit) => resume(exit))
    schedule()
  })

  yield* Effect.addFinalizer(() =>
    Effect.catch(commit, (error) =>
      Effect.logWarning(`${database.name}: what came last could not be written: ${error.reason.message}`)
    )
  )

  return {
    commit,
    failure: () => failure,
    append: (table, row) => {
      const rows = queue.rows.get(table)
      if (rows === undefined) queue.rows.set(table, [row])
      else rows.push(row)
      schedule()
    },
    execute: (sql, params) => {
      queue.statements.push({ sql, params })
      schedule()
    }
  }
})
