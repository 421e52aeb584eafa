/**
 * The store of a project: runs, results, ledger and cached answers. It is one SQLite file, `.pipe/pipe.db`, or a
 * PostgreSQL database, which processes may share.
 *
 * **Details** A damaged file is renamed and a new one created. A file that a newer version wrote, or that cannot be
 * opened, is left alone, and the run keeps its store in memory. Each case is reported in one line.
 *
 * **Example** (the runs of a project)
 *
 * ```ts
 * import { Store } from "@pipe/core"
 * import { NodeServices } from "@effect/platform-node"
 * import { Effect } from "effect"
 *
 * export const runs = Effect.flatMap(Store.Store, (store) => store.runs.list(20)).pipe(
 *   Effect.provide(Store.layer(".pipe/pipe.db")),
 *   Effect.provide(NodeServices.layer)
 * )
 *
 * await Effect.runPromise(runs) // => []
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import * as SqlError from "effect/sql/SqlError"
import * as BatchRepo from "../batch/BatchRepo.ts"
import * as CacheRepo from "../cache/CacheRepo.ts"
import * as CacheStore from "../cache/CacheStore.ts"
import * as FilePlace from "../file/FilePlace.ts"
import * as CallNotes from "./CallNotes.ts"
import * as InterruptedCalls from "../ledger/InterruptedCalls.ts"
import * as LedgerRepo from "../ledger/LedgerRepo.ts"
import * as LabelRepo from "../review/LabelRepo.ts"
import * as RouteRepo from "../routing/RouteRepo.ts"
import * as ExchangeRepo from "../run/ExchangeRepo.ts"
import * as OutputRepo from "../run/OutputRepo.ts"
import * as RowRepo from "../run/RowRepo.ts"
import * as RunRepo from "../run/RunRepo.ts"
import * as PackRepo from "../pack/PackRepo.ts"
import * as ReuseRepo from "../semantic/ReuseRepo.ts"
import * as Database from "./Database.ts"
import * as ErrorCauses from "./ErrorCauses.ts"
import * as KeyedLog from "./KeyedLog.ts"
import * as Migrations from "./Migrations.ts"
import * as NodeSqlite from "./NodeSqlite.ts"
import * as StoreTrouble from "./StoreTrouble.ts"
import * as Writer from "./Writer.ts"

/** The tables of a store. */
export interface Service {
  /**
   * Its database, for those who own it.
   *
   * @internal
   */
  readonly database: Database.Service
  /** The file or the server, for display. */
  readonly name: string
  /** The SQLite file. */
  readonly file: string | undefined
  /** The folder for files of the store. */
  readonly folder: string | undefined
  /** Whether the store ends with the process: it was requested in memory, or could not be opened. */
  readonly inMemory: boolean
  readonly runs: RunRepo.RunRepo
  readonly rows: RowRepo.RowRepo
  readonly ledger: LedgerRepo.LedgerRepo
  readonly batches: BatchRepo.BatchRepo
  readonly reuse: ReuseRepo.ReuseRepo
  readonly packs: PackRepo.PackRepo
  readonly routes: RouteRepo.RouteRepo
  readonly labels: LabelRepo.LabelRepo
  readonly cache: CacheRepo.CacheRepo
  readonly outputs: OutputRepo.OutputRepo
  readonly exchanges: ExchangeRepo.ExchangeRepo
  readonly answers: KeyedLog.KeyedLog<CacheRepo.CacheRow>
  /** Ends when everything written before is on disk. */
  readonly commit: Effect.Effect<void, SqlError.SqlError>
  /** Why the last write failed: the disk is full, the file is read-only. */
  readonly failure: () => string | undefined
  /** Whether its server does not answer, and is waited for. */
  readonly isAway: () => boolean
}

/** The store in context. */
export class Store extends Context.Service<Store, Service>()("@pipe/core/Store") {}

/**
 * The store cannot be used:
 *
 * - `damaged`: the file is truncated or corrupt
 * - `newer`: a newer version of pipe wrote it
 * - `older`: the server's tables are of an older version
 * - `locked`: another process holds it
 * - `full`: the disk is full
 * - `misplaced`: the path holds something else, or is a folder or a pipe
 * - `unavailable`: the file or the server cannot be opened
 *
 * **Remedy** Run `pipe doctor`. Tables of an older version are updated by `pipe store migrate`. A damaged file is moved aside and a new one is created; otherwise update pipe, free disk space, wait for the
 * other process, or choose another file with `--store`.
 */
export class StoreError extends Schema.TaggedError<StoreError>()("StoreError", {
  kind: Schema.Literals(["damaged", "newer", "older", "locked", "full", "misplaced", "unavailable"]),
  file: Schema.String,
  message: Schema.String
}) {}

