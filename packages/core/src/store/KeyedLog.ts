/**
 * A log whose rows are found by key. The newest row of a key counts.
 *
 * **Details** Inserting into an index of random keys costs several times as much as appending. So rows are appended
 * without an index; the keys of the newest rows are in memory, and are added to the index sorted, tens of thousands at
 * a time. Look-ups in the order of the log (a repeated run) read ahead. Processes may share the log. On PostgreSQL the
 * server maintains the index.
 *
 * @internal
 */
import { crc32 } from "node:zlib"
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import * as Database from "./Database.ts"
import * as Flights from "./Flights.ts"
import * as Gathered from "./Gathered.ts"
import * as KeyFilter from "./KeyFilter.ts"
import * as OtherWrites from "./OtherWrites.ts"
import type * as Writer from "./Writer.ts"

export interface KeyedLog<R extends LogEntry> {
  /** A row that is in memory: just written, or read ahead. */
  readonly peek: (key: string) => R | undefined
  /**
   * Returns a row, without a step where it is in memory: run the effect as soon as it is made. With `own`, only rows
   * appended by this process count.
   */
  readonly get: (key: string, own?: boolean) => Effect.Effect<R | undefined, SqlError.SqlError>
  readonly append: (row: R) => void
  /** Work in flight of the processes of a server; `undefined` on SQLite. */
  readonly flights?: Flights.Flights | undefined
  /** Adds all keys to the index. */
  readonly settle: Effect.Effect<void, SqlError.SqlError>
  /** Rows were deleted from the table: what is in memory of them is dropped. */
  readonly forget: () => void
}

/** A row. Its columns are named as in the table. */
export interface LogEntry {
  readonly key: string
  /** The content, stored with a checksum: a row damaged on disk counts as missing. */
  readonly value: string
}

/** The most keys in memory. */
const RECENT = 32_768

/** The most keys of an index that are counted, in about 200 ms. */
const MOST_COUNTED = 2_000_000

/** The most rows read ahead, and how far back, because a log is only nearly in row order. */
const AHEAD = 512
const BACK = 96

export const make = <R extends LogEntry>(
  database: Database.Service,
  writer: Writer.Writer,
  options: { readonly table: string; readonly columns: ReadonlyArray<keyof R & string> }
): KeyedLog<R> =>
  database.dialect === "pg" ? onServer(database, writer, options) : onSqlite(database, writer, options)

const CHECKSUM = "checksum"

const observers = new WeakMap<Database.Service, Set<string>>()

/** A damaged row is computed, or paid for, again: this is reported once, and the run continues. */
const damaged = (database: Database.Service, table: string): Effect.Effect<undefined> =>
  Effect.suspend(() => {
    const tables = observers.get(database) ?? new Set<string>()
    observers.set(database, tables)
    if (tables.has(table)) return Effect.undefined
    tables.add(table)
    return Effect.as(
      Effect.logWarning(
        `${database.name}: entries of ${table} are damaged (their checksums differ) and are not used: their content is computed again. Check the disk`
      ),
      undefined
    )
  })

const toValues = <R extends LogEntry>(columns: ReadonlyArray<keyof R & string>, row: R): ReadonlyArray<unknown> => {
  const values: Array<unknown> = columns.map((column) => row[column] ?? null)
  values.push(crc32(row.value))
  return values
}

/** A row as the database returns it. */
type Stored<R> = R & { readonly id: number; readonly checksum: number | null }

/** Rows of earlier versions have no checksum. */
const isWhole = <R extends LogEntry>({ checksum, value }: Stored<R>): boolean =>
  typeof value === "string" && (checksum === null || Number(checksum) === crc32(value))

