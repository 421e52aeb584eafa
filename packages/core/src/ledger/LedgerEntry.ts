/**
 * The books as plain data: an entry for each physical attempt at a provider, and one for each answer to a step. The
 * `Ledger` layer writes them, the store keeps them, reports add them up.
 *
 * @internal
 */
import type * as Caller from "../client/Caller.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import type * as Usage from "../model/Usage.ts"
import * as Money from "../price/Money.ts"

/** One physical attempt. */
export interface AttemptEntry {
  readonly _tag: "Attempt"
  readonly caller: Caller.Caller
  /** Milliseconds since 1970. */
  readonly at: number
  readonly milliseconds: number
  readonly provider: string
  /** The model that answered, or that was asked where none did. */
  readonly model: string
  /** The model that was requested, where another answered. */
  readonly requested?: string
  readonly usage?: Usage.Usage
  /** Picodollars; `undefined`: not known. */
  readonly cost: Money.Money | undefined
  /** Why `cost` is not known. */
  readonly unknown?: "price" | "usage"
  /** What of `cost` is charged beside tokens: for the request, and for searches of the web. */
  readonly fees?: Money.Money
  /** What contradicts `cost`, in words: the provider's own figure. */
  readonly doubt?: string
  /** The provider has not said what the call used: usage and cost are the most that it can have used. */
  readonly estimated?: true
  /** It was sent again, with what was wrong with the answer before. */
  readonly reask?: true
  readonly error?: string
  /** `undefined`: the ordinary one. */
  readonly serviceTier?: string
  /** Number of the call in its run, where it was noted before it was sent. */
  readonly call?: number
}

/** One answer to a step, from wherever it came. */
export interface AnswerEntry {
  readonly _tag: "Answer"
  readonly caller: Caller.Caller
  readonly request: ModelRequest.ModelRequest["_tag"]
  readonly at: number
  readonly milliseconds: number
  readonly origin: ModelResponse.Origin
  readonly provider: string
  readonly model: string
  readonly baselineModel?: string
  readonly usage?: Usage.Usage
  /** Of an answer that was paid for this step; `undefined`: the ordinary one. */
  readonly serviceTier?: string
  readonly attempts: number
  /** What the answer would have cost without cache, routing and discounts; `undefined`: not known. */
  readonly baseline: Money.Money | undefined
  readonly savings: Savings
}

/** The strategies whose savings are booked. */
export const strategies = ["cache", "semanticCache", "pack", "router", "promptCache", "serviceTier"] as const

/** What each strategy saved of the baseline. */
export type Savings = { readonly [S in (typeof strategies)[number]]: Money.Money }

/** Savings from what each strategy saved. */
export const savings = (of: (strategy: keyof Savings) => Money.Money): Savings =>
  Object.fromEntries(strategies.map((strategy) => [strategy, of(strategy)])) as Savings

export const noSavings: Savings = savings(() => Money.zero)

export type LedgerEntry = AttemptEntry | AnswerEntry

/** The sums of one step and model, or of all. */
export interface LedgerTotals {
  /** Physical attempts at the provider. */
  readonly attempts: number
  readonly failedAttempts: number
  /** What of `spent` went to attempts that failed. */
  readonly failedSpent: Money.Money
  /** What of `spent` went to requests that were sent again, since the answer did not fit. */
  readonly reaskSpent: Money.Money
  /** Attempts whose cost is not known; what they cost is not in `spent`. */
  readonly unpriced: number
  /** Attempts of which the provider has not said what they used: their cost is the most that they can have cost. */
  readonly estimated: number
  /** What of `spent` is such a bound. */
  readonly estimatedSpent: Money.Money
  /** Tokens of all attempts of which the provider reported them. */
  readonly usage: Usage.Usage
  readonly spent: Money.Money
  /** What of `spent` is charged beside tokens. */
  readonly fees: Money.Money
  /** Answers by where they came from. */
  readonly answers: { readonly [O in ModelResponse.Origin]: number }
  readonly savings: Savings
}

/** The sums of one step, one model and one class of service. */
export interface LedgerLine extends LedgerTotals {
  readonly step: string
  readonly provider: string
  readonly model: string
  /** `undefined`: the ordinary one. */
  readonly serviceTier: string | undefined
}
