/**
 * Writes on a server exactly once: a group of rows with one statement, or a transaction. Each has a number in its lane,
 * which it raises: when the connection breaks before the answer arrives, the number tells whether it was written.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as SqlError from "effect/sql/SqlError"
import type * as Lease from "./Lease.ts"
import * as ServerPatience from "./ServerPatience.ts"
import * as ServerText from "./ServerText.ts"
import type * as Statement from "./Statement.ts"

/** What a group writes. */
export interface Group {
  readonly inserts: ReadonlyArray<{
    readonly table: string
    readonly columns: ReadonlyArray<string>
    readonly rows: ReadonlyArray<ReadonlyArray<unknown>>
    /** A condition in SQL for rows `r` that are refused, with their whole group. */
    readonly refused?: string | undefined
  }>
  /** Rows to delete, found by these columns. */
  readonly deletes: ReadonlyArray<{
    readonly table: string
    readonly columns: ReadonlyArray<string>
    readonly keys: ReadonlyArray<ReadonlyArray<unknown>>
  }>
  /** Statements that run after the rows are written. */
  readonly after: ReadonlyArray<Statement.Statement>
}

export interface ServerGroups {
  /** How many groups may be in progress. */
  readonly lanes: number
  readonly write: (lane: number, group: Group) => Effect.Effect<void, SqlError.SqlError>
  /** Runs statements together. Their results are kept in the lane until the next ones, in case the answer is lost. */
  readonly transaction: Statement.Transaction
}

const LANES = 3

interface Statements {
  /** Sends a statement once. */
  readonly send: Statement.Query
  /** The same, with values that the server accepts as they are. */
  readonly sendSound: Statement.Query
  readonly inTransaction: <A>(work: Effect.Effect<A, SqlError.SqlError>) => Effect.Effect<A, SqlError.SqlError>
  /** Sends a statement until the server answers. */
  readonly patient: Statement.Query
  readonly patience: ServerPatience.ServerPatience
  readonly lease: Lease.Lease
}

/** The rows as records in JSON: the server knows the types of the columns. */
const records = (columns: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<unknown>>): string => {
  const names = columns.map((column, at) => `${at === 0 ? "{" : ","}"${column}":`)
  let text = ""
  for (const row of rows) {
    text += text === "" ? "[" : "},"
    for (let at = 0; at < names.length; at++) text += names[at]! + valueOf(row[at])
  }
  return `${text}}]`
}

const valueOf = (value: unknown): string => {
  switch (typeof value) {
    case "string": {
      const text = JSON.stringify(value)
      return text.includes("\\u") && UNSOUND.test(text) ? JSON.stringify(ServerText.make(value)) : text
    }
    case "bigint":
      return String(value)
    default:
      return JSON.stringify(value ?? null)
  }
}

/** A server accepts neither NUL in text nor half of a surrogate pair; JSON escapes both. */
const UNSOUND = /\\u(?:0000|d[89a-f])/

const GUARD = `UPDATE lanes SET number = ?, lease = ? WHERE id = ? AND number = ?
  AND (CAST(? AS BIGINT) IS NULL OR EXISTS (SELECT 1 FROM leases WHERE leases.id = ? AND is_over = 0))`

/** How often a write is sent while the server answers other statements, and the pause before it, in milliseconds. */
const MOST_TRIES = 20
const PAUSE = 50

const texts = new Map<string, string>()

/** The statement of a group: one for each set of tables. Rows of a table that may be refused come first. */
const textOf = (inserts: Group["inserts"], deletes: Group["deletes"]): string => {
  const tables = (all: ReadonlyArray<{ readonly table: string }>) => all.map(({ table }) => table).join()
  const key = `${tables(inserts)}/${tables(deletes)}`
  let text = texts.get(key)
  if (text !== undefined) return text
  const given = (table: string) => `json_populate_recordset(NULL::${table}, CAST(CAST(? AS TEXT) AS json)) AS r`
  const from = (table: string) => `lane, ${given(table)}`
  const fenced = inserts.filter(({ refused }) => refused !== undefined)
  const parts = [
    ...fenced.map(({ table }) => `${table}_new AS MATERIALIZED (SELECT r.* FROM ${given(table)})`),
    `lane AS (${GUARD}${fenced
      .map(({ refused, table }) => ` AND NOT EXISTS (SELECT 1 FROM ${table}_new AS r WHERE ${refused})`)
      .join("")} RETURNING id)`,
    ...inserts.map(
      ({ columns, refused, table }) =>
        `${table}_in AS (INSERT INTO ${table} (${columns.join(", ")}) SELECT ${columns
          .map((column) => `r.${column}`)
          .join(", ")} FROM ${refused === undefined ? from(table) : `lane, ${table}_new AS r`})`
    ),
    ...deletes.map(
      ({ columns, table }) =>
        `${table}_out AS (DELETE FROM ${table} USING ${from(table)} WHERE ${columns
          .map((column) => `${table}.${column} = r.${column}`)
          .join(" AND ")})`
    )
  ]
  texts.set(key, (text = `WITH ${parts.join(",\n")} SELECT id FROM lane`))
  return text
}

