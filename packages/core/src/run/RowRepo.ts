/**
 * The results of steps, found by content, and the failed rows of runs.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import type * as FlowCost from "../flow/FlowCost.ts"
import * as Database from "../store/Database.ts"
import * as KeyedLog from "../store/KeyedLog.ts"
import type * as Writer from "../store/Writer.ts"

/** The value of a step for some inputs. */
export interface StepResult extends KeyedLog.LogEntry {
  readonly step: number
  readonly run: number
  /** Milliseconds since 1970; `null` when it never expires. */
  readonly expires_at: number | null
  /** As `StoredValue` encodes it. */
  readonly value: string
}

/** A step as it was when it ran: the parts of its key, to explain what has changed. */
export interface StoredStep {
  readonly id: number
  readonly key: string
  readonly name: string
  readonly parts: { readonly [part: string]: Schema.Json }
}

/** The requests of a step for some inputs, to detect that it would send others now. */
export interface Probe {
  readonly input: string
  readonly request: string
}

/** A failed row, as stored. */
export interface StoredFailure {
  /** The node that the row comes from, and its position: `reviews.jsonl:7`. */
  readonly source: string
  readonly row: number
  readonly position: string
  /** The node that failed. */
  readonly node: string
  /** The tag of the error. */
  readonly error: string
  readonly message: string
  /** The input of the node, as JSON. */
  readonly input: string
  readonly details?: Details
}

/** What is known of a failure besides its message. */
export interface Details {
  /** Where the author's code threw: `flow.ts:12:3`. */
  readonly at?: string
  /** The fields of the author's error. */
  readonly fields?: Schema.Json
  /** The unusable answer of the model. */
  readonly answer?: string
  /** What the calls of the node cost, where the flow reads it. */
  readonly $cost?: FlowCost.Cost
}

export interface RowRepo {
  readonly results: KeyedLog.KeyedLog<StepResult>
  /** The id of a step that ran before. */
  readonly find: (key: string) => Effect.Effect<number | undefined, SqlError.SqlError>
  /** Stores a step, and that a run used it. Returns its id, and whether it existed. */
  readonly step: (
    flow: string,
    run: number,
    step: Omit<StoredStep, "id">
  ) => Effect.Effect<{ readonly id: number; readonly isNew: boolean }, SqlError.SqlError>
  /** Earlier versions of a step with this name, other than this key: at most 20, the most recently used first. */
  readonly before: (
    flow: string,
    name: string,
    key: string
  ) => Effect.Effect<ReadonlyArray<StoredStep>, SqlError.SqlError>
  /** The versions of a step with this name in a run, and in later runs: at most 20. */
  readonly since: (
    flow: string,
    name: string,
    run: number
  ) => Effect.Effect<ReadonlyArray<StoredStep>, SqlError.SqlError>
  readonly probes: (step: number) => Effect.Effect<ReadonlyArray<Probe>, SqlError.SqlError>
  readonly addProbe: (step: number, probe: Probe) => void
  /** The id of the last result; 0 when there is none. */
  readonly lastResult: Effect.Effect<number, SqlError.SqlError>
  /** How many results a run has stored after a given one, by the name of the step. */
  readonly madeSince: (run: number, last: number) => Effect.Effect<ReadonlyMap<string, number>, SqlError.SqlError>
  readonly fail: (run: number, failure: StoredFailure) => void
  /** The id of the last failure of a run; 0 when it has none. */
  readonly lastFailure: (run: number) => Effect.Effect<number, SqlError.SqlError>
  /** Deletes the failures of a run after a given one. */
  readonly clearFailures: (run: number, after: number) => void
  /** Deletes the failures of a run up to a given one; with `again`, only those that failed again later. */
  readonly forgetFailures: (run: number, last: number, which?: "again") => void
  readonly failures: (run: number) => Stream.Stream<StoredFailure, SqlError.SqlError>
}

const failureTable: Writer.WriterTable = {
  name: "failures",
  columns: ["run", "source", "row_index", "position", "node", "error", "message", "input", "details"]
}

const detailsOf = (text: unknown): Pick<StoredFailure, "details"> =>
  typeof text === "string" ? { details: JSON.parse(text) as Details } : {}

const probeTable: Writer.WriterTable = { name: "probes", columns: ["step", "input", "request"] }

