/**
 * Adds up the books of a run as they are written: by step and model, and in all. Its size depends on the number of steps
 * and models, not of rows.
 *
 * @since 0.1.0
 */
import * as Money from "../data/Money.ts"
import type * as ModelResponse from "../data/ModelResponse.ts"
import * as Usage from "../data/Usage.ts"
import * as Ledger from "../layers/Ledger.ts"

/** The sums of one step and model, or of all. */
export interface Sums {
  /** Physical attempts at the provider. */
  readonly attempts: number
  readonly failedAttempts: number
  /** Attempts whose cost is not known; what they cost is not in `spent`. */
  readonly unpriced: number
  /** Tokens of all attempts that reported them. */
  readonly usage: Usage.Usage
  readonly spent: Money.Money
  /** Answers by where they came from. */
  readonly answers: { readonly [O in ModelResponse.Origin]: number }
  readonly savings: Ledger.Savings
}

/** The sums of one step and one model. */
export interface Line extends Sums {
  readonly step: string
  readonly provider: string
  readonly model: string
}

export const zero: Sums = {
  attempts: 0,
  failedAttempts: 0,
  unpriced: 0,
  usage: Usage.zero,
  spent: Money.zero,
  answers: { provider: 0, cache: 0, shared: 0 },
  savings: Ledger.noSavings
}

export const add = (self: Sums, entry: Ledger.Entry): Sums =>
  entry._tag === "Attempt"
    ? {
      ...self,
      attempts: self.attempts + 1,
      failedAttempts: self.failedAttempts + (entry.error === undefined ? 0 : 1),
      unpriced: self.unpriced + (entry.cost === undefined ? 1 : 0),
      usage: entry.usage === undefined ? self.usage : Usage.add(self.usage, entry.usage),
      spent: self.spent + (entry.cost ?? Money.zero)
    }
    : {
      ...self,
      answers: { ...self.answers, [entry.origin]: self.answers[entry.origin] + 1 },
      savings: {
        cache: self.savings.cache + entry.savings.cache,
        router: self.savings.router + entry.savings.router,
        promptCache: self.savings.promptCache + entry.savings.promptCache,
        serviceTier: self.savings.serviceTier + entry.savings.serviceTier
      }
    }

/** Everything that the strategies saved together. */
export const saved = (sums: Sums): Money.Money => Money.sum(Object.values(sums.savings))

/** What it would have cost with none of the strategies. */
export const baseline = (sums: Sums): Money.Money => sums.spent + saved(sums)

/** Answers to steps, wherever they came from. */
export const answers = (sums: Sums): number => sums.answers.provider + sums.answers.cache + sums.answers.shared

/** Running sums of a run. */
export interface Tally {
  readonly record: (entry: Ledger.Entry) => void
  /** By step and model, in the order of their first entries. */
  readonly lines: () => ReadonlyArray<Line>
  readonly total: () => Sums
}

export const make = (): Tally => {
  const lines = new Map<string, Line>()
  let total = zero
  return {
    record: (entry) => {
      const { model, provider } = entry
      const { step } = entry.caller
      const key = `${step}\n${provider}\n${model}`
      lines.set(key, { ...add(lines.get(key) ?? zero, entry), step, provider, model })
      total = add(total, entry)
    },
    lines: () => [...lines.values()],
    total: () => total
  }
}
