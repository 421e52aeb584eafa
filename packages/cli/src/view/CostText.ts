/** What calls have cost, as text: a bound is shown as one, and what is not known is not shown as a number. */
import * as Money from "@pipe/core/Money"

export interface Cost {
  readonly cost: Money.Money
  /** The part of it that is an upper bound, for calls without a bill. */
  readonly estimatedCost?: Money.Money
  readonly attempts: number
  /** Calls of unknown cost. */
  readonly unpriced: number
}

/** `$0.25`, `≥ $0.25` where some calls have no price, `≤ $0.25` where some have no bill, `≈ $0.25` with both. */
export const of = ({ attempts, cost, estimatedCost = Money.zero, unpriced }: Cost): string => {
  if (unpriced > 0 && unpriced >= attempts) return "unknown"
  const isAtMost = estimatedCost > Money.zero
  const sign = unpriced > 0 ? (isAtMost ? "≈ " : "≥ ") : isAtMost ? "≤ " : ""
  return `${sign}${Money.format(cost)}`
}

/** Of no call. */
export const zero: Cost = { cost: Money.zero, attempts: 0, unpriced: 0 }

export const sum = (costs: ReadonlyArray<Cost>): Cost => ({
  cost: Money.sum(costs.map(({ cost }) => cost)),
  estimatedCost: Money.sum(costs.map(({ estimatedCost = Money.zero }) => estimatedCost)),
  attempts: costs.reduce((all, { attempts }) => all + attempts, 0),
  unpriced: costs.reduce((all, { unpriced }) => all + unpriced, 0)
})
