/**
 * A cap on what is spent: in money, in tokens, for a run, a step or a model.
 *
 * **Details** Before every physical attempt (a retry, a re-ask and a fallback are attempts too) its worst case is
 * reserved: the counted input at its dearest rate, and the most output it may have. When it has ended the reservation is
 * replaced by what it has used. What does not fit waits while other calls may give back; when none is left, the call is
 * refused, and a run stops, to be gone on with. A request without an output limit gets one from what is left. A model of
 * unknown price is refused, since no cap could hold.
 *
 * Input is counted, not billed: until a model has answered, it is taken to have a token for every byte of text, and from
 * then on the most by which the provider's count has exceeded ours.
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
import * as Money from "../data/Money.ts"
import type * as ModelRequest from "../data/ModelRequest.ts"
import * as Usage from "../data/Usage.ts"
import * as ModelName from "../price/ModelName.ts"
import * as Price from "../price/Price.ts"
import * as Pricing from "../price/Pricing.ts"
import * as Caller from "../seam/Caller.ts"
import * as ModelClient from "../seam/ModelClient.ts"
import * as ModelFailure from "../seam/ModelFailure.ts"
import * as TokenCounter from "../seam/TokenCounter.ts"

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

/** A budget that cannot be. */
export class BudgetError extends Schema.TaggedError<BudgetError>()("BudgetError", {
  message: Schema.String
}) {}

/** What was spent before, by step and model. */
export interface Spent {
  readonly step: string
  readonly model: string
  readonly spent: Money.Money
  readonly usage: Usage.Usage
}

export interface Budget {
  readonly guard: ModelClient.Guard
  /** Holds an amount of the limit for everything, and gives back what lets it go. */
  readonly hold: (held: ModelClient.Held) => () => void
  /** Counts what earlier tries of a run have spent. */
  readonly restore: (spent: Spent) => void
  /** Money that is left of the limit for everything; `undefined` where there is none. */
  readonly left: () => Money.Money | undefined
}

