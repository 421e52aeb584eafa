/**
 * The ledger in the store: attempts and answers are appended, and added up.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import type * as ExpectedUsage from "../model/ExpectedUsage.ts"
import type * as Money from "../price/Money.ts"
import * as Database from "../store/Database.ts"
import type * as Writer from "../store/Writer.ts"
import type * as CallNotes from "../store/CallNotes.ts"
import * as InterruptedCalls from "./InterruptedCalls.ts"
import * as LedgerColumns from "./LedgerColumns.ts"
import * as LedgerEntry from "./LedgerEntry.ts"
import * as LedgerSums from "./LedgerSums.ts"

/** What was spent for a step on a model. */
export interface Spent {
  readonly step: string
  readonly model: string
  readonly money: Money.Money
  /** Input and output tokens. */
  readonly tokens: number
}

/** The cost of a run so far. */
export interface Cost {
  readonly cost: Money.Money
  /** The part for calls with an unknown bill, at their maximum possible cost. */
  readonly estimated: Money.Money
  /** Attempts without a price. */
  readonly unpriced: number
}

export interface LedgerRepo extends InterruptedCalls.InterruptedCalls {
  readonly append: (run: number, entry: LedgerEntry.LedgerEntry) => void
  /** The cost of runs so far, by run number. */
  readonly costs: (runs: ReadonlyArray<number>) => Effect.Effect<ReadonlyMap<number, Cost>, SqlError.SqlError>
  /** What a run has spent, by requested model, as a budget counts it. */
  readonly spent: (run: number) => Effect.Effect<ReadonlyArray<Spent>, SqlError.SqlError>
  /**
   * What a run that several processes share has spent, and what its calls in flight may cost. No call of an attempt that had
   * ended is noted after this.
   */
  readonly committed: (run: number) => Effect.Effect<ReadonlyArray<Spent>, SqlError.SqlError>
  /** The cost of steps without a result for their rows: failures of a run after a given one. */
  readonly failedRows: (run: number, after: number) => Effect.Effect<Money.Money, SqlError.SqlError>
  readonly sums: (run: number) => Effect.Effect<ReadonlyArray<LedgerSums.LedgerSum>, SqlError.SqlError>
  /** Money and attempts of a run in equal time buckets, by step and model. */
  readonly timeline: (
    run: number,
    buckets: number
  ) => Effect.Effect<
    ReadonlyArray<{
      readonly at: number
      readonly step: string
      readonly model: string
      readonly cost: Money.Money
      readonly attempts: number
    }>,
    SqlError.SqlError
  >
  /** The attempts of a run, or of all runs, as table rows. */
  readonly attempts: (run: number | undefined) => Stream.Stream<Database.DatabaseRow, SqlError.SqlError>
  /** The step and row of each answer of a run, as table rows. */
  readonly answered: (run: number) => Stream.Stream<Database.DatabaseRow, SqlError.SqlError>
  /** The attempts of a run, or of all runs, added up for each step and row, as table rows. */
  readonly rows: (run: number | undefined) => Stream.Stream<Database.DatabaseRow, SqlError.SqlError>
  /** The answer lengths of earlier runs of a flow. */
  /** The models that runs have called, as they were requested. */
  readonly models: Effect.Effect<
    ReadonlyArray<{ readonly provider: string; readonly model: string }>,
    SqlError.SqlError
  >
  readonly outputs: (flow: string) => Effect.Effect<ReadonlyArray<ExpectedUsage.Learned>, SqlError.SqlError>
}

/** Records attempts within another transaction, when a condition in SQL holds. */
export const attemptWhere = (condition: string) => {
  const { columns } = LedgerColumns.attemptTable
  // A server does not tell the type of a value that is selected.
  const values = columns.map((column) => `CAST(? AS ${LedgerColumns.textColumns.has(column) ? "TEXT" : "BIGINT"})`)
  const sql = `INSERT INTO attempts (${columns.join(", ")}) SELECT ${values.join(", ")} WHERE ${condition}`
  return (run: number, entry: LedgerEntry.AttemptEntry, params: ReadonlyArray<unknown>): Database.Statement => ({
    sql,
    params: [...LedgerColumns.attemptRow(run, entry), ...params]
  })
}