/** A store in memory without rows: making its tables takes longer than a small run. */
let emptyStore: Uint8Array | undefined

/** Opens a SQLite file and updates its tables. */
export const open = Effect.fnUntraced(function* (
  file: string
): Effect.fn.Return<Database.Service, StoreError, Scope.Scope | Reactivity.Reactivity> {
  const open = Effect.gen(function* () {
    const inMemory = file === ":memory:"
    const image = inMemory ? emptyStore : undefined
    const database = yield* Effect.mapError(NodeSqlite.make({ filename: file, image }), (error) =>
      toStoreError(file, error)
    )
    yield* migrate(database)
    if (inMemory) emptyStore ??= database.image()
    return database
  })
  return yield* Effect.provideService(
    NodeSqlite.waitForLock(
      file,
      // The whole operation is retried.
      Effect.provideService(open, NodeSqlite.LockWait, 0),
      ({ kind }) => kind === "locked"
    ),
    NodeSqlite.LockWait,
    yield* OpeningWait
  )
})

/** How long to wait for a file that another process holds locked when it is opened. */
export const OpeningWait = Context.Reference<Duration.Input>("@pipe/core/Store/OpeningWait", {
  defaultValue: () => "30 seconds"
})

/**
 * Updates the tables of a database. One of a newer version is refused. With `"empty"`, only an empty database gets
 * tables: those of a team are updated when its owner says so.
 */
export const migrate = (database: Database.Service, which?: "empty"): Effect.Effect<void, StoreError> =>
  Effect.gen(function* () {
    const tables = yield* database.query(
      database.dialect === "pg"
        ? "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = 'effect_sql_migrations'"
        : "SELECT name FROM sqlite_master WHERE name = 'effect_sql_migrations'"
    )
    const version =
      tables.length === 0
        ? 0
        : (Database.toNumber(
            (yield* database.query("SELECT max(migration_id) AS version FROM effect_sql_migrations"))[0]?.["version"]
          ) ?? 0)
    if (version > Migrations.latest) {
      return yield* new StoreError({
        kind: "newer",
        file: database.name,
        message: `${database.name} was written by a newer version of pipe (${version}; this one knows ${Migrations.latest}): update pipe, or move the file away`
      })
    }
    if (which === "empty" && version > 0 && version < Migrations.latest) {
      return yield* new StoreError({
        kind: "older",
        file: database.name,
        message: `${database.name} has tables of an older version of pipe (${version}; this one needs ${Migrations.latest}): its owner updates them with pipe store migrate`
      })
    }
    if (version < Migrations.latest) {
      yield* Effect.provideService(
        Migrator.make({})({ loader: Migrator.fromRecord(Migrations.migrations) }),
        SqlClient.SqlClient,
        database.client
      )
    }
  }).pipe(
    Effect.mapError((error) => (error._tag === "StoreError" ? error : toStoreError(database.name, error))),
    // A connection that breaks in a transaction is a defect of the client.
    Effect.catchDefect((defect) =>
      SqlError.isSqlError(defect) ? Effect.fail(toStoreError(database.name, defect)) : Effect.die(defect)
    )
  )

const toStoreError = (file: string, error: SqlError.SqlError | Migrator.MigrationError): StoreError => {
  const text = messageOf(error)
  const fail = (kind: StoreError["kind"], message: string) => new StoreError({ kind, file, message })
  switch (StoreTrouble.of(error, file)) {
    case "damaged":
      return fail("damaged", `${file} is damaged (${text})`)
    case "locked":
      return fail("locked", `${file} cannot be used: another process has locked it`)
    case "full":
      return fail("full", `${file} cannot be created: the disk is full (${text})`)
    default:
      return fail("unavailable", `${file} cannot be used: ${text}`)
  }
}

/** The error when an open store fails. */
export const unusable = (name: string, cause: unknown): StoreError =>
  new StoreError({ kind: "unavailable", file: name, message: `${name} cannot be used: ${messageOf(cause)}` })

/** The driver's own message, of the innermost cause. */
export const { messageOf } = ErrorCauses

