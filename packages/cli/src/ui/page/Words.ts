/** Figures in words. What is not known is said, and is never 0. */
import * as Format from "@pipe/core/internal/Format"
import * as Money from "@pipe/core/Money"
import * as CostText from "../../view/CostText.ts"

export const UNKNOWN = "unknown"

export const count = (value: number | null | undefined): string =>
  value === null || value === undefined ? UNKNOWN : Format.count(value)

const money = (usd: string | number): Money.Money => BigInt(Math.round(Number(usd) * 1e12))

/** USD, as the command rounds them. */
export const usd = (value: string | number | null | undefined): string =>
  value === null || value === undefined ? UNKNOWN : Money.format(money(value))

/** An amount that is a bound, or unknown, where calls have no price or no bill. */
export interface Cost {
  readonly cost: string | null
  readonly estimatedCost: string
  readonly attempts: number
  readonly unpriced: number
}

const exact = ({ attempts, cost, estimatedCost, unpriced }: Cost): CostText.Cost => ({
  cost: money(cost ?? 0),
  estimatedCost: money(estimatedCost),
  attempts,
  unpriced
})

export const cost = (spent: Cost): string => (spent.cost === null ? UNKNOWN : CostText.of(exact(spent)))

export const costs = (all: ReadonlyArray<Cost>): string => CostText.of(CostText.sum(all.map(exact)))

/** Why an amount is a bound; `undefined` for one that is exact. */
export const doubt = ({ estimatedCost, unpriced }: Pick<Cost, "estimatedCost" | "unpriced">): string | undefined => {
  const found = [
    ...(unpriced > 0 ? [`${Format.of(unpriced, "call has", "calls have")} no known price`] : []),
    ...(Number(estimatedCost) > 0 ? [`${usd(estimatedCost)} of it is an upper bound for calls without a bill`] : [])
  ]
  return found.length === 0 ? undefined : found.join("; ")
}

/** Picodollars, as rows have them. */
export const picodollars = (value: string | null): string => (value === null ? UNKNOWN : Money.format(BigInt(value)))

export const percent = (share: number | null | undefined): string =>
  share === null || share === undefined ? UNKNOWN : `${(Math.round(share * 1_000) / 10).toLocaleString("en-US")} %`

export const duration = (milliseconds: number | null | undefined): string =>
  milliseconds === null || milliseconds === undefined ? UNKNOWN : Format.duration(milliseconds)

const two = (value: number): string => String(value).padStart(2, "0")

/** The time of a day. */
const clock = (at: number): string => {
  const date = new Date(at)
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

/** Times of an axis: with their days where there are several. */
export const clocks = (times: ReadonlyArray<number>): ReadonlyArray<string> =>
  times.at(-1)! - times[0]! < 86_400_000 ? times.map(clock) : times.map((at) => time(at).slice(5, 16))

export const time = (at: number | null | undefined): string => {
  if (at === null || at === undefined || at === 0) return "–"
  const date = new Date(at)
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(at)}`
}

const states: { readonly [state: string]: string } = {
  running: "running",
  done: "done",
  failed: "failed",
  interrupted: "interrupted",
  budget: "budget reached",
  waiting: "waiting for batches",
  abandoned: "its process is gone"
}

export const state = (name: string): string => states[name] ?? name

export const shortened = (text: string, most = 160): string => {
  const line = text.replace(/\s+/g, " ").trim()
  return line.length <= most ? line : `${line.slice(0, most)}…`
}

/** A position without the folders of its file. */
export const place = (position: string): string => position.slice(position.lastIndexOf("/") + 1)
