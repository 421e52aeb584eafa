/**
 * The report of a run as text for a terminal: where the money went, and what each strategy saved.
 *
 * @internal
 */
import * as Plural from "../encoding/Plural.ts"
import * as Share from "../encoding/Share.ts"
import * as RunTotals from "../ledger/RunTotals.ts"
import * as Money from "../price/Money.ts"
import type * as RunEvent from "../run/RunEvent.ts"

type Row = ReadonlyArray<string>

/** Columns as wide as their widest cell; the first is set left, the others right. */
const table = (header: Row, rows: ReadonlyArray<Row>, left = 1): ReadonlyArray<string> => {
  const widths = header.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]!.length)))
  const line = (row: Row) =>
    `  ${row.map((cell, column) => (column < left ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join("  ")}`.trimEnd()
  return [line(header), `  ${widths.map((width) => "─".repeat(width)).join("  ")}`, ...rows.map(line)]
}

export const count = Plural.count

/** An amount that is a lower bound where some of it is not known. */
const money = (amount: Money.Money, unpriced: number, calls: number): string =>
  unpriced === 0 ? Money.format(amount) : unpriced >= calls ? "unknown" : `≥ ${Money.format(amount)}`

const duration = (milliseconds: number): string => {
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`
  const seconds = milliseconds / 1_000
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 60
    ? `${minutes} min ${Math.round(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** The strategies whose savings are booked, by what people call them. */
export const strategies = [
  ["cache", "exact cache"],
  ["semanticCache", "semantic cache"],
  ["pack", "packed prompts"],
  ["router", "model routing"],
  ["promptCache", "provider's prompt cache"],
  ["serviceTier", "batch and flex service"]
] as const

const percent = (part: Money.Money, whole: Money.Money): string =>
  whole === Money.zero ? "0 %" : `${(Number((part * 1_000n) / whole) / 10).toFixed(1)} %`

/** A part of a whole, in percent. */
export const share = Share.format

/** Input that was not read from the provider's cache, of every kind. */
const inputOf = (tokens: RunEvent.RunFinished["tokens"]): number =>
  tokens.uncachedInput + tokens.cacheWrite + tokens.cacheWrite1h + (tokens.inputAudio ?? 0) + (tokens.inputImage ?? 0)

/** The report as lines of text. */
export const render = (summary: RunEvent.RunFinished): string => {
  const { calls, cost, rows, savings, steps, tokens, unpriced } = summary
  const saved = Money.sum(Object.values(savings))
  const requests = RunTotals.answers(calls.answers)
  const failed =
    rows.failed === 0
      ? ""
      : `, ${count(rows.failed)} failed${summary.errorsFile === undefined ? "" : ` (see ${summary.errorsFile})`}`
  const dropped = rows.dropped === 0 ? "" : `, ${count(rows.dropped)} dropped`
  const lines = [
    `${summary.flow}: ${summary.status === "done" ? (rows.failed > 0 ? "ended with failed rows" : "done") : summary.status === "budget" ? "stopped at its budget" : summary.status === "waiting" ? "waits for batches" : summary.status === "interrupted" ? "interrupted" : "stopped"} in ${duration(summary.milliseconds)}: ${Plural.of(
      rows.read,
      "row"
    )} read${failed}${dropped}`
  ]
  if (summary.failure !== undefined) lines.push(`  ${summary.failure}`)
  for (const output of summary.outputs) lines.push(`  ${output.name}: ${Plural.of(output.rows, "row")}`)
  const reused = summary.nodes.filter((node) => node.reused > 0)
  if (reused.length > 0) {
    lines.push(
      `  reused from earlier work: ${reused
        .map((node) => `${node.name} ${count(node.reused)} of ${count(node.done)} rows`)
        .join(", ")}`
    )
  }
  if (summary.batches !== undefined) {
    const { back, expected, failed, open, queued, running } = summary.batches
    lines.push(
      `  batches on the way: ${open}, with ${count(running)} requests at the provider and ${count(queued)} to be sent (${count(back)} are back${
        failed === 0 ? "" : `, ${count(failed)} failed`
      }); they will cost about ${Money.format(expected)}`
    )
  }
  if (requests === 0 && calls.attempts === 0) return [...lines, "  no model was called: total cost $0.00"].join("\n")
  lines.push(
    "",
    ...table(
      ["step", "model", "answers", "reused", "calls", "input", "cached", "output", "reasoning", "cost"],
      steps.map((step) => [
        step.step,
        step.serviceTier === undefined ? step.model : `${step.model} (${step.serviceTier})`,
        count(RunTotals.answers(step.answers)),
        count(RunTotals.reused(step.answers)),
        count(step.attempts),
        count(inputOf(step.tokens)),
        count(step.tokens.cacheRead),
        count(step.tokens.output + (step.tokens.outputAudio ?? 0) + (step.tokens.outputImage ?? 0)),
        count(step.tokens.reasoning),
        money(step.cost, step.unpriced, step.attempts)
      ]),
      2
    )
  )
  const total = money(cost, unpriced, calls.attempts)
  lines.push(
    "",
    ...table(
      ["", ""],
      [
        ["total cost", total],
        ...(summary.fees === undefined ? [] : [["of it fees", Money.format(summary.fees)]]),
        ["total tokens", count(tokens.total)],
        [
          "requests",
          `${count(requests)} (${count(calls.answers.provider)} paid, ${count(calls.answers.cache)} from the cache, ${count(calls.answers.shared)} shared${
            calls.answers.semantic === 0 ? "" : `, ${count(calls.answers.semantic)} reused by meaning`
          })`
        ],
        [
          "calls to providers",
          `${count(calls.attempts)}${calls.failedAttempts === 0 ? "" : ` (${count(calls.failedAttempts)} failed)`}`
        ],
        [
          "average a call",
          calls.attempts === 0
            ? "–"
            : `${(tokens.total / calls.attempts).toFixed(1)} tokens, ${money(cost / BigInt(calls.attempts), unpriced, calls.attempts)}`
        ],
        ...(calls.failedCost === undefined || calls.failedAttempts === 0
          ? []
          : [["for failed calls", money(calls.failedCost, unpriced, calls.attempts)]]),
        ...(calls.reaskCost === undefined ? [] : [["for re-asks", money(calls.reaskCost, unpriced, calls.attempts)]]),
        ...(calls.failedRowsCost === undefined
          ? []
          : [["for rows that failed", money(calls.failedRowsCost, unpriced, calls.attempts)]])
      ]
    ).slice(2),
    "",
    ...table(
      ["saved by", "amount", "of the whole"],
      [
        ...strategies
          .filter(([key]) => savings[key] !== Money.zero)
          .map(([key, name]): Row => [name, Money.format(savings[key]), percent(savings[key], summary.baseline)]),
        ["all of them", Money.format(saved), percent(saved, summary.baseline)],
        ["without any", money(summary.baseline, unpriced, calls.attempts), ""]
      ]
    )
  )
  for (const { audited, high, low, lookups, maxErrorRate, reused, step, wrong } of summary.reuse ?? []) {
    const error =
      audited === 0
        ? "none of them was audited yet"
        : `${count(wrong)} of ${count(audited)} that were audited were wrong: ${share(low)} to ${share(high)} of them, where ${share(maxErrorRate)} are allowed`
    lines.push(
      "",
      `  ${step}: ${count(reused)} of ${count(lookups)} answers reused by meaning; ${error}${low > maxErrorRate ? "; nothing more is reused" : ""}`
    )
  }
  for (const { agreement, audited, high, low, promised, requests, step, strong, substituted } of summary.routes ?? []) {
    const seen =
      audited === 0
        ? "none of the others was audited"
        : `by ${count(audited)} audits ${share(agreement)} of all answers agree with the strong model's (${share(low)} to ${share(high)})`
    const promise =
      promised === undefined
        ? ""
        : promised.standard === "agreement"
          ? `; ${share(promised.target)} are promised`
          : `; promised is ${share(promised.target)} of its quality, by labels`
    lines.push(
      "",
      `  ${step}: the strong model was needed for ${count(strong)} of ${count(requests)} requests${substituted === 0 ? "" : `, and another answered ${count(substituted)} of them in its place`}; ${seen}${promise}`
    )
  }
  for (const { agreed, answered, compared, packs, step, texts } of summary.packs ?? []) {
    lines.push(
      "",
      `  ${step}: ${count(texts)} texts in ${count(packs)} packed prompts, ${count(texts - answered)} asked again; ${
        compared === 0
          ? "none of them was compared with a single answer"
          : `${count(agreed)} of ${count(compared)} that were compared agree with single answers`
      }`
    )
  }
  if (unpriced > 0) {
    lines.push(
      "",
      `  ${Plural.of(unpriced, "call has", "calls have")} no known cost: what they cost is not in the figures above`
    )
  }
  if (summary.estimatedCalls > 0) {
    lines.push(
      "",
      `  ${Plural.of(summary.estimatedCalls, "call has", "calls have")} no bill (most were cut): ${Money.format(summary.estimatedCost)} of the cost is the most that they can have cost`
    )
  }
  if (summary.waited > 0) lines.push(`  calls waited ${duration(summary.waited)} in all for limits and retries`)
  return lines.join("\n")
}
