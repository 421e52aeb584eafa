/**
 * Whether a call fits under the limits of a budget, with which output limit, and what has to be held for it.
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

/** Output that a request without a limit gets at most, before the model has shown that it takes more. */
const MOST_OUTPUT = 4_096

/** A request without a limit takes such a share of what is left, where that is more than an answer usually needs. */
const SHARE = 64

/** What the answers of a step and model have taught. */
export interface LearnedOutput {
  /** The most output of an answer, or the limit that cut one. */
  output: number
}

/** What is known of a model from its answers. */
export interface Scouted {
  /** Whether it has answered. */
  answered: boolean
  /** Its first call, while that is under way. */
  alone: boolean
  /** The largest output limit that it takes; `undefined`: it has refused none. */
  ceiling?: number
  /** What of its answers has no known price. */
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
  /** Its input at most. */
  readonly input: number
  readonly known: LearnedOutput
  /** Output that is expected of it, at its high end. */
  readonly usual: number
  readonly scout: Scouted
}

export type BudgetFit<R extends ModelRequest.ModelRequest> =
  | { readonly request: R; readonly hold: Attempt.Held; readonly limited: boolean }
  | { readonly blocked: BudgetAccount.BudgetAccount }

/** Whether a request fits under all caps, with which output limit, and what has to be held for it. */
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
    // An answer that is cut at the largest limit that the model takes is as long as they come.
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
  /** The last of what is left, where an answer of the usual length fits into it. */
  const rest = isAlone && affordable >= Math.max(1, known.output) ? withLimit(affordable) : { blocked: tightest }
  if (set !== undefined && call.limited !== true) {
    return set <= affordable ? { request, hold: holdOf(set), limited: false } : rest
  }
  const usual = known.output === 0 ? claimed : known.output * 2 + 64
  const limit = Math.min(
    Math.max(MOST_OUTPUT, known.output * 4),
    Math.max(usual, Math.floor(affordable / SHARE)),
    // The limit of another guard may be lowered.
    set ?? ceiling,
    ceiling
  )
  return limit <= affordable ? withLimit(limit) : rest
}

/** Output tokens that fit under all caps beside the input, and the cap that says so. */
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
