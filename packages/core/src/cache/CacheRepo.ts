/**
 * The exact cache as the user's data: counted, cleared, pruned, exported and imported.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import * as Database from "../store/Database.ts"
import type * as KeyedLog from "../store/KeyedLog.ts"
import * as Retention from "../store/Retention.ts"
import type * as Writer from "../store/Writer.ts"
import type * as CacheStore from "./CacheStore.ts"

/** An entry as stored in the table. */
export interface CacheRow extends KeyedLog.LogEntry {
  readonly value: string
  readonly model: string
  readonly created_at: number
  readonly expires_at: number | null
}

export interface Stats {
  readonly entries: number
  readonly expired: number
  /** Bytes of all answers. */
  readonly bytes: number
  readonly models: ReadonlyArray<{ readonly model: string; readonly entries: number }>
  /** Results of steps that other runs can use. */
  readonly results: number
  /** Answers that can be reused by meaning, and vectors of texts. */
  readonly reusable: number
  readonly vectors: number
  /** Bytes of the whole store; `undefined` when the server does not report them. */
  readonly storeBytes: number | undefined
  readonly oldest: number | undefined
}

/** What `prune` removes. */
export interface Prune {
  /** Removes entries made before this time (milliseconds since 1970). */
  readonly before?: number | undefined
  readonly model?: string | undefined
}

/** An exported entry: one line of JSON each. */
export const Exported = Schema.Struct({
  key: Schema.String,
  model: Schema.String,
  createdAt: Schema.Finite,
  expiresAt: Schema.optionalKey(Schema.Finite),
  answer: Schema.String
})

export interface Exported extends Schema.Schema.Type<typeof Exported> {}

export interface CacheRepo {
  readonly stats: Effect.Effect<Stats, SqlError.SqlError>
  /**
   * Removes everything: answers, answers that can be reused by meaning with their evidence, and the results of steps.
   */
  readonly clear: Effect.Effect<Retention.Removed, SqlError.SqlError>
  /** Removes what has expired, what a newer entry has replaced, and what the options name. */
  readonly prune: (options: Prune) => Effect.Effect<Retention.Removed, SqlError.SqlError>
  readonly exportAll: Stream.Stream<Exported, SqlError.SqlError>
  /** Imports an entry; returns whether it was new. */
  readonly importOne: (entry: Exported) => Effect.Effect<boolean, SqlError.SqlError>
}

export const toRow = (entry: CacheStore.CacheEntry): CacheRow => ({
  key: entry.key,
  value: entry.value,
  model: entry.model,
  created_at: entry.createdAt,
  expires_at: entry.expiresAt ?? null
})

const stats = (database: Database.Service, writer: Writer.Writer): CacheRepo["stats"] =>
  Effect.gen(function* () {
    yield* writer.commit
    const now = yield* Clock.currentTimeMillis
    const [all] = yield* database.query(
      `SELECT count(*) AS n, sum(length(value)) AS bytes, min(created_at) AS oldest,
      sum(CASE WHEN expires_at <= ? THEN 1 ELSE 0 END) AS expired FROM cache`,
      [now]
    )
    const models = yield* database.query("SELECT model, count(*) AS n FROM cache GROUP BY model ORDER BY n DESC, model")
    const size =
      database.dialect === "sqlite"
        ? yield* database.query("SELECT page_count * page_size AS n FROM pragma_page_count(), pragma_page_size()")
        : []
    return {
      entries: Database.toNumber(all?.["n"]) ?? 0,
      expired: Database.toNumber(all?.["expired"]) ?? 0,
      bytes: Database.toNumber(all?.["bytes"]) ?? 0,
      oldest: Database.toNumber(all?.["oldest"]),
      models: models.map((row) => ({ model: String(row["model"]), entries: Number(row["n"]) })),
      results: yield* Database.count(database, "results"),
      reusable: yield* Database.count(database, "reuse_entries"),
      vectors: yield* Database.count(database, "vectors"),
      storeBytes: Database.toNumber(size[0]?.["n"])
    }
  })

const prune =
  (remove: Retention.Remove): CacheRepo["prune"] =>
  ({ before, model }) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const replaced = (table: string) => `id NOT IN (SELECT max(id) FROM ${table} GROUP BY key)`
      const own: Array<readonly [string, unknown]> = [
        ...(before === undefined ? [] : [["created_at < ?", before] as const]),
        ...(model === undefined ? [] : [["model = ?", model] as const])
      ]
      const said = own.length === 0 ? "" : ` OR (${own.map(([sql]) => sql).join(" AND ")})`
      return remove(
        {
          cache: `expires_at <= ? OR ${replaced("cache")}${said}`,
          reuse: `expires_at <= ?${said}`,
          results: `expires_at <= ? OR ${replaced("results")}${
            before === undefined ? "" : " OR run IN (SELECT id FROM runs WHERE started_at < ?)"
          }`
        },
        [now, ...own.map(([, value]) => value)],
        before === undefined ? [now] : [now, before]
      )
    })

const exportAll = (database: Database.Service): CacheRepo["exportAll"] =>
  Stream.map(
    Database.pages(1_000, (after, size) =>
      database.query(`SELECT * FROM cache WHERE id > ? ORDER BY id LIMIT ${size}`, [after])
    ),
    (row): Exported => ({
      key: String(row["key"]),
      model: String(row["model"]),
      createdAt: Number(row["created_at"]),
      ...(row["expires_at"] === null ? undefined : { expiresAt: Number(row["expires_at"]) }),
      answer: String(row["value"])
    })
  )

export const make = (
  database: Database.Service,
  writer: Writer.Writer,
  log: KeyedLog.KeyedLog<CacheRow>,
  /** The results of steps, which are kept and removed with the answers. */
  kept: Pick<KeyedLog.KeyedLog<KeyedLog.LogEntry>, "settle" | "forget">
): CacheRepo => {
  const remove = Retention.remove(database, log, kept)

  return {
    stats: stats(database, writer),
    clear: remove({ cache: "1 = 1", results: "1 = 1", reuse: "1 = 1" }, [], []),
    prune: prune(remove),
    exportAll: exportAll(database),
    importOne: ({ answer, createdAt, expiresAt, key, model }) =>
      Effect.map(log.get(key), (known) => {
        if (known !== undefined) return false
        log.append({ key, value: answer, model, created_at: createdAt, expires_at: expiresAt ?? null })
        return true
      })
  }
}
