/**
 * A sample of the requests and answers of runs, by run and row.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as SqlError from "effect/sql/SqlError"
import type { Money } from "../price/Money.ts"
import * as Database from "../store/Database.ts"
import type * as Writer from "../store/Writer.ts"

/** A stored exchange: long texts are truncated, files are only named, keys are masked. */
export interface StoredExchange {
  readonly step: string
  /** The index of the row in its source, from 0. */
  readonly row: number
  /** The position of the row: `reviews.jsonl:12`. */
  readonly position: string
  readonly sample: number
  /** Milliseconds since 1970. */
  readonly at: number
  readonly milliseconds: number
  /** `attempt` when it was sent; otherwise where the answer was found. */
  readonly origin: string
  readonly provider: string
  readonly model: string
  readonly request: Schema.Json
  readonly answer?: Schema.Json
  readonly error?: string
  /** Tokens by class. */
  readonly tokens?: Schema.Json
  readonly cost?: Money
  /** The content of the step's inputs, as labels are found by. */
  readonly content?: string
}

/** An exchange as it is written: its parts are JSON already. */
export interface WrittenExchange extends Omit<
  StoredExchange,
  "request" | "answer" | "error" | "tokens" | "cost" | "content"
> {
  readonly request: string
  readonly answer: string | undefined
  readonly error: string | undefined
  readonly tokens: string | undefined
  readonly cost: Money | undefined
  readonly content: string | undefined
}

export interface ExchangeQuery {
  readonly position?: string | undefined
  readonly step?: string | undefined
  /** The index of the row. */
  readonly row?: number | undefined
  /** With `step`: the calls of its layers' own, too (`reply` and `reply / judge`). */
  readonly withOwn?: boolean | undefined
  /** Default: 1,000. */
  readonly limit?: number
}

export interface ExchangeRepo {
  readonly append: (run: number, exchange: WrittenExchange) => void
  /** The exchanges of a run, in the order in which they ended. */
  readonly find: (run: number, query: ExchangeQuery) => Effect.Effect<ReadonlyArray<StoredExchange>, SqlError.SqlError>
  /** The last exchanges of a step in a run, the newest last. */
  readonly last: (
    run: number,
    step: string,
    count: number
  ) => Effect.Effect<ReadonlyArray<StoredExchange>, SqlError.SqlError>
  /** The newest earlier run of a flow with exchanges of a row. */
  readonly earlier: (
    flow: string,
    run: number,
    query: ExchangeQuery
  ) => Effect.Effect<{ readonly run: number; readonly name: string } | undefined, SqlError.SqlError>
  /** The positions of rows with exchanges in a run. */
  readonly positions: (run: number, step: string | undefined) => Effect.Effect<ReadonlyArray<string>, SqlError.SqlError>
}

const table: Writer.WriterTable = {
  name: "exchanges",
  columns: [
    "run",
    "step",
    "row_index",
    "position",
    "sample",
    "at",
    "milliseconds",
    "origin",
    "provider",
    "model",
    "request",
    "answer",
    "error",
    "tokens",
    "cost",
    "content"
  ]
}

const toStored = (row: Database.DatabaseRow): StoredExchange => {
  const answer = Database.toJson(row["answer"]) as Schema.Json | undefined
  const tokens = Database.toJson(row["tokens"]) as Schema.Json | undefined
  const error = Database.toText(row["error"])
  const cost = Database.toBigInt(row["cost"])
  const content = Database.toText(row["content"])
  return {
    step: String(row["step"]),
    row: Number(row["row_index"]),
    position: String(row["position"]),
    sample: Number(row["sample"]),
    at: Number(row["at"]),
    milliseconds: Number(row["milliseconds"]),
    origin: String(row["origin"]),
    provider: String(row["provider"]),
    model: String(row["model"]),
    request: (Database.toJson(row["request"]) as Schema.Json | undefined) ?? null,
    ...(answer === undefined ? undefined : { answer }),
    ...(error === undefined ? undefined : { error }),
    ...(tokens === undefined ? undefined : { tokens }),
    ...(cost === undefined ? undefined : { cost }),
    ...(content === undefined ? undefined : { content })
  }
}

const whereOf = ({
  position,
  row,
  step,
  withOwn
}: ExchangeQuery): { readonly sql: string; readonly params: ReadonlyArray<string | number> } => {
  const conditions: ReadonlyArray<readonly [sql: string, ...params: ReadonlyArray<string | number>]> = [
    ...(position === undefined ? [] : [[" AND e.position = ?", position] as const]),
    ...(row === undefined ? [] : [[" AND e.row_index = ?", row] as const]),
    ...(step === undefined
      ? []
      : withOwn === true
        ? [[" AND (e.step = ? OR substr(e.step, 1, length(?) + 3) = ? || ' / ')", step, step, step] as const]
        : [[" AND e.step = ?", step] as const])
  ]
  return { sql: conditions.map(([sql]) => sql).join(""), params: conditions.flatMap(([, ...params]) => params) }
}

export const make = (database: Database.Service, writer: Writer.Writer): ExchangeRepo => ({
  append: (run, exchange) =>
    writer.append(table, [
      run,
      exchange.step,
      exchange.row,
      exchange.position,
      exchange.sample,
      exchange.at,
      exchange.milliseconds,
      exchange.origin,
      exchange.provider,
      exchange.model,
      exchange.request,
      exchange.answer ?? null,
      exchange.error ?? null,
      exchange.tokens ?? null,
      exchange.cost === undefined ? null : String(exchange.cost),
      exchange.content ?? null
    ]),
  find: (run, query) => {
    const { params, sql } = whereOf(query)
    return Effect.map(
      database.query(`SELECT * FROM exchanges e WHERE e.run = ?${sql} ORDER BY e.id LIMIT ${query.limit ?? 1_000}`, [
        run,
        ...params
      ]),
      (rows) => rows.map(toStored)
    )
  },
  last: (run, step, count) =>
    Effect.map(
      database.query(`SELECT * FROM exchanges WHERE run = ? AND step = ? ORDER BY id DESC LIMIT ${count}`, [run, step]),
      (rows) => rows.map(toStored).toReversed()
    ),
  earlier: (flow, run, query) => {
    const { params, sql } = whereOf(query)
    return Effect.map(
      database.query(
        `SELECT r.id, r.name FROM exchanges e JOIN runs r ON r.id = e.run
          WHERE r.flow = ? AND r.id < ?${sql} ORDER BY r.id DESC LIMIT 1`,
        [flow, run, ...params]
      ),
      ([found]) => (found === undefined ? undefined : { run: Number(found["id"]), name: String(found["name"]) })
    )
  },
  positions: (run, step) => {
    const { params, sql } = whereOf({ step })
    return Effect.map(
      database.query(`SELECT DISTINCT e.position FROM exchanges e WHERE e.run = ?${sql} ORDER BY e.position`, [
        run,
        ...params
      ]),
      (rows) => rows.map((row) => String(row["position"]))
    )
  }
})
