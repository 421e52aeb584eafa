/**
 * The books: one entry for each physical attempt, booked at the provider's edge, and one for each answer, with what it
 * saved. Put it at the top of a stack.
 *
 * **Details** Attempts are seen wherever they happen below (through `ModelClient.Meter`), so retries, re-asks and
 * fallbacks are all counted. For every answer: `spent = baseline + wasted - savings`, to the picodollar, where `wasted`
 * is what attempts cost that gave no answer. A price that is not known is `undefined`, never 0; its model is warned of
 * once.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Money from "../data/Money.ts"
import type * as ModelRequest from "../data/ModelRequest.ts"
import type * as ModelResponse from "../data/ModelResponse.ts"
import type * as Usage from "../data/Usage.ts"
import * as Price from "../price/Price.ts"
import * as Pricing from "../price/Pricing.ts"
import * as Caller from "../seam/Caller.ts"
import * as ModelClient from "../seam/ModelClient.ts"
import * as ModelFailure from "../seam/ModelFailure.ts"

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
  readonly usage?: Usage.Usage
  /** `undefined`: not known. */
  readonly cost: Money.Money | undefined
  /** Why `cost` is not known. */
  readonly unknown?: "price" | "usage" | "cut"
  readonly error?: string
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
  readonly attempts: number
  /** What the answer would have cost without cache, routing and discounts; `undefined`: not known. */
  readonly baseline: Money.Money | undefined
  readonly savings: Savings
}

/** What each strategy saved of the baseline. */
export interface Savings {
  readonly cache: Money.Money
  readonly router: Money.Money
  readonly promptCache: Money.Money
  readonly serviceTier: Money.Money
}

export const noSavings: Savings = {
  cache: Money.zero,
  router: Money.zero,
  promptCache: Money.zero,
  serviceTier: Money.zero
}

export type Entry = AttemptEntry | AnswerEntry

/** Receives the entries of a run, in the order in which they happen. The runner sets it. */
export const Book = Context.Reference<(entry: Entry) => void>("@pipe/core/Ledger/Book", {
  defaultValue: () => () => {}
})

/** Books attempts and answers of everything below. */
export const layer: Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Pricing.Pricing> = ModelClient
  .middlewareEffect((next) =>
    Effect.map(Pricing.Pricing, (pricing): ModelClient.Send => {
      const warned = new Set<string>()
      return (request) =>
        Effect.withFiber((fiber) => {
          const clock = fiber.getRef(Clock.Clock)
          const book = fiber.getRef(Book)
          const caller = fiber.getRef(Caller.Caller)
          const above = fiber.getRef(ModelClient.Meter)
          const startedAt = clock.currentTimeMillisUnsafe()
          let attempts = 0
          let warnings: Array<string> | undefined
          const meter = (attempt: ModelClient.Attempt): void => {
            attempts++
            const entry = toAttemptEntry(pricing, caller, attempt)
            const doubt = entry.unknown === "price"
              ? `no price is known for ${entry.provider} model ${entry.model}: its cost is unknown, not 0. Give one in the flow: prices: { "${entry.model}": { input: 0.15, output: 0.6 } } (USD per million tokens)`
              : entry.usage?.inconsistent
            if (doubt !== undefined && !warned.has(doubt)) {
              warned.add(doubt)
              warnings = [...(warnings ?? []), doubt]
            }
            book(entry)
            above(attempt)
          }
          return Effect.onExitPrimitive(
            Effect.provideService(next.send(request), ModelClient.Meter, meter),
            (exit) => {
              if (Exit.isSuccess(exit)) {
                const now = clock.currentTimeMillisUnsafe()
                book(toAnswerEntry(pricing, caller, request, exit.value, attempts, now, now - startedAt))
              }
              return warnings === undefined ? undefined : Effect.forEach(warnings, (text) => Effect.logWarning(text), {
                discard: true
              })
            }
          )
        })
    })
  )

const toAttemptEntry = (
  pricing: Pricing.Service,
  caller: Caller.Caller,
  attempt: ModelClient.Attempt
): AttemptEntry => {
  const { error, response } = attempt
  const model = response?.model ?? attempt.request.model ?? ""
  const common = {
    _tag: "Attempt" as const,
    caller,
    at: attempt.startedAt,
    milliseconds: attempt.milliseconds,
    provider: attempt.provider,
    model,
    ...(error === undefined ? undefined : { error: ModelFailure.message(error) })
  }
  if (response === undefined) {
    return attempt.billed === "no" ? { ...common, cost: Money.zero } : { ...common, cost: undefined, unknown: "cut" }
  }
  if (response.usage === undefined) return { ...common, cost: undefined, unknown: "usage" }
  const price = priceOf(pricing, response.model, response.provider, attempt.startedAt)
  const cost = price === undefined ? undefined : chargeFor(price, response, response.usage)
  return {
    ...common,
    usage: response.usage,
    cost,
    ...(cost !== undefined
      ? undefined
      : { unknown: response.usage.unpriceable === true ? "usage" as const : "price" as const })
  }
}

const toAnswerEntry = (
  pricing: Pricing.Service,
  caller: Caller.Caller,
  request: ModelRequest.ModelRequest,
  response: ModelResponse.ModelResponse,
  attempts: number,
  at: number,
  milliseconds: number
): AnswerEntry => ({
  _tag: "Answer",
  caller,
  request: request._tag,
  at,
  milliseconds,
  origin: response.origin,
  provider: response.provider,
  model: response.model,
  ...(response.baselineModel === undefined ? undefined : { baselineModel: response.baselineModel }),
  ...(response.usage === undefined ? undefined : { usage: response.usage }),
  attempts,
  ...worth(pricing, response, at)
})

const unknownWorth = { baseline: undefined, savings: noSavings }

/** The baseline of an answer and what each strategy took off it. */
const worth = (
  pricing: Pricing.Service,
  response: ModelResponse.ModelResponse,
  at: number
): Pick<AnswerEntry, "baseline" | "savings"> => {
  const { baselineModel, model, provider, usage } = response
  if (usage === undefined) return unknownWorth
  const price = priceOf(pricing, model, provider, at)
  const routedFrom = baselineModel === undefined ? price : priceOf(pricing, baselineModel, undefined, at) ??
    priceOf(pricing, baselineModel, provider, at)
  if (price === undefined || routedFrom === undefined) return unknownWorth
  const own = chargeFor(price, response, usage)
  const bare = Price.withoutPromptCache(usage)
  const withTier = chargeFor(price, response, bare)
  const full = Price.cost(price, bare)
  const baseline = Price.cost(routedFrom, bare)
  if (own === undefined || withTier === undefined || full === undefined || baseline === undefined) return unknownWorth
  return {
    baseline,
    savings: {
      cache: response.origin === "provider" ? Money.zero : own,
      promptCache: withTier - own,
      serviceTier: full - withTier,
      router: baseline - full
    }
  }
}

const chargeFor = (price: Price.Price, response: ModelResponse.ModelResponse, usage: Usage.Usage) =>
  Price.cost(price, usage, { serviceTier: response.serviceTier, provider: response.provider })

const priceOf = (pricing: Pricing.Service, model: string, provider: string | undefined, at: number) =>
  Option.getOrUndefined(pricing.lookup({ model, provider, at }))
