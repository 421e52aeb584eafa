/**
 * The rows of a run, as a table sorts and filters them. They follow the logs of the store, in which nothing can be found by
 * row; the store is never written.
 */
import * as Database from "@pipe/core/Database"
import type * as Store from "@pipe/core/Store"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { SQLInputValue } from "node:sqlite"
import * as ErrorKind from "./ErrorKind.ts"
import * as KeptAnswer from "./KeptAnswer.ts"
import * as LogTail from "./LogTail.ts"
import * as RowSet from "./RowSet.ts"
import * as RowTable from "./RowTable.ts"
import * as Strategies from "../view/Strategies.ts"
import * as Totals from "./Totals.ts"

export interface RowIndex extends Pick<RowTable.RowTable, "count" | "rows" | "values"> {
  /** Reads what the store has since, and returns whether that was anything. Rows can be read meanwhile. */
  readonly update: Effect.Effect<boolean, unknown>
  /** What the run has come to, as far as it was read. */
  readonly totals: Totals.Totals
  /** How many rows have failed. */
  readonly failed: () => number
  /** Whether an update has ended: until then rows are missing. */
  readonly isWhole: () => boolean
  /** Changes with the rows. */
  readonly version: () => number
}

/** How many entries of a log are read at once. */
const CHUNK = 4_000

const ATTEMPT = `INSERT INTO rows (step, row, at, model, milliseconds, input, output, cost, estimated, attempts, failed)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT (row, step) DO UPDATE SET
  at = max(at, excluded.at), model = excluded.model, milliseconds = milliseconds + excluded.milliseconds,
  input = input + excluded.input, output = output + excluded.output, cost = cost + excluded.cost, estimated = estimated + excluded.estimated,
  attempts = attempts + 1, failed = failed + excluded.failed`

const ANSWER = `INSERT INTO rows (step, row, at, model, origin) VALUES (?, ?, ?, ?, ?) ON CONFLICT (row, step) DO UPDATE SET
  at = max(at, excluded.at), model = excluded.model, origin = excluded.origin`

const FAILURE = `INSERT INTO rows (step, row, error, kind, position) VALUES (?, ?, ?, ?, ?) ON CONFLICT (row, step) DO UPDATE SET
  error = excluded.error, kind = excluded.kind, position = excluded.position`

const EXCHANGE = `INSERT INTO rows (step, row, position, certainty) VALUES (?, ?, ?, ?) ON CONFLICT (row, step) DO UPDATE SET
  position = excluded.position, certainty = coalesce(excluded.certainty, certainty)`

/** The input and output tokens of an attempt, of every class. */
const INPUT = ["uncached_input", "cache_read", "cache_write", "cache_write_1h", "input_audio", "input_image"]
const OUTPUT = ["output", "reasoning", "output_audio", "output_image"]

/** Billed tokens: those of an attempt without a bill are the most that it can have used. */
const billed = (names: ReadonlyArray<string>): string =>
  `CASE WHEN estimated = 1 THEN 0 ELSE ${names.map((name) => `coalesce(${name}, 0)`).join(" + ")} END`

/** What is read of each log of the store, and where it goes. */
const logs = {
  attempts: {
    columns: `id, step, row_index, at, coalesce(requested, model) AS model, milliseconds, ${billed(INPUT)} AS input, ${billed(OUTPUT)} AS output,
      CAST(cost AS TEXT) AS cost, estimated, CASE WHEN error IS NULL THEN 0 ELSE 1 END AS failed, error, provider, service_tier`,
    into: ATTEMPT,
    values: (row: Database.DatabaseRow): ReadonlyArray<SQLInputValue> => [
      String(row["step"]),
      Number(row["row_index"]),
      Number(row["at"]),
      String(row["model"]),
      Number(row["milliseconds"]),
      Number(row["input"]),
      Number(row["output"]),
      Database.toBigInt(row["cost"]) ?? null,
      Number(row["estimated"]) === 1 ? (Database.toBigInt(row["cost"]) ?? 0) : 0,
      Number(row["failed"])
    ]
  },
  answers: {
    columns: `id, step, row_index, at, model, origin, ${Strategies.all.map(({ column }) => `CAST(${column} AS TEXT) AS ${column}`).join(", ")}`,
    into: ANSWER,
    values: (row: Database.DatabaseRow): ReadonlyArray<SQLInputValue> => [
      String(row["step"]),
      Number(row["row_index"]),
      Number(row["at"]),
      String(row["model"]),
      String(row["origin"])
    ]
  },
  exchanges: {
    columns: "id, step, row_index, position, answer",
    into: EXCHANGE,
    values: (row: Database.DatabaseRow): ReadonlyArray<SQLInputValue> => [
      String(row["step"]),
      Number(row["row_index"]),
      String(row["position"]),
      KeptAnswer.certainty(Database.toJson(row["answer"])) ?? null
    ]
  },
  failures: {
    columns: "id, node, row_index, error, message, position",
    into: FAILURE,
    values: (row: Database.DatabaseRow): ReadonlyArray<SQLInputValue> => [
      String(row["node"]),
      Number(row["row_index"]),
      `${String(row["error"])}: ${String(row["message"])}`.slice(0, 500),
      ErrorKind.of(String(row["error"]), String(row["message"])),
      String(row["position"])
    ]
  }
} as const

