/**
 * Runs before every attempt: reserves the most that it can cost, delays it or refuses it, and charges what it has used.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type * as Attempt from "../client/Attempt.ts"
import * as CallContext from "../client/CallContext.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"
import * as Charge from "../price/Charge.ts"
import * as Money from "../price/Money.ts"
import * as Price from "../price/Price.ts"
import * as Pricing from "../price/Pricing.ts"
import * as BudgetAccount from "./BudgetAccount.ts"
import * as BudgetFit from "./BudgetFit.ts"

/** The state that the calls under a budget share. */
export interface BudgetState {
  readonly pricing: Pricing.Service
  readonly accounts: ReadonlyArray<BudgetAccount.BudgetAccount>
  /** By step and model. */
  readonly learned: Map<string, BudgetFit.LearnedOutput>
  /** By provider and model. */
  readonly scouted: Map<string, BudgetFit.Scouted>
  /** Where more is granted, when several processes share the budget. */
  readonly grants: BudgetAccount.Grants | undefined
  readonly asking: Semaphore.Semaphore
  /** Calls that were admitted since the last call of `isIdle`. */
  admitted: number
  /** Calls that wait until others release money. */
  waiting: Array<Deferred.Deferred<void>>
}

export const makeState = (
  pricing: Pricing.Service,
  accounts: BudgetState["accounts"],
  grants?: BudgetAccount.Grants
): BudgetState => ({
  pricing,
  accounts,
  grants,
  asking: Semaphore.makeUnsafe(1),
  learned: new Map(),
  scouted: new Map(),
  admitted: 0,
  waiting: []
})

/** Lets waiting calls try again. */
export const wake = (state: BudgetState): void => {
  const all = state.waiting
  state.waiting = []
  for (const one of all) Deferred.doneUnsafe(one, Effect.void)
}

/** Whether no call is in flight, and none was admitted since the last call. */
export const isIdle = (state: BudgetState): boolean => {
  const { admitted } = state
  state.admitted = 0
  return (
    admitted === 0
    && state.accounts.every(({ reservedMoney, reservedTokens }) => reservedMoney === Money.zero && reservedTokens === 0)
  )
}

/** Charges what a call of a step to a model has used. */
export const spend = (state: BudgetState, step: string, model: string, money: Money.Money, tokens: number): void =>
  BudgetAccount.spend(
    state.accounts.filter((account) => account.applies(step, model)),
    money,
    tokens
  )

