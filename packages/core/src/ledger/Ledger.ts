/**
 * The ledger: one entry per physical attempt, recorded at the provider's edge, and one per answer, with what it saved.
 * Put it at the top of a stack.
 *
 * **Details** Attempts are recorded wherever they happen below (see `Attempt`), so retries, re-asks and
 * fallbacks are all counted. For every answer `spent = baseline + wasted - savings`, to the picodollar, where `wasted`
 * is the cost of attempts without an answer. Answers that a cascade paid for but did not return (`discarded`) reduce
 * the savings of routing, because the row pays for all of them. An unknown price is `undefined`, never 0, and its model
 * is reported in one warning.
 *
 * **Example**
 *
 * ```ts
 * import { Ledger, Retry, Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const stack = Stack.make(Ledger.layer, Retry.layer(), OpenAi.layer({ model: "gpt-4o-mini" }))
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as CallOutcome from "../client/CallOutcome.ts"
import * as CallRecording from "../client/CallRecording.ts"
import * as CallContext from "../client/CallContext.ts"
import type * as Exchange from "../client/Exchange.ts"
import type * as Attempt from "../client/Attempt.ts"
import * as ModelClient from "../client/ModelClient.ts"
import type * as RowValues from "../client/RowValues.ts"
import * as RunHooks from "../client/RunHooks.ts"
import * as Suspension from "../client/Suspension.ts"
import * as SafeText from "../encoding/SafeText.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"
import * as Charge from "../price/Charge.ts"
import * as Money from "../price/Money.ts"
import * as Price from "../price/Price.ts"
import * as Pricing from "../price/Pricing.ts"
import * as LedgerEntry from "./LedgerEntry.ts"

export type { OpenCall } from "./InterruptedCalls.ts"
export type { AnswerEntry, AttemptEntry, LedgerEntry, Savings } from "./LedgerEntry.ts"

const unpriced = (
  pricing: Pricing.Service,
  { at, model, provider, serviceTier, usage }: LedgerEntry.AttemptEntry
): string => {
  if (serviceTier !== undefined) {
    return `no price is known for ${provider} model ${model} in service tier ${serviceTier}: its cost is unknown, not 0. Use a tier that has one: providerOptions: { ${provider}: { service_tier: "default" } }`
  }
  return Option.isSome(pricing.lookup({ at, model, provider }))
    ? `no price is known for a part of a call to ${provider} model ${model} (${partsOf(usage)}): its cost is unknown, not 0. Set it in the flow: prices: { "${model}": { input: 0.15, output: 0.6, inputAudio: 10, perSearch: 0.01 } } (USD per million tokens, and per search)`
    : `no price is known for ${provider} model ${model}: its cost is unknown, not 0. ${Pricing.advice(pricing, { at, model, provider })}`
}

/** Names the parts of a usage that have their own price. */
const partsOf = (usage: Usage.Usage | undefined): string =>
  [...Usage.rareClasses, "searches" as const]
    .flatMap((name) => ((usage?.[name] ?? 0) > 0 ? [`${usage![name]} ${RARE[name]}`] : []))
    .join(", ")

const RARE = {
  inputAudio: "audio input tokens",
  inputImage: "image input tokens",
  outputAudio: "audio output tokens",
  outputImage: "image output tokens",
  searches: "web searches"
}

/** Records the attempts and answers of everything below. Under another ledger it does nothing. */
export const layer: Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Pricing.Pricing> =
  ModelClient.middlewareEffect((next) => Effect.map(Pricing.Pricing, (pricing) => recording(pricing)(next.send)), {
    name: "Ledger",
    answers: false
  })

