/**
 * Ways to choose a model without training, for comparison.
 *
 * @internal
 */
import * as Money from "../../price/Money.ts"
import type * as Features from "../Features.ts"
import { mean, type Observation } from "./Observation.ts"

/** A way to choose without training, with the best threshold in hindsight. */
export interface Baseline {
  readonly name: "chance" | "prompt length"
  /** The lowest share of rows that the strong model must answer. */
  readonly strongShare: number
  readonly quality: number
  readonly cost: Money.Money
}

/** The results when rows go to the strong model at random, or by the length of their prompts. */
export const of = (
  observations: ReadonlyArray<Observation>,
  target: number,
  lengthOf: (row: Features.Sample) => number
): ReadonlyArray<Baseline> => {
  const rows = observations.map(({ answers, row }) => ({
    weak: answers[0]!,
    strong: answers[answers.length - 1]!,
    length: lengthOf(row)
  }))
  if (rows.length === 0) return []
  const size = rows.length
  const [weak, strong] = [mean(rows.map(({ weak }) => weak.quality)), mean(rows.map(({ strong }) => strong.quality))]
  const share = weak >= target * strong ? 0 : (target * strong - weak) / (strong - weak)
  const [weakCost, strongCost] = [
    Money.sum(rows.map(({ weak }) => weak.cost)),
    Money.sum(rows.map(({ strong }) => strong.cost))
  ]
  const millionths = BigInt(Math.round(share * 1e6))
  // The longest prompts go to the strong model, as few as needed.
  const sorted = rows.toSorted((a, b) => b.length - a.length)
  let quality = weak * size
  let cost = weakCost
  let taken = 0
  while (taken < size && quality < target * strong * size - 1e-9) {
    const row = sorted[taken++]!
    quality += row.strong.quality - row.weak.quality
    cost += row.strong.cost - row.weak.cost
  }
  return [
    {
      name: "chance",
      strongShare: share,
      quality: weak + share * (strong - weak),
      cost: (weakCost * (1_000_000n - millionths) + strongCost * millionths) / 1_000_000n / BigInt(size)
    },
    { name: "prompt length", strongShare: taken / size, quality: quality / size, cost: cost / BigInt(size) }
  ]
}
