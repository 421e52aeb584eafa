/**
 * What a call can cost at most, and what it has cost. Budget and ledger both use it, so the amounts reserved, charged,
 * noted and recorded agree.
 *
 * **Details** Input is bounded by the bytes of everything that is sent: no tokenizer makes more tokens of a text than
 * it has bytes. Text that a tokenizer normalises first (NFKC) counts as its longer form. Output is bounded by the limit
 * that is sent; without one, by the most that the model generates, or by its context window. When neither is known, it
 * is a guess.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Option from "effect/Option"
import * as Utf8 from "../encoding/Utf8.ts"
import type * as LedgerEntry from "../ledger/LedgerEntry.ts"
import * as FileTokens from "../model/FileTokens.ts"
import * as ModelFacts from "../model/ModelFacts.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"
import * as Money from "./Money.ts"
import * as Price from "./Price.ts"
import * as Pricing from "./Pricing.ts"

/** The parts of a call that decide its price. */
export interface ChargedCall {
  readonly request: ModelRequest.ModelRequest
  readonly provider: string
  readonly startedAt: number
  readonly serviceTier?: string
}

/** The most input that a request can be billed for. */
export interface InputBound {
  readonly tokens: number
  /** The part of the request that no rule bounds; `tokens` is then meaningless. */
  readonly unbounded?: string
}

/** The most that a call can cost. */
export interface Most {
  readonly input: number
  readonly output: number
  /** `undefined` when the price is unknown. */
  readonly rates: CallRates | undefined
  /** `undefined` when the price is unknown. */
  readonly cost: Money.Money | undefined
}

/** The most tokens that a chat format adds around each message, and around all of them. */
const PER_MESSAGE = 8
const PER_REQUEST = 8

/** The most tokens of the instructions that Anthropic adds before tools and answer schemas. */
const TOOL_INSTRUCTIONS = 1_024

/**
 * Output tokens of a call without a limit, to a model of which nothing is known: more than nearly all answers have.
 */
export const GUESS = 4_096

/** The most output tokens of a call without a limit: what the model generates, or the room in its context window. */
const unlimited = (model: string, price: Price.Price | undefined): number =>
  ModelFacts.of(model)?.maxOutput ?? Math.max(GUESS, price?.contextWindow ?? 0)

/** The bytes of a text, or of its normalised form. */
const textBound = (text: string): number => {
  const bytes = Utf8.byteLength(text)
  return bytes === text.length ? bytes : Math.max(bytes, Utf8.byteLength(text.normalize("NFKC")))
}

const bounds = new WeakMap<object, number>()

/** The bound of a value that many requests share, as JSON: tools and schemas. */
const sharedBound = (value: object): number => {
  let known = bounds.get(value)
  if (known === undefined) bounds.set(value, (known = textBound(JSON.stringify(value))))
  return known
}

/** Provider options that add input from outside the request, up to the model's context window. */
const BRINGS_INPUT = ["previous_response_id", "conversation", "prompt"]

/**
 * Provider options that make the provider do more than one answer: searches and its own tools, which have extra fees.
 */
const BRINGS_WORK = [
  "tools",
  "web_search_options",
  "search_parameters",
  "plugins",
  "mcp_servers",
  "container",
  "data_sources",
  "modalities"
]

/** What a completion that answers a question adds to its text: its names, and the words of the schema. */
const PER_QUESTION = 64

/** The bounded input of a decision, also when a completion answers it. */
const decisionOf = ({ questions, state }: ModelRequest.Decision, provider: string): InputBound => ({
  tokens:
    PER_REQUEST
    + 4 * PER_MESSAGE
    + textBound(ModelRequest.stateText(state))
    + 2 * sharedBound(questions)
    + PER_QUESTION * (questions.length + 1)
    + (provider === "anthropic" ? TOOL_INSTRUCTIONS : 0)
})

