/**
 * A sample row that every model has answered, and what a routing does with it.
 *
 * @internal
 */
import * as Money from "../../price/Money.ts"
import type * as Features from "../Features.ts"
import type * as Routing from "../Routing.ts"

/** What one model did with a row. */
export interface ModelAnswer {
  readonly model: string
  /** The cost of the answer and of its judges, in picodollars. */
  readonly cost: Money.Money
  readonly judging: Money.Money
  /** From 0 to 1: compared with the label, or with the strong model's answer. */
  readonly quality: number
  /** Features of the row and the answer; `undefined` when there is no usable answer. */
  readonly sample: Features.Sample | undefined
}

/** A row of the sample. */
export interface Observation {
  readonly row: Features.Sample
  /** One per model, the strong one last. */
  readonly answers: ReadonlyArray<ModelAnswer>
}

/** The result of a routed row. */
export interface RoutedRow {
  readonly cost: Money.Money
  readonly quality: number
  readonly isStrong: boolean
}

/** Routes a row, given by how much each model is expected to be worse (`losses`). */
export const route = (
  { answers }: Observation,
  by: Routing.RoutingPolicy["by"],
  rungs: ReadonlyArray<number>,
  losses: ReadonlyArray<number>,
  threshold: number
): RoutedRow => {
  let cost = Money.zero
  for (const [at, stage] of rungs.entries()) {
    const answer = answers[stage]!
    const isTaken = losses[at]! <= threshold
    if (by === "row" && !isTaken) continue
    cost += by === "row" ? answer.cost : answer.cost + answer.judging
    if (isTaken && answer.sample !== undefined) return { cost, quality: answer.quality, isStrong: false }
  }
  const strong = answers[answers.length - 1]!
  return { cost: cost + strong.cost, quality: strong.quality, isStrong: true }
}

export const strongOf = ({ answers }: Observation): ModelAnswer => answers[answers.length - 1]!

export const mean = (values: ReadonlyArray<number>): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)

export const meanCost = (costs: ReadonlyArray<Money.Money>): Money.Money =>
  costs.length === 0 ? Money.zero : Money.sum(costs) / BigInt(costs.length)

export const strongCostOf = (rows: ReadonlyArray<Observation>): Money.Money =>
  meanCost(rows.map((row) => strongOf(row).cost))
