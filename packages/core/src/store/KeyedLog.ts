/**
 * A log whose rows are found by key. The newest row of a key counts.
 *
 * **Details** Writing a row into an index of random keys costs several times what it costs to append it. So rows are
 * appended without one; the keys of the newest are in memory, and go into the index sorted, some ten thousand at a time.
 * Look-ups that come in the order of the log (a run that is done again) read ahead. Processes may share the log. On
 * Postgres the server keeps the index.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import * as Database from "./Database.ts"
import type * as Writer from "./Writer.ts"

export interface KeyedLog<R extends Entry> {
  readonly get: (key: string) => Effect.Effect<R | undefined, SqlError.SqlError>
  readonly append: (row: R) => void
  /** Puts all keys into the index. */
  readonly settle: Effect.Effect<void, SqlError.SqlError>
}

/** A row; its columns are named as in the table. */
export interface Entry {
  readonly key: string
}

/** Keys in memory, at most. */
const RECENT = 32_768

/** Rows that are read ahead, at most; and how far back, since a log is only nearly in the order of its rows. */
const AHEAD = 512
const BACK = 96

export const make = <R extends Entry>(
  database: Database.Service,
  writer: Writer.Writer,
  options: { readonly table: string; readonly columns: ReadonlyArray<keyof R & string> }
): KeyedLog<R> => database.dialect === "pg" ? onServer(database, writer, options) : onSqlite(database, writer, options)

const toValues = <R extends Entry>(columns: ReadonlyArray<keyof R & string>, row: R): ReadonlyArray<unknown> =>
  columns.map((column) => row[column] ?? null)

const onServer = <R extends Entry>(
  database: Database.Service,
  writer: Writer.Writer,
  { columns, table }: { readonly table: string; readonly columns: ReadonlyArray<keyof R & string> }
): KeyedLog<R> => {
  const pending = new Map<string, R>()
  const queue: Array<R> = []
  const target: Writer.Table = {
    name: table,
    columns,
    committed: (ids) => {
      for (const row of queue.splice(0, ids.length)) if (pending.get(row.key) === row) pending.delete(row.key)
    }
  }
  const select = `SELECT ${columns.join(", ")} FROM ${table} WHERE key = ? ORDER BY id DESC LIMIT 1`
  return {
    settle: Effect.void,
    append: (row) => {
      pending.set(row.key, row)
      queue.push(row)
      writer.append(target, toValues(columns, row))
    },
    get: (key) => {
      const waiting = pending.get(key)
      return waiting !== undefined
        ? Effect.succeed(waiting)
        : Effect.map(database.query(select, [key]), (rows) => rows[0] as unknown as R | undefined)
    }
  }
}

const onSqlite = <R extends Entry>(
  database: Database.Service,
  writer: Writer.Writer,
  { columns, table }: { readonly table: string; readonly columns: ReadonlyArray<keyof R & string> }
): KeyedLog<R> => {
  const index = `${table}_index`
  const pending = new Map<string, R>()
  const queue: Array<R> = []
  /** Ids of the rows that are not in the index yet. */
  const recent = new Map<string, number>()
  /** Ids up to this one are in the index or in `recent`; `undefined` before the first look-up. */
  let seen: number | undefined
  let version: unknown
  let settling = false

  const target: Writer.Table = {
    name: table,
    columns,
    committed: (ids) => {
      queue.splice(0, ids.length).forEach((row, at) => {
        if (pending.get(row.key) === row) pending.delete(row.key)
        recent.set(row.key, ids[at]!)
      })
      if (seen !== undefined && ids[0] === seen + 1) seen = ids.at(-1)!
      if (recent.size >= RECENT) settle()
    }
  }

  const merge: ReadonlyArray<Database.Statement> = [
    {
      sql: `INSERT INTO ${index} (key, id) SELECT key, max(id) FROM ${table}
        WHERE id > (SELECT upto FROM indexed WHERE name = ?) GROUP BY key ON CONFLICT (key) DO UPDATE SET id = excluded.id`,
      params: [table]
    },
    {
      sql: `UPDATE indexed SET upto = coalesce((SELECT max(id) FROM ${table}), upto) WHERE name = ?`,
      params: [table]
    }
  ]

  /** Moves the keys from memory into the index, with the next group. */
  const settle = (): void => {
    if (settling) return
    settling = true
    const before = [...recent.keys()]
    for (const { params, sql } of merge) writer.execute(sql, params)
    Effect.runFork(Effect.onExitPrimitive(writer.commit, (exit) => {
      settling = false
      if (exit._tag === "Success") for (const key of before) recent.delete(key)
      return undefined
    }))
  }

  const tail = `SELECT id, key FROM ${table} WHERE id > ? ORDER BY id`
  /** Learns of rows that other processes, or this one before, appended since the index was made. */
  const refresh = Effect.gen(function*() {
    seen ??= Database.toNumber((yield* database.query("SELECT upto FROM indexed WHERE name = ?", [table]))[0]?.["upto"]) ?? 0
    for (const row of yield* database.query(tail, [seen])) {
      seen = row["id"] as number
      recent.set(row["key"] as string, seen)
    }
  })

  let ahead = new Map<string, R>()
  let behind = new Map<string, R>()
  let reach = 1
  let last = 0
  const read = `SELECT id, ${columns.join(", ")} FROM ${table} WHERE id BETWEEN ? AND ? ORDER BY id`
  const readAt = (id: number, key: string): Effect.Effect<R | undefined, SqlError.SqlError> => {
    reach = Math.abs(id - last) <= AHEAD ? Math.min(AHEAD, reach * 4) : Math.max(1, reach >> 2)
    last = id + reach
    return Effect.map(database.query(read, [reach > 1 ? id - BACK : id, id + reach - 1]), (rows) => {
      behind = ahead
      ahead = new Map()
      for (const row of rows as unknown as ReadonlyArray<R>) ahead.set(row.key, row)
      const found = ahead.get(key)
      return found === undefined || (found as unknown as { readonly id: number }).id !== id ? undefined : found
    })
  }

  const find = `SELECT id FROM ${index} WHERE key = ?`
  const indexed = (key: string): Effect.Effect<R | undefined, SqlError.SqlError> =>
    Effect.flatMap(database.query(find, [key]), (rows) =>
      rows.length === 0 ? Effect.undefined : readAt(rows[0]!["id"] as number, key))

  const changed = Effect.map(database.query("PRAGMA data_version"), (rows) => {
    const now = rows[0]?.["data_version"]
    const other = now !== version
    version = now
    return other
  })

  const lookup = (key: string): Effect.Effect<R | undefined, SqlError.SqlError> => {
    const id = recent.get(key)
    return id === undefined ? indexed(key) : readAt(id, key)
  }

  return {
    settle: Effect.andThen(Effect.sync(settle), writer.commit),
    append: (row) => {
      ahead.delete(row.key)
      behind.delete(row.key)
      pending.set(row.key, row)
      queue.push(row)
      writer.append(target, toValues(columns, row))
    },
    get: (key) => {
      const known = pending.get(key) ?? ahead.get(key) ?? behind.get(key)
      if (known !== undefined) return Effect.succeed(known)
      if (seen !== undefined && recent.has(key)) return lookup(key)
      return Effect.flatMap(seen === undefined ? Effect.andThen(changed, refresh) : Effect.void, () =>
        Effect.flatMap(lookup(key), (found) =>
          found !== undefined ? Effect.succeed(found) : Effect.flatMap(changed, (other) =>
            other ? Effect.andThen(refresh, Effect.suspend(() => lookup(key))) : Effect.undefined)))
    }
  }
}