/** Makes a store on a database whose tables are up to date. */
export const make = Effect.fnUntraced(function* (
  database: Database.Service,
  options?: { readonly inMemory?: boolean; readonly file?: string; readonly folder?: string }
): Effect.fn.Return<Service, never, Scope.Scope> {
  // Closed after the writer, which says of the last attempts that they are recorded.
  const place = options?.file === undefined ? undefined : CallNotes.placeOf(options.file)
  const notes = place === undefined ? undefined : yield* CallNotes.make(place)
  const writer = yield* Writer.make(database)
  const answers = KeyedLog.make<CacheRepo.CacheRow>(database, writer, {
    table: "cache",
    columns: ["key", "value", "model", "created_at", "expires_at"]
  })
  const rows = RowRepo.make(database, writer)
  const runs = RunRepo.make(database, writer)
  const ledger = LedgerRepo.make(database, writer, notes)
  if (place !== undefined) yield* CallNotes.adopt(database, place, Date.now())
  yield* settleIdle(runs, ledger)
  return {
    database,
    name: database.name,
    file: options?.file,
    folder: options?.folder,
    inMemory: options?.inMemory === true,
    runs,
    rows,
    ledger,
    batches: BatchRepo.make(database),
    reuse: ReuseRepo.make(database, writer),
    packs: PackRepo.make(database, writer),
    routes: RouteRepo.make(database, writer),
    labels: LabelRepo.make(database),
    outputs: OutputRepo.make(database, writer),
    exchanges: ExchangeRepo.make(database, writer),
    cache: CacheRepo.make(database, writer, answers, rows.results),
    answers,
    commit: writer.commit,
    isAway: () => database.server?.isAway() === true,
    failure: () => {
      const error = writer.failure()
      if (error === undefined) return undefined
      const advice = StoreTrouble.of(error) === "full" ? ": free some space, and resume the run" : ""
      return `${database.name} cannot be written: ${messageOf(error)}${advice}`
    }
  }
})

/**
 * Records calls left by runs without a live process. Every process that opens the store does this, also to read. A run
 * that is resumed in the meantime uses higher call numbers.
 */
const settleIdle = (runs: RunRepo.RunRepo, ledger: LedgerRepo.LedgerRepo): Effect.Effect<void> =>
  Effect.flatMap(ledger.unsettled, runs.idle).pipe(
    Effect.flatMap((idle) =>
      Effect.forEach(idle, ({ id, tries }) => ledger.settle(id, InterruptedCalls.firstCall(tries + 1)), {
        discard: true
      })
    ),
    // A read-only store shows what it has.
    Effect.ignore
  )

const inMemory = Effect.flatMap(Effect.orDie(open(":memory:")), (database) => make(database, { inMemory: true }))

/** In memory: nothing is kept after the process. */
export const layerMemory: Layer.Layer<Store> = Layer.effect(Store, inMemory).pipe(Layer.provide(Reactivity.layer))

/**
 * On a SQLite file; in memory, with one warning, when it cannot be used. Fails when the disk is full, or when the path
 * is a folder, a pipe or a device.
 */
export const layer = (file: string): Layer.Layer<Store, StoreError, FileSystem.FileSystem | Path.Path> =>
  Layer.effect(
    Store,
    Effect.catch(openStore(file, { renew: true }), (error) =>
      error.kind === "full" || error.kind === "misplaced"
        ? Effect.fail(error)
        : Effect.andThen(
            Effect.logWarning(
              `${error.message}; this run is in memory only: it cannot be resumed, and its answers are not kept`
            ),
            inMemory
          )
    )
  ).pipe(Layer.provide(Reactivity.layer))

/** On a SQLite file that must exist: `pipe runs` and `pipe show` read it. */
export const layerExisting = (file: string): Layer.Layer<Store, StoreError, FileSystem.FileSystem | Path.Path> =>
  Layer.effect(Store, openStore(file, { renew: false })).pipe(Layer.provide(Reactivity.layer))

/** On any database, such as `Postgres.layer` of the plugins. */
export const layerDatabase: Layer.Layer<Store, StoreError, Database.Database> = Layer.effect(
  Store,
  Effect.flatMap(Database.Database, (database) => Effect.andThen(migrate(database, "empty"), make(database)))
)

/**
 * A file shorter than its header says was truncated. SQLite only notices when it reads the missing part, which may be
 * late. With a write-ahead log, the missing part may be there.
 */
const checkLength = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const log = yield* Effect.orElseSucceed(fs.stat(`${file}-wal`), () => undefined)
  if (log !== undefined && log.size > 0) return
  const found = yield* Effect.scoped(
    Effect.gen(function* () {
      const handle = yield* fs.open(file)
      const header = Option.getOrUndefined(yield* handle.readAlloc(HEADER))
      return { header, size: Number((yield* handle.stat).size) }
    })
  ).pipe(Effect.orElseSucceed(() => undefined))
  if (found?.header === undefined || found.header.length < HEADER) return
  const view = new DataView(found.header.buffer, found.header.byteOffset)
  const pageSize = view.getUint16(16) === 1 ? 65_536 : view.getUint16(16)
  if (found.size < view.getUint32(28) * pageSize) {
    return yield* new StoreError({
      kind: "damaged",
      file,
      message: `${file} is damaged (truncated at ${found.size} bytes)`
    })
  }
})

