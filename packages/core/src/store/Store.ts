/**
 * The store of a project, `.pipe/pipe.db`: one SQLite file that processes may share.
 *
 * **Details** A file that is damaged is put aside and a new one begun; one that a newer version wrote, or that cannot be
 * opened, is left alone, and the run keeps its cache in memory. Each says so in one line.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import * as CacheStore from "./CacheStore.ts"
import * as Migrations from "./Migrations.ts"
import * as NodeSqlite from "./NodeSqlite.ts"

/** A store that cannot be used. */
export class StoreError extends Schema.TaggedError<StoreError>()("StoreError", {
  kind: Schema.Literals(["damaged", "newer", "unavailable"]),
  file: Schema.String,
  message: Schema.String
}) {}

/** Opens a store and brings its tables up to date. */
export const open = Effect.fnUntraced(function*(
  file: string
): Effect.fn.Return<SqlClient.SqlClient, StoreError, Scope.Scope | Reactivity.Reactivity> {
  const client = yield* Effect.mapError(NodeSqlite.make({ filename: file }), (error) => toStoreError(file, error))
  yield* Effect.gen(function*() {
    const tables = yield* client.unsafe<{ readonly name: string }>(
      "SELECT name FROM sqlite_master WHERE name = 'effect_sql_migrations'"
    )
    const version = tables.length === 0 ? 0 : (yield* client.unsafe<{ readonly version: number | null }>(
      "SELECT max(migration_id) AS version FROM effect_sql_migrations"
    ))[0]?.version ?? 0
    if (version > Migrations.latest) {
      return yield* new StoreError({
        kind: "newer",
        file,
        message: `${file} was written by a newer version of pipe (${version}; this one knows ${Migrations.latest}): update pipe, or move the file away`
      })
    }
    if (version < Migrations.latest) {
      yield* Effect.provideService(
        Migrator.make({})({ loader: Migrator.fromRecord(Migrations.migrations) }),
        SqlClient.SqlClient,
        client
      )
    }
  }).pipe(
    Effect.mapError((error) => (error._tag === "StoreError" ? error : toStoreError(file, error)))
  )
  return client
})

const toStoreError = (file: string, error: SqlError.SqlError | Migrator.MigrationError): StoreError => {
  const text = deepMessage(error)
  return /not a database|malformed|corrupt/i.test(text)
    ? new StoreError({ kind: "damaged", file, message: `${file} is damaged (${text})` })
    : new StoreError({
      kind: "unavailable",
      file,
      message: `${file} cannot be used: ${
        /locked|busy/i.test(text) ? "another process holds it locked" : text
      }`
    })
}

/** The driver's own words stand in the innermost cause. */
const deepMessage = (error: unknown): string => {
  let message = ""
  for (let at = error; typeof at === "object" && at !== null;) {
    if ("message" in at && typeof at.message === "string" && at.message !== "") message = at.message
    at = "reason" in at ? at.reason : "cause" in at ? at.cause : undefined
  }
  return message
}

/** The exact cache of a project in its store; in memory, with one warning, where the store cannot be used. */
export const layerCache = (
  file: string
): Layer.Layer<CacheStore.CacheStore, never, FileSystem.FileSystem | Path.Path> =>
  Layer.unwrap(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const inMemory = (why: string) =>
      Effect.as(Effect.logWarning(`${why}; answers are cached in memory for this run only`), CacheStore.layerMemory())
    const folder = path.dirname(file)
    const made = yield* Effect.result(fs.makeDirectory(folder, { recursive: true }))
    if (made._tag === "Failure") return yield* inMemory(`${folder} cannot be made: ${made.failure.message}`)
    return yield* openOrAside(file).pipe(
      Effect.map((client) => layerCacheSql.pipe(Layer.provide(Layer.succeed(SqlClient.SqlClient, client)))),
      Effect.catch((error) => inMemory(error.message))
    )
  })).pipe(Layer.provide(Reactivity.layer))