/** The same, around functions that send. The runner puts one over every stack. */
export const recording = (pricing: Pricing.Service): ((send: ModelClient.Send) => ModelClient.Send) => {
  const warned = new Set<string>()
  const over =
    (send: ModelClient.Send): ModelClient.Send =>
    (request) =>
      Effect.withFiber((fiber) => {
        const call = fiber.getRef(CallContext.CallContext)
        if (fiber.getRef(CallRecording.CallRecording) !== undefined) return send(request)
        const clock = fiber.getRef(Clock.Clock)
        const hooks = fiber.getRef(RunHooks.RunHooks)
        const caller = CallContext.callerOf(call)
        const startedAt = clock.currentTimeMillisUnsafe()
        let attempts = 0
        let warnings: Array<string> | undefined

        const hook: Attempt.AttemptHook = (call) => Effect.succeed(around(call))

        const around = (asked: Attempt.AttemptCall): Pick<Attempt.Admission, "onStart" | "onEnd"> => {
          let sent: Attempt.AttemptCall | undefined
          let number: number | undefined
          const most = () => Charge.most(pricing, sent ?? asked)
          return {
            onStart: (call) => {
              sent = call
              const noting = hooks.onCall?.({
                caller,
                at: call.startedAt,
                provider: call.provider,
                model: call.request.model ?? "",
                ...toNote(most())
              })
              number = noting?.number
              return noting?.noted
            },
            onEnd: (ended) => {
              // What was not sent is not an attempt.
              if (sent === undefined || ended.milliseconds === undefined)
                return number === undefined ? undefined : hooks.onUnsent?.(number)
              attempts++
              const attempt = { ...ended, call: sent, milliseconds: ended.milliseconds }
              const entry = toAttemptEntry(pricing, caller, attempt, number, most)
              const doubt =
                entry.unknown === "price" ? unpriced(pricing, entry) : (entry.usage?.inconsistent ?? entry.doubt)
              if (doubt !== undefined && !warned.has(doubt)) {
                warned.add(doubt)
                warnings = [...(warnings ?? []), doubt]
              }
              hooks.onEntry(entry)
              hooks.onExchange?.(toSent(entry, attempt, valuesOf(call)))
            }
          }
        }

        return Effect.onExitPrimitive(
          Effect.provideService(send(request), CallRecording.CallRecording, { hook, over }),
          (exit) => {
            if (Exit.isSuccess(exit)) CallOutcome.succeeded(fiber, request)
            // The result of a suspended row is not kept.
            else if (!Suspension.isSuspended(exit.cause)) CallOutcome.failed(fiber, request)
            const { row } = call.state
            if (Exit.isSuccess(exit) && (row === undefined || Suspension.isNew(row, request))) {
              const now = clock.currentTimeMillisUnsafe()
              const entry = toAnswerEntry(pricing, call, request, exit.value, attempts, now, now - startedAt)
              hooks.onEntry(entry)
              if (attempts === 0) hooks.onExchange?.(toFound(entry, request, exit.value, valuesOf(call)))
            }
            return warnings === undefined
              ? undefined
              : Effect.forEach(warnings, (text) => Effect.logWarning(text), {
                  discard: true
                })
          }
        )
      })
  return over
}

/** An attempt that was sent, when it has ended. */
interface EndedAttempt extends Attempt.AttemptEnd {
  readonly call: Attempt.AttemptCall
  readonly milliseconds: number
}

/** The inputs of the step, where a call is for one row. */
const valuesOf = ({ purpose, rows, values }: CallContext.CallContext): RowValues.Values | undefined =>
  purpose === "" && rows.length < 2 ? values : undefined

/** An attempt, for display. */
const toSent = (
  { at, caller, cost, error, milliseconds, model, provider, usage }: LedgerEntry.AttemptEntry,
  { call, response }: EndedAttempt,
  values: RowValues.Values | undefined
): Exchange.Exchange => ({
  caller,
  values,
  at,
  milliseconds,
  origin: "attempt",
  provider,
  model,
  request: call.request,
  response,
  error,
  usage,
  cost
})

/** An answer that needed no attempt, for display. */
const toFound = (
  { at, caller, milliseconds, model, origin, provider }: LedgerEntry.AnswerEntry,
  request: ModelRequest.ModelRequest,
  response: ModelResponse.ModelResponse,
  values: RowValues.Values | undefined
): Exchange.Exchange => ({
  caller,
  values,
  at,
  milliseconds,
  origin:
    origin !== "provider" ? origin : response.serviceTier?.split("+").includes("batch") === true ? "batch" : "gathered",
  provider,
  model,
  request,
  response
})

/** The tier of an answer; of a failed call the one that was asked for. */
const tierOf = ({ call, response }: EndedAttempt): { readonly serviceTier?: string } => {
  const { serviceTier } = response ?? Charge.serviceOf(call)
  return serviceTier === undefined || serviceTier === "default" ? {} : { serviceTier }
}

const toAttemptEntry = (
  pricing: Pricing.Service,
  caller: CallContext.Caller,
  attempt: EndedAttempt,
  number: number | undefined,
  most: () => Charge.Most
): LedgerEntry.AttemptEntry => {
  const { call, error, response } = attempt
  return {
    _tag: "Attempt",
    caller,
    at: call.startedAt,
    milliseconds: attempt.milliseconds,
    provider: call.provider,
    model: response?.model ?? call.request.model ?? "",
    ...(response === undefined || response.model === call.request.model
      ? undefined
      : { requested: call.request.model ?? "" }),
    ...(number === undefined ? undefined : { call: number }),
    ...(call.isReask === true ? { reask: true } : undefined),
    ...(error === undefined ? undefined : { error: SafeText.line(ModelFailure.message(error)) }),
    ...tierOf(attempt),
    ...Charge.ended(pricing, call, attempt, most)
  }
}

const toNote = ({ cost, input, output }: Charge.Most) => ({ inputTokens: input, outputTokens: output, cost })

