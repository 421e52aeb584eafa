/**
 * The tables of the ledger, and attempts as their rows.
 *
 * @internal
 */
import type * as Writer from "../store/Writer.ts"
import * as LedgerEntry from "./LedgerEntry.ts"

export const tokenColumns = [
  "uncached_input",
  "cache_read",
  "cache_write",
  "cache_write_1h",
  "output",
  "reasoning"
] as const

/** Counts that few calls have, with their columns. */
export const rareColumns = [
  ["input_audio", "inputAudio"],
  ["input_image", "inputImage"],
  ["output_audio", "outputAudio"],
  ["output_image", "outputImage"],
  ["searches", "searches"]
] as const

export const attemptTable: Writer.WriterTable = {
  name: "attempts",
  columns: [
    "run",
    "step",
    "row_index",
    "at",
    "milliseconds",
    "provider",
    "model",
    ...tokenColumns,
    "cost",
    "unknown",
    "estimated",
    "error",
    "service_tier",
    "requested",
    ...rareColumns.map(([column]) => column),
    "fees",
    "reask",
    "call"
  ]
}

/** The column of a strategy: `saved_prompt_cache` for `promptCache`. */
export const savedColumn = (strategy: keyof LedgerEntry.Savings): string =>
  `saved_${strategy.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`

export const savedColumns = LedgerEntry.strategies.map(savedColumn)

export const answerTable: Writer.WriterTable = {
  name: "answers",
  columns: [
    "run",
    "step",
    "row_index",
    "at",
    "milliseconds",
    "origin",
    "provider",
    "model",
    "baseline_model",
    "attempts",
    "baseline",
    ...savedColumns,
    "service_tier"
  ]
}

export const attemptRow = (run: number, entry: LedgerEntry.AttemptEntry): ReadonlyArray<unknown> => {
  const { caller, usage } = entry
  return [
    run,
    caller.step,
    caller.row,
    entry.at,
    entry.milliseconds,
    entry.provider,
    entry.model,
    usage?.uncachedInput ?? null,
    usage?.cacheRead ?? null,
    usage?.cacheWrite ?? null,
    usage?.cacheWrite1h ?? null,
    usage?.output ?? null,
    usage?.reasoning ?? null,
    entry.cost ?? null,
    entry.unknown ?? null,
    entry.estimated === true ? 1 : 0,
    entry.error ?? null,
    entry.serviceTier ?? null,
    entry.requested ?? null,
    usage?.inputAudio ?? null,
    usage?.inputImage ?? null,
    usage?.outputAudio ?? null,
    usage?.outputImage ?? null,
    usage?.searches ?? null,
    entry.fees ?? null,
    entry.reask === true ? 1 : 0,
    entry.call ?? null
  ]
}

/** The columns of attempts that hold text. */
export const textColumns = new Set(["step", "provider", "model", "unknown", "error", "service_tier", "requested"])

export const callTable: Writer.WriterTable = {
  name: "calls",
  columns: [
    "run",
    "id",
    "step",
    "row_index",
    "at",
    "provider",
    "model",
    "input_tokens",
    "output_tokens",
    "cost",
    "lease",
    "attempt"
  ],
  // The run of several processes has ended, or was resumed with what was left of its budget.
  refused:
    "r.attempt IS NOT NULL AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.run = r.run AND jobs.attempt = r.attempt)"
}
