/**
 * What a run has come to so far, added up as its ledger is read: by step and model, over time, and in the last minute. It
 * does not grow with the run.
 */
import * as Money from "@pipe/core/Money"
import * as Strategies from "../view/Strategies.ts"
import * as RowSet from "./RowSet.ts"

/** An attempt, as far as it is added up. */
export interface Attempt {
  readonly step: string
  readonly row: number
  readonly provider: string
  readonly model: string
  readonly serviceTier: string | null
  /** Milliseconds since 1970. */
  readonly at: number
  readonly milliseconds: number
  /** Billed tokens. */
  readonly tokens: number
  readonly cost: Money.Money | undefined
  /** Whether the cost is an upper bound: the call has no bill. */
  readonly isEstimate: boolean
  readonly error: string | null
}

/** An answer, as far as it is added up. */
export interface Answer {
  readonly step: string
  readonly row: number
  readonly model: string
  readonly at: number
  /** Whether it came from a cache, or from another row. */
  readonly isHit: boolean
  /** By strategy, in their order. */
  readonly saved: ReadonlyArray<Money.Money>
}

/** What a step and model have cost. */
export interface Spent {
  readonly step: string
  readonly provider: string
  readonly model: string
  readonly serviceTier: string | null
  readonly attempts: number
  readonly failedAttempts: number
  /** Attempts of unknown cost: `cost` is then a lower bound. */
  readonly unpriced: number
  /** Billed tokens. */
  readonly tokens: number
  readonly cost: Money.Money
  /** The part of `cost` that is an upper bound, for attempts without a bill. */
  readonly estimatedCost: Money.Money
}

/** What a step and model cost in an interval, and what was saved in it. */
export interface MoneyPoint {
  readonly at: number
  readonly step: string
  readonly model: string
  /** USD. */
  readonly cost: number
  readonly saved: number
}

/** The last minute of a run. */
export interface Recent {
  /** How much of a minute there was, in milliseconds. */
  readonly span: number
  readonly calls: number
  readonly failed: number
  readonly answered: number
  /** Calls that the provider refused for now. */
  readonly limited: number
  /** The mean time of a call. */
  readonly milliseconds: number | null
}

export interface Totals {
  readonly attempt: (attempt: Attempt) => void
  readonly answer: (answer: Answer) => void
  /** How many rows have a call or an answer. */
  readonly rows: () => number
  readonly answers: () => number
  /** Answers from caches and other rows. */
  readonly hits: () => number
  readonly spent: () => ReadonlyArray<Spent>
  readonly points: () => ReadonlyArray<MoneyPoint>
  readonly saved: () => ReadonlyArray<{ readonly name: string; readonly saved: number }>
  readonly savedInAll: () => Money.Money
  readonly recent: (now: number, startedAt: number) => Recent
}

/** The most intervals. With more, each becomes twice as long. */
const INTERVALS = 160

const MINUTE = 60_000

/** The seconds that are kept. */
const SECONDS = 600

/** A message about a limit: its status, or the words of providers. */
const LIMITED = /\b429\b|rate.?limit|too many requests/i

const usd = (money: Money.Money): number => Number(Money.toUsd(money))

interface Sum {
  attempts: number
  failed: number
  unpriced: number
  tokens: number
  cost: Money.Money
  estimated: Money.Money
}

interface Second {
  answered: number
  calls: number
  failed: number
  limited: number
  milliseconds: number
}

const nothing: Sum = { attempts: 0, failed: 0, unpriced: 0, tokens: 0, cost: Money.zero, estimated: Money.zero }

/** Money in intervals that become longer. */
const timeline = () => {
  let width = 1_000
  let points = new Map<string, { readonly at: number; readonly key: string; cost: Money.Money; saved: Money.Money }>()
  const times = new Set<number>()
  const add = (at: number, key: string, cost: Money.Money, saved: Money.Money): void => {
    const start = Math.floor(at / width) * width
    const name = `${start}\n${key}`
    const own = points.get(name)
    if (own !== undefined) {
      own.cost += cost
      own.saved += saved
      return
    }
    times.add(start)
    points.set(name, { at: start, key, cost, saved })
    if (times.size > INTERVALS) widen()
  }
  const widen = (): void => {
    width *= 2
    const before = points
    points = new Map()
    times.clear()
    for (const { at, cost, key, saved } of before.values()) add(at, key, cost, saved)
  }
  return { add, all: () => [...points.values()].toSorted((a, b) => a.at - b.at) }
}

