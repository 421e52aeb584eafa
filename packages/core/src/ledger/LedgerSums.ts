/**
 * The totals of a run, by step, model and service tier.
 *
 * @internal
 */
import type * as Types from "effect/Types"
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"
import * as Database from "../store/Database.ts"
import * as LedgerColumns from "./LedgerColumns.ts"
import * as LedgerEntry from "./LedgerEntry.ts"

/** The totals of one step, model and service tier. */
export interface LedgerSum extends LedgerEntry.LedgerLine {
  /** Tokens of estimated attempts, which are not in `usage`. */
  readonly estimatedTokens: number
}

const counted = [...LedgerColumns.tokenColumns, ...LedgerColumns.rareColumns.map(([column]) => column)]
  .map((column) => `sum(CASE WHEN estimated = 1 THEN 0 ELSE ${column} END) AS ${column}`)
  .join(", ")

const ATTEMPTS = `SELECT step, provider, model, service_tier, count(*) AS n, count(error) AS failed, sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END) AS unpriced,
  sum(estimated) AS estimated, CAST(sum(cost) AS TEXT) AS cost,
  CAST(sum(CASE WHEN estimated = 1 THEN cost ELSE 0 END) AS TEXT) AS estimated_cost,
  CAST(sum(CASE WHEN error IS NULL THEN 0 ELSE cost END) AS TEXT) AS failed_cost,
  CAST(sum(CASE WHEN reask = 1 THEN cost ELSE 0 END) AS TEXT) AS reask_cost,
  sum(CASE WHEN estimated = 1 THEN coalesce(uncached_input, 0) + coalesce(output, 0) ELSE 0 END) AS estimated_tokens,
  CAST(sum(fees) AS TEXT) AS fees, ${counted}
  FROM attempts WHERE run = ? GROUP BY step, provider, model, service_tier ORDER BY min(id)`

const saved = LedgerColumns.savedColumns.map((column) => `CAST(sum(${column}) AS TEXT) AS ${column}`).join(", ")

const ANSWERS = `SELECT step, provider, model, service_tier, origin, count(*) AS n, ${saved}
  FROM answers WHERE run = ? GROUP BY step, provider, model, service_tier, origin ORDER BY min(id)`

const usageOf = (row: Database.DatabaseRow): Usage.Usage => ({
  uncachedInput: Database.total(row["uncached_input"]),
  cacheRead: Database.total(row["cache_read"]),
  cacheWrite: Database.total(row["cache_write"]),
  cacheWrite1h: Database.total(row["cache_write_1h"]),
  output: Database.total(row["output"]),
  reasoning: Database.total(row["reasoning"]),
  ...Object.fromEntries(
    LedgerColumns.rareColumns.flatMap(([column, name]) =>
      Database.total(row[column]) === 0 ? [] : [[name, Database.total(row[column])]]
    )
  )
})

/** The totals of a run. */
export const ofRun = Effect.fnUntraced(function* (
  database: Database.Service,
  run: number
): Effect.fn.Return<ReadonlyArray<LedgerSum>, SqlError.SqlError> {
  const sums = new Map<string, Types.Mutable<LedgerSum>>()
  const sumOf = (row: Database.DatabaseRow): Types.Mutable<LedgerSum> => {
    const [step, provider, model] = [String(row["step"]), String(row["provider"]), String(row["model"])]
    const serviceTier = Database.toText(row["service_tier"])
    const key = `${step}\n${provider}\n${model}\n${serviceTier ?? ""}`
    const known = sums.get(key)
    if (known !== undefined) return known
    const sum = { ...nothing, step, provider, model, serviceTier }
    sums.set(key, sum)
    return sum
  }
  for (const row of yield* database.query(ATTEMPTS, [run])) {
    Object.assign(sumOf(row), {
      attempts: Database.total(row["n"]),
      failedAttempts: Database.total(row["failed"]),
      failedSpent: Database.totalBigInt(row["failed_cost"]),
      reaskSpent: Database.totalBigInt(row["reask_cost"]),
      unpriced: Database.total(row["unpriced"]),
      estimated: Database.total(row["estimated"]),
      spent: Database.totalBigInt(row["cost"]),
      estimatedSpent: Database.totalBigInt(row["estimated_cost"]),
      estimatedTokens: Database.total(row["estimated_tokens"]),
      usage: usageOf(row),
      fees: Database.totalBigInt(row["fees"])
    })
  }
  for (const row of yield* database.query(ANSWERS, [run])) {
    const sum = sumOf(row)
    sum.answers = { ...sum.answers, [String(row["origin"])]: Database.total(row["n"]) }
    const before = sum.savings
    sum.savings = LedgerEntry.savings(
      (strategy) => before[strategy] + Database.totalBigInt(row[LedgerColumns.savedColumn(strategy)])
    )
  }
  return [...sums.values()]
})

/** Totals of zero attempts and answers. */
const nothing: Omit<LedgerSum, "step" | "provider" | "model" | "serviceTier"> = {
  attempts: 0,
  failedAttempts: 0,
  failedSpent: 0n,
  reaskSpent: 0n,
  unpriced: 0,
  estimated: 0,
  usage: Usage.zero,
  spent: 0n,
  fees: 0n,
  estimatedSpent: 0n,
  estimatedTokens: 0,
  answers: ModelResponse.noAnswers,
  savings: LedgerEntry.noSavings
}
