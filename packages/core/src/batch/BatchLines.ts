/**
 * Finds the lines of batches by the keys of their requests.
 *
 * **Details** On SQLite, most look-ups need no query of their own: keys that this process has not added are not in a store
 * that had no lines, unless another process writes; and where an answer is found, those of the lines after it are read with
 * it, since rows ask in the order of their lines.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as Database from "../store/Database.ts"
import * as KeyFilter from "../store/KeyFilter.ts"
import * as OtherWrites from "../store/OtherWrites.ts"
import * as BatchLine from "./BatchLine.ts"

export interface BatchLines {
  /** The answered line of a key, or the newest. */
  readonly find: (key: string) => Effect.Effect<BatchLine.BatchLine | undefined, SqlError.SqlError>
  /** This process has added lines with these keys. */
  readonly added: (lines: ReadonlyArray<Pick<BatchLine.BatchLine, "key">>) => void
  /** Lines have changed or are deleted: what was read ahead is dropped. */
  readonly changed: () => void
}

/** The fewest and the most lines that are read ahead. */
const LEAST_AHEAD = 16
const AHEAD = 512

const FIND = `SELECT ${BatchLine.select}, value FROM batch_lines WHERE key = ?
  ORDER BY CASE state WHEN 'answered' THEN 0 ELSE 1 END, batch DESC, number DESC LIMIT 1`

const READ_AHEAD = `SELECT ${BatchLine.select}, value FROM batch_lines
  WHERE batch = ? AND number > ? AND number <= ? AND state = 'answered'`

const query = (database: Database.Service, sql: string, params: ReadonlyArray<unknown>) =>
  Effect.map(database.query(sql, params), (rows) => rows.map(BatchLine.fromRow))

const one =
  (database: Database.Service): BatchLines["find"] =>
  (key) =>
    Effect.map(query(database, FIND, [key]), ([line]) => line)

const onSqlite = (database: Database.Service): BatchLines => {
  const findOne = one(database)
  const others = OtherWrites.make(database)
  /** The keys that this process has added. Most runs add none. */
  let own: KeyFilter.KeyFilter | undefined
  let ahead = new Map<string, BatchLine.BatchLine>()
  /** Whether every line in the store is of this process; `undefined` before the first look-up. */
  let isOwn: boolean | undefined

  const check = Effect.suspend(() =>
    isOwn === undefined
      ? Effect.flatMap(others(), () =>
          Effect.map(database.query("SELECT 1 FROM batch_lines LIMIT 1"), (rows) => (isOwn = rows.length === 0))
        )
      : isOwn
        ? Effect.mapEager(others(), (other) => (isOwn = !other))
        : Effect.succeed(false)
  )

  let reach = LEAST_AHEAD
  let last = { batch: 0, number: 0 }

  /** Reads the lines after one, as long as look-ups follow their order. */
  const readAhead = (line: BatchLine.BatchLine | undefined) => {
    if (line?.state !== "answered") return Effect.succeed(line)
    const { batch, number } = line
    const isNext = last.batch !== batch || (number > last.number && number - last.number <= AHEAD + 1)
    reach = isNext ? Math.min(AHEAD, Math.max(LEAST_AHEAD, reach * 4)) : reach >> 2
    last = { batch, number: number + reach }
    return reach === 0
      ? Effect.succeed(line)
      : Effect.map(query(database, READ_AHEAD, [batch, number, number + reach]), (lines) => {
          ahead = new Map(lines.map((line) => [line.key, line]))
          return line
        })
  }

  return {
    find: (key) => {
      const known = ahead.get(key)
      if (known !== undefined) return Effect.succeed(known)
      return Effect.flatMap(check, (isOwn) =>
        isOwn && own?.mayHave(key) !== true ? Effect.undefined : Effect.flatMap(findOne(key), readAhead)
      )
    },
    added: (lines) => {
      own ??= new KeyFilter.KeyFilter()
      for (const { key } of lines) own.add(key)
    },
    changed: () => ahead.clear()
  }
}

export const make = (database: Database.Service): BatchLines =>
  database.dialect === "sqlite" ? onSqlite(database) : { find: one(database), added: () => {}, changed: () => {} }
