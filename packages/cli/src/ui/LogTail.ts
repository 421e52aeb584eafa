/**
 * Follows a log of the store for a run, by its ids. On a server, an entry can become visible after entries with higher
 * ids: the transaction that wrote it was committed later. Those are looked for among the ids of the last minute.
 */
import type * as Database from "@pipe/core/Database"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"

export interface Options {
  readonly database: Database.Service
  readonly table: string
  /** What is selected, the id among it. */
  readonly columns: string
  readonly run: number
  /** The most entries that are read at once. */
  readonly chunk: number
}

export interface LogTail {
  /** The next entries; none at the end of the log. */
  readonly next: Effect.Effect<ReadonlyArray<Database.DatabaseRow>, SqlError.SqlError>
  /** The highest id that was read. */
  readonly last: () => number
  /** Starts again. */
  readonly restart: () => void
}

/** How long an entry of a server may be late, in milliseconds. */
export const LATE = 60_000

/** The most ids that are remembered for late entries. */
const MOST_IDS = 100_000

/** The most entries of a statement with their ids. */
const MOST_NAMED = 500

export const make = ({ chunk, columns, database, run, table }: Options): LogTail => {
  /** Ids that were read of late, oldest first, and where they begin. Of a file there are none: it has one writer. */
  const recent = new Set<number>()
  let marks: ReadonlyArray<{ readonly at: number; readonly id: number }> = []
  let floor = 0
  let last = 0

  const note = (rows: ReadonlyArray<Database.DatabaseRow>) =>
    Effect.map(Clock.currentTimeMillis, (at) => {
      for (const { id } of rows) {
        last = Math.max(last, Number(id))
        if (database.server !== undefined) recent.add(Number(id))
      }
      if (database.server === undefined) return
      marks = [...marks, { at, id: last }]
      const old = marks.findLastIndex((mark) => at - mark.at > LATE)
      if (old !== -1) {
        floor = Math.max(floor, marks[old]!.id)
        marks = marks.slice(old)
      }
      for (const id of recent) {
        if (id > floor && recent.size <= MOST_IDS) break
        recent.delete(id)
        floor = Math.max(floor, id)
      }
    })

  /** Entries that have become visible below the last id. */
  const late = Effect.gen(function* () {
    if (database.server === undefined || recent.size === 0) return []
    const range = `FROM ${table} WHERE run = ? AND id > ? AND id <= ?`
    const [found] = yield* database.query(`SELECT count(*) AS n ${range}`, [run, floor, last])
    if (Number(found?.["n"]) <= recent.size) return []
    const ids = (yield* database.query(`SELECT id ${range} ORDER BY id`, [run, floor, last])).map(({ id }) =>
      Number(id)
    )
    const missing = ids.filter((id) => !recent.has(id)).slice(0, MOST_NAMED)
    return missing.length === 0
      ? []
      : yield* database.query(
          `SELECT ${columns} FROM ${table} WHERE run = ? AND id IN (${missing.map(() => "?").join(", ")}) ORDER BY id`,
          [run, ...missing]
        )
  })

  return {
    next: Effect.gen(function* () {
      const rows = yield* database.query(
        `SELECT ${columns} FROM ${table} WHERE run = ? AND id > ? ORDER BY id LIMIT ${chunk}`,
        [run, last]
      )
      const found = rows.length === 0 ? yield* late : rows
      yield* note(found)
      return found
    }),
    last: () => last,
    restart: () => {
      recent.clear()
      marks = []
      floor = 0
      last = 0
    }
  }
}
