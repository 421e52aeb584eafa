/**
 * A small `effect/sql` client for Node's SQLite: one connection, with prepared statements.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlConnection from "effect/sql/SqlConnection"
import * as SqlError from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import { closeSync, openSync, statSync } from "node:fs"
import { resolve } from "node:path"
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite"
import * as Lru from "./Lru.ts"
import type * as Database from "./Database.ts"
import * as StoreTrouble from "./StoreTrouble.ts"

export interface Options {
  /** A file, or `":memory:"`. It is created with mode 600. */
  readonly filename: string
  /** What a database in memory begins with, as `image` returned it. */
  readonly image?: Uint8Array | undefined
}

/** A database of this process. */
export interface SqliteDatabase extends Database.Service {
  /** Everything in it; `undefined` where Node.js cannot tell (before 24.16). */
  readonly image: () => Uint8Array | undefined
}

/** How long a statement blocks on a lock, in milliseconds. */
const BUSY_TIMEOUT = 500

/** How long a lock of another process is waited for while this process continues; zero for not at all. */
export const LockWait = Context.Reference<Duration.Input>("@pipe/core/NodeSqlite/LockWait", {
  defaultValue: () => "10 minutes"
})

/** Waits for a lock of another process, with one message about it. */
export const waitForLock = <A, E, R>(
  name: string,
  effect: Effect.Effect<A, E, R>,
  isLocked: (error: E) => boolean
): Effect.Effect<A, E, R> =>
  Effect.catch(effect, (error) =>
    Effect.flatMap(LockWait, (atMost) =>
      !isLocked(error) || Duration.toMillis(Duration.fromInputUnsafe(atMost)) === 0
        ? Effect.fail(error)
        : Effect.andThen(
            Effect.logWarning(`${name} is locked by another process: waiting`),
            Effect.retry(effect, {
              while: isLocked,
              schedule: Schedule.upTo(Schedule.spaced("200 millis"), { duration: atMost })
            })
          )
    )
  )

/** Opens a database file, and closes it with the scope. Fails when the file cannot be opened or is not a database. */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<SqliteDatabase, SqlError.SqlError, Scope.Scope | Reactivity.Reactivity> {
  const { DatabaseSync } = yield* Effect.promise(() => import("node:sqlite"))
  const { filename } = options
  const db = yield* Effect.acquireRelease(
    attempt("open", () => {
      // SQLite gives its log and its index the mode of the file.
      if (filename !== ":memory:") closeSync(openSync(filename, "a", 0o600))
      // SQLite would parse a name such as `file:x` as a URI.
      const db = new DatabaseSync(filename === ":memory:" ? filename : resolve(filename))
      if (options.image !== undefined) db.deserialize(options.image)
      db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT}`)
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
    // A writing transaction takes its lock at the start, so it cannot fail midway.
    beginTransaction: "BEGIN IMMEDIATE"
  })
  const { all } = connection
  const inode = inodeOf(filename)
  const patient = <A>(effect: Effect.Effect<A, SqlError.SqlError>) => waitForLock(filename, effect, isLocked)
  return {
    dialect: "sqlite",
    name: filename,
    image: () => ("serialize" in db ? db.serialize() : undefined),
    client,
    query: (sql, params = []) => patient(attempt("execute", () => all(sql, params))),
    transaction: (statements) =>
      lock.withPermit(
        patient(
          attempt("transaction", () => {
            // What is written to a deleted file is lost when it is closed.
            if (inodeOf(filename) !== inode) throw new Error("it was deleted or replaced while it was open")
            all("BEGIN IMMEDIATE", [])
            try {
              const rows = statements.map(({ isInsert, params, sql }) =>
                isInsert === true ? [{ id: connection.insert(sql, params) }] : all(sql, params)
              )
              all("COMMIT", [])
              return rows
            } catch (error) {
              if (db.isTransaction) db.exec("ROLLBACK")
              throw error
            }
          })
        )
      )
  }
})

/** Tests whether another process holds a lock. */
const isLocked = (error: unknown): boolean => StoreTrouble.of(error) === "locked"

/** Distinguishes a file from another one with the same name. */
const inodeOf = (filename: string): number | undefined =>
  filename === ":memory:" ? undefined : statSync(filename, { throwIfNoEntry: false })?.ino

/** Provides a client for a file. */
export const layer = (options: Options): Layer.Layer<SqlClient.SqlClient, SqlError.SqlError> =>
  Layer.effect(
    SqlClient.SqlClient,
    Effect.map(make(options), ({ client }) => client)
  ).pipe(Layer.provide(Reactivity.layer))

const STATEMENTS = 64

interface Connection extends SqlConnection.Connection {
  /** The rows of a prepared statement. */
  readonly all: (sql: string, params: ReadonlyArray<unknown>) => ReadonlyArray<Database.DatabaseRow>
  /** Inserts rows, and returns the id of the last one. */
  readonly insert: (sql: string, params: ReadonlyArray<unknown>) => number | bigint
}

const makeConnection = (db: DatabaseSync): Connection => {
  const prepared = Lru.make<string, StatementSync>(STATEMENTS)
  const prepare = (sql: string): StatementSync => {
    let statement = prepared.get(sql)
    if (statement === undefined) {
      statement = db.prepare(sql)
      prepared.set(sql, statement)
    }
    return statement
  }
  const all = (statement: StatementSync, params: ReadonlyArray<unknown>) =>
    statement.all(...(params as ReadonlyArray<SQLInputValue>)) as ReadonlyArray<Database.DatabaseRow>
  const values = (statement: StatementSync, params: ReadonlyArray<unknown>) =>
    all(statement, params).map((row) => Object.values(row))
  return {
    all: (sql, params) => all(prepare(sql), params),
    insert: (sql, params) => prepare(sql).run(...(params as ReadonlyArray<SQLInputValue>)).lastInsertRowid,
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