/** Opens a store; a damaged one is renamed and begun anew. */
const openOrAside = (file: string) =>
  Effect.catch(open(file), (error) =>
    error.kind !== "damaged" ? Effect.fail(error) : Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const aside = `${file}.damaged-${yield* Clock.currentTimeMillis}`
      yield* Effect.mapError(fs.rename(file, aside), (cause) =>
        new StoreError({ kind: "unavailable", file, message: `${error.message}, and cannot be moved: ${cause.message}` }))
      for (const suffix of ["-wal", "-shm"]) yield* Effect.ignore(fs.remove(file + suffix))
      yield* Effect.logWarning(`${error.message}: it was moved to ${aside}, and a new one is begun`)
      return yield* open(file)
    }))

const SELECT = "SELECT value FROM cache WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)"

/** Entries that are written in one transaction, at most. */
const GROUP = 2_000

/** The exact cache on any store's client: read by key, written behind in groups. */
export const layerCacheSql: Layer.Layer<CacheStore.CacheStore, never, SqlClient.SqlClient> = Layer.effect(
  CacheStore.CacheStore,
  Effect.gen(function*() {
    const client = yield* SqlClient.SqlClient
    // SQLite has one connection, and it is synchronous: a look-up goes to it straight, for a third of a statement's cost.
    const connection = client.driver === "node:sqlite" ? yield* Effect.orDie(Effect.scoped(client.reserve)) : undefined
    const select = (params: ReadonlyArray<unknown>): Effect.Effect<ReadonlyArray<{ readonly value: string }>, SqlError.SqlError> =>
      connection === undefined ? client.unsafe<{ readonly value: string }>(SELECT, params) : connection.execute(SELECT, params, undefined)
    const pending = new Map<string, CacheStore.Entry>()

    const flush = Effect.suspend(() => {
      const entries = [...pending.values()].slice(0, GROUP)
      return entries.length === 0 ? Effect.void : Effect.tap(
        client.withTransaction(Effect.forEach(chunks(entries), (chunk) => write(client, chunk), { discard: true })),
        () =>
          Effect.sync(() => {
            for (const entry of entries) if (pending.get(entry.key) === entry) pending.delete(entry.key)
          })
      )
    }).pipe(Effect.mapError(toCacheError))

    const flushAll = Effect.gen(function*() {
      while (pending.size > 0) yield* flush
    })
    yield* Effect.addFinalizer(() => Effect.catch(flushAll, (error) => Effect.logWarning(error.message)))
    // What cannot be written stays pending: the next use of the store reports it.
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep("200 millis"), Effect.ignore(flush))))

    return CacheStore.CacheStore.of({
      get: (key, now) =>
        Effect.suspend(() => {
          const waiting = pending.get(key)
          return waiting === undefined
            ? Effect.mapError(Effect.map(select([short(key), now]), (rows) => rows[0]?.value), toCacheError)
            : Effect.succeed(waiting.expiresAt === undefined || waiting.expiresAt > now ? waiting.value : undefined)
        }),
      set: (entry) =>
        Effect.suspend(() => {
          pending.set(entry.key, entry)
          return pending.size < GROUP ? Effect.void : flush
        })
    })
  })
)

/** Rows of one statement: few sizes, so that each statement is prepared once. */
const SIZES = [64, 16, 4, 1]

const chunks = (entries: ReadonlyArray<CacheStore.Entry>): ReadonlyArray<ReadonlyArray<CacheStore.Entry>> => {
  const out: Array<ReadonlyArray<CacheStore.Entry>> = []
  let from = 0
  for (const size of SIZES) {
    for (; entries.length - from >= size; from += size) out.push(entries.slice(from, from + size))
  }
  return out
}

const write = (client: SqlClient.SqlClient, entries: ReadonlyArray<CacheStore.Entry>) =>
  client.unsafe(
    `INSERT INTO cache (key, value, model, created_at, expires_at) VALUES ${
      entries.map(() => "(?, ?, ?, ?, ?)").join(", ")
    } ON CONFLICT (key) DO UPDATE SET value = excluded.value, model = excluded.model, created_at = excluded.created_at, expires_at = excluded.expires_at`,
    entries.flatMap((entry) => [short(entry.key), entry.value, entry.model, entry.createdAt, entry.expiresAt ?? null])
  )

/** Half of a SHA-256 tells keys apart as well, and costs half. */
const short = (key: string): string => key.slice(0, 32)

const toCacheError = (cause: SqlError.SqlError): CacheStore.CacheStoreError =>
  new CacheStore.CacheStoreError({ message: `the cache's store failed: ${deepMessage(cause)}`, cause })
