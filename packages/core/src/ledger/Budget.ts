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
import * as AiError from "effect/ai/AiError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Caller from "../client/Caller.ts"
import * as Attempt from "../client/Attempt.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"
import * as Charge from "../price/Charge.ts"
import * as ModelName from "../price/ModelName.ts"
import * as Money from "../price/Money.ts"
import * as Price from "../price/Price.ts"
import * as Pricing from "../price/Pricing.ts"
import * as BudgetFit from "./BudgetFit.ts"

/** How much may be spent, and what happens when it is. */
export interface Limits {
  /** USD, as a number or as exact decimal text. */
  readonly usd?: number | string
  /** Input and output together. */
  readonly tokens?: number
  /** `stop` (the default): a cap; `warn`: one warning, and it goes on. */
  readonly onExceeded?: "stop" | "warn"
}

/** Limits for everything, and for single steps and models (by name, dated versions included). */
export interface Options extends Limits {
  readonly steps?: { readonly [step: string]: Limits }
  readonly models?: { readonly [model: string]: Limits }
}

/** Invalid budget configuration. */
export class BudgetError extends Schema.TaggedError<BudgetError>()("BudgetError", {
  message: Schema.String
}) {}

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
export const parse = (text: string): Limits | undefined => {
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

const toAccount = (
  name: string,
  limits: Limits,
  applies: BudgetFit.Account["applies"] | undefined
): BudgetFit.Account | undefined => {
  if (limits.usd === undefined && limits.tokens === undefined) return undefined
  const money = limits.usd === undefined ? undefined : Option.getOrUndefined(Money.fromUsd(String(limits.usd)))
  if (
    (limits.usd !== undefined && (money === undefined || money < Money.zero))
    || (limits.tokens !== undefined && !(limits.tokens >= 0))
  ) {
    throw new BudgetError({
      message: `${name}: ${limits.usd ?? limits.tokens} is not an amount: write { usd: 5 }, { usd: "0.05" } or { tokens: 200000 }`
    })
  }
  return {
    name,
    isForAll: applies === undefined,
    applies: applies ?? (() => true),
    money,
    tokens: limits.tokens,
    warns: limits.onExceeded === "warn",
    spentMoney: Money.zero,
    spentTokens: 0,
    reservedMoney: Money.zero,
    reservedTokens: 0,
    warned: false
  }
}

/** A budget that calls share. Throws a `BudgetError` for amounts that are none. */
export const make = (options: Options, pricing: Pricing.Service): Budget => {
  const accounts = [
    toAccount("the budget", options, undefined),
    ...Object.entries(options.steps ?? {}).map(([name, limits]) =>
      toAccount(`the budget of step ${name}`, limits, (step) => step === name)
    ),
    ...Object.entries(options.models ?? {}).map(([name, limits]) =>
      toAccount(`the budget of model ${name}`, limits, (_, model) =>
        ModelName.isVersionOf(ModelName.withoutPrefix(model), ModelName.withoutPrefix(name))
      )
    )
  ].filter((account) => account !== undefined)
  const caps = (step: string, model: string) =>
    accounts.filter((account) => !account.warns && account.applies(step, model))
  const learned = new Map<string, BudgetFit.Learned>()
  const scouted = new Map<string, BudgetFit.Scouted>()
  let waiting: Array<Deferred.Deferred<void>> = []

  const wake = (): void => {
    const all = waiting
    waiting = []
    for (const one of all) Deferred.doneUnsafe(one, Effect.void)
  }

  const spend = (step: string, model: string, money: Money.Money, tokens: number): void => {
    for (const account of accounts) {
      if (!account.applies(step, model)) continue
      account.spentMoney += money
      account.spentTokens += tokens
    }
  }

  const release = (own: ReadonlyArray<BudgetFit.Account>, hold: Attempt.Held): void => {
    for (const account of own) {
      account.reservedMoney -= hold.money
      account.reservedTokens -= hold.tokens
    }
  }

  /** Replaces what was held by what was used, once. It holds on to nothing of the request, which may be long gone by then. */
  const settler = (held: Held): ((ended: Attempt.Ended) => void) => {
    let settled = false
    return (ended) => {
      if (settled) return
      settled = true
      const { hold, known, model, own, scout, step } = held
      let used = hold
      try {
        used = usedBy(ended, held, known, scout)
      } finally {
        if (held.isScout) scout.alone = false
        release(own, hold)
        spend(step, model, used.money, used.tokens)
        wake()
      }
    }
  }

  const admit = <R extends ModelRequest.ModelRequest>(
    claim: BudgetFit.Claim<R>
  ): Effect.Effect<Attempt.Admission<R>, AiError.AiError> => {
    const { known, model, own, price, scout, step } = claim
    const hasMoney = own.some((account) => account.money !== undefined)
    if (hasMoney && scout.unpriced !== undefined) {
      const words = `no price is known for ${scout.unpriced}, which ${claim.call.provider} answers ${model} with, so no budget in money can hold`
      return Effect.fail(refused(words, false))
    }
    // A model that has not answered yet may charge anything: its first call goes alone. A batch goes as a whole.
    const isScout = hasMoney && !scout.answered && claim.call.serviceTier !== "batch"
    const fitted = isScout && scout.alone ? ("wait" as const) : BudgetFit.fit(claim)
    const blocked = fitted === "wait" ? undefined : "blocked" in fitted ? fitted.blocked : undefined
    if (fitted === "wait" || blocked !== undefined) {
      if (blocked !== undefined && blocked.reservedMoney === Money.zero && blocked.reservedTokens === 0) {
        return Effect.fail(refused(`${blocked.name} ${standing(blocked)}: nothing more fits`, true))
      }
      const turn: Deferred.Deferred<void> = Deferred.makeUnsafe()
      waiting.push(turn)
      return Effect.flatMap(Effect.interruptible(Deferred.await(turn)), () => admit(claim))
    }
    const { hold, limited, request } = fitted as Exclude<typeof fitted, { readonly blocked: BudgetFit.Account }>
    if (isScout) scout.alone = true
    for (const account of own) {
      account.reservedMoney += hold.money
      account.reservedTokens += hold.tokens
    }
    return Effect.succeed({
      request,
      held: hold,
      limited,
      end: settler({ step, model, pricing, price, hold, known, own, scout, isScout, call: { ...claim.call, request } })
    })
  }

  const guard: Attempt.Guard = (call) =>
    Effect.withFiber((fiber) => {
      const { step } = fiber.getRef(Caller.Caller)
      const expected = fiber.getRef(ExpectedUsage.ExpectedUsage)
      const model = call.request.model ?? ""
      const own = caps(step, model)
      const price = Charge.priceOf(pricing, call)
      const input = Charge.inputOf(call.request, call.provider, price)
      const scout = remembered(scouted, `${call.provider}\n${model}`, (): BudgetFit.Scouted => ({
        answered: false,
        alone: false
      }))
      const problem = own.length === 0 ? undefined : unboundedBy(pricing, call, price, input, own)
      if (problem !== undefined) return Effect.fail(refused(problem, false))
      const claim: BudgetFit.Claim<typeof call.request> = {
        call,
        step,
        model,
        own,
        pricing,
        price,
        input: input.tokens,
        known: remembered(learned, `${step}\n${model}`, () => ({ output: expected.learned(step, model)?.most ?? 0 })),
        usual: Math.ceil(expected.of(step, call.request).high),
        scout
      }
      const exceeded = accounts.filter((account) => account.warns && !account.warned && isSpent(account))
      if (exceeded.length === 0) return admit(claim)
      for (const account of exceeded) account.warned = true
      return Effect.andThen(
        Effect.forEach(
          exceeded,
          (account) => Effect.logWarning(`${account.name} ${standing(account)}; it only warns, and the run goes on`),
          {
            discard: true
          }
        ),
        Effect.suspend(() => admit(claim))
      )
    })

  const all = accounts.find((account) => account.isForAll)
  return {
    guard,
    hold: (held) => {
      if (all === undefined) return () => {}
      all.reservedMoney += held.money
      all.reservedTokens += held.tokens
      return () => {
        release([all], held)
        wake()
      }
    },
    spend,
    left: () => (all?.money === undefined ? undefined : all.money - all.spentMoney)
  }
}

const remembered = <A>(map: Map<string, A>, key: string, make: () => A): A => {
  let known = map.get(key)
  if (known === undefined) map.set(key, (known = make()))
  return known
}

/** Why no cap can hold for a call; `undefined`: one can. */
const unboundedBy = (
  pricing: Pricing.Service,
  call: Attempt.Call,
  price: Price.Price | undefined,
  input: Charge.Input,
  own: ReadonlyArray<BudgetFit.Account>
): string | undefined => {
  const model = call.request.model ?? ""
  const hasMoney = own.some((account) => account.money !== undefined)
  if (hasMoney && price === undefined) {
    return `no price is known for ${call.provider} model ${model}, so no budget in money can hold. ${Pricing.advice(pricing, { at: call.startedAt, model, provider: call.provider })}`
  }
  if (input.unbounded !== undefined) {
    return `no budget can hold for ${model}: how many tokens ${input.unbounded} is, no rule says. Leave it out, or run without a budget`
  }
  const tier = Charge.serviceOf(call)
  return hasMoney && price !== undefined && !Price.hasService(price, tier)
    ? `no price is known for ${call.provider} model ${model} in service tier ${tier.serviceTier}, so no budget in money can hold`
    : undefined
}

const isSpent = (account: BudgetFit.Account): boolean =>
  (account.money !== undefined && account.spentMoney >= account.money)
  || (account.tokens !== undefined && account.spentTokens >= account.tokens)

const standing = (account: BudgetFit.Account): string =>
  [
    ...(account.money === undefined
      ? []
      : [`of ${Money.format(account.money)} is at ${Money.format(account.spentMoney)}`]),
    ...(account.tokens === undefined ? [] : [`of ${account.tokens} tokens is at ${account.spentTokens}`])
  ].join(" and ")

/** What is known of a call while the most that it can cost is held. */
interface Held {
  readonly step: string
  readonly model: string
  readonly call: Attempt.Call
  readonly pricing: Pricing.Service
  readonly price: Price.Price | undefined
  readonly hold: Attempt.Held
  readonly known: BudgetFit.Learned
  readonly own: ReadonlyArray<BudgetFit.Account>
  readonly scout: BudgetFit.Scouted
  readonly isScout: boolean
}

/** What an attempt has used, and what it teaches; what cannot be known is charged as it was held. */
const usedBy = (
  ended: Attempt.Ended,
  { call, hold, price, pricing }: Held,
  known: BudgetFit.Learned,
  scout: BudgetFit.Scouted
) => {
  const { billed, error, response } = ended
  const largest = error === undefined ? undefined : ModelFailure.outputLimit(error)
  if (largest !== undefined && ModelFailure.kind(error!) !== "overflow")
    scout.ceiling = Math.min(scout.ceiling ?? largest, largest)
  if (response === undefined) {
    const counted = error === undefined ? undefined : ModelFailure.usageOf(error)
    if (counted === undefined) return billed === "no" ? { money: Money.zero, tokens: 0 } : hold
    const { cost } = Charge.ended(pricing, call, ended, () => Charge.most(pricing, call))
    return { money: price === undefined ? Money.zero : (cost ?? hold.money), tokens: Usage.totalTokens(counted) }
  }
  scout.answered = true
  if (ModelResponse.isTruncated(response) && call.request._tag === "Completion") {
    known.output = Math.max(known.output, call.request.settings.maxTokens ?? 0)
  }
  const { cost, estimated, usage } = Charge.ended(pricing, call, ended, () => Charge.most(pricing, call))
  if (usage === undefined) return hold
  const tokens = Usage.totalTokens(usage)
  if (estimated !== true) known.output = Math.max(known.output, Usage.outputTokens(usage))
  if (price === undefined) return { money: Money.zero, tokens }
  if (cost === undefined) {
    scout.unpriced =
      response.serviceTier === undefined
        ? response.model
        : `the service tier ${response.serviceTier} of ${response.model}`
  }
  return { money: cost ?? hold.money, tokens }
}

const refused = (description: string, reached: boolean): AiError.AiError =>
  AiError.make({
    module: "Budget",
    method: "send",
    reason: new AiError.QuotaExhaustedError({
      metadata: { description, [ModelFailure.budgetKey]: true, [ModelFailure.reachedKey]: reached } as never
    })
  })

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
                  end: (ended: Attempt.Ended) => {
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
  options: Options
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Pricing.Pricing> =>
  ModelClient.middlewareEffect(
    (next) =>
      Effect.map(Effect.tap(Pricing.Pricing, seed), (pricing): ModelClient.Send => {
        const { guard } = make(options, pricing)
        return (request) => withGuard(guard)(next.send(request))
      }),
    { name: "Budget" }
  )
