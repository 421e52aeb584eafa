/**
 * A SQL database as the store uses it: statements with `?` for values, and groups of statements that are executed
 * atomically.
 *
 * **Details** On Node's SQLite both are one synchronous call. On other clients of `effect/sql` (PostgreSQL)
 * placeholders are numbered, and a group is a transaction.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as SqlClient from "effect/sql/SqlClient"
import * as SqlError from "effect/sql/SqlError"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as ErrorCauses from "./ErrorCauses.ts"
import * as Lease from "./Lease.ts"
import * as ServerGroups from "./ServerGroups.ts"
import * as ServerPatience from "./ServerPatience.ts"
import * as ServerText from "./ServerText.ts"
import type * as SqlStatement from "./Statement.ts"

/** A row as the database returns it. Large integers may be text. */
export type DatabaseRow = SqlStatement.DatabaseRow

/** An SQL statement with its values. */
export interface Statement extends SqlStatement.Statement {}

/** The operations of a database. */
export interface Service {
  readonly dialect: "sqlite" | "pg"
  /** The file, or the address without its password, for display. */
  readonly name: string
  readonly client: SqlClient.SqlClient
  readonly query: SqlStatement.Query
  /** Executes all statements or none, and returns the rows of each. */
  readonly transaction: SqlStatement.Transaction
  /**
   * What only a server has: leases of processes, and groups that several connections write.
   *
   * @internal
   */
  readonly server?: Server | undefined
}

/** What only a server has. */
interface Server {
  readonly lease: Lease.Lease
  readonly groups: ServerGroups.ServerGroups
  /** A statement that may run twice: when its answer is lost it is sent again. */
  readonly repeatable: Service["query"]
  /** The server does not answer, and is waited for. */
  readonly isAway: () => boolean
}

/** The database that a store uses. Provide it to keep the store elsewhere. */
export class Database extends Context.Service<Database, Service>()("@pipe/core/Database") {}

/** SQLite errors about the written content: too big, a violated constraint, a type mismatch. */
const SQLITE_CONTENT: ReadonlySet<number> = new Set([18, 19, 20])

/** Driver errors about a value that they cannot accept. */
const DRIVER_CONTENT: ReadonlySet<string> = new Set([
  "ERR_INVALID_ARG_TYPE",
  "ERR_INVALID_ARG_VALUE",
  "ERR_OUT_OF_RANGE"
])

/**
 * Tests whether a database refused the content, and would refuse it again: not because of a lock, a full disk or an
 * unreachable server.
 */
export const isContent = (error: unknown): boolean => {
  for (const cause of ErrorCauses.all(error)) {
    if ("errcode" in cause && typeof cause.errcode === "number" && SQLITE_CONTENT.has(cause.errcode & 0xff)) return true
    if ("code" in cause && typeof cause.code === "string") {
      // PostgreSQL: data exceptions, violated constraints, datatype mismatches.
      if (DRIVER_CONTENT.has(cause.code) || /^(?:22|23)[0-9A-Z]{3}$|^42804$/.test(cause.code)) return true
    }
    if ("_tag" in cause && String(cause._tag).endsWith("CodecError")) return true
  }
  return false
}

/**
 * A database on a PostgreSQL client. It waits for a server that is away, and for statements that were cut: what it
 * writes in groups is written once.
 */
export const fromPg = Effect.fnUntraced(function* (
  client: SqlClient.SqlClient,
  name: string,
  options: ServerPatience.Options = {}
): Effect.fn.Return<Service, never, Scope.Scope> {
  const numbered = new Map<string, string>()
  const number = (sql: string): string => {
    let text = numbered.get(sql)
    if (text === undefined) {
      if (numbered.size >= MOST_STATEMENTS) numbered.clear()
      let n = 0
      numbered.set(sql, (text = sql.replace(/\?/g, () => `$${++n}`)))
    }
    return text
  }
  const sendSound: Service["query"] = (sql, params = []) => client.unsafe<DatabaseRow>(number(sql), params)
  const send: Service["query"] = (sql, params = []) =>
    sendSound(
      sql,
      params.map((value) => (typeof value === "string" ? ServerText.make(value) : value))
    )
  const patience = ServerPatience.make(name, options)
  const repeatable: Service["query"] = (sql, params) => patience.wait(send(sql, params))
  const once: Service["query"] = (sql, params) => patience.once(send(sql, params))
  const lease = yield* Lease.make(repeatable, once)
  const groups = ServerGroups.make({
    send,
    sendSound,
    inTransaction: (work) => Effect.catchCause(client.withTransaction(work), brokenOff),
    patient: repeatable,
    patience,
    lease
  })
  return {
    dialect: "pg",
    name,
    client,
    query: (sql, params = []) =>
      WRITES.test(sql) ? Effect.map(groups.transaction([{ sql, params }]), ([rows]) => rows!) : repeatable(sql, params),
    transaction: groups.transaction,
    server: { lease, groups, repeatable, isAway: () => patience.awaySince() !== undefined }
  }
})

/** A statement that runs once, even when its answer is lost. */
const WRITES = /^\s*(?:INSERT|UPDATE|DELETE)\b/i

/** A transaction whose connection broke: what cannot be rolled back is a defect of the client, and the same as its failure. */
const brokenOff = (cause: Cause.Cause<SqlError.SqlError>): Effect.Effect<never, SqlError.SqlError> => {
  if (Cause.hasInterrupts(cause)) return Effect.failCause(cause)
  for (const reason of cause.reasons) {
    const error: unknown = Cause.isFailReason(reason)
      ? reason.error
      : Cause.isDieReason(reason)
        ? reason.defect
        : undefined
    if (SqlError.isSqlError(error) && ServerPatience.isAway(error)) return Effect.fail(error)
  }
  return Effect.failCause(cause)
}

/** The most texts of statements that are kept. */
const MOST_STATEMENTS = 1_000

/** All rows of a table in the order of their ids, page by page: `page` selects those after an id. */
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

/** A number as the database returns it; `undefined` for null. */
export const toNumber = (value: unknown): number | undefined =>
  value === null || value === undefined ? undefined : Number(value)

/** An integer of any size. */
export const toBigInt = (value: unknown): bigint | undefined => {
  if (value === null || value === undefined) return undefined
  try {
    return BigInt(value as string | number | bigint)
  } catch {
    // A damaged cell.
    return undefined
  }
}

/** A count or a sum, which is 0 when there are no rows. */
export const total = (value: unknown): number => toNumber(value) ?? 0

/** The same for a sum of any size, such as money. */
export const totalBigInt = (value: unknown): bigint => toBigInt(value) ?? 0n

/** A JSON column; `undefined` when it is null or damaged. */
export const toJson = (value: unknown): unknown => {
  try {
    return typeof value === "string" ? JSON.parse(value) : undefined
  } catch {
    return undefined
  }
}

/** A nullable text column. */
export const toText = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

/** The number of rows in a table. */
export const count = (database: Service, table: string): Effect.Effect<number, SqlError.SqlError> =>
  Effect.map(database.query(`SELECT count(*) AS n FROM ${table}`), (rows) => toNumber(rows[0]?.["n"]) ?? 0)