/** The hook of a budget. */
export const make =
  (state: BudgetState): Attempt.AttemptHook =>
  (call) =>
    Effect.withFiber((fiber) => {
      const { accounts, pricing } = state
      const { step } = fiber.getRef(CallContext.CallContext)
      const expected = fiber.getRef(ExpectedUsage.ExpectedUsage)
      const model = call.request.model ?? ""
      const own = accounts.filter((account) => !account.warns && account.applies(step, model))
      const price = Charge.priceOf(pricing, call)
      const input = Charge.inputOf(call.request, call.provider, price)
      const scout = remembered(state.scouted, `${call.provider}\n${model}`, (): BudgetFit.Scouted => ({
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
        known: remembered(state.learned, `${step}\n${model}`, () => ({
          output: expected.learned(step, model)?.most ?? 0
        })),
        usual: Math.ceil(expected.of(step, call.request).high),
        scout
      }
      const warnings = exceeded(accounts)
      return warnings.length === 0
        ? granted(state, claim)
        : Effect.andThen(
            Effect.forEach(warnings, (text) => Effect.logWarning(text), { discard: true }),
            Effect.suspend(() => granted(state, claim))
          )
    })

/** The warnings, each given once, for accounts that are spent and only warn. */
export const exceeded = (accounts: BudgetState["accounts"]): ReadonlyArray<string> =>
  accounts.flatMap((account) => {
    if (!account.warns || account.warned || !BudgetAccount.isSpent(account)) return []
    account.warned = true
    return [`${account.name} ${BudgetAccount.status(account)}; it only warns, so the run continues`]
  })

/** How long a call waits for what other processes leave, in milliseconds, and how often none of them may be spending before it gives up. */
const PAUSE = 200
const QUIET = 4

/** Admits a call, after more was granted when it does not fit. */
const granted = <R extends ModelRequest.ModelRequest>(
  state: BudgetState,
  claim: BudgetFit.Claim<R>,
  quiet = 0
): Effect.Effect<Attempt.Admission<R>, AiError.AiError> => {
  const { grants } = state
  if (grants === undefined) return admit(state, claim)
  const wanted = BudgetFit.wanted(claim)
  const isShort = () => claim.own.filter((account) => BudgetAccount.lacks(account, wanted))
  if (isShort().length === 0) return admit(state, claim)
  return Effect.gen(function* () {
    // One call of a process asks at a time: what it is granted may be enough for the others.
    yield* state.asking.withPermit(
      Effect.gen(function* () {
        for (const account of isShort()) {
          const { money, tokens } = yield* grants.take(account.name, wanted)
          if (account.money !== undefined) account.money += money
          if (account.tokens !== undefined) account.tokens += tokens
        }
      })
    )
    const short = isShort()
    const isWaiting = short.some(
      ({ reservedMoney, reservedTokens }) => reservedMoney > Money.zero || reservedTokens > 0
    )
    if (short.length === 0 || isWaiting || quiet >= QUIET) return yield* admit(state, claim)
    // What several processes have left together may be enough for one of them.
    yield* grants.giveBack(() => short.map(BudgetAccount.takeRest))
    yield* Effect.interruptible(Effect.sleep(PAUSE))
    const isSpending = yield* grants.isSpending(short.map(({ name }) => name))
    return yield* granted(state, claim, isSpending ? 0 : quiet + 1)
  })
}

/** Admits a call with its reservation, makes it wait for others, or refuses it. */
const admit = <R extends ModelRequest.ModelRequest>(
  state: BudgetState,
  claim: BudgetFit.Claim<R>
): Effect.Effect<Attempt.Admission<R>, AiError.AiError> => {
  const { call, model, own, scout } = claim
  const hasMoney = own.some((account) => account.money !== undefined)
  if (hasMoney && scout.unpriced !== undefined) {
    const words = `no price is known for ${scout.unpriced}, which ${call.provider} uses to answer ${model}, so a budget in money cannot be kept`
    return Effect.fail(refused(words, false))
  }
  // A model that has not answered yet may charge anything, so its first call is sent alone. A batch is sent as a whole.
  const isScout = hasMoney && !scout.answered && call.serviceTier !== "batch"
  if (isScout && scout.alone) return waitForOthers(state, claim)
  const fitted = BudgetFit.fit(claim)
  if ("blocked" in fitted) {
    const { blocked } = fitted
    const { money } = BudgetFit.wanted(claim)
    const needs = hasMoney && money > Money.zero ? ` (a call of ${model} may cost up to ${Money.format(money)})` : ""
    return blocked.reservedMoney === Money.zero && blocked.reservedTokens === 0
      ? Effect.fail(refused(`${blocked.name} ${BudgetAccount.status(blocked)}: nothing more fits${needs}`, true))
      : waitForOthers(state, claim)
  }
  const { hold, limited, request } = fitted
  if (isScout) scout.alone = true
  state.admitted++
  BudgetAccount.hold(own, hold)
  const { known, price, step } = claim
  const end = settler(state, { step, model, price, hold, known, own, scout, isScout, call: { ...call, request } })
  return Effect.succeed({ request, held: hold, limited, onEnd: end })
}

const waitForOthers = <R extends ModelRequest.ModelRequest>(state: BudgetState, claim: BudgetFit.Claim<R>) => {
  const turn: Deferred.Deferred<void> = Deferred.makeUnsafe()
  state.waiting.push(turn)
  return Effect.flatMap(Effect.interruptible(Deferred.await(turn)), () => granted(state, claim))
}

/** Replaces the reservation with the usage, once. It does not keep the request in memory. */
const settler = (state: BudgetState, held: Held): ((ended: Attempt.AttemptEnd) => void) => {
  let settled = false
  return (ended) => {
    if (settled) return
    settled = true
    const { hold, model, own, scout, step } = held
    let used = hold
    try {
      used = usedBy(state.pricing, ended, held)
    } finally {
      if (held.isScout) scout.alone = false
      BudgetAccount.release(own, hold)
      spend(state, step, model, used.money, used.tokens)
      wake(state)
    }
  }
}

const remembered = <A>(map: Map<string, A>, key: string, make: () => A): A => {
  let known = map.get(key)
  if (known === undefined) map.set(key, (known = make()))
  return known
}

/** Why no cap can hold for a call; `undefined` when one can. */
const unboundedBy = (
  pricing: Pricing.Service,
  call: Attempt.AttemptCall,
  price: Price.Price | undefined,
  input: Charge.InputBound,
  own: ReadonlyArray<BudgetAccount.BudgetAccount>
): string | undefined => {
  const model = call.request.model ?? ""
  const hasMoney = own.some((account) => account.money !== undefined)
  if (hasMoney && price === undefined) {
    return `no price is known for ${call.provider} model ${model}, so a budget in money cannot be kept. ${Pricing.advice(pricing, { at: call.startedAt, model, provider: call.provider })}`
  }
  if (input.unbounded !== undefined) {
    return `a budget cannot be kept for ${model}: no rule bounds the tokens of ${input.unbounded}. Remove it, or run without a budget`
  }
  const tier = Charge.serviceOf(call)
  return hasMoney && price !== undefined && !Price.hasService(price, tier)
    ? `no price is known for ${call.provider} model ${model} in service tier ${tier.serviceTier}, so a budget in money cannot be kept`
    : undefined
}

/** What is known of a call while its reservation is held. */
interface Held {
  readonly step: string
  readonly model: string
  readonly call: Attempt.AttemptCall
  readonly price: Price.Price | undefined
  readonly hold: Attempt.Held
  readonly known: BudgetFit.LearnedOutput
  readonly own: ReadonlyArray<BudgetAccount.BudgetAccount>
  readonly scout: BudgetFit.Scouted
  readonly isScout: boolean
}

/** The usage of an attempt, and what it teaches. Unknown usage is charged as it was reserved. */
const usedBy = (
  pricing: Pricing.Service,
  ended: Attempt.AttemptEnd,
  { call, hold, known, price, scout }: Held
): Attempt.Held => {
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
