/**
 * `effect/sql`'s client on Node's own SQLite: a small adapter, one connection, statements kept prepared.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlConnection from "effect/sql/SqlConnection"
import * as SqlError from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite"
import type * as Database from "./Database.ts"

export interface Options {
  /** A file, or `":memory:"`. */
  readonly filename: string
  /** How long a statement waits for another process's lock, in milliseconds. Default: 5,000. */
  readonly busyTimeout?: number
}

/** A database on a file, closed with the scope. Fails when the file cannot be opened or is no database. */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Database.Service, SqlError.SqlError, Scope.Scope | Reactivity.Reactivity> {
  const { DatabaseSync } = yield* Effect.promise(() => import("node:sqlite"))
  const db = yield* Effect.acquireRelease(
    attempt("open", () => {
      const db = new DatabaseSync(options.filename)
      db.exec(`PRAGMA busy_timeout = ${options.busyTimeout ?? 5_000}`)
      db.exec(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8000; PRAGMA foreign_keys = ON"
      )
      return db
    }),
    (db) => Effect.sync(() => db.close())
  )
  const connection = makeConnection(db)
  const lock = Semaphore.makeUnsafe(1)
  const acquirers = SqlClient.makeSqliteAcquirers({
    connection: Effect.succeed(connection),
    semaphore: lock,
    isTransaction: () => db.isTransaction
  })
  const client = yield* SqlClient.make({
    ...acquirers,
    compiler: Statement.makeCompilerSqlite(),
    driver: "node:sqlite",
    spanAttributes: [["db.system.name", "sqlite"]],
    // A transaction that will write takes its lock at once: it cannot fail half-way for another's.
    beginTransaction: "BEGIN IMMEDIATE"
  })
  const { all } = connection
  return {
    dialect: "sqlite",
    name: options.filename,
    client,
    query: (sql, params = []) => attempt("execute", () => all(sql, params)),
    transaction: (statements) =>
      lock.withPermit(
        attempt("transaction", () => {
          db.exec("BEGIN IMMEDIATE")
          try {
            const rows = statements.map(({ params, sql }) => all(sql, params))
            db.exec("COMMIT")
            return rows
          } catch (error) {
            if (db.isTransaction) db.exec("ROLLBACK")
            throw error
          }
        })
      )
  }
})

/** Provides a client on a file. */
export const layer = (options: Options): Layer.Layer<SqlClient.SqlClient, SqlError.SqlError> =>
  Layer.effect(
    SqlClient.SqlClient,
    Effect.map(make(options), ({ client }) => client)
  ).pipe(Layer.provide(Reactivity.layer))

const STATEMENTS = 64

interface Connection extends SqlConnection.Connection {
  /** The rows of a statement that is kept prepared. */
  readonly all: (sql: string, params: ReadonlyArray<unknown>) => ReadonlyArray<Database.Row>
}

const makeConnection = (db: DatabaseSync): Connection => {
  const prepared = new Map<string, StatementSync>()
  const prepare = (sql: string): StatementSync => {
    let statement = prepared.get(sql)
    if (statement === undefined) {
      statement = db.prepare(sql)
      if (prepared.size >= STATEMENTS) prepared.delete(prepared.keys().next().value!)
      prepared.set(sql, statement)
    }
    return statement
  }
  const all = (statement: StatementSync, params: ReadonlyArray<unknown>) =>
    statement.all(...(params as ReadonlyArray<SQLInputValue>)) as ReadonlyArray<Database.Row>
  const values = (statement: StatementSync, params: ReadonlyArray<unknown>) =>
    all(statement, params).map((row) => Object.values(row))
  return {
    all: (sql, params) => all(prepare(sql), params),
    execute: (sql, params, transformRows) =>
      attempt("execute", () => {
        const rows = all(prepare(sql), params)
        return transformRows === undefined ? rows : transformRows(rows)
      }),
    executeUnprepared: (sql, params, transformRows) =>
      attempt("execute", () => {
        const rows = all(db.prepare(sql), params)
        return transformRows === undefined ? rows : transformRows(rows)
      }),
    executeRaw: (sql, params) => attempt("execute", () => all(prepare(sql), params)),
    executeValues: (sql, params) => attempt("execute", () => values(prepare(sql), params)),
    executeValuesUnprepared: (sql, params) => attempt("execute", () => values(db.prepare(sql), params)),
    executeStream: (sql, params, transformRows) =>
      Stream.suspend(() =>
        Stream.fromIterable(db.prepare(sql).iterate(...(params as ReadonlyArray<SQLInputValue>)) as Iterable<object>)
      ).pipe((rows) => (transformRows === undefined ? rows : Stream.map(rows, (row) => transformRows([row])[0]!)))
  }
}

const attempt = <A>(operation: string, f: () => A): Effect.Effect<A, SqlError.SqlError> =>
  Effect.try({
    try: f,
    catch: (cause) =>
      new SqlError.SqlError({
        reason: SqlError.classifySqliteError(cause, {
          message: cause instanceof Error ? cause.message : String(cause),
          operation
        })
      })
  })