interface Account {
  readonly name: string
  readonly applies: (step: string, model: string) => boolean
  readonly money: Money.Money | undefined
  readonly tokens: number | undefined
  readonly warns: boolean
  spentMoney: Money.Money
  spentTokens: number
  reservedMoney: Money.Money
  reservedTokens: number
  warned: boolean
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

const toAccount = (name: string, limits: Limits, applies: Account["applies"]): Account | undefined => {
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
    applies,
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

/** Output that a request without a limit gets at most, and at least before the model has answered. */
const MOST_OUTPUT = 4_096
const FIRST_OUTPUT = 256

/** Tokens that a chat format puts around a prompt, at most. */
const AROUND = 16

/** What a model's answers have taught. */
interface Learned {
  /** The provider's count of the input over ours, at most. */
  ratio: number | undefined
  /** The most output of an answer. */
  output: number | undefined
}

/** A budget that calls share. Throws a `BudgetError` for amounts that are none. */
export const make = (options: Options, pricing: Pricing.Service): Budget => {
  const accounts = [
    toAccount("the budget", options, () => true),
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
  const learned = new Map<string, Learned>()
  let waiting: Array<Deferred.Deferred<void>> = []

  const wake = (): void => {
    const all = waiting
    waiting = []
    for (const one of all) Deferred.doneUnsafe(one, Effect.void)
  }

  const learnedOf = (step: string, model: string): Learned => {
    const key = `${step}\n${model}`
    let known = learned.get(key)
    if (known === undefined) learned.set(key, (known = { ratio: undefined, output: undefined }))
    return known
  }

  const spend = (step: string, model: string, money: Money.Money, tokens: number): void => {
    for (const account of accounts) {
      if (!account.applies(step, model)) continue
      account.spentMoney += money
      account.spentTokens += tokens
    }
  }

  /** Replaces what was held by what was used. It holds on to nothing of the request, which may be long gone by then. */
  const settler =
    (held: Held & { readonly step: string; readonly model: string; readonly own: ReadonlyArray<Account> }) =>
    (ended: ModelClient.Ended): void => {
      const { hold, model, own, step } = held
      for (const account of own) {
        account.reservedMoney -= hold.money
        account.reservedTokens -= hold.tokens
      }
      const used = usedBy(ended, held)
      spend(step, model, used.money, used.tokens)
      wake()
    }

  const guard: ModelClient.Guard = (call) =>
    Effect.withFiber((fiber) => {
      const { step } = fiber.getRef(Caller.Caller)
      const model = call.request.model ?? ""
      const own = caps(step, model)
      const count = fiber.getRef(TokenCounter.TokenCounter)
      const price = Option.getOrUndefined(pricing.lookup({ model, provider: call.provider, at: call.startedAt }))
      if (price === undefined && own.some((account) => account.money !== undefined)) {
        return Effect.fail(
          refused(
            `no price is known for ${call.provider} model ${model}, so no budget in money can hold. Give one in the flow: ${Pricing.example(model)}`,
            false
          )
        )
      }
      const known = learnedOf(step, model)
      const isEmbedding = call.request._tag === "Embedding"
      const tier = { serviceTier: call.serviceTier, provider: call.provider }
      const counted = TokenCounter.inputTokens(count, call.request)
      const bound = TokenCounter.inputTokens(byteLength, call.request) + AROUND

      const admit = (): Effect.Effect<ModelClient.Admission<typeof call.request>, AiError.AiError> => {
        const input = known.ratio === undefined ? bound : Math.min(bound, Math.ceil(counted * known.ratio * 1.05) + 8)
        const fitted = fit(own, price, tier, input, call.request, known)
        if ("blocked" in fitted) {
          const { blocked } = fitted
          if (blocked.reservedMoney > Money.zero || blocked.reservedTokens > 0) {
            const turn: Deferred.Deferred<void> = Deferred.makeUnsafe()
            waiting.push(turn)
            return Effect.flatMap(Deferred.await(turn), admit)
          }
          return Effect.fail(refused(`${blocked.name} ${standing(blocked)}: nothing more fits`, true))
        }
        const { hold, request } = fitted
        for (const account of own) {
          account.reservedMoney += hold.money
          account.reservedTokens += hold.tokens
        }
        return Effect.succeed({
          request,
          held: hold,
          end: settler({ step, model, price, tier, hold, counted, known, own, isEmbedding })
        })
      }

      const exceeded = accounts.filter((account) => account.warns && !account.warned && isSpent(account))
      if (exceeded.length === 0) return admit()
      for (const account of exceeded) account.warned = true
      return Effect.andThen(
        Effect.forEach(
          exceeded,
          (account) => Effect.logWarning(`${account.name} ${standing(account)}; it only warns, and the run goes on`),
          {
            discard: true
          }
        ),
        Effect.suspend(admit)
      )
    })

  return {
    guard,
    hold: (held) => {
      const [first] = accounts
      if (first?.name !== "the budget") return () => {}
      first.reservedMoney += held.money
      first.reservedTokens += held.tokens
      return () => {
        first.reservedMoney -= held.money
        first.reservedTokens -= held.tokens
        wake()
      }
    },
    restore: ({ model, spent, step, usage }) => spend(step, model, spent, Usage.totalTokens(usage)),
    left: () => {
      const [first] = accounts
      return first?.name !== "the budget" || first.money === undefined ? undefined : first.money - first.spentMoney
    }
  }
}

const encoder = new TextEncoder()

/** No tokenizer makes more tokens of a text than it has bytes. */
const byteLength: TokenCounter.Count = (text) => encoder.encode(text).length

const isSpent = (account: Account): boolean =>
  (account.money !== undefined && account.spentMoney >= account.money)
  || (account.tokens !== undefined && account.spentTokens >= account.tokens)

const standing = (account: Account): string =>
  [
    ...(account.money === undefined
      ? []
      : [`of ${Money.format(account.money)} is at ${Money.format(account.spentMoney)}`]),
    ...(account.tokens === undefined ? [] : [`of ${account.tokens} tokens is at ${account.spentTokens}`])
  ].join(" and ")

/** The dearest rate of an input token, and of an output token. */
const worstRates = (price: Price.Price, input: number, tier: Price.Service) => {
  const rates = Price.ratesFor(price, input, tier)
  const most = (classes: ReadonlyArray<Usage.TokenClass>) =>
    classes.reduce((worst, name) => {
      const rate = Price.rateOf(rates, name)
      return rate > worst ? rate : worst
    }, Money.zero)
  return {
    input: most(["uncachedInput", "cacheRead", "cacheWrite", "cacheWrite1h"]),
    output: most(["output", "reasoning"])
  }
}

/** Whether a request fits under all caps, with which output limit, and what has to be held for it. */
const fit = <R extends ModelRequest.ModelRequest>(
  caps: ReadonlyArray<Account>,
  price: Price.Price | undefined,
  tier: Price.Service,
  input: number,
  request: R,
  known: Learned
): { readonly request: R; readonly hold: ModelClient.Held } | { readonly blocked: Account } => {
  const rates = price === undefined ? undefined : worstRates(price, input, tier)
  const base = rates === undefined ? Money.zero : Money.times(rates.input, input)
  const holdOf = (output: number): ModelClient.Held => ({
    money: rates === undefined ? Money.zero : base + Money.times(rates.output, output),
    tokens: input + output
  })
  const blocks = (hold: ModelClient.Held) =>
    caps.find(
      (account) =>
        (account.money !== undefined && account.spentMoney + account.reservedMoney + hold.money > account.money)
        || (account.tokens !== undefined && account.spentTokens + account.reservedTokens + hold.tokens > account.tokens)
    )
  if (request._tag === "Embedding" || request.settings.maxTokens !== undefined) {
    const hold = holdOf(request._tag === "Embedding" ? 0 : request.settings.maxTokens!)
    const blocked = blocks(hold)
    return blocked === undefined ? { request, hold } : { blocked }
  }
  // What is left gives the request its limit.
  let affordable = Number.POSITIVE_INFINITY
  let tightest: Account | undefined
  for (const account of caps) {
    const byMoney =
      account.money === undefined || rates === undefined || rates.output === Money.zero
        ? Number.POSITIVE_INFINITY
        : Number((account.money - account.spentMoney - account.reservedMoney - base) / rates.output)
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
  if (tightest === undefined) return { request, hold: holdOf(0) }
  const most = Math.max(MOST_OUTPUT, (known.output ?? 0) * 4)
  const usual = known.output === undefined ? FIRST_OUTPUT : Math.ceil(known.output * 1.25) + 16
  const alone = tightest.reservedMoney === Money.zero && tightest.reservedTokens === 0
  // Others may run beside it, so it takes a half of what is left; the last may take all, if an answer fits into that.
  const limit = Math.min(
    most,
    alone && affordable < usual * 2 ? affordable : Math.max(usual, Math.floor(affordable / 2))
  )
  if (limit > affordable || limit < (known.output ?? 1)) return { blocked: tightest }
  return { request: { ...request, settings: { ...request.settings, maxTokens: limit } }, hold: holdOf(limit) }
}

/** What is known of a call while its worst case is held. */
interface Held {
  readonly price: Price.Price | undefined
  readonly tier: Price.Service
  readonly hold: ModelClient.Held
  readonly counted: number
  readonly known: Learned
  readonly isEmbedding: boolean
}

/** What an attempt has used; what cannot be known is charged as it was held. */
const usedBy = (
  { billed, response }: ModelClient.Ended,
  { counted, hold, isEmbedding, known, price, tier }: Held
): ModelClient.Held => {
  if (response?.usage !== undefined) {
    const { usage } = response
    const input = Usage.inputTokens(usage)
    known.ratio = Math.max(known.ratio ?? 0, counted === 0 ? 1 : input / counted)
    known.output = Math.max(known.output ?? 0, Usage.outputTokens(usage))
    const money =
      price === undefined
        ? Money.zero
        : Price.cost(price, usage, { serviceTier: response.serviceTier, provider: response.provider })
    return { money: money ?? hold.money, tokens: Usage.totalTokens(usage) }
  }
  if (response !== undefined) return hold
  if (billed === "no") return { money: Money.zero, tokens: 0 }
  // Cut on its way: probably billed, with its input and a usual answer.
  const usage = { ...Usage.zero, uncachedInput: counted, output: isEmbedding ? 0 : (known.output ?? FIRST_OUTPUT) }
  const money = price === undefined ? Money.zero : (Price.cost(price, usage, tier) ?? hold.money)
  return { money: money < hold.money ? money : hold.money, tokens: Math.min(Usage.totalTokens(usage), hold.tokens) }
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
  (guard: ModelClient.Guard) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.updateService(self, ModelClient.Guard, (above) =>
      above === undefined
        ? guard
        : (call) =>
            Effect.flatMap(above(call), (outer) =>
              Effect.onError(
                Effect.map(guard({ ...call, request: outer.request }), (inner) => ({
                  request: inner.request,
                  held: {
                    money: inner.held.money > outer.held.money ? inner.held.money : outer.held.money,
                    tokens: Math.max(inner.held.tokens, outer.held.tokens)
                  },
                  end: (ended: ModelClient.Ended) => {
                    inner.end(ended)
                    outer.end(ended)
                  }
                })),
                () => Effect.sync(() => outer.end({ billed: "no" }))
              )
            )
    )

/** Keeps everything below under the limits; each layer counts for itself, from the start of its scope. */
export const layer = (
  options: Options
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Pricing.Pricing> =>
  ModelClient.middlewareEffect(
    (next) =>
      Effect.map(Pricing.Pricing, (pricing): ModelClient.Send => {
        const { guard } = make(options, pricing)
        return (request) => withGuard(guard)(next.send(request))
      }),
    { name: "Budget" }
  )