export const make = (database: Database.Service, writer: Writer.Writer): RowRepo => {
  const toStep = (row: Database.DatabaseRow): StoredStep => ({
    id: Number(row["id"]),
    key: String(row["key"]),
    name: String(row["name"]),
    parts: JSON.parse(String(row["parts"])) as StoredStep["parts"]
  })
  const find = (key: string) =>
    Effect.map(database.query("SELECT * FROM steps WHERE key = ?", [key]), (rows) => rows[0])
  return {
    results: KeyedLog.make<StepResult>(database, writer, {
      table: "results",
      columns: ["key", "step", "run", "expires_at", "value"]
    }),
    lastResult: Effect.map(database.query("SELECT max(id) AS last FROM results"), ([row]) =>
      Number(row?.["last"] ?? 0)
    ),
    madeSince: (run, last) =>
      Effect.map(
        database.query(
          `SELECT steps.name, count(*) AS made FROM results JOIN steps ON steps.id = results.step
          WHERE results.run = ? AND results.id > ? GROUP BY steps.name`,
          [run, last]
        ),
        (rows) => new Map(rows.map((row) => [String(row["name"]), Number(row["made"])]))
      ),
    find: (key) => Effect.map(find(key), (row) => Database.toNumber(row?.["id"])),
    step: (flow, run, { key, name, parts }) =>
      Effect.flatMap(find(key), (known) =>
        known !== undefined
          ? Effect.as(database.query("UPDATE steps SET used = ? WHERE id = ?", [run, Number(known["id"])]), {
              id: Number(known["id"]),
              isNew: false
            })
          : Effect.andThen(
              database.query(
                "INSERT INTO steps (key, flow, name, parts, used) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
                [key, flow, name, JSON.stringify(parts), run]
              ),
              Effect.map(find(key), (row) => ({ id: Number(row!["id"]), isNew: true }))
            )
      ),
    before: (flow, name, key) =>
      Effect.map(
        database.query(
          "SELECT * FROM steps WHERE flow = ? AND name = ? AND key <> ? ORDER BY used DESC, id DESC LIMIT 20",
          [flow, name, key]
        ),
        (rows) => rows.map(toStep)
      ),
    since: (flow, name, run) =>
      Effect.map(
        database.query(
          "SELECT * FROM steps WHERE flow = ? AND name = ? AND used >= ? ORDER BY used, id DESC LIMIT 20",
          [flow, name, run]
        ),
        (rows) => rows.map(toStep)
      ),
    probes: (step) =>
      Effect.map(
        database.query("SELECT input, request FROM probes WHERE step = ? ORDER BY id DESC LIMIT 3", [step]),
        (rows) => rows.map((row) => ({ input: String(row["input"]), request: String(row["request"]) }))
      ),
    addProbe: (step, { input, request }) => writer.append(probeTable, [step, input, request]),
    ...failuresOf(database, writer)
  }
}

/** The failed rows of runs. */
const failuresOf = (
  database: Database.Service,
  writer: Writer.Writer
): Pick<RowRepo, "fail" | "lastFailure" | "clearFailures" | "forgetFailures" | "failures"> => ({
  fail: (run, { details, error, input, message, node, position, row, source }) =>
    writer.append(failureTable, [
      run,
      source,
      row,
      position,
      node,
      error,
      message,
      input,
      details === undefined ? null : JSON.stringify(details)
    ]),
  lastFailure: (run) =>
    Effect.map(database.query("SELECT max(id) AS last FROM failures WHERE run = ?", [run]), ([row]) =>
      Number(row?.["last"] ?? 0)
    ),
  clearFailures: (run, after) => writer.execute("DELETE FROM failures WHERE run = ? AND id > ?", [run, after]),
  forgetFailures: (run, last, which) =>
    which === undefined
      ? writer.execute("DELETE FROM failures WHERE run = ? AND id <= ?", [run, last])
      : writer.execute(
          `DELETE FROM failures WHERE run = ? AND id <= ? AND EXISTS (SELECT 1 FROM failures n WHERE n.run = failures.run AND n.id > ?
            AND n.source = failures.source AND n.row_index = failures.row_index AND n.node = failures.node)`,
          [run, last, last]
        ),
  failures: (run) =>
    Stream.map(
      Database.pages(500, (after, size) =>
        database.query(`SELECT * FROM failures WHERE run = ? AND id > ? ORDER BY id LIMIT ${size}`, [run, after])
      ),
      (row): StoredFailure => ({
        ...detailsOf(row["details"]),
        source: String(row["source"]),
        row: Number(row["row_index"]),
        position: String(row["position"]),
        node: String(row["node"]),
        error: String(row["error"]),
        message: String(row["message"]),
        input: String(row["input"])
      })
    )
})