const onServer = <R extends LogEntry>(
  database: Database.Service,
  writer: Writer.Writer,
  { columns, table }: Named<R>
): KeyedLog<R> => {
  const pending = new Map<string, { readonly row: R; readonly values: ReadonlyArray<unknown> }>()
  const target: Writer.WriterTable = {
    name: table,
    columns: [...columns, CHECKSUM],
    committed: (_, rows) => {
      for (const values of rows) {
        const key = values[columns.indexOf("key" as keyof R & string)] as string
        if (pending.get(key)?.values === values) pending.delete(key)
      }
    }
  }
  // A key is a hash, so a line break is in none. The server plans for as many keys as there are.
  const select = `SELECT DISTINCT ON (key) ${[...columns, CHECKSUM].join(", ")} FROM ${table}
    WHERE key = ANY(string_to_array(?, E'\\n')) ORDER BY key, id DESC`
  const find = Gathered.make((keys) =>
    Effect.map(
      database.query(select, [keys.join("\n")]),
      (rows) => new Map((rows as unknown as ReadonlyArray<Stored<R>>).map((row) => [row.key, row]))
    )
  )
  const written = new KeyFilter.KeyFilter()
  const flights = Flights.make(database, writer, { name: table, isPending: (key) => pending.has(key) })
  return {
    flights,
    settle: Effect.void,
    forget: () => {},
    peek: (key) => pending.get(key)?.row,
    append: (row) => {
      const values = toValues(columns, row)
      pending.set(row.key, { row, values })
      written.add(row.key)
      const removes = flights?.ending(row.key)
      writer.append(target, values, removes === undefined ? undefined : { removes })
    },
    get: (key, own) => {
      const waiting = pending.get(key)
      if (waiting !== undefined) return Effect.succeed(waiting.row)
      return own === true && !written.mayHave(key)
        ? Effect.undefined
        : Effect.flatMap(find(key), (row) =>
            row === undefined || isWhole(row) ? Effect.succeed(row) : damaged(database, table)
          )
    }
  }
}

interface Named<R> {
  readonly table: string
  readonly columns: ReadonlyArray<keyof R & string>
}

/** The keys of a log on SQLite: those of the newest rows in memory, the others in an index table. */
interface Keys {
  /** A row was written with this id. */
  readonly written: (key: string, id: number) => void
  /** This many rows were written in sequence. */
  readonly advance: (ids: ReadonlyArray<number | undefined>) => void
  /** The id of a row; `own` looks for keys that only this process can have written. `undefined` when there is none. */
  readonly find: (key: string, own: boolean) => Effect.Effect<number | undefined, SqlError.SqlError>
  /** Whether rows of other processes have never been read. */
  readonly isUnseen: () => boolean
  readonly isRecent: (key: string) => boolean
  /** Whether a newer row of the key is in memory. */
  readonly isReplaced: (key: string, id: number) => boolean
  /** Whether no key of the index has an older row in the log. */
  readonly areUnique: Effect.Effect<boolean, SqlError.SqlError>
  /** Reads keys of rows that other processes, or earlier ones, appended since the index was updated. */
  readonly refresh: Effect.Effect<void, SqlError.SqlError>
  /** Whether another process has written since the last check. */
  readonly changed: () => Effect.Effect<boolean, SqlError.SqlError>
  /** Moves the keys from memory to the index, with the next group of writes. */
  readonly settle: () => void
  readonly forget: () => void
}