/** The size of the header of a SQLite file. */
const HEADER = 100

interface OpenOptions {
  /** Whether a damaged store is renamed and created again. */
  readonly renew: boolean
}

const openStore = Effect.fnUntraced(function* (file: string, options: OpenOptions) {
  const path = yield* Path.Path
  return yield* make(yield* openFile(file, options), { file, folder: path.dirname(file) })
})

/** The beginning of every SQLite file (sqlite.org/fileformat.html, 1.3.1). */
const MAGIC = "SQLite format 3\0"

/** A file of another kind is not a damaged store. */
const checkKind = Effect.fnUntraced(function* (file: string) {
  const fs = yield* FileSystem.FileSystem
  const start = yield* Effect.scoped(Effect.flatMap(fs.open(file), (handle) => handle.readAlloc(MAGIC.length))).pipe(
    Effect.orElseSucceed(() => Option.none<Uint8Array>())
  )
  // A file that begins with zeros was being created during a power loss.
  if (Option.isNone(start) || start.value.every((byte) => byte === 0)) return
  const text = new TextDecoder("latin1").decode(start.value)
  if (text === MAGIC.slice(0, text.length)) return
  return yield* new StoreError({
    kind: "misplaced",
    file,
    message: `${file}: cannot be the store: it holds something else, and is left unchanged`
  })
})

/** Creates the folder, for its owner only, and opens the file. */
const openFile = Effect.fnUntraced(function* (file: string, { renew }: OpenOptions) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = path.dirname(file)
  yield* Effect.mapError(fs.makeDirectory(folder, { recursive: true, mode: 0o700 }), (error) =>
    StoreTrouble.of(error) === "full"
      ? new StoreError({ kind: "full", file, message: `${folder} cannot be created: the disk is full` })
      : new StoreError({ kind: "unavailable", file, message: `${folder} cannot be made: ${error.message}` })
  )
  const place = yield* Effect.orElseSucceed(FilePlace.resolve(file), () => undefined)
  if (place?.kind === "folder" || place?.kind === "stream") {
    return yield* new StoreError({
      kind: "misplaced",
      file,
      message: `${file}: cannot be the store: it is ${place.kind === "folder" ? "a folder" : "a pipe or a device"}, not a file`
    })
  }
  yield* checkKind(file)
  return yield* Effect.catch(Effect.andThen(checkLength(file), open(file)), (error) =>
    error.kind !== "damaged" || !renew
      ? Effect.fail(error)
      : Effect.gen(function* () {
          const aside = `${file}.damaged-${yield* Clock.currentTimeMillis}`
          yield* Effect.mapError(
            fs.rename(file, aside),
            (cause) =>
              new StoreError({
                kind: "unavailable",
                file,
                message: `${error.message}, and cannot be moved: ${cause.message}`
              })
          )
          for (const suffix of ["-wal", "-shm"]) yield* Effect.ignore(fs.remove(file + suffix))
          yield* Effect.logWarning(`${error.message}: it was moved to ${aside}, and a new one is created`)
          return yield* open(file)
        })
  )
})

const unreadable = (cause: SqlError.SqlError): CacheStore.CacheStoreError =>
  new CacheStore.CacheStoreError({ message: `the cache's store failed: ${messageOf(cause)}`, cause })

/** The exact cache in the store in context. */
export const layerCache: Layer.Layer<CacheStore.CacheStore, never, Store> = Layer.fresh(
  Layer.effect(
    CacheStore.CacheStore,
    Effect.map(Store, ({ answers, failure }) => {
      const { flights } = answers
      return CacheStore.CacheStore.of({
        get: (key, now) =>
          Effect.suspend(() =>
            Effect.mapBothEager(answers.get(key), {
              onFailure: unreadable,
              onSuccess: (row) =>
                row === undefined || (row.expires_at !== null && row.expires_at <= now) ? undefined : row.value
            })
          ),
        set: (entry) =>
          Effect.suspend(() => {
            const failed = failure()
            answers.append(CacheRepo.toRow(entry))
            return failed === undefined ? Effect.void : Effect.fail(new CacheStore.CacheStoreError({ message: failed }))
          }),
        ...(flights === undefined
          ? undefined
          : {
              once: <A, E, R>(key: string, read: Effect.Effect<A | undefined, E, R>, work: Effect.Effect<A, E, R>) =>
                Effect.mapError(flights.once(key, read, work), (error) =>
                  SqlError.isSqlError(error) ? unreadable(error) : error
                )
            })
      })
    })
  )
)