const NO_SAVINGS = LedgerEntry.strategies.map(() => 0)

const append =
  (writer: Writer.Writer, notes: CallNotes.CallNotes | undefined): LedgerRepo["append"] =>
  (run, entry) => {
    const { at, caller, milliseconds, model, provider } = entry
    if (entry._tag === "Attempt") {
      const { call } = entry
      writer.append(
        LedgerColumns.attemptTable,
        LedgerColumns.attemptRow(run, entry),
        call === undefined
          ? undefined
          : notes === undefined
            ? { removes: InterruptedCalls.noteOf(run, call) }
            : { committed: () => notes.recorded(run, call) }
      )
      return
    }
    const { savings } = entry
    writer.append(LedgerColumns.answerTable, [
      run,
      caller.step,
      caller.row,
      at,
      milliseconds,
      entry.origin,
      provider,
      model,
      entry.baselineModel ?? null,
      entry.attempts,
      entry.baseline ?? null,
      ...(savings === LedgerEntry.noSavings ? NO_SAVINGS : LedgerEntry.strategies.map((strategy) => savings[strategy])),
      entry.serviceTier ?? null
    ])
  }

const models = (database: Database.Service): LedgerRepo["models"] =>
  Effect.map(
    database.query("SELECT DISTINCT provider, coalesce(requested, model) AS model FROM attempts", []),
    (rows) => rows.map((row) => ({ provider: String(row["provider"]), model: String(row["model"]) }))
  )

const costs =
  (database: Database.Service): LedgerRepo["costs"] =>
  (runs) =>
    runs.length === 0
      ? Effect.succeed(new Map())
      : Effect.map(
          database.query(
            `SELECT run, CAST(sum(cost) AS TEXT) AS cost, CAST(sum(CASE WHEN estimated = 1 THEN cost ELSE 0 END) AS TEXT) AS estimated,
            sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END) AS unpriced
            FROM attempts WHERE run IN (${runs.map(() => "?").join(", ")}) GROUP BY run`,
            runs
          ),
          (rows) =>
            new Map(
              rows.map((row) => [
                Database.total(row["run"]),
                {
                  cost: Database.totalBigInt(row["cost"]),
                  estimated: Database.totalBigInt(row["estimated"]),
                  unpriced: Database.total(row["unpriced"])
                }
              ])
            )
        )

/** What a run has spent, by step and requested model. */
const SPENT = `SELECT step, coalesce(requested, model) AS model, CAST(sum(cost) AS TEXT) AS cost,
        sum(coalesce(uncached_input, 0) + coalesce(cache_read, 0) + coalesce(cache_write, 0) + coalesce(cache_write_1h, 0) + coalesce(output, 0) + coalesce(reasoning, 0)
          + coalesce(input_audio, 0) + coalesce(input_image, 0) + coalesce(output_audio, 0) + coalesce(output_image, 0)) AS tokens
        FROM attempts WHERE run = ? GROUP BY 1, 2`

const toSpent = (row: Database.DatabaseRow): Spent => ({
  step: String(row["step"]),
  model: String(row["model"]),
  money: Database.totalBigInt(row["cost"]),
  tokens: Database.total(row["tokens"])
})

const spent =
  (database: Database.Service): LedgerRepo["spent"] =>
  (run) =>
    Effect.map(database.query(SPENT, [run]), (rows) => rows.map(toSpent))