const toAnswerEntry = (
  pricing: Pricing.Service,
  call: CallContext.CallContext,
  request: ModelRequest.ModelRequest,
  response: ModelResponse.ModelResponse,
  attempts: number,
  at: number,
  milliseconds: number
): LedgerEntry.AnswerEntry => ({
  _tag: "Answer",
  caller: CallContext.callerOf(call),
  request: request._tag,
  at,
  milliseconds,
  origin: response.origin,
  provider: response.provider,
  model: response.model,
  ...(response.baselineModel === undefined ? undefined : { baselineModel: response.baselineModel }),
  ...(response.usage === undefined ? undefined : { usage: response.usage }),
  ...(response.serviceTier === undefined || response.origin !== "provider"
    ? undefined
    : { serviceTier: response.serviceTier }),
  attempts,
  ...(call.purpose === "" ? worth(pricing, response, at) : worthOfAside(pricing, response, at))
})

const unknownWorth = { baseline: undefined, savings: LedgerEntry.noSavings }

/** The baseline of an answer, and what each strategy saved. */
const worth = (
  pricing: Pricing.Service,
  response: ModelResponse.ModelResponse,
  at: number
): Pick<LedgerEntry.AnswerEntry, "baseline" | "savings"> => {
  const { baselineModel, provider, usage } = response
  if (usage === undefined) return unknownWorth
  const price = Pricing.priceOf(pricing, response, at)
  const routedFrom =
    baselineModel === undefined
      ? price
      : (priceOf(pricing, baselineModel, undefined, at) ?? priceOf(pricing, baselineModel, provider, at))
  if (price === undefined || routedFrom === undefined) return unknownWorth
  // Most answers are not packed, in no tier and without a cached prompt: their figures are one.
  const own = chargeFor(price, response, usage)
  const bare = Usage.hasPromptCache(usage) ? Price.withoutPromptCache(usage) : usage
  const withTier = bare === usage ? own : chargeFor(price, response, bare)
  const full = response.serviceTier === undefined ? withTier : Price.cost(price, bare)
  const alone = response.unpacked === undefined ? full : Price.cost(price, response.unpacked)
  const baseline = routedFrom === price ? alone : Price.cost(routedFrom, response.unpacked ?? bare)
  const beside = besides(pricing, response, at)
  if (
    own === undefined
    || withTier === undefined
    || full === undefined
    || alone === undefined
    || baseline === undefined
    || beside === undefined
  )
    return unknownWorth
  // A reused answer is not part of a packed prompt now, even if it once was.
  const packed = alone - full
  const isReused = response.origin !== "provider"
  if (!isReused && [withTier, full, alone, baseline].every((figure) => figure === own) && beside === nothingBeside)
    return { baseline, savings: LedgerEntry.noSavings }
  return {
    baseline,
    savings: {
      cache: (response.origin === "cache" || response.origin === "shared" ? own + packed : Money.zero) + beside.cached,
      semanticCache: (response.origin === "semantic" ? own + packed : Money.zero) + beside.semantic,
      pack: isReused ? Money.zero : packed,
      promptCache: withTier - own,
      serviceTier: full - withTier,
      router: baseline - alone - beside.cost,
      asides: Money.zero
    }
  }
}

/** Without the layer, a call of a layer's own would not be made: it is not in the baseline. */
const worthOfAside = (
  pricing: Pricing.Service,
  response: ModelResponse.ModelResponse,
  at: number
): Pick<LedgerEntry.AnswerEntry, "baseline" | "savings"> => {
  const { origin, usage } = response
  if (origin !== "provider") return { baseline: Money.zero, savings: LedgerEntry.noSavings }
  const price = usage === undefined ? undefined : Pricing.priceOf(pricing, response, at)
  const cost = price === undefined ? undefined : chargeFor(price, response, usage!)
  return cost === undefined
    ? unknownWorth
    : { baseline: Money.zero, savings: { ...LedgerEntry.noSavings, asides: -cost } }
}

const nothingBeside = { cost: Money.zero, cached: Money.zero, semantic: Money.zero }

/** The discarded answers of an answer: their cost, and the part that was not paid; `undefined` when not known. */
const besides = (pricing: Pricing.Service, { discarded = [] }: ModelResponse.ModelResponse, at: number) => {
  if (discarded.length === 0) return nothingBeside
  const sums = { cost: Money.zero, cached: Money.zero, semantic: Money.zero }
  for (const { model, origin, provider, requestedModel, serviceTier, usage } of discarded) {
    const price = usage === undefined ? undefined : Pricing.priceOf(pricing, { model, provider, requestedModel }, at)
    const cost = price === undefined ? undefined : Price.cost(price, usage!, { serviceTier, provider })
    if (cost === undefined) return undefined
    sums.cost += cost
    if (origin === "semantic") sums.semantic += cost
    else if (origin !== "provider") sums.cached += cost
  }
  return sums
}

const chargeFor = (price: Price.Price, response: ModelResponse.ModelResponse, usage: Usage.Usage) =>
  Price.cost(price, usage, { serviceTier: response.serviceTier, provider: response.provider })

const priceOf = (pricing: Pricing.Service, model: string, provider: string | undefined, at: number) =>
  Option.getOrUndefined(pricing.lookup({ model, provider, at }))