/** Adds what a log has to the totals. */
const addTo = (totals: Totals.Totals, name: keyof typeof logs, row: Database.DatabaseRow): void => {
  if (name === "attempts")
    totals.attempt({
      step: String(row["step"]),
      row: Number(row["row_index"]),
      provider: String(row["provider"]),
      model: String(row["model"]),
      serviceTier: Database.toText(row["service_tier"]) ?? null,
      at: Number(row["at"]),
      milliseconds: Number(row["milliseconds"]),
      tokens: Number(row["input"]) + Number(row["output"]),
      cost: Database.toBigInt(row["cost"]),
      isEstimate: Number(row["estimated"]) === 1,
      error: Database.toText(row["error"]) ?? null
    })
  else if (name === "answers")
    totals.answer({
      step: String(row["step"]),
      row: Number(row["row_index"]),
      model: String(row["model"]),
      at: Number(row["at"]),
      isHit: row["origin"] !== "provider",
      saved: Strategies.all.map(({ column }) => Database.toBigInt(row[column]) ?? 0n)
    })
}

/** Makes the index of a run. It is removed with the scope. */
export const make = Effect.fnUntraced(function* (
  store: Store.Service,
  run: number
): Effect.fn.Return<RowIndex, never, Scope.Scope> {
  const table = yield* RowTable.make
  const tail = (name: keyof typeof logs): LogTail.LogTail =>
    LogTail.make({ database: store.database, table: name, columns: logs[name].columns, run, chunk: CHUNK })
  const tails = {
    attempts: tail("attempts"),
    answers: tail("answers"),
    exchanges: tail("exchanges"),
    failures: tail("failures")
  }
  const alone = Semaphore.makeUnsafe(1)
  const totals = Totals.make()
  let version = 0
  let isWhole = false
  let failures = 0
  const failed = RowSet.make()

  const follow = Effect.fnUntraced(function* (name: keyof typeof logs) {
    const { into, values } = logs[name]
    for (let isChanged = false; ; isChanged = true) {
      const rows = yield* tails[name].next
      if (rows.length === 0) return isChanged
      table.insert(into, rows.map(values))
      for (const row of rows) addTo(totals, name, row)
      version++
      if (name === "failures") {
        failures += rows.length
        for (const row of rows) failed.add(Number(row["row_index"]))
      }
      // Others are served between two chunks.
      yield* Effect.yieldNow
    }
  })

  /** Failures of rows that were run again are removed from the store. */
  const forgetFailures = Effect.fnUntraced(function* () {
    const [found] = yield* store.database.query("SELECT count(*) AS n FROM failures WHERE run = ? AND id <= ?", [
      run,
      tails.failures.last()
    ])
    if (Number(found?.["n"]) >= failures) return false
    table.forgetFailures()
    tails.failures.restart()
    failures = 0
    failed.clear()
    return true
  })

  return {
    count: table.count,
    rows: table.rows,
    values: table.values,
    totals,
    failed: () => failed.size(),
    isWhole: () => isWhole,
    version: () => version,
    update: alone.withPermit(
      Effect.gen(function* () {
        // Answers and failures after the attempts that they belong to.
        const changes = [
          yield* follow("attempts"),
          yield* follow("answers"),
          yield* follow("exchanges"),
          yield* forgetFailures(),
          yield* follow("failures")
        ]
        isWhole = true
        table.settle()
        return changes.includes(true)
      })
    )
  }
})
