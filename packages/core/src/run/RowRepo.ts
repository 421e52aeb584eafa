/**
 * What the rows of runs gave: results of steps, found by content, and failed rows, by run.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import * as Database from "../store/Database.ts"
import * as KeyedLog from "../store/KeyedLog.ts"
import type * as Writer from "../store/Writer.ts"

/** The value that a step gave for some inputs. */
export interface StepResult extends KeyedLog.LogEntry {
  readonly step: number
  readonly run: number
  /** Milliseconds since 1970; `null`: it may be used for ever. */
  readonly expires_at: number | null
  /** As `StoredValue` encodes it. */
  readonly value: string
}

/** A step as it was when it ran: what its key was made of, to say what has changed. */
export interface StoredStep {
  readonly id: number
  readonly key: string
  readonly name: string
  readonly parts: { readonly [part: string]: Schema.Json }
}

/** What a step asked for some inputs, by which it is noticed that it would ask something else now. */
export interface Probe {
  readonly input: string
  readonly request: string
}

/** A row that failed, as it is kept. */
export interface StoredFailure {
  /** The node that the row comes from, and its place there: `reviews.jsonl:7`. */
  readonly source: string
  readonly row: number
  readonly position: string
  /** The node at which it failed. */
  readonly node: string
  /** The tag of the error. */
  readonly error: string
  readonly message: string
  /** What the node was given, as JSON. */
  readonly input: string
  readonly details?: Details
}

/** What is known of a failure beside its words. */
export interface Details {
  /** Where the author's code threw: `flow.ts:12:3`. */
  readonly at?: string
  /** The fields of the author's error. */
  readonly fields?: Schema.Json
  /** What the model answered, where that was not usable. */
  readonly answer?: string
}

export interface RowRepo {
  readonly results: KeyedLog.KeyedLog<StepResult>
  /** The number of a step that ran before. */
  readonly find: (key: string) => Effect.Effect<number | undefined, SqlError.SqlError>
  /** Keeps what a step is, and that a run used it; its number, and whether it was there before. */
  readonly step: (
    flow: string,
    run: number,
    step: Omit<StoredStep, "id">
  ) => Effect.Effect<{ readonly id: number; readonly isNew: boolean }, SqlError.SqlError>
  /** What a step of this name was in earlier runs, other than the one of this key: at most 20, the last used first. */
  readonly before: (
    flow: string,
    name: string,
    key: string
  ) => Effect.Effect<ReadonlyArray<StoredStep>, SqlError.SqlError>
  /** What a step of this name was in a run, and in those after it: at most 20. */
  readonly since: (
    flow: string,
    name: string,
    run: number
  ) => Effect.Effect<ReadonlyArray<StoredStep>, SqlError.SqlError>
  readonly probes: (step: number) => Effect.Effect<ReadonlyArray<Probe>, SqlError.SqlError>
  readonly addProbe: (step: number, probe: Probe) => void
  readonly fail: (run: number, failure: StoredFailure) => void
  /** The number of the last failure of a run; 0: it has none. */
  readonly lastFailure: (run: number) => Effect.Effect<number, SqlError.SqlError>
  /** Forgets the failures of a run that came after one. */
  readonly clearFailures: (run: number, after: number) => void
  /** Forgets the failures of a run up to one; `again`: those alone that failed again after it. */
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
