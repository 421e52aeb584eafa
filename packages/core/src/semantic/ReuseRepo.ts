/**
 * The tables of reuse by meaning: vectors by content and model, answers with the texts that they answer, and the
 * outcome of look-ups.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import * as Database from "../store/Database.ts"
import type * as Writer from "../store/Writer.ts"
import type * as VectorIndex from "./VectorIndex.ts"

/** A reusable answer, and the text that it answers. */
export interface ReuseEntry {
  readonly id: number
  /** Everything that must be equal: the request without its varying text, the step, the namespace and the embedder. */
  readonly scope: string
  /** The id of its vector. */
  readonly vector: number
  readonly text: string
  /** The content of the answer: equal for answers that agree. */
  readonly answer: string
  /** The response as JSON. */
  readonly value: string
  readonly model: string
  /** How often the answer would have been right for another text, and how often wrong. */
  readonly confirmed: number
  readonly refuted: number
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly expiresAt: number | undefined
}

/**
 * - `alone`: there was no earlier answer
 * - `right`, `wrong`: the model was called, and an earlier answer would have been right or wrong
 * - `reused`: the model was not called
 * - `auditedRight`, `auditedWrong`: an earlier answer could have been reused, and the model was called to check it
 */
export type LookupOutcome = "alone" | "right" | "wrong" | "reused" | "auditedRight" | "auditedWrong"

export interface Lookup {
  readonly outcome: LookupOutcome
  readonly features: ReadonlyArray<number> | undefined
}

/** The run, flow and step of a look-up. */
export interface LookupSource {
  readonly run: number
  readonly flow: string
  readonly step: string
  readonly maxErrorRate: number
}

/** The outcome of the look-ups of a step. */
export interface ReuseSums {
  readonly step: string
  readonly maxErrorRate: number
  readonly lookups: number
  readonly reused: number
  readonly audited: number
  /** Of those, how often the earlier answer would have been wrong. */
  readonly wrong: number
}

export interface ReuseRepo {
  /** The vector of a content key, with its id. */
  readonly vector: (
    key: string
  ) => Effect.Effect<{ readonly row: number; readonly vector: Float32Array } | undefined, SqlError.SqlError>
  /** Keeps a vector; returns its id. */
  readonly keepVector: (key: string, vector: Float32Array) => Effect.Effect<number, SqlError.SqlError>
  readonly add: (entry: Omit<ReuseEntry, "id" | "confirmed" | "refuted">) => Effect.Effect<void, SqlError.SqlError>
  /** The entries with these ids that exist and have not expired, in any order. */
  readonly entries: (
    ids: ReadonlyArray<number>,
    now: number
  ) => Effect.Effect<ReadonlyArray<ReuseEntry>, SqlError.SqlError>
  /** Vectors of a scope after an id, in ascending order. */
  readonly after: (scope: string, id: number) => Stream.Stream<VectorIndex.VectorItem, SqlError.SqlError>
  readonly size: (scope: string) => Effect.Effect<number, SqlError.SqlError>
  /** Records the outcome of a look-up, and of the entry that it was about. */
  readonly record: (asker: LookupSource, scope: string, lookup: Lookup, entry?: number) => void
  /** The newest look-ups of a scope with an outcome, oldest first. */
  readonly recent: (scope: string, count: number) => Effect.Effect<ReadonlyArray<Lookup>, SqlError.SqlError>
  /** The audits of a step, in all runs. */
  readonly audits: (
    flow: string,
    step: string
  ) => Effect.Effect<Pick<ReuseSums, "audited" | "wrong">, SqlError.SqlError>
  readonly sums: (run: number) => Effect.Effect<ReadonlyArray<ReuseSums>, SqlError.SqlError>
}

const lookupTable: Writer.WriterTable = {
  name: "reuse_lookups",
  columns: ["run", "flow", "step", "scope", "outcome", "max_error_rate", "features"]
}

const toBytes = (vector: Float32Array): Uint8Array =>
  new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength)

/** A driver may return a view into a larger buffer. */
const toVector = (value: unknown): Float32Array => new Float32Array(new Uint8Array(value as Uint8Array).buffer)

const toEntry = (row: Database.DatabaseRow): ReuseEntry => ({
  id: Database.total(row["id"]),
  scope: String(row["scope"]),
  vector: Database.total(row["vector"]),
  text: String(row["content"]),
  answer: String(row["answer"]),
  value: String(row["value"]),
  model: String(row["model"]),
  confirmed: Database.total(row["confirmed"]),
  refuted: Database.total(row["refuted"]),
  createdAt: Database.total(row["created_at"]),
  expiresAt: Database.toNumber(row["expires_at"])
})

const PAGE = 500

const AUDITED =
  "sum(CASE WHEN outcome IN ('auditedRight', 'auditedWrong') THEN 1 ELSE 0 END) AS audited, sum(CASE WHEN outcome = 'auditedWrong' THEN 1 ELSE 0 END) AS wrong"

const findVector = (database: Database.Service, key: string) =>
  database.query("SELECT id, value FROM vectors WHERE key = ?", [key])

const vector =
  (database: Database.Service): ReuseRepo["vector"] =>
  (key) =>
    Effect.map(findVector(database, key), ([row]) =>
      row === undefined ? undefined : { row: Database.total(row["id"]), vector: toVector(row["value"]) }
    )