/** The bounded input of a completion, without its provider options. */
const contentOf = (request: ModelRequest.Completion, provider: string): InputBound => {
  let tokens = PER_REQUEST
  let unbounded: string | undefined
  for (const { content } of request.messages) {
    tokens += PER_MESSAGE
    if (typeof content === "string") {
      tokens += textBound(content)
      continue
    }
    for (const part of content) {
      if (part.type === "text" || part.type === "reasoning") tokens += textBound(part.text)
      else if (part.type === "file") {
        const { most } = FileTokens.of(request.model ?? "", part)
        if (most === undefined) unbounded ??= `a file of type ${part.mediaType}`
        else tokens += most
      } else tokens += textBound(JSON.stringify(part)) + PER_MESSAGE
    }
  }
  if (request.tools.length > 0) tokens += sharedBound(request.tools) + PER_MESSAGE * request.tools.length
  if (request.responseFormat.type === "json") tokens += sharedBound(request.responseFormat.schema as object)
  if (provider === "anthropic" && (request.tools.length > 0 || request.responseFormat.type === "json")) {
    tokens += TOOL_INSTRUCTIONS
  }
  return { tokens, ...(unbounded === undefined ? undefined : { unbounded }) }
}

/** Whether a part of a request is audio, which has a rate of its own. */
const hasAudio = (request: ModelRequest.ModelRequest): boolean =>
  request._tag === "Completion"
  && request.messages.some(
    ({ content }) =>
      typeof content !== "string" && content.some((part) => part.type === "file" && part.mediaType.startsWith("audio/"))
  )

/** How far beyond the start of a price for long requests a context window may reach: from 200,000 to 1,000,000 tokens. */
const BEYOND = 5

/** The context window. One that ends before a price for longer requests begins is not all that there is. */
const windowOf = ({ contextWindow, tiers }: Price.Price): number | undefined => {
  const longest = tiers.at(-1)!.above
  return contextWindow === undefined || longest < contextWindow ? contextWindow : longest * BEYOND
}

/** The bounded input of a request. */
export const inputOf = (
  request: ModelRequest.ModelRequest,
  provider: string,
  price: Price.Price | undefined
): InputBound => {
  if (request._tag === "Embedding") {
    return { tokens: request.inputs.reduce((sum, input) => sum + textBound(input) + PER_MESSAGE, PER_REQUEST) }
  }
  const content = request._tag === "Decision" ? decisionOf(request, provider) : contentOf(request, provider)
  let { tokens, unbounded } = content
  if (price !== undefined && !Price.hasAudio(price) && hasAudio(request))
    return { tokens, unbounded: "audio, which has no known price for this model" }
  let work: string | undefined
  for (const options of Object.values(request.providerOptions)) {
    if (typeof options !== "object" || options === null || Array.isArray(options)) continue
    unbounded ??= BRINGS_INPUT.find((name) => Object.hasOwn(options, name))
    work ??= BRINGS_WORK.find((name) => Object.hasOwn(options, name))
    tokens += sharedBound(options)
  }
  if (work !== undefined) return { tokens, unbounded: `the effect of the provider option ${work}` }
  const window = price === undefined ? undefined : windowOf(price)
  // Input that exceeds every window is never billed.
  return unbounded === undefined || window !== undefined
    ? { tokens: window === undefined ? tokens : unbounded === undefined ? Math.min(tokens, window) : window }
    : { tokens, unbounded }
}

/** The price of the requested model. */
export const priceOf = (
  pricing: Pricing.Service,
  { provider, request, startedAt }: ChargedCall
): Price.Price | undefined =>
  Option.getOrUndefined(pricing.lookup({ model: request.model ?? "", provider, at: startedAt }))

/**
 * The highest ratio so far between the cost of an answer and its cost at the requested model and service tier: 1 or more,
 * by provider and model. A provider may answer with a more expensive model, or in a more expensive tier (the default of a
 * project), which only its answers show.
 */
const dearness = new WeakMap<Pricing.Service, Map<string, number>>()

const keyOf = ({ provider, request }: ChargedCall): string => `${provider}\n${request.model ?? ""}`

const learn = (
  pricing: Pricing.Service,
  call: ChargedCall,
  response: ModelResponse.ModelResponse,
  cost: Money.Money
): void => {
  const isAsAsked = response.model === call.request.model && response.serviceTier === undefined
  if (isAsAsked || response.usage === undefined) return
  const price = priceOf(pricing, call)
  if (price === undefined) return
  const { usage } = response
  const service = serviceOf(call)
  const costs = (isMixed(service) ? [service, { provider: service.provider }] : [service]).flatMap(
    (one) => Price.cost(price, usage, one) ?? []
  )
  const expected = Money.largest(costs)
  if (expected === undefined || expected === Money.zero || cost <= expected) return
  let known = dearness.get(pricing)
  if (known === undefined) dearness.set(pricing, (known = new Map()))
  const factor = Number((cost * 1_000n) / expected + 1n) / 1_000
  known.set(keyOf(call), Math.max(known.get(keyOf(call)) ?? 1, factor))
}

