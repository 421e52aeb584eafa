/** `--budget` in money and in tokens. */
import * as Budget from "@pipe/core/Budget"
import * as Money from "@pipe/core/Money"
import * as Effect from "effect/Effect"
import * as ExitCode from "../process/ExitCode.ts"

export const parse = Effect.fnUntraced(function* (given: ReadonlyArray<string>) {
  let limits: Budget.BudgetLimits | undefined
  for (const text of given) {
    const one = Budget.parse(text)
    if (one === undefined) {
      return yield* ExitCode.refuse(`--budget: ${text} is not an amount: write 5usd, 0.25usd or 200000tokens`)
    }
    limits = { ...limits, ...one }
  }
  return limits
})

/** One cent, in picodollars. */
const CENT: Money.Money = 10_000_000_000n

/** A budget that lets a run continue after it has reached its own: twice as much. */
export const more = (given: ReadonlyArray<string>, spent: Money.Money): string => {
  const budgets =
    given.length > 0
      ? given.map((text) => text.replace(/[\d.]+/, (number) => String(2 * Number(number))))
      : [`${Money.toUsd(2n * (spent > CENT ? spent : CENT))}usd`]
  return budgets.map((budget) => `--budget ${budget}`).join(" ")
}