/** A note is in the table before the lock, or it is refused: it waits for the lock, and then sees that its attempt has ended. */
const committed =
  (database: Database.Service): LedgerRepo["committed"] =>
  (run) =>
    Effect.map(
      database.transaction([
        { sql: database.dialect === "pg" ? "LOCK TABLE calls IN SHARE MODE" : "SELECT 1", params: [] },
        {
          sql: `SELECT step, model, CAST(sum(cost) AS TEXT) AS cost, sum(input_tokens + output_tokens) AS tokens
            FROM calls WHERE run = ? GROUP BY 1, 2`,
          params: [run]
        },
        { sql: SPENT, params: [run] }
      ]),
      ([, open = [], ended = []]) => [...open, ...ended].map(toSpent)
    )

const failedRows =
  (database: Database.Service): LedgerRepo["failedRows"] =>
  (run, after) =>
    Effect.map(
      database.query(
        // The requests that layers send themselves are under `step / purpose`.
        `SELECT CAST(sum(a.cost) AS TEXT) AS cost FROM attempts a
        JOIN (SELECT DISTINCT node, row_index FROM failures WHERE run = ? AND id > ?) f ON f.row_index = a.row_index
          AND (a.step = f.node OR substr(a.step, 1, length(f.node) + 3) = f.node || ' / ')
        WHERE a.run = ?`,
        [run, after, run]
      ),
      ([row]) => Database.totalBigInt(row?.["cost"])
    )

const timeline =
  (database: Database.Service): LedgerRepo["timeline"] =>
  (run, buckets) =>
    Effect.gen(function* () {
      const [span] = yield* database.query("SELECT min(at) AS first, max(at) AS last FROM attempts WHERE run = ?", [
        run
      ])
      const first = Database.toNumber(span?.["first"])
      if (first === undefined) return []
      const width = Math.max(1, Math.ceil((Database.total(span?.["last"]) - first + 1) / buckets))
      const rows = yield* database.query(
        `SELECT (at - ?) / ? AS bucket, step, model, CAST(sum(cost) AS TEXT) AS cost, count(*) AS n
        FROM attempts WHERE run = ? GROUP BY 1, 2, 3 ORDER BY 1`,
        [first, width, run]
      )
      return rows.map((row) => ({
        at: first + Math.floor(Database.total(row["bucket"])) * width,
        step: String(row["step"]),
        model: String(row["model"]),
        cost: Database.totalBigInt(row["cost"]),
        attempts: Database.total(row["n"])
      }))
    })

const attempts =
  (database: Database.Service): LedgerRepo["attempts"] =>
  (run) =>
    Database.pages(2_000, (after, size) =>
      database.query(
        `SELECT attempts.id, ${LedgerColumns.attemptTable.columns
          .filter((column) => column !== "cost" && column !== "call")
          .map((column) => `attempts.${column}`)
          .join(", ")},
        CAST(attempts.cost AS TEXT) AS cost, runs.name AS run_name FROM attempts JOIN runs ON runs.id = attempts.run
        WHERE attempts.id > ?${run === undefined ? "" : " AND attempts.run = ?"} ORDER BY attempts.id LIMIT ${size}`,
        run === undefined ? [after] : [after, run]
      )
    )

/** Rows of a page: each page adds up the attempts of the run. */
const ROWS = 50_000

const SUMS = `count(*) AS calls, count(error) AS failed, sum(milliseconds) AS milliseconds,
  sum(coalesce(uncached_input, 0) + coalesce(cache_read, 0) + coalesce(cache_write, 0) + coalesce(cache_write_1h, 0)) AS input,
  sum(coalesce(output, 0) + coalesce(reasoning, 0)) AS output, CAST(sum(cost) AS TEXT) AS cost,
  sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END) AS unpriced, sum(estimated) AS estimated`