/** The service tier of a call, from the run or from its own options. */
export const serviceOf = ({ provider, request, serviceTier }: ChargedCall): Price.Service => {
  const options = request.providerOptions[provider]
  const named =
    typeof options === "object" && options !== null && "service_tier" in options ? options["service_tier"] : undefined
  return { provider, serviceTier: serviceTier ?? (typeof named === "string" ? named : undefined) }
}

/** Whether a request in a tier may be answered in the standard one: a batch and a decision are not. */
const isMixed = ({ serviceTier }: Price.Service): boolean =>
  serviceTier !== undefined && !["batch", "decision"].includes(serviceTier)

/** Picodollars per input token, per output token, and per call. */
export interface CallRates {
  readonly input: Money.Money
  readonly output: Money.Money
  readonly fees: Money.Money
}

/** Models that search the web in each call, by name. Their answers do not report how often. */
const SEARCHES = /search/

/** The most charged in addition to tokens. */
const feesOf = ({ fees }: Price.Price, { request }: ChargedCall): Money.Money =>
  (fees?.request ?? Money.zero) + (SEARCHES.test(request.model ?? "") ? (fees?.search ?? Money.zero) : Money.zero)

const ordinary = new WeakMap<Price.Price, CallRates>()

const dearestOf = (price: Price.Price, call: ChargedCall, input: number, service: Price.Service): CallRates => {
  const all = [
    ...Price.ratesUpTo(price, input, service),
    ...(isMixed(service) ? Price.ratesUpTo(price, input, { provider: service.provider }) : [])
  ]
  let most: CallRates = { input: Money.zero, output: Money.zero, fees: feesOf(price, call) }
  const isSpoken = hasAudio(call.request)
  for (const rates of all) {
    const dearest = Price.dearestOf(rates, isSpoken)
    if (dearest.input > most.input) most = { ...most, input: dearest.input }
    if (dearest.output > most.output) most = { ...most, output: dearest.output }
  }
  return most
}

/**
 * The highest rates of a call with at most this much input, scaled by how much more expensive its model's answers have
 * been; `undefined` without a price.
 */
export const ratesOf = (
  pricing: Pricing.Service,
  call: ChargedCall,
  price: Price.Price | undefined,
  input: number
): CallRates | undefined => {
  if (price === undefined) return undefined
  const service = serviceOf(call)
  // Nearly all calls are in the standard tier, at a price with a single context tier.
  const isOrdinary = service.serviceTier === undefined && price.tiers.length === 1 && !hasAudio(call.request)
  let rates = isOrdinary ? ordinary.get(price) : undefined
  if (rates === undefined) {
    rates = dearestOf(price, call, input, service)
    if (isOrdinary) ordinary.set(price, rates)
  }
  const factor = dearness.get(pricing)?.get(keyOf(call))
  if (factor === undefined) return rates
  const up = (rate: Money.Money) => (rate * BigInt(Math.ceil(factor * 1_000))) / 1_000n + 1n
  return { ...rates, input: up(rates.input), output: up(rates.output) }
}

/** The most that a call can cost. */
export const most = (pricing: Pricing.Service, call: ChargedCall): Most => {
  const price = priceOf(pricing, call)
  const { tokens: input } = inputOf(call.request, call.provider, price)
  const output =
    call.request._tag === "Embedding"
      ? 0
      : (call.request.settings.maxTokens ?? unlimited(call.request.model ?? "", price))
  const rates = ratesOf(pricing, call, price, input)
  return { input, output, rates, cost: rates === undefined ? undefined : costAt(rates, input, output) }
}

const costAt = (rates: CallRates, input: number, output: number): Money.Money =>
  rates.fees + Money.times(rates.input, input) + Money.times(rates.output, output)

/** The result of a call, as far as its price goes. */
export interface EndedCall {
  readonly response?: ModelResponse.ModelResponse
  readonly error?: AiError.AiError
  readonly billed: "yes" | "no" | "unknown"
}

