/**
 * Caps spending, in money or tokens, for a run, a step or a model.
 *
 * **Details** Before every physical attempt (retries, re-asks and fallbacks included) the most that it can cost is
 * reserved: its input by bytes, its output by the limit that is sent (see `Charge`). When the attempt ends, the
 * reservation is replaced by the provider's usage. A call that is cut, or fails in a way that may be billed, is charged
 * with the whole reservation. A call that does not fit waits while calls in flight may still free money; when none is
 * left, it is refused and the run stops, to be resumed.
 *
 * A request without an output limit gets one. An answer truncated by that limit is paid for and requested again with a
 * larger limit, or refused when none fits. A model without a known price, and input that no rule bounds, are refused,
 * because no cap could hold.
 *
 * The first call to a model is sent alone: a provider may answer with a more expensive model than requested, and only
 * the answer shows what it charges. Later calls are reserved at the highest price so far.
 *
 * **Example** (half a dollar in total, and ten cents for one model)
 *
 * ```ts
 * import { Budget } from "@pipe/core"
 *
 * export const budget = Budget.layer({ usd: "0.5", models: { "gpt-4o": { usd: "0.1" } } })
 * ```
 *
 * A flow and a step accept the same limits as an option (`budget`), and the command line has `--budget 5usd`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Attempt from "../client/Attempt.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as RunHooks from "../client/RunHooks.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as Money from "../price/Money.ts"
import * as Pricing from "../price/Pricing.ts"
import * as BudgetAccount from "./BudgetAccount.ts"
import * as BudgetGuard from "./BudgetGuard.ts"

export { BudgetError, type BudgetLimits, type Options } from "./BudgetAccount.ts"

/** The limits that calls share, and what is left of them. */
export interface Budget {
  /** Keeps attempts within the limits. */
  readonly hook: Attempt.AttemptHook
  /** Reserves an amount of the total, and returns what releases it. */
  readonly hold: (held: Attempt.Held) => () => void
  /**
   * Charges what was spent elsewhere: a call that the hook has not admitted, or the earlier attempts of a run. The model is
   * the requested one.
   */
  readonly spend: (step: string, model: string, money: Money.Money, tokens: number) => void
  /** The money left of the total; `undefined` without a limit. */
  readonly left: () => Money.Money | undefined
  /** Takes from each limit what is neither spent nor reserved, to give it back to other processes. */
  readonly release: () => ReadonlyArray<BudgetAccount.Rest>
  /** Whether a limit only warns. */
  readonly warns: boolean
  /** Describes, once, each limit that is spent and only warns. */
  readonly warnings: () => ReadonlyArray<string>
  /** Whether no call is in flight, and none was admitted since the last call. */
  readonly isIdle: () => boolean
  /** What is left of each limit that stops a run. */
  readonly rest: () => ReadonlyArray<BudgetAccount.Rest>
}

/** Parses `5usd`, `$5`, `0.5 usd`, `200000tokens`, `2Mtokens`, `500k tokens`. */
export const parse = (text: string): BudgetAccount.BudgetLimits | undefined => {
  const tokens = /^\s*(\d+(?:\.\d+)?)\s*([km])?\s*tokens?\s*$/i.exec(text)
  if (tokens !== null) {
    const scale = tokens[2] === undefined ? 1 : tokens[2].toLowerCase() === "k" ? 1e3 : 1e6
    return { tokens: Math.floor(Number(tokens[1]) * scale) }
  }
  const usd = Money.fromUsd(text.replace(/\s+(?=usd)/i, ""))
  return Option.isSome(usd) && usd.value > Money.zero && /[$]|usd/i.test(text)
    ? { usd: Money.toUsd(usd.value) }
    : undefined
}

/** Makes a budget that calls share. Throws a `BudgetError` for invalid amounts. */
export const make = (
  options: BudgetAccount.Options,
  pricing: Pricing.Service,
  grants?: BudgetAccount.Grants
): Budget => {
  const all = BudgetAccount.all(options)
  const accounts = grants === undefined ? all : BudgetAccount.empty(all)
  const state = BudgetGuard.makeState(pricing, accounts, grants)
  const total = accounts.find((account) => account.isForAll)
  return {
    hook: BudgetGuard.make(state),
    hold: (held) => {
      if (total === undefined) return () => {}
      BudgetAccount.hold([total], held)
      return () => {
        BudgetAccount.release([total], held)
        BudgetGuard.wake(state)
      }
    },
    spend: (step, model, money, tokens) => BudgetGuard.spend(state, step, model, money, tokens),
    left: () => (total?.money === undefined ? undefined : total.money - total.spentMoney),
    release: () =>
      accounts.flatMap((account) => (account.whole === undefined ? [] : [BudgetAccount.takeRest(account)])),
    warns: accounts.some((account) => account.warns),
    warnings: () => BudgetGuard.exceeded(accounts),
    isIdle: () => BudgetGuard.isIdle(state),
    rest: () => accounts.flatMap((account) => (account.warns ? [] : [BudgetAccount.restOf(account)]))
  }
}

/** Loads the lengths of earlier answers before the first call. */
const seed = Effect.flatMap(ExpectedUsage.ExpectedUsage, ({ seeded }) => seeded)

/** Keeps the calls below within the limits. Each layer counts separately, from the start of its scope. */
export const layer = (
  options: BudgetAccount.Options
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Pricing.Pricing> =>
  ModelClient.middlewareEffect(
    (next) =>
      Effect.map(Effect.tap(Pricing.Pricing, seed), (pricing): ModelClient.Send => {
        const { hook } = make(options, pricing)
        return (request) => RunHooks.withAttempts(hook)(next.send(request))
      }),
    { name: "Budget", answers: false }
  )