const rows =
  (database: Database.Service): LedgerRepo["rows"] =>
  (run) =>
    Stream.paginate([0, "", -1] as ReadonlyArray<unknown>, (after) =>
      Effect.map(
        database.query(
          `SELECT attempts.run AS id, runs.name AS run_name, step, row_index, ${SUMS}
          FROM attempts JOIN runs ON runs.id = attempts.run
          WHERE (attempts.run, step, row_index) > (?, ?, ?)${run === undefined ? "" : " AND attempts.run = ?"}
          GROUP BY attempts.run, runs.name, step, row_index ORDER BY attempts.run, step, row_index LIMIT ${ROWS}`,
          run === undefined ? after : [...after, run]
        ),
        (found) => {
          const last = found.length === ROWS ? found.at(-1) : undefined
          return [
            found,
            last === undefined ? Option.none() : Option.some([last["id"], last["step"], last["row_index"]])
          ] as const
        }
      )
    )

const answered =
  (database: Database.Service): LedgerRepo["answered"] =>
  (run) =>
    Stream.paginate(0, (after) =>
      Effect.map(
        database.query(`SELECT id, step, row_index FROM answers WHERE run = ? AND id > ? ORDER BY id LIMIT ${ROWS}`, [
          run,
          after
        ]),
        (found) => [found, found.length === ROWS ? Option.some(Number(found.at(-1)!["id"])) : Option.none()] as const
      )
    )

const outputs =
  (database: Database.Service): LedgerRepo["outputs"] =>
  (flow) =>
    Effect.map(
      database.query(
        `WITH recent AS (SELECT id FROM runs WHERE flow = ? ORDER BY id DESC LIMIT 20),
        given AS (SELECT step, model, sum(CASE WHEN origin = 'provider' THEN 1 ELSE 0 END) AS answers, count(*) AS all_answers,
          count(DISTINCT run || '/' || row_index) AS given_rows FROM answers WHERE run IN (SELECT id FROM recent) GROUP BY step, model)
        SELECT attempts.step AS step, attempts.model AS model, count(*) AS n, avg(output + reasoning) AS mean, avg(output) AS answer_text,
          avg((output + reasoning) * (output + reasoning)) AS square, max(output + reasoning) AS most, max(given.answers) AS answers, max(given.all_answers) AS all_answers, max(given.given_rows) AS given_rows,
          avg(coalesce(uncached_input, 0) + coalesce(cache_read, 0) + coalesce(cache_write, 0) + coalesce(cache_write_1h, 0)) AS input
        FROM attempts LEFT JOIN given ON given.step = attempts.step AND given.model = attempts.model
        WHERE run IN (SELECT id FROM recent) AND error IS NULL AND estimated = 0 AND output IS NOT NULL
        GROUP BY attempts.step, attempts.model`,
        [flow]
      ),
      (rows) =>
        rows.map((row) => {
          const mean = Database.total(row["mean"])
          // One call may have answered several rows.
          const share = Math.min(1, Database.total(row["n"]) / Math.max(1, Database.total(row["answers"])))
          return {
            step: String(row["step"]),
            model: String(row["model"]),
            answers: Database.total(row["n"]),
            mean: mean * share,
            text: Database.total(row["answer_text"]) * share,
            deviation: Math.sqrt(Math.max(0, Database.total(row["square"]) - mean * mean)) * share,
            most: Database.total(row["most"]) * share,
            input: Database.total(row["input"]) * share,
            rounds: Math.max(1, Database.total(row["all_answers"]) / Math.max(1, Database.total(row["given_rows"])))
          }
        })
    )

/** With `notes`, calls are noted beside the store. */
export const make = (database: Database.Service, writer: Writer.Writer, notes?: CallNotes.CallNotes): LedgerRepo => ({
  ...InterruptedCalls.make(database, writer, notes),
  append: append(writer, notes),
  costs: costs(database),
  spent: spent(database),
  committed: committed(database),
  failedRows: failedRows(database),
  sums: (run) => LedgerSums.ofRun(database, run),
  timeline: timeline(database),
  attempts: attempts(database),
  answered: answered(database),
  rows: rows(database),
  models: models(database),
  outputs: outputs(database)
})