/** The calls and answers of the last seconds. */
const lastSeconds = () => {
  const seconds = new Map<number, Second>()
  let newest = 0
  const of = (at: number): Second => {
    const second = Math.floor(at / 1_000)
    let own = seconds.get(second)
    if (own === undefined) {
      own = { answered: 0, calls: 0, failed: 0, limited: 0, milliseconds: 0 }
      // Answers are read after attempts, so older seconds may come after newer ones.
      if (second > newest - SECONDS) seconds.set(second, own)
      if (second > newest) {
        newest = second
        for (const old of seconds.keys()) if (old <= newest - SECONDS) seconds.delete(old)
      }
    }
    return own
  }
  const recent = (now: number, startedAt: number): Recent => {
    const all = { answered: 0, calls: 0, failed: 0, limited: 0, milliseconds: 0 }
    for (const [second, one] of seconds) {
      if (second * 1_000 < now - MINUTE || second * 1_000 > now) continue
      all.answered += one.answered
      all.calls += one.calls
      all.failed += one.failed
      all.limited += one.limited
      all.milliseconds += one.milliseconds
    }
    const { milliseconds, ...counts } = all
    return {
      ...counts,
      span: Math.max(1, Math.min(MINUTE, now - startedAt)),
      milliseconds: all.calls === 0 ? null : milliseconds / all.calls
    }
  }
  return { of, recent }
}

export const make = (): Totals => {
  const sums = new Map<string, Sum>()
  const saved = Strategies.all.map(() => Money.zero)
  const seconds = lastSeconds()
  const time = timeline()
  const rows = RowSet.make()
  let answers = 0
  let hits = 0
  return {
    attempt: ({ at, cost, error, isEstimate, milliseconds, model, provider, row, serviceTier, step, tokens }) => {
      const key = JSON.stringify([step, provider, model, serviceTier])
      let own = sums.get(key)
      if (own === undefined) sums.set(key, (own = { ...nothing }))
      rows.add(row)
      own.attempts++
      if (error !== null) own.failed++
      if (cost === undefined) own.unpriced++
      own.tokens += tokens
      own.cost += cost ?? Money.zero
      if (isEstimate) own.estimated += cost ?? Money.zero
      time.add(at, JSON.stringify([step, model]), cost ?? Money.zero, Money.zero)
      const now = seconds.of(at)
      now.calls++
      now.milliseconds += milliseconds
      if (error !== null) now.failed++
      if (error !== null && LIMITED.test(error)) now.limited++
    },
    answer: ({ at, isHit, model, row, saved: own, step }) => {
      answers++
      rows.add(row)
      if (isHit) hits++
      seconds.of(at).answered++
      let sum = Money.zero
      for (const [index, amount] of own.entries()) {
        saved[index] = saved[index]! + amount
        sum += amount
      }
      time.add(at, JSON.stringify([step, model]), Money.zero, sum)
    },
    answers: () => answers,
    rows: rows.size,
    hits: () => hits,
    spent: () =>
      [...sums].map(([key, { attempts, cost, estimated, failed, tokens, unpriced }]) => {
        const [step, provider, model, serviceTier] = JSON.parse(key) as [string, string, string, string | null]
        return {
          step,
          provider,
          model,
          serviceTier,
          attempts,
          failedAttempts: failed,
          unpriced,
          tokens,
          cost,
          estimatedCost: estimated
        }
      }),
    points: () =>
      time.all().map(({ at, cost, key, saved }) => {
        const [step, model] = JSON.parse(key) as [string, string]
        return { at, step, model, cost: usd(cost), saved: usd(saved) }
      }),
    saved: () => Strategies.all.map(({ name }, index) => ({ name, saved: usd(saved[index]!) })),
    savedInAll: () => Money.sum(saved),
    recent: seconds.recent
  }
}
