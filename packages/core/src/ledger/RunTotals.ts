/**
 * Adds up the ledger of a run as it is written: by step and model, and in total. Its size depends on the number of
 * steps and models, not on rows.
 *
 * @internal
 */
import type * as Types from "effect/Types"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"
import * as Money from "../price/Money.ts"
import * as LedgerEntry from "./LedgerEntry.ts"

/** The savings of all strategies together. */
export const saved = ({ savings }: LedgerEntry.LedgerTotals): Money.Money => Money.sum(Object.values(savings))

/** The cost without any of the strategies. */
export const baseline = (sums: LedgerEntry.LedgerTotals): Money.Money => sums.spent + saved(sums)

/** Answers to steps, whatever their origin. */
export const answers = (by: LedgerEntry.LedgerTotals["answers"]): number =>
  ModelResponse.origins.reduce((sum, origin) => sum + by[origin], 0)

/** Answers that were not paid for. */
export const reused = (by: LedgerEntry.LedgerTotals["answers"]): number => answers(by) - by.provider

/** Totals that are updated in place: an entry per call must not create garbage. */
class Running implements LedgerEntry.LedgerTotals {
  attempts = 0
  failedAttempts = 0
  failedSpent = Money.zero
  reaskSpent = Money.zero
  unpriced = 0
  estimated = 0
  estimatedSpent = Money.zero
  usage: Types.Mutable<Usage.Usage> = { ...Usage.zero }
  spent = Money.zero
  fees = Money.zero
  readonly answers: Types.Mutable<LedgerEntry.LedgerTotals["answers"]> = { ...ModelResponse.noAnswers }
  readonly savings: Types.Mutable<LedgerEntry.Savings> = { ...LedgerEntry.noSavings }

  add(entry: LedgerEntry.LedgerEntry): void {
    if (entry._tag === "Attempt") {
      this.attempts++
      if (entry.error !== undefined) {
        this.failedAttempts++
        this.failedSpent += entry.cost ?? Money.zero
      }
      if (entry.reask === true) this.reaskSpent += entry.cost ?? Money.zero
      if (entry.cost === undefined) this.unpriced++
      else this.spent += entry.cost
      if (entry.estimated === true) {
        this.estimated++
        this.estimatedSpent += entry.cost ?? Money.zero
      }
      const { estimated, usage } = entry
      if (entry.fees !== undefined) this.fees += entry.fees
      if (usage !== undefined && estimated !== true) this.count(usage)
      return
    }
    const { savings } = entry
    this.answers[entry.origin]++
    if (savings === LedgerEntry.noSavings) return
    for (const strategy of LedgerEntry.strategies) this.savings[strategy] += savings[strategy]
  }

  private count(usage: Usage.Usage): void {
    if (Usage.hasRare(usage)) this.usage = Usage.add(this.usage, usage)
    else for (const tokenClass of Usage.classes) this.usage[tokenClass] += usage[tokenClass]
  }

  /** Adds what was recorded before. */
  restore(sums: LedgerEntry.LedgerTotals): void {
    this.attempts += sums.attempts
    this.failedAttempts += sums.failedAttempts
    this.failedSpent += sums.failedSpent
    this.reaskSpent += sums.reaskSpent
    this.unpriced += sums.unpriced
    this.estimated += sums.estimated
    this.spent += sums.spent
    this.estimatedSpent += sums.estimatedSpent
    this.fees += sums.fees
    this.count(sums.usage)
    for (const origin of ModelResponse.origins) this.answers[origin] += sums.answers[origin]
    for (const strategy of LedgerEntry.strategies) this.savings[strategy] += sums.savings[strategy]
  }

  snapshot(): LedgerEntry.LedgerTotals {
    return { ...this, usage: { ...this.usage }, answers: { ...this.answers }, savings: { ...this.savings } }
  }
}

/** The running totals of a run. */
export interface RunTotals {
  readonly record: (entry: LedgerEntry.LedgerEntry) => void
  /** Adds what earlier attempts of the run recorded. */
  readonly restore: (line: LedgerEntry.LedgerLine) => void
  /** Forgets everything: it is read again from the store. */
  readonly clear: () => void
  /** By step and model, in the order of their first entries. */
  readonly lines: () => ReadonlyArray<LedgerEntry.LedgerLine>
  readonly total: () => LedgerEntry.LedgerTotals
}

type Line = Pick<LedgerEntry.LedgerLine, "step" | "provider" | "model" | "serviceTier"> & { readonly sums: Running }

export const make = (): RunTotals => {
  const lines = new Map<string, Line>()
  let total = new Running()
  /** The line of the last entry: it is often that of the next one. */
  let last: Line | undefined
  const lineOf = (step: string, provider: string, model: string, serviceTier: string | undefined): Running => {
    if (
      last === undefined
      || last.step !== step
      || last.model !== model
      || last.provider !== provider
      || last.serviceTier !== serviceTier
    ) {
      const key = `${step}\n${provider}\n${model}\n${serviceTier ?? ""}`
      last = lines.get(key)
      if (last === undefined) lines.set(key, (last = { step, provider, model, serviceTier, sums: new Running() }))
    }
    return last.sums
  }
  return {
    record: (entry) => {
      lineOf(entry.caller.step, entry.provider, entry.model, entry.serviceTier).add(entry)
      total.add(entry)
    },
    clear: () => {
      lines.clear()
      last = undefined
      total = new Running()
    },
    restore: (line) => {
      lineOf(line.step, line.provider, line.model, line.serviceTier).restore(line)
      total.restore(line)
    },
    lines: () => Array.from(lines.values(), ({ sums, ...line }) => ({ ...sums.snapshot(), ...line })),
    total: () => total.snapshot()
  }
}
