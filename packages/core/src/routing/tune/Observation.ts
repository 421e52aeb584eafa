/**
 * A row of a sample that every model has answered, and what a routing does with it.
 *
 * @internal
 */
import * as Money from "../../price/Money.ts"
import type * as Features from "../Features.ts"
import type * as Routing from "../Routing.ts"

/** What one model did with a row. */
export interface ModelAnswer {
  readonly model: string
  /** What the answer cost, and what its judges did, in picodollars. */
  readonly cost: Money.Money
  readonly judging: Money.Money
  /** From 0 to 1: as good as the label, or as the strong model's answer. */
  readonly quality: number
  /** Facts about the row and the answer; `undefined`: there is no answer that could stand. */
  readonly sample: Features.Sample | undefined
}

/** A row of the sample. */
export interface Observation {
  readonly row: Features.Sample
  /** Of every model, the strong one last. */
  readonly answers: ReadonlyArray<ModelAnswer>
}

/** What a row comes to. */
export interface RoutedRow {
  readonly cost: Money.Money
  readonly quality: number
  readonly isStrong: boolean
}

/** What a row comes to, where `losses` says by how much each model is expected to be worse. */
export const route = (
  { answers }: Observation,
  by: Routing.RoutingPolicy["by"],
  rungs: ReadonlyArray<number>,
  losses: ReadonlyArray<number>,
  threshold: number
): RoutedRow => {
  let cost = Money.zero
  for (const [at, rung] of rungs.entries()) {
    const answer = answers[rung]!
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
