/**
 * Writes on a server exactly once: a group of rows with one statement, or a transaction. Each has a number in its lane,
 * which it raises: when the connection breaks before the answer arrives, the number tells whether it was written.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as SqlError from "effect/sql/SqlError"
import type * as Database from "./Database.ts"
import type * as Lease from "./Lease.ts"
import * as ServerPatience from "./ServerPatience.ts"

/** What a group writes. */
export interface Group {
  readonly inserts: ReadonlyArray<{
    readonly table: string
    readonly columns: ReadonlyArray<string>
    readonly rows: ReadonlyArray<ReadonlyArray<unknown>>
  }>
  /** Rows to delete, found by these columns. */
  readonly deletes: ReadonlyArray<{
    readonly table: string
    readonly columns: ReadonlyArray<string>
    readonly keys: ReadonlyArray<ReadonlyArray<unknown>>
  }>
  /** Statements that run after the rows are written. */
  readonly after: ReadonlyArray<Database.Statement>
}

export interface ServerGroups {
  /** How many groups may be under way. */
  readonly lanes: number
  readonly write: (lane: number, group: Group) => Effect.Effect<void, SqlError.SqlError>
  /** Runs statements together. Their results are kept in the lane until the next ones, in case the answer is lost. */
  readonly transaction: Database.Service["transaction"]
}

const LANES = 3

interface Statements {
  /** Sends a statement once. */
  readonly send: Database.Service["query"]
  readonly inTransaction: <A>(work: Effect.Effect<A, SqlError.SqlError>) => Effect.Effect<A, SqlError.SqlError>
  /** Sends a statement until the server answers. */
  readonly patient: Database.Service["query"]
  readonly patience: ServerPatience.ServerPatience
  readonly lease: Lease.Lease
}

/** The rows as records: the server knows the types of the columns. */
const records = (columns: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<unknown>>): string =>
  JSON.stringify(rows.map((row) => Object.fromEntries(columns.map((column, at) => [column, sound(row[at])]))))

/** A server accepts neither NUL in text nor half of a surrogate pair. */
const sound = (value: unknown): unknown =>
  typeof value === "bigint"
    ? String(value)
    : typeof value !== "string"
      ? (value ?? null)
      : (value.includes("\u0000") ? value.replaceAll("\u0000", "\ufffd") : value).toWellFormed()

const GUARD = `UPDATE lanes SET number = ? WHERE id = ? AND number = ?
  AND NOT EXISTS (SELECT 1 FROM leases WHERE id = ? AND is_over = 1) RETURNING id`

const statementOf = (group: Group, guard: ReadonlyArray<unknown>): Database.Statement => {
  const parts = [`lane AS (${GUARD})`]
  const params: Array<unknown> = [...guard]
  for (const { columns, rows, table } of group.inserts) {
    parts.push(
      `w${parts.length} AS (INSERT INTO ${table} (${columns.join(", ")}) SELECT ${columns
        .map((column) => `r.${column}`)
        .join(", ")} FROM lane, json_populate_recordset(NULL::${table}, CAST(CAST(? AS TEXT) AS json)) AS r)`
    )
    params.push(records(columns, rows))
  }
  for (const { columns, keys, table } of group.deletes) {
    parts.push(
      `d${parts.length} AS (DELETE FROM ${table} USING lane, json_populate_recordset(NULL::${table}, CAST(CAST(? AS TEXT) AS json)) AS r WHERE ${columns
        .map((column) => `${table}.${column} = r.${column}`)
        .join(" AND ")})`
    )
    params.push(records(columns, keys))
  }
  return { sql: `WITH ${parts.join(",\n")} SELECT id FROM lane`, params }
}

/** Results as text: integers of any size become text, as a server may give them too. */
const toJson = (results: unknown): string =>
  JSON.stringify(results, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value))

interface Lane {
  readonly id: number
  number: number
}

export const make = ({ inTransaction, lease, patience, patient, send }: Statements): ServerGroups => {
  const lanes: Array<Lane | undefined> = []
  /** Lanes of transactions: as many as were ever under way at once. */
  const free: Array<Lane> = []

  const open = Effect.map(patient("INSERT INTO lanes (number) VALUES (0) RETURNING id"), ([row]): Lane => ({
    id: Number(row!["id"]),
    number: 0
  }))

  const guard = (lane: Lane): ReadonlyArray<unknown> => [lane.number + 1, lane.id, lane.number, lease.current() ?? null]

  /** Writes until it is known that it was written; `undefined` from `attempt` when the number is another. */
  const exactly = <A>(
    lane: Lane,
    attempt: Effect.Effect<A | undefined, SqlError.SqlError>,
    written: (row: Database.DatabaseRow) => A
  ): Effect.Effect<A, SqlError.SqlError> => {
    const settle: Effect.Effect<A, SqlError.SqlError> = Effect.flatMap(
      patient("SELECT number, result FROM lanes WHERE id = ?", [lane.id]),
      ([row]) => {
        if (row !== undefined && Number(row["number"]) === lane.number + 1) {
          lane.number++
          return Effect.succeed(written(row))
        }
        return Effect.flatMap(lease.isLost, (isLost) => (isLost ? Effect.fail(LOST) : again))
      }
    )
    const again: Effect.Effect<A, SqlError.SqlError> = Effect.suspend(() =>
      Effect.matchEffect(patience.once(attempt), {
        onFailure: (error) => (ServerPatience.isAway(error) ? settle : Effect.fail(error)),
        onSuccess: (value) => {
          if (value === undefined) return settle
          lane.number++
          return Effect.succeed(value)
        }
      })
    )
    return again
  }

  const run = (lane: Lane, statements: ReadonlyArray<Database.Statement>) =>
    inTransaction(
      Effect.gen(function* () {
        if ((yield* send(GUARD, guard(lane))).length === 0) return undefined
        const results = yield* Effect.forEach(statements, ({ params, sql }) => send(sql, params))
        yield* send("UPDATE lanes SET result = ? WHERE id = ?", [toJson(results), lane.id])
        return results
      })
    )

  return {
    lanes: LANES,
    write: (at, group) =>
      Effect.gen(function* () {
        const lane = (lanes[at] ??= yield* open)
        const { params, sql } = statementOf(group, guard(lane))
        const written = Effect.map(send(sql, params), (rows) => (rows.length === 0 ? undefined : true))
        const attempt =
          group.after.length === 0
            ? written
            : inTransaction(
                Effect.tap(written, (isWritten) =>
                  isWritten === undefined
                    ? Effect.void
                    : Effect.forEach(group.after, (statement) => send(statement.sql, statement.params), {
                        discard: true
                      })
                )
              )
        yield* exactly(lane, attempt, () => true)
      }),
    transaction: (statements) =>
      Effect.acquireUseRelease(
        Effect.suspend(() => (free.length > 0 ? Effect.succeed(free.pop()!) : open)),
        (lane) =>
          exactly(
            lane,
            Effect.suspend(() => run(lane, statements)),
            (row) => JSON.parse(String(row["result"]))
          ),
        (lane, exit) => Effect.sync(() => (exit._tag === "Success" ? void free.push(lane) : undefined))
      )
  }
}

/** Another process has the runs of this one. */
const LOST = new SqlError.SqlError({
  reason: new SqlError.UnknownError({
    cause: undefined,
    message: "another process resumed the run while this one was silent: nothing more is written here",
    operation: "write"
  })
})
