/**
 * Decides whether a call fits within a budget, with which output limit, and how much to reserve for it.
 *
 * @internal
 */
import type * as Attempt from "../client/Attempt.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as Charge from "../price/Charge.ts"
import * as Money from "../price/Money.ts"
import type * as Price from "../price/Price.ts"
import type * as Pricing from "../price/Pricing.ts"
import type * as BudgetAccount from "./BudgetAccount.ts"

/** The largest output limit given to a request without one, until the model has shown that it accepts more. */
const MOST_OUTPUT = 4_096

/**
 * A request without a limit may use this fraction (1/n) of what is left, when that exceeds what an answer usually
 * needs.
 */
const SHARE = 64

/** What is learned from the answers of a step and model. */
export interface LearnedOutput {
  /** The longest output of an answer, or the limit that truncated one. */
  output: number
}

/** What is known of a model from its answers. */
export interface Scouted {
  /** Whether it has answered. */
  answered: boolean
  /** Whether its first call is in flight. */
  alone: boolean
  /** The largest output limit it accepts; `undefined` when it has refused none. */
  ceiling?: number
  /** What in its answers has no known price. */
  unpriced?: string
}

/** A call that asks for its share of the accounts. */
export interface Claim<R extends ModelRequest.ModelRequest> {
  readonly call: Attempt.AttemptCall & { readonly request: R }
  readonly step: string
  readonly model: string
  readonly own: ReadonlyArray<BudgetAccount.BudgetAccount>
  readonly pricing: Pricing.Service
  readonly price: Price.Price | undefined
  /** The most input tokens it can have. */
  readonly input: number
  readonly known: LearnedOutput
  /** The expected output tokens, at the high end. */
  readonly usual: number
  readonly scout: Scouted
}

export type BudgetFit<R extends ModelRequest.ModelRequest> =
  | { readonly request: R; readonly hold: Attempt.Held; readonly limited: boolean }
  | { readonly blocked: BudgetAccount.BudgetAccount }

/** Room for an answer that is longer than usual. */
const AMPLE = 256

/** What a call should have room for, when more can be had. */
export const wanted = <R extends ModelRequest.ModelRequest>(claim: Claim<R>): Attempt.Held => {
  const { call, input, known, price, pricing, scout, usual } = claim
  const rates = Charge.ratesOf(pricing, call, price, input)
  const most = Math.min(scout.ceiling ?? Number.POSITIVE_INFINITY, call.room ?? Number.POSITIVE_INFINITY)
  const output =
    call.request._tag === "Embedding"
      ? 0
      : (call.request.settings.maxTokens ?? Math.ceil(Math.min(most, Math.max(AMPLE, usual, known.output) * 2)))
  return {
    money:
      rates === undefined
        ? Money.zero
        : rates.fees + Money.times(rates.input, input) + Money.times(rates.output, output),
    tokens: input + output
  }
}

/** Decides whether a request fits under all caps, with which output limit, and how much to reserve. */
export const fit = <R extends ModelRequest.ModelRequest>({
  call,
  input,
  known,
  own,
  price,
  pricing,
  scout,
  usual: claimed
}: Claim<R>): BudgetFit<R> => {
  const { request } = call
  const rates = Charge.ratesOf(pricing, call, price, input)
  const base = rates === undefined ? Money.zero : rates.fees + Money.times(rates.input, input)
  const holdOf = (output: number): Attempt.Held => ({
    money: rates === undefined ? Money.zero : base + Money.times(rates.output, output),
    tokens: input + output
  })
  const { affordable, tightest } = roomIn(own, base, rates?.output, input)
  const ceiling = Math.min(scout.ceiling ?? Number.POSITIVE_INFINITY, call.room ?? Number.POSITIVE_INFINITY)
  const withLimit = (limit: number): BudgetFit<R> => ({
    request: { ...request, settings: { ...(request as ModelRequest.Completion).settings, maxTokens: limit } } as R,
    hold: holdOf(limit),
    // An answer that is truncated at the largest limit the model accepts is as long as answers get.
    limited: limit < ceiling
  })
  if (request._tag === "Embedding") {
    return tightest === undefined || affordable >= 0
      ? { request, hold: holdOf(0), limited: false }
      : { blocked: tightest }
  }
  const set = request.settings.maxTokens
  if (tightest === undefined) return { request, hold: holdOf(set ?? 0), limited: false }
  const isAlone = tightest.reservedMoney === Money.zero && tightest.reservedTokens === 0
  /** The last of what is left, when an answer of the usual length fits in it. */
  const rest = isAlone && affordable >= Math.max(1, known.output) ? withLimit(affordable) : { blocked: tightest }
  if (set !== undefined && call.limited !== true) {
    return set <= affordable ? { request, hold: holdOf(set), limited: false } : rest
  }
  const usual = known.output === 0 ? claimed : known.output * 2 + 64
  const limit = Math.min(
    Math.max(MOST_OUTPUT, known.output * 4),
    Math.max(usual, Math.floor(affordable / SHARE)),
    // The limit set by another guard may be lowered.
    set ?? ceiling,
    ceiling
  )
  return limit <= affordable ? withLimit(limit) : rest
}

/** The output tokens that fit under all caps besides the input, and the cap that decides it. */
const roomIn = (
  own: ReadonlyArray<BudgetAccount.BudgetAccount>,
  base: Money.Money,
  rate: Money.Money | undefined,
  input: number
): { readonly affordable: number; readonly tightest: BudgetAccount.BudgetAccount | undefined } => {
  let affordable = Number.POSITIVE_INFINITY
  let tightest: BudgetAccount.BudgetAccount | undefined
  for (const account of own) {
    const money =
      account.money === undefined || rate === undefined
        ? undefined
        : account.money - account.spentMoney - account.reservedMoney - base
    const byMoney =
      money === undefined
        ? Number.POSITIVE_INFINITY
        : money < Money.zero
          ? -1
          : rate === Money.zero
            ? Number.MAX_SAFE_INTEGER
            : Number(money / rate!)
    const byTokens =
      account.tokens === undefined
        ? Number.POSITIVE_INFINITY
        : account.tokens - account.spentTokens - account.reservedTokens - input
    const least = Math.min(byMoney, byTokens)
    if (least < affordable) {
      affordable = least
      tightest = account
    }
  }
  return { affordable, tightest }
}