const makeKeys = (database: Database.Service, writer: Writer.Writer, table: string): Keys => {
  const index = `${table}_index`
  const recent = new Map<string, number>()
  /** Ids up to this one are in the index or in `recent`; `undefined` before the first look-up. */
  let seen: number | undefined
  let settling = false
  /** The keys that this process has added to the index; created with the first. */
  let filter: KeyFilter.KeyFilter | undefined
  /** Whether the index contains nothing else. */
  let isOwn = false
  /** Whether the keys of the index are unique in the log, which ends at this id; `undefined` before it is asked for. */
  let unique: { readonly upto: number; readonly holds: boolean } | undefined

  const settle = (): void => {
    if (settling) return
    settling = true
    const before = [...recent.keys()]
    filter ??= new KeyFilter.KeyFilter()
    for (const key of before) filter.add(key)
    for (const { params, sql } of merging(table, index)) writer.execute(sql, params)
    Effect.runFork(
      Effect.onExitPrimitive(writer.commit, (exit) => {
        settling = false
        if (exit._tag === "Success") for (const key of before) recent.delete(key)
        return undefined
      })
    )
  }

  const tail = `SELECT id, key FROM ${table} WHERE id > ? ORDER BY id`
  const find = `SELECT id FROM ${index} WHERE key = ?`
  const upto = Effect.map(
    database.query("SELECT upto FROM indexed WHERE name = ?", [table]),
    ([row]) => Database.toNumber(row?.["upto"]) ?? 0
  )
  // Ids without a gap are as many as their rows.
  const isUnique = `SELECT upto, (SELECT coalesce(max(id) - min(id) + 1, 0) FROM ${table} WHERE id <= upto)
    = (SELECT count(*) FROM ${index}) AS is_unique FROM indexed WHERE name = ?`
  const areUnique = (upto: number): Effect.Effect<boolean, SqlError.SqlError> => {
    if (upto > MOST_COUNTED) return Effect.succeed(false)
    if (unique?.upto === upto) return Effect.succeed(unique.holds)
    return Effect.map(database.query(isUnique, [table]), ([row]) => {
      unique = { upto: Number(row?.["upto"]), holds: Number(row?.["is_unique"]) === 1 }
      return unique.holds
    })
  }
  return {
    written: (key, id) => void recent.set(key, id),
    advance: (ids) => {
      if (seen !== undefined && ids[0] === seen + 1) seen = ids.at(-1)!
      if (recent.size >= RECENT) settle()
    },
    find: (key, own) => {
      const id = recent.get(key)
      if (id !== undefined) return Effect.succeed(id)
      if ((own || isOwn) && filter?.mayHave(key) !== true) return Effect.undefined
      return Effect.map(database.query(find, [key]), (rows) => rows[0]?.["id"] as number | undefined)
    },
    isUnseen: () => seen === undefined,
    isRecent: (key) => recent.has(key),
    isReplaced: (key, id) => (recent.get(key) ?? id) !== id,
    areUnique: Effect.flatMap(upto, areUnique),
    refresh: Effect.gen(function* () {
      const indexed = yield* upto
      // Only the first check sees an index that nothing has been written to.
      isOwn = seen === undefined && indexed === 0
      seen ??= indexed
      for (const row of yield* database.query(tail, [seen])) {
        seen = row["id"] as number
        recent.set(row["key"] as string, seen)
      }
    }),
    changed: OtherWrites.make(database),
    settle,
    forget: () => {
      recent.clear()
      seen = undefined
      filter = undefined
      isOwn = false
      unique = undefined
    }
  }
}