const keepVector =
  (database: Database.Service): ReuseRepo["keepVector"] =>
  (key, vector) =>
    Effect.flatMap(
      database.query("INSERT INTO vectors (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING RETURNING id", [
        key,
        toBytes(vector)
      ]),
      ([row]) =>
        row !== undefined
          ? Effect.succeed(Database.total(row["id"]))
          : Effect.map(findVector(database, key), ([known]) => Database.total(known?.["id"]))
    )

const add =
  (database: Database.Service): ReuseRepo["add"] =>
  (entry) =>
    Effect.asVoid(
      database.query(
        `INSERT INTO reuse_entries (scope, vector, content, answer, value, model, confirmed, refuted, created_at, expires_at)
      VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?, ?)`,
        [
          entry.scope,
          entry.vector,
          entry.text,
          entry.answer,
          entry.value,
          entry.model,
          entry.createdAt,
          entry.expiresAt ?? null
        ]
      )
    )

const entries =
  (database: Database.Service): ReuseRepo["entries"] =>
  (ids, now) =>
    ids.length === 0
      ? Effect.succeed([])
      : Effect.map(
          database.query(
            `SELECT * FROM reuse_entries WHERE id IN (${ids.map(() => "?").join(", ")}) AND (expires_at IS NULL OR expires_at > ?)`,
            [...ids, now]
          ),
          (rows) => rows.map(toEntry)
        )

const after =
  (database: Database.Service): ReuseRepo["after"] =>
  (scope, id) =>
    Stream.paginate(id, (from: number) =>
      Effect.map(
        database.query(
          `SELECT reuse_entries.id AS id, vectors.value AS value FROM reuse_entries JOIN vectors ON vectors.id = reuse_entries.vector
          WHERE scope = ? AND reuse_entries.id > ? ORDER BY reuse_entries.id LIMIT ${PAGE}`,
          [scope, from]
        ),
        (rows) => {
          const items = rows.map((row): VectorIndex.VectorItem => ({
            id: Database.total(row["id"]),
            vector: toVector(row["value"])
          }))
          return [items, items.length === PAGE ? Option.some(items.at(-1)!.id) : Option.none<number>()] as const
        }
      )
    )

const record =
  (writer: Writer.Writer): ReuseRepo["record"] =>
  ({ flow, maxErrorRate, run, step }, scope, { features, outcome }, entry) => {
    writer.append(lookupTable, [
      run,
      flow,
      step,
      scope,
      outcome,
      maxErrorRate,
      features === undefined ? null : JSON.stringify(features)
    ])
    if (entry === undefined || outcome === "reused" || outcome === "alone") return
    const column = outcome === "right" || outcome === "auditedRight" ? "confirmed" : "refuted"
    writer.execute(`UPDATE reuse_entries SET ${column} = ${column} + 1 WHERE id = ?`, [entry])
  }

const recent =
  (database: Database.Service): ReuseRepo["recent"] =>
  (scope, count) =>
    Effect.map(
      database.query(
        `SELECT outcome, features FROM reuse_lookups WHERE scope = ? AND features IS NOT NULL ORDER BY id DESC LIMIT ${Math.floor(count)}`,
        [scope]
      ),
      (rows) =>
        rows.toReversed().map((row): Lookup => ({
          outcome: String(row["outcome"]) as LookupOutcome,
          features: JSON.parse(String(row["features"])) as ReadonlyArray<number>
        }))
    )

const audits =
  (database: Database.Service): ReuseRepo["audits"] =>
  (flow, step) =>
    Effect.map(
      database.query(
        `SELECT ${AUDITED} FROM reuse_lookups WHERE flow = ? AND step = ? AND outcome IN ('auditedRight', 'auditedWrong')`,
        [flow, step]
      ),
      ([row]) => ({
        audited: Database.total(row?.["audited"]),
        wrong: Database.total(row?.["wrong"])
      })
    )

const sums =
  (database: Database.Service): ReuseRepo["sums"] =>
  (run) =>
    Effect.map(
      database.query(
        `SELECT step, max(max_error_rate) AS max_error_rate, count(*) AS lookups, sum(CASE WHEN outcome = 'reused' THEN 1 ELSE 0 END) AS reused, ${AUDITED}
        FROM reuse_lookups WHERE run = ? GROUP BY step ORDER BY min(id)`,
        [run]
      ),
      (rows) =>
        rows.map((row): ReuseSums => ({
          step: String(row["step"]),
          maxErrorRate: Number(row["max_error_rate"]),
          lookups: Database.total(row["lookups"]),
          reused: Database.total(row["reused"]),
          audited: Database.total(row["audited"]),
          wrong: Database.total(row["wrong"])
        }))
    )

export const make = (database: Database.Service, writer: Writer.Writer): ReuseRepo => {
  return {
    vector: vector(database),
    keepVector: keepVector(database),
    add: add(database),
    entries: entries(database),
    after: after(database),
    size: (scope) =>
      Effect.map(database.query("SELECT count(*) AS n FROM reuse_entries WHERE scope = ?", [scope]), ([row]) =>
        Database.total(row?.["n"])
      ),
    record: record(writer),
    recent: recent(database),
    audits: audits(database),
    sums: sums(database)
  }
}
