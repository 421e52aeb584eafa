/** A plan as text. */
import * as Money from "@pipe/core/Money"
import type * as Plan from "@pipe/core/Plan"
import * as PriceTable from "@pipe/core/PriceTable"
import * as Format from "@pipe/core/internal/Format"
import { count } from "@pipe/core/internal/Format"
import type * as RunEvent from "@pipe/core/RunEvent"
import * as Table from "./Table.ts"

type Counted = Plan.PlanLine["counted"]

const range = ({ expected, high, low }: Plan.Range): string =>
  low === high ? Money.format(expected) : `${Money.format(low)} – ${Money.format(high)}`

/** A value that depends on answers. */
const about = (text: string, counted: Counted): string => (counted === undefined ? text : `~ ${text}`)

/** How the calls of all lines were counted: as those of the least known. */
const countedOf = ({ lines, unreached = [] }: Plan.Plan): Counted =>
  unreached.length > 0 || lines.some(({ counted }) => counted === "guessed")
    ? "guessed"
    : lines.find(({ counted }) => counted !== undefined)?.counted

/** The calls of all lines; where they are guessed, those that come whatever the answers are. */
const calls = (plan: Plan.Plan): string => {
  const isGuessed = countedOf(plan) === "guessed"
  const count = plan.lines.reduce((sum, line) => sum + (isGuessed ? (line.least ?? line.calls) : line.calls), 0)
  const text = Format.of(count, "call")
  return isGuessed ? `≥ ${text}` : about(text, countedOf(plan))
}

/** The cost of all calls, as far as prices are known. */
const total = (plan: Plan.Plan): string => {
  const unpriced = plan.lines.filter(({ calls, cost }) => calls > 0 && cost === undefined)
  const priced = plan.lines.some(({ calls, cost }) => calls > 0 && cost !== undefined)
  if (unpriced.length > 0) return priced ? `≥ ${range(plan.cost)}` : "unknown"
  const counted = countedOf(plan)
  if (counted === "guessed") return `≥ ${Money.format(plan.cost.low)}`
  return plan.lines.every((line) => line.calls === 0) ? "$0.00" : about(range(plan.cost), counted)
}

const between = ({ high, low }: { readonly low: number; readonly high: number }): string =>
  low === high ? count(low) : `${count(low)} – ${count(high)}`

/** The cost of a sample, in one line. */
export const sampled = (summary: RunEvent.RunFinished): string =>
  `a sample of ${Format.of(summary.rows.read, "row")} was run for ${summary.unpriced > 0 ? "≥ " : ""}${Money.format(summary.cost)}: the run reuses it (${summary.run})`

/** The calls of a plan and their cost. */
export const headline = (plan: Plan.Plan): string => `${calls(plan)} to pay, ${total(plan)}`

/** Renders a plan. */
export const render = (plan: Plan.Plan): string => {
  const lines = [
    `${plan.flow}: ${Format.of(plan.rows, "row")}, ${headline(plan)}`,
    "",
    ...Table.lines(
      {
        header: ["step", "model", "reused", "from cache", "calls", "input", "output", "cost"],
        rows: plan.lines.map((line) => [
          line.step,
          line.serviceTier === undefined ? line.model : `${line.model} (${line.serviceTier})`,
          count(line.reused),
          count(line.cached),
          about(count(line.calls), line.counted),
          count(line.inputTokens),
          between(line.outputTokens),
          line.cost === undefined ? "unknown" : about(range(line.cost), line.counted)
        ]),
        left: 2
      },
      { indent: "  " }
    )
  ]
  if (plan.lines.length === 0)
    lines.splice(1, Number.POSITIVE_INFINITY, plan.unplanned > 0 ? "  no call was planned" : "  no step calls a model")
  const guessed = plan.lines.filter((line) => line.calls > 0 && line.learnedFrom === 0 && line.outputTokens.high > 0)
  if (guessed.length > 0) {
    lines.push(
      "",
      `  the length of answers of ${[...new Set(guessed.map((line) => line.step))].join(", ")} is a guess: --sample 20 learns it, and the run reuses those rows`
    )
  }
  if (plan.unplanned > 0) {
    lines.push(
      "",
      `  ${Format.of(plan.unplanned, "row")} could not be planned, so ${plan.unplanned === 1 ? "its" : "their"} calls are not in the cost: a step failed on placeholder answers (a loop that gives up, for example), or fails for every answer`,
      ...(plan.problem === undefined ? [] : [`  the first: ${plan.problem}`])
    )
  }
  for (const note of plan.notes ?? []) lines.push("", `  ${note}`)
  if (plan.milliseconds !== undefined)
    lines.push(
      "",
      `  at the known rate limits: ${plan.milliseconds === 0 ? "no wait" : `at least ${Format.duration(Math.ceil(plan.milliseconds / 1_000) * 1_000, "seconds")}`}`
    )
  if (plan.prices !== undefined) lines.push("", `  prices: ${PriceTable.describe(plan.prices)}`)
  const all = total(plan)
  if (plan.strategies.length > 1 && all !== "unknown") {
    // What the head line leaves out, every strategy leaves out.
    const bound = all.startsWith("≥") ? "≥ " : ""
    lines.push(
      "",
      ...Table.lines(
        {
          header: ["strategy", "expected cost", ""],
          rows: plan.strategies.map(({ cost, how, name }) => [name, `${bound}${Money.format(cost)}`, how]),
          left: 3
        },
        { indent: "  " }
      )
    )
  }
  return lines.join("\n")
}

/** The plan compared with the result, in one line. */
export const beside = (plan: Plan.Plan, summary: RunEvent.RunFinished): string => {
  const calls = plan.lines.reduce((sum, line) => sum + line.calls, 0)
  const cost = `${summary.unpriced > 0 ? "≥ " : ""}${Money.format(summary.cost)}`
  return `planned: ${Format.of(calls, "call")} for ${total(plan)}; actual: ${Format.of(summary.calls.attempts, "call")} for ${
    summary.unpriced >= summary.calls.attempts && summary.unpriced > 0 ? "unknown" : cost
  }`
}