/** Adds the keys of rows that are not in the index yet. */
const merging = (table: string, index: string): ReadonlyArray<Database.Statement> => [
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

/** Adds the keys of all rows that are not in the indexes of these tables yet. */
export const index = (
  database: Database.Service,
  tables: ReadonlyArray<string>
): Effect.Effect<void, SqlError.SqlError> =>
  Effect.asVoid(database.transaction(tables.flatMap((table) => merging(table, `${table}_index`))))

/**
 * Reads rows by id. Reads in the order of the log read ahead. Of the rows read ahead only the newest of each key count:
 * a log may have older rows, such as results of earlier runs.
 */
const makeReader = <R extends LogEntry>(
  database: Database.Service,
  { columns, table }: Named<R>,
  { areUnique, isReplaced }: Pick<Keys, "areUnique" | "isReplaced">
) => {
  let ahead = new Map<string, R>()
  let behind = new Map<string, R>()
  let reach = 1
  let last = 0
  const between = `SELECT id, ${[...columns, CHECKSUM].join(", ")} FROM ${table} AS log WHERE id BETWEEN ? AND ?`
  const all = `${between} ORDER BY id`
  const newest = `${between}
    AND NOT EXISTS (SELECT 1 FROM ${table}_index AS newest WHERE newest.key = log.key AND newest.id > log.id) ORDER BY id`
  const read = (from: number, to: number) => {
    const ahead = (isUnique: boolean) => database.query(isUnique ? all : newest, [from, to])
    // A look-up in the index for each row costs more than the rows; to know that there is no need costs as much as many.
    return to - from < AHEAD ? ahead(false) : Effect.flatMap(areUnique, ahead)
  }
  return {
    peek: (key: string): R | undefined => ahead.get(key) ?? behind.get(key),
    drop: (key: string): void => {
      ahead.delete(key)
      behind.delete(key)
    },
    forget: (): void => {
      ahead.clear()
      behind.clear()
    },
    at: (id: number, key: string): Effect.Effect<R | undefined, SqlError.SqlError> => {
      reach = Math.abs(id - last) <= AHEAD ? Math.min(AHEAD, reach * 4) : Math.max(1, reach >> 2)
      last = id + reach
      return Effect.flatMap(read(reach > 1 ? id - BACK : id, id + reach - 1), (rows) => {
        behind = ahead
        ahead = new Map()
        let found: Stored<R> | undefined
        for (const row of rows as unknown as ReadonlyArray<Stored<R>>) {
          if (row.id === id) found = row
          if (isReplaced(row.key, row.id)) continue
          if (isWhole(row)) ahead.set(row.key, row)
          else ahead.delete(row.key)
        }
        if (found === undefined || found.key !== key) return Effect.undefined
        return isWhole(found) ? Effect.succeed(found) : damaged(database, table)
      })
    }
  }
}

const onSqlite = <R extends LogEntry>(
  database: Database.Service,
  writer: Writer.Writer,
  named: Named<R>
): KeyedLog<R> => {
  const pending = new Map<string, R>()
  const queue: Array<R> = []
  const keys = makeKeys(database, writer, named.table)
  const rows = makeReader(database, named, {
    areUnique: keys.areUnique,
    isReplaced: (key, id) => pending.has(key) || keys.isReplaced(key, id)
  })

  const target: Writer.WriterTable = {
    name: named.table,
    columns: [...named.columns, CHECKSUM],
    committed: (ids) => {
      queue.splice(0, ids.length).forEach((row, at) => {
        if (pending.get(row.key) === row) pending.delete(row.key)
        const id = ids[at]
        if (id !== undefined) keys.written(row.key, id)
      })
      keys.advance(ids)
    }
  }

  const lookup = (key: string, own: boolean): Effect.Effect<R | undefined, SqlError.SqlError> =>
    Effect.flatMapEager(keys.find(key, own), (id) => (id === undefined ? Effect.undefined : rows.at(id, key)))

  /** Looks again when another process has written. */
  const lookAgain = (key: string) =>
    Effect.flatMapEager(keys.changed(), (other) =>
      other
        ? Effect.andThen(
            keys.refresh,
            Effect.suspend(() => lookup(key, false))
          )
        : Effect.undefined
    )

  const peek = (key: string): R | undefined => pending.get(key) ?? rows.peek(key)

  return {
    peek,
    forget: () => {
      keys.forget()
      rows.forget()
    },
    settle: Effect.andThen(Effect.sync(keys.settle), writer.commit),
    append: (row) => {
      rows.drop(row.key)
      pending.set(row.key, row)
      queue.push(row)
      writer.append(target, toValues(named.columns, row))
    },
    get: (key, own = false) => {
      const known = peek(key)
      if (known !== undefined) return Effect.succeed(known)
      if (own || (!keys.isUnseen() && keys.isRecent(key))) return lookup(key, own)
      const seen = keys.isUnseen() ? Effect.andThen(keys.changed(), keys.refresh) : Effect.void
      return Effect.flatMapEager(seen, () =>
        Effect.flatMapEager(lookup(key, false), (found) =>
          found === undefined ? lookAgain(key) : Effect.succeed(found)
        )
      )
    }
  }
}
