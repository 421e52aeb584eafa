/**
 * The entries of the ledger as plain data: one per physical attempt at a provider, and one per answer to a step. The
 * `Ledger` layer writes them, the store keeps them, and reports add them up.
 *
 * @internal
 */
import type * as CallContext from "../client/CallContext.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import type * as Usage from "../model/Usage.ts"
import * as Money from "../price/Money.ts"

/** One physical attempt. */
export interface AttemptEntry {
  readonly _tag: "Attempt"
  readonly caller: CallContext.Caller
  /** Milliseconds since 1970. */
  readonly at: number
  readonly milliseconds: number
  readonly provider: string
  /** The model that answered, or the requested one when none did. */
  readonly model: string
  /** The requested model, when another one answered. */
  readonly requested?: string
  readonly usage?: Usage.Usage
  /** Picodollars; `undefined` when not known. */
  readonly cost: Money.Money | undefined
  /** Why `cost` is not known. */
  readonly unknown?: "price" | "usage"
  /** The part of `cost` charged in addition to tokens: per request, and for web searches. */
  readonly fees?: Money.Money
  /** Describes what contradicts `cost`: the provider's own figure. */
  readonly doubt?: string
  /** Set when the provider did not report usage: usage and cost are the most that the call can have used. */
  readonly estimated?: true
  /** Set on a re-ask: the request was sent again with what was wrong with the previous answer. */
  readonly reask?: true
  readonly error?: string
  /** `undefined` for the standard one. */
  readonly serviceTier?: string
  /** The number of the call in its run, when it was noted before it was sent. */
  readonly call?: number
}

/** An answer to a step, whatever its origin. */
export interface AnswerEntry {
  readonly _tag: "Answer"
  readonly caller: CallContext.Caller
  readonly request: ModelRequest.ModelRequest["_tag"]
  readonly at: number
  readonly milliseconds: number
  readonly origin: ModelResponse.Origin
  readonly provider: string
  readonly model: string
  readonly baselineModel?: string
  readonly usage?: Usage.Usage
  /** The tier of an answer that was paid for this step; `undefined` for the standard one. */
  readonly serviceTier?: string
  readonly attempts: number
  /** What the answer would have cost without cache, routing and discounts; `undefined` when not known. */
  readonly baseline: Money.Money | undefined
  readonly savings: Savings
}

/** The strategies whose savings are recorded. */
export const strategies = ["cache", "semanticCache", "pack", "router", "promptCache", "serviceTier", "asides"] as const

/**
 * What each strategy saved of the baseline. `asides`, never positive, is what the calls of layers' own cost
 * (`ModelClient.aside`), such as those of judges: the baseline has none of them.
 */
export type Savings = { readonly [S in (typeof strategies)[number]]: Money.Money }

/** Makes savings from a function by strategy. */
export const savings = (of: (strategy: keyof Savings) => Money.Money): Savings =>
  Object.fromEntries(strategies.map((strategy) => [strategy, of(strategy)])) as Savings

export const noSavings: Savings = savings(() => Money.zero)

export type LedgerEntry = AttemptEntry | AnswerEntry

/** Totals of one step and model, or of everything. */
export interface LedgerTotals {
  /** Physical attempts at the provider. */
  readonly attempts: number
  readonly failedAttempts: number
  /** The part of `spent` on failed attempts. */
  readonly failedSpent: Money.Money
  /** The part of `spent` on re-asks after an invalid answer. */
  readonly reaskSpent: Money.Money
  /** Attempts of unknown cost, which are not in `spent`. */
  readonly unpriced: number
  /** Attempts without reported usage, which count at their maximum possible cost. */
  readonly estimated: number
  /** The part of `spent` that is such a bound. */
  readonly estimatedSpent: Money.Money
  /** The tokens of all attempts with reported usage. */
  readonly usage: Usage.Usage
  readonly spent: Money.Money
  /** The part of `spent` charged in addition to tokens. */
  readonly fees: Money.Money
  /** Answers by origin. */
  readonly answers: { readonly [O in ModelResponse.Origin]: number }
  readonly savings: Savings
}

/** Totals of one step, model and service tier. */
export interface LedgerLine extends LedgerTotals {
  readonly step: string
  readonly provider: string
  readonly model: string
  /** `undefined` for the standard one. */
  readonly serviceTier: string | undefined
}