/** The part of a ledger entry that this module decides. */
export type Charge = Pick<LedgerEntry.AttemptEntry, "usage" | "cost" | "unknown" | "estimated" | "fees" | "doubt">

/**
 * The most output tokens of an answer without usage: the limit that was sent. The visible content says little about it,
 * because thinking, refusals and calls of the provider's own tools are billed too.
 */
const outputOf = (call: ChargedCall, response: ModelResponse.ModelResponse, most: Most): number => {
  if (response._tag !== "CompletionResponse") return most.output
  if (call.request._tag === "Completion" && call.request.settings.maxTokens !== undefined) return most.output
  return Math.max(shownOf(response), most.output)
}

/** The most tokens of an answer's visible content. */
export const shownOf = ({ parts }: ModelResponse.CompletionResponse): number =>
  parts.reduce(
    (sum, part) =>
      sum
      + (part.type === "text" || part.type === "reasoning"
        ? Utf8.byteLength(part.text)
        : Utf8.byteLength(JSON.stringify(part))),
    16
  )

/** The cost that a provider reports with an answer. */
export const reportedBy = (response: ModelResponse.ModelResponse | undefined): Money.Money | undefined =>
  response?.reportedCost === undefined ? undefined : Money.fromReported(response.reportedCost)

/** What a call has cost: by the provider's usage, or by the cost that it reports, or at most when there is neither. */
export const ended = (
  pricing: Pricing.Service,
  call: ChargedCall,
  { billed, error, response }: EndedCall,
  most: () => Most
): Charge => {
  const counted = error === undefined ? undefined : ModelFailure.usageOf(error)
  if (counted !== undefined && counted.unpriceable !== true) {
    const requestedModel = call.request.model ?? ""
    const answered = { model: requestedModel, ...serviceOf(call), ...ModelFailure.answeredBy(error!) }
    return Pricing.charge(
      pricing,
      { ...answered, requestedModel, provider: call.provider, usage: counted },
      call.startedAt
    )
  }
  if (response?.usage !== undefined && response.usage.unpriceable !== true) {
    const charge = Pricing.charge(pricing, { ...response, usage: response.usage }, call.startedAt)
    if (charge.cost !== undefined) learn(pricing, call, response, charge.cost)
    return charge
  }
  if (response === undefined && billed === "no") return { cost: Money.zero }
  const bound = most()
  const said = response?.usage ?? counted
  const usage = atLeast(said, {
    ...Usage.zero,
    uncachedInput: bound.input,
    output: response === undefined ? bound.output : outputOf(call, response, bound)
  })
  const reported = reportedBy(response)
  // The tokens are not known, and the cost is.
  if (reported !== undefined) return { usage, cost: reported, estimated: true }
  if (bound.rates === undefined) return { usage, cost: undefined, unknown: "price", estimated: true }
  const cost = costAt(bound.rates, usage.uncachedInput, usage.output)
  if (said === undefined) return { usage, cost, estimated: true }
  const answered = response ?? {
    model: call.request.model ?? "",
    ...serviceOf(call),
    ...(error === undefined ? undefined : ModelFailure.answeredBy(error)),
    requestedModel: call.request.model ?? "",
    provider: call.provider
  }
  const least = leastOf(pricing, answered, said, call.startedAt) ?? Money.zero
  return { usage, cost: Money.largest([cost, least + Money.times(bound.rates.output, usage.output)]), estimated: true }
}

/** A bound that is no lower than what the provider reports. */
export const atLeast = (said: Usage.Usage | undefined, bound: Usage.Usage): Usage.Usage =>
  said === undefined
    ? bound
    : {
        ...bound,
        uncachedInput: Math.max(bound.uncachedInput, Usage.inputTokens(said)),
        output: Math.max(bound.output, Usage.outputTokens(said))
      }

/** The cost of what a provider reports, where that is not all. */
export const leastOf = (
  pricing: Pricing.Service,
  answered: Omit<Pricing.PricedAnswer, "usage">,
  { unpriceable: _, ...said }: Usage.Usage,
  at: number
): Money.Money | undefined => Pricing.charge(pricing, { ...answered, usage: said }, at).cost