const statementOf = ({ deletes, inserts }: Group, guard: ReadonlyArray<unknown>): Statement.Statement => {
  // Whether the lane is raised depends on the rows that may be refused.
  const fenced = inserts.filter(({ refused }) => refused !== undefined)
  const others = inserts.filter(({ refused }) => refused === undefined)
  const texts = (some: Group["inserts"]) => some.map(({ columns, rows }) => records(columns, rows))
  return {
    sql: textOf([...fenced, ...others], deletes),
    params: [
      ...texts(fenced),
      ...guard,
      ...texts(others),
      ...deletes.map(({ columns, keys }) => records(columns, keys))
    ]
  }
}

/** Results as text: integers of any size become text, as a server may give them too. */
const toJson = (results: unknown): string =>
  JSON.stringify(results, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value))

interface Lane {
  readonly id: number
  number: number
}

/**
 * Writes until it is known that it was written; `undefined` from `attempt` when the number is another, or when rows of the
 * group are refused.
 */
const exactlyOnce =
  ({ lease, patience, patient }: Pick<Statements, "lease" | "patience" | "patient">) =>
  <A>(
    lane: Lane,
    attempt: Effect.Effect<A | undefined, SqlError.SqlError>,
    written: (row: Statement.DatabaseRow) => A,
    /** Whether rows of the group can be refused. */
    isFenced = false
  ): Effect.Effect<A, SqlError.SqlError> => {
    let tries = 0
    const settle = (isAnswered: boolean): Effect.Effect<A, SqlError.SqlError> =>
      Effect.flatMap(patient("SELECT number, result FROM lanes WHERE id = ?", [lane.id]), ([row]) => {
        const number = row === undefined ? undefined : Number(row["number"])
        if (number === lane.number + 1) {
          lane.number++
          return Effect.succeed(written(row!))
        }
        return Effect.flatMap(lease.isLost, (isLost) => {
          if (isLost) return Effect.fail(LOST)
          if (number !== lane.number) return Effect.fail(BEHIND)
          return isAnswered && isFenced ? Effect.fail(REFUSED) : again
        })
      })
    const again: Effect.Effect<A, SqlError.SqlError> = Effect.suspend(() =>
      Effect.matchEffect(patience.once(attempt), {
        onFailure: (error) =>
          ServerPatience.isAway(error) && tries++ < MOST_TRIES
            ? Effect.andThen(Effect.sleep(PAUSE * tries), settle(false))
            : Effect.fail(error),
        onSuccess: (value) => {
          if (value === undefined) return tries++ < MOST_TRIES ? settle(true) : Effect.fail(BEHIND)
          lane.number++
          return Effect.succeed(value)
        }
      })
    )
    return again
  }

export const make = (statements: Statements): ServerGroups => {
  const { inTransaction, lease, patient, send, sendSound } = statements
  const exactly = exactlyOnce(statements)
  const lanes: Array<Lane | undefined> = []
  /** Lanes of transactions: as many as were ever in use at once. */
  const free: Array<Lane> = []

  const open = Effect.map(patient("INSERT INTO lanes (number) VALUES (0) RETURNING id"), ([row]): Lane => ({
    id: Number(row!["id"]),
    number: 0
  }))

  const guard = (lane: Lane): ReadonlyArray<unknown> => [
    lane.number + 1,
    lease.current() ?? null,
    lane.id,
    lane.number,
    lease.current() ?? null,
    lease.current() ?? null
  ]

  const run = (lane: Lane, statements: ReadonlyArray<Statement.Statement>) =>
    inTransaction(
      Effect.gen(function* () {
        if ((yield* send(`${GUARD} RETURNING id`, guard(lane))).length === 0) return undefined
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
        const written = Effect.map(sendSound(sql, params), (rows) => (rows.length === 0 ? undefined : true))
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
        yield* exactly(
          lane,
          attempt,
          () => true,
          group.inserts.some(({ refused }) => refused !== undefined)
        )
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

/** The server has lost what it had confirmed. */
const BEHIND = new SqlError.SqlError({
  reason: new SqlError.UnknownError({
    cause: undefined,
    message: "the server has lost writes that it had confirmed (it was restored, or another one replaced it)",
    operation: "write"
  })
})

/** Rows that a condition of their table refuses; nothing of their group is written. */
const REFUSED = new SqlError.SqlError({
  reason: new SqlError.UnknownError({
    cause: undefined,
    message: "the run has ended, or another process resumed it: nothing more is sent here",
    operation: "write"
  })
})

/** Tests whether a group was refused because of its rows. */
export const isRefused = (error: SqlError.SqlError): boolean => error === REFUSED

/** Another process has the runs of this one. */
const LOST = new SqlError.SqlError({
  reason: new SqlError.UnknownError({
    cause: undefined,
    message: "another process resumed the run while this one was silent: nothing more is written here",
    operation: "write"
  })
})
