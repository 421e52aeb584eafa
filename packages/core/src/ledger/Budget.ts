/**
 * A cap on what is spent: in money, in tokens, for a run, a step or a model.
 *
 * **Details** Before every physical attempt (a retry, a re-ask and a fallback are attempts too) the most that it can cost is
 * reserved: its input by bytes, its output by the limit that is sent (see `Charge`). When it has ended the reservation is
 * replaced by what the provider has counted; a call that is cut, or fails in a way that may be billed, is charged with all
 * that was held. What does not fit waits while other calls may give back; when none is left, the call is refused, and a
 * run stops, to be resumed.
 *
 * A request without an output limit gets one. An answer that this limit has cut is no result: it is paid, and requested again
 * with a larger limit, or refused where none fits. A model of unknown price, and input that no rule bounds, are refused, since
 * no cap could hold.
 *
 * The first call to a model goes alone: a provider may answer with a dearer model than the one that was requested, and what it
 * charges is known only then. Later calls are held at the dearest so far.
 *
 * **Example** (half a dollar for everything, and a tenth for one model)
 *
 * ```ts
 * import { Budget } from "@pipe/core"
 *
 * export const budget = Budget.layer({ usd: "0.5", models: { "gpt-4o": { usd: "0.1" } } })
 * ```
 *
 * A flow has the same as an option (`budget`), a step too, and the command line has `--budget 5usd`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Attempt from "../client/Attempt.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as Money from "../price/Money.ts"
import * as Pricing from "../price/Pricing.ts"
import * as BudgetAccount from "./BudgetAccount.ts"
import * as BudgetGuard from "./BudgetGuard.ts"

export { BudgetError, type BudgetLimits, type Options } from "./BudgetAccount.ts"

export interface Budget {
  readonly guard: Attempt.Guard
  /** Holds an amount of the limit for everything, and gives back what lets it go. */
  readonly hold: (held: Attempt.Held) => () => void
  /** Charges what was spent elsewhere: a call that no guard has let through, the earlier tries of a run. The model is the one requested. */
  readonly spend: (step: string, model: string, money: Money.Money, tokens: number) => void
  /** Money that is left of the limit for everything; `undefined` where there is none. */
  readonly left: () => Money.Money | undefined
}

/** Reads `5usd`, `$5`, `0.5 usd`, `200000tokens`, `2Mtokens`, `500k tokens`. */
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

/** A budget that calls share. Throws a `BudgetError` for amounts that are none. */
export const make = (options: BudgetAccount.Options, pricing: Pricing.Service): Budget => {
  const accounts = BudgetAccount.all(options)
  const state = BudgetGuard.makeState(pricing, accounts)
  const all = accounts.find((account) => account.isForAll)
  return {
    guard: BudgetGuard.make(state),
    hold: (held) => {
      if (all === undefined) return () => {}
      BudgetAccount.hold([all], held)
      return () => {
        BudgetAccount.release([all], held)
        BudgetGuard.wake(state)
      }
    },
    spend: (step, model, money, tokens) => BudgetGuard.spend(state, step, model, money, tokens),
    left: () => (all?.money === undefined ? undefined : all.money - all.spentMoney)
  }
}

/** Adds a guard to the one that stands above. */
export const withGuard =
  (guard: Attempt.Guard) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.updateService(self, Attempt.Guard, (above) =>
      above === undefined
        ? guard
        : (call) =>
            Effect.flatMap(above(call), (outer) =>
              Effect.onError(
                Effect.map(guard({ ...call, request: outer.request, limited: outer.limited }), (inner) => ({
                  request: inner.request,
                  limited: inner.limited || outer.limited,
                  held: {
                    money: inner.held.money > outer.held.money ? inner.held.money : outer.held.money,
                    tokens: Math.max(inner.held.tokens, outer.held.tokens)
                  },
                  end: (ended: Attempt.AttemptEnd) => {
                    inner.end(ended)
                    outer.end(ended)
                  }
                })),
                () => Effect.sync(() => outer.end({ billed: "no" }))
              )
            )
    )

/** What earlier runs have taught of answers is known before the first call. */
const seed = Effect.flatMap(ExpectedUsage.ExpectedUsage, ({ seeded }) => seeded)

/** Keeps everything below under the limits; each layer counts for itself, from the start of its scope. */
export const layer = (
  options: BudgetAccount.Options
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Pricing.Pricing> =>
  ModelClient.middlewareEffect(
    (next) =>
      Effect.map(Effect.tap(Pricing.Pricing, seed), (pricing): ModelClient.Send => {
        const { guard } = make(options, pricing)
        return (request) => withGuard(guard)(next.send(request))
      }),
    { name: "Budget" }
  )
