/**
 * A SQL database as the store uses it: statements with `?` for values, and groups of statements that are written whole.
 *
 * **Details** On Node's own SQLite both are one synchronous call. On any other client of `effect/sql` (Postgres) the
 * marks become numbered, and a group is a transaction.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"

/** A row as the database gives it: large integers may be text. */
export type DatabaseRow = { readonly [column: string]: unknown }

export interface Statement {
  readonly sql: string
  readonly params: ReadonlyArray<unknown>
}

export interface Service {
  readonly dialect: "sqlite" | "pg"
  /** For people: the file, or the address without its password. */
  readonly name: string
  readonly client: SqlClient.SqlClient
  readonly query: (
    sql: string,
    params?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<DatabaseRow>, SqlError.SqlError>
  /** Runs all statements or none, and gives the rows of each. */
  readonly transaction: (
    statements: ReadonlyArray<Statement>
  ) => Effect.Effect<ReadonlyArray<ReadonlyArray<DatabaseRow>>, SqlError.SqlError>
}

export class Database extends Context.Service<Database, Service>()("@pipe/core/Database") {}

/** Failures of SQLite for what was to be written: too big, against a constraint, of another kind. */
const SQLITE_CONTENT: ReadonlySet<number> = new Set([18, 19, 20])

/** Failures of drivers for a value that they cannot take. */
const DRIVER_CONTENT: ReadonlySet<string> = new Set([
  "ERR_INVALID_ARG_TYPE",
  "ERR_INVALID_ARG_VALUE",
  "ERR_OUT_OF_RANGE"
])

/**
 * Whether a database refused what was to be written, and would refuse it again: not for a lock, a full disk or a server that
 * is away.
 */
export const isContent = (error: unknown): boolean => {
  for (let at = error; typeof at === "object" && at !== null;) {
    if ("errcode" in at && typeof at.errcode === "number" && SQLITE_CONTENT.has(at.errcode & 0xff)) return true
    if ("code" in at && typeof at.code === "string") {
      // PostgreSQL: data exceptions, violated constraints, another type than the column's.
      if (DRIVER_CONTENT.has(at.code) || /^(?:22|23)[0-9A-Z]{3}$|^42804$/.test(at.code)) return true
    }
    if ("_tag" in at && String(at._tag).endsWith("CodecError")) return true
    at = "reason" in at ? at.reason : "cause" in at ? at.cause : undefined
  }
  return false
}

/** A server takes no NUL in text, and no half of a surrogate pair. */
const toServerText = (value: unknown): unknown =>
  typeof value !== "string"
    ? value
    : (value.includes("\u0000") ? value.replaceAll("\u0000", "\ufffd") : value).toWellFormed()

/** On a client of Postgres. */
export const fromPg = (client: SqlClient.SqlClient, name: string): Service => {
  const numbered = new Map<string, string>()
  const number = (sql: string): string => {
    let text = numbered.get(sql)
    if (text === undefined) {
      let n = 0
      numbered.set(sql, (text = sql.replace(/\?/g, () => `$${++n}`)))
    }
    return text
  }
  const query: Service["query"] = (sql, params = []) =>
    client.unsafe<DatabaseRow>(number(sql), params.map(toServerText))
  return {
    dialect: "pg",
    name,
    client,
    query,
    transaction: (statements) =>
      client.withTransaction(Effect.forEach(statements, ({ params, sql }) => query(sql, params)))
  }
}

/** All rows of a table in the order of their ids, a page at a time: `page` selects those after an id. */
export const pages = (
  size: number,
  page: (after: number, size: number) => Effect.Effect<ReadonlyArray<DatabaseRow>, SqlError.SqlError>
): Stream.Stream<DatabaseRow, SqlError.SqlError> =>
  Stream.paginate(0, (after: number) =>
    Effect.map(
      page(after, size),
      (rows) => [rows, rows.length === size ? Option.some(Number(rows.at(-1)!["id"])) : Option.none<number>()] as const
    )
  )

/** A whole number as the database gives it, `undefined` for null. */
export const toNumber = (value: unknown): number | undefined =>
  value === null || value === undefined ? undefined : Number(value)

/** A whole number of any size. */
export const toBigInt = (value: unknown): bigint | undefined => {
  if (value === null || value === undefined) return undefined
  try {
    return BigInt(value as string | number | bigint)
  } catch {
    // A cell that was damaged.
    return undefined
  }
}

/** A count or a sum, which is 0 where there were no rows. */
export const total = (value: unknown): number => toNumber(value) ?? 0

/** The same for a sum of any size: money. */
export const totalBigInt = (value: unknown): bigint => toBigInt(value) ?? 0n

/** A JSON column; `undefined` where it is null, or was damaged. */
export const toJson = (value: unknown): unknown => {
  try {
    return typeof value === "string" ? JSON.parse(value) : undefined
  } catch {
    return undefined
  }
}

/** A text column that may be null. */
export const toText = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

/** How many rows a table has. */
export const count = (database: Service, table: string): Effect.Effect<number, SqlError.SqlError> =>
  Effect.map(database.query(`SELECT count(*) AS n FROM ${table}`), (rows) => toNumber(rows[0]?.["n"]) ?? 0)
