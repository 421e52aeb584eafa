/** A plan as text. */
import * as Money from "@pipe/core/Money"
import type * as Plan from "@pipe/core/Plan"
import * as Plural from "@pipe/core/internal/Plural"
import { count } from "@pipe/core/internal/ReportText"
import type * as RunEvent from "@pipe/core/RunEvent"
import { columns } from "./RunText.ts"

const range = ({ expected, high, low }: Plan.Range): string =>
  low === high ? Money.format(expected) : `${Money.format(low)} – ${Money.format(high)}`

/** The cost of all calls, as far as prices are known. */
const total = (plan: Plan.Plan): string => {
  const unpriced = plan.lines.filter(({ calls, cost }) => calls > 0 && cost === undefined)
  const priced = plan.lines.some(({ calls, cost }) => calls > 0 && cost !== undefined)
  return unpriced.length === 0 ? range(plan.cost) : priced ? `≥ ${range(plan.cost)}` : "unknown"
}

const between = ({ high, low }: { readonly low: number; readonly high: number }): string =>
  low === high ? count(low) : `${count(low)} – ${count(high)}`

const duration = (milliseconds: number): string => {
  const minutes = Math.ceil(milliseconds / 60_000)
  return minutes < 60
    ? `${minutes} min`
    : minutes < 60 * 48
      ? `${Math.floor(minutes / 60)} h ${minutes % 60} min`
      : `${(minutes / 1_440).toFixed(1)} days`
}

/** Rows in columns, indented; the first `left` columns to the left. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>, left: number): ReadonlyArray<string> =>
  columns(rows, left)
    .split("\n")
    .map((line) => `  ${line}`)

/** What a sample cost, in a line. */
export const sampled = (summary: RunEvent.RunFinished): string =>
  `a sample of ${Plural.of(summary.rows.read, "row")} was run for ${summary.unpriced > 0 ? "≥ " : ""}${Money.format(summary.cost)}: the run reuses it (${summary.run})`

/** A plan for people. */
export const render = (plan: Plan.Plan): string => {
  const calls = plan.lines.reduce((sum, line) => sum + line.calls, 0)
  const lines = [
    `${plan.flow}: ${Plural.of(plan.rows, "row")}, ${Plural.of(calls, "call")} to pay, ${calls === 0 ? "$0.00" : total(plan)}`,
    "",
    ...table(
      [
        ["step", "model", "reused", "from cache", "calls", "input", "output", "cost"],
        ...plan.lines.map((line) => [
          line.step,
          line.serviceTier === undefined ? line.model : `${line.model} (${line.serviceTier})`,
          count(line.reused),
          count(line.cached),
          count(line.calls),
          count(line.inputTokens),
          between(line.outputTokens),
          line.cost === undefined ? "unknown" : range(line.cost)
        ])
      ],
      2
    )
  ]
  if (plan.lines.length === 0) lines.splice(1, Number.POSITIVE_INFINITY, "  no step asks a model")
  const guessed = plan.lines.filter((line) => line.calls > 0 && line.learnedFrom === 0 && line.outputTokens.high > 0)
  if (guessed.length > 0) {
    lines.push(
      "",
      `  how long the answers of ${[...new Set(guessed.map((line) => line.step))].join(", ")} are is a guess: --sample 20 learns it, and the run reuses those rows`
    )
  }
  if (plan.unplanned > 0) {
    lines.push(
      "",
      `  ${Plural.of(plan.unplanned, "row")} could not be planned: a step failed on the made-up answers of a plan (as a loop that gives up does), or a row cannot be read`
    )
  }
  for (const note of plan.notes ?? []) lines.push("", `  ${note}`)
  if (plan.milliseconds !== undefined)
    lines.push(
      "",
      `  at the known rate limits: ${plan.milliseconds === 0 ? "no wait" : `at least ${duration(plan.milliseconds)}`}`
    )
  if (plan.strategies.length > 1) {
    lines.push(
      "",
      ...table(
        [
          ["strategy", "expected cost", ""],
          ...plan.strategies.map(({ cost, how, name }) => [name, Money.format(cost), how])
        ].map((row) => [row[0]!, row[1]!, row[2]!]),
        3
      )
    )
  }
  return lines.join("\n")
}

/** What was planned beside what came, in a line. */
export const beside = (plan: Plan.Plan, summary: RunEvent.RunFinished): string => {
  const calls = plan.lines.reduce((sum, line) => sum + line.calls, 0)
  const cost = `${summary.unpriced > 0 ? "≥ " : ""}${Money.format(summary.cost)}`
  return `planned: ${Plural.of(calls, "call")} for ${total(plan)}; came: ${Plural.of(summary.calls.attempts, "call")} for ${
    summary.unpriced >= summary.calls.attempts && summary.unpriced > 0 ? "unknown" : cost
  }`
}
