/**
 * The price of a model: one rate per token class, for each context length and service tier.
 *
 * **Example** (the cost of a call)
 *
 * ```ts
 * import { Money, Price, Usage } from "@pipe/core"
 *
 * const price = Price.fromUsdPerMillion("acme-1", { input: 0.15, output: 0.6 })
 * const cost = Price.cost(price, { ...Usage.zero, uncachedInput: 1_000, output: 200 })
 * Money.toUsd(cost ?? Money.zero) // => "0.00027"
 * ```
 *
 * @since 0.1.0
 */
import * as Usage from "../model/Usage.ts"
import * as Money from "./Money.ts"

/** Rates per token, in fractions of a picodollar. A class without a rate of its own is charged at its parent's. */
export interface Rates {
  /** Uncached text input. */
  readonly input: Money.Money
  /** Parent: `input`. */
  readonly cacheRead?: Money.Money
  /** Parent: `input`. */
  readonly cacheWrite?: Money.Money
  /** Parent: `cacheWrite`. */
  readonly cacheWrite1h?: Money.Money
  /** Parent: `input`. */
  readonly inputImage?: Money.Money
  /** No parent: audio without a rate of its own has no price. */
  readonly inputAudio?: Money.Money
  /** Text output. */
  readonly output: Money.Money
  /** Parent: `output`. */
  readonly reasoning?: Money.Money
  /** Parent: `output`. */
  readonly outputImage?: Money.Money
  /** No parent. */
  readonly outputAudio?: Money.Money
  /** The number of parts in a picodollar: list prices such as 1/12 USD are not whole picodollars. Default: 1. */
  readonly per?: bigint
}

/** Charges in addition to tokens, in picodollars. No service tier discounts them. */
export interface Fees {
  /** Per answered request. */
  readonly request?: Money.Money
  /** Per web search that the provider makes. */
  readonly search?: Money.Money
}

/** Rates for requests whose total input is longer than `above` tokens. */
export interface Tier {
  /** Total input tokens of a request; 0 for the first. */
  readonly above: number
  readonly rates: Rates
  /** Rates of service tiers, such as `batch`, that are not a known share of `rates`. */
  readonly services?: { readonly [serviceTier: string]: Rates }
}

/** The price of a model: its rates by context length and service tier, its fees, and its source. */
export interface Price {
  readonly provider: string
  /** The table entry that the name resolved to. */
  readonly model: string
  /** The source of the figures, for display. */
  readonly source: string
  /** By context length, ascending. The first has `above: 0`. */
  readonly tiers: readonly [Tier, ...Array<Tier>]
  readonly fees?: Fees
  /** The context window in tokens, when known. */
  readonly contextWindow?: number
}

/** Prices of the token classes, in USD per million tokens. Defaults: those of the parents that `Rates` names. */
export interface UsdRates {
  readonly input: number
  readonly output: number
  readonly cacheRead?: number
  readonly cacheWrite?: number
  readonly cacheWrite1h?: number
  readonly inputAudio?: number
  readonly inputImage?: number
  readonly reasoning?: number
  readonly outputAudio?: number
  readonly outputImage?: number
}

/** Your own price, in USD per million tokens. */
export interface UsdPerMillion extends UsdRates {
  /** USD per request. */
  readonly perRequest?: number
  /** USD per web search that the provider makes. */
  readonly perSearch?: number
  /**
   * Prices of the batch API. Default: half of each class for OpenAI and Anthropic, whose discount is published; for
   * other providers unknown.
   */
  readonly batch?: UsdRates
  /**
   * Prices of other service tiers by name: `{ flex: { input: 0.05, output: 0.2 } }`. Default: the published share of each
   * class, where one is known.
   */
  readonly tiers?: { readonly [serviceTier: string]: UsdRates }
}

const rateKeys = [...Usage.classes.slice(1), "input", ...Usage.rareClasses] as ReadonlyArray<keyof UsdRates>

/** Differences of this many picodollars come from binary fractions. */
const NOISE = 1e-6

/** The decimal places of a price in picodollars: 83333.33333333333 has 11. */
const placesOf = (usdPerMillion: number): number => {
  const pico = usdPerMillion * 1e6
  if (Math.abs(pico - Math.round(pico)) < NOISE) return 0
  return Math.max(0, (usdPerMillion.toString().split(".")[1]?.length ?? 0) - 6)
}

const scaled = (usdPerMillion: number, places: number): bigint => {
  if (placesOf(usdPerMillion) === 0) return BigInt(Math.round(usdPerMillion * 1e6)) * 10n ** BigInt(places)
  const [whole, fraction = ""] = usdPerMillion.toString().split(".")
  return BigInt(whole! + fraction.padEnd(6 + places, "0"))
}

/** The lowest price per million tokens that is not 0, in USD. */
export const LEAST = 1e-4

/**
 * Converts USD per million tokens to exact rates: in whole picodollars, or in decimal fractions of them when necessary.
 * 0 is a price. Throws a `RangeError` for a price under 0.0001 or over 100,000 USD, which was given in another unit.
 */
export const ratesFromUsdPerMillion = (usd: UsdRates): Rates => {
  let places = 0
  for (const key of rateKeys) {
    const value = usd[key]
    if (value === undefined) continue
    if (!(value === 0 || (value >= LEAST && value <= 1e5))) {
      throw new RangeError(
        `${key}: ${value} USD per million tokens is not plausible; prices are per million, so 0.15 means 0.15 USD for 1,000,000 tokens`
      )
    }
    places = Math.max(places, placesOf(value))
  }
  const rates: { -readonly [K in keyof Rates]?: bigint } = places === 0 ? {} : { per: 10n ** BigInt(places) }
  for (const key of rateKeys) {
    const value = usd[key]
    if (value !== undefined) rates[key] = scaled(value, places)
  }
  return rates as Rates
}

const feeOf = (name: string, usd: number | undefined): Money.Money | undefined => {
  if (usd === undefined) return undefined
  if (!(usd >= 0 && usd <= 1e3)) throw new RangeError(`${name}: ${usd} USD is not a fee`)
  return BigInt(Math.round(usd * 1e12))
}

/** Converts fees from USD each. */
export const feesFromUsd = ({
  perRequest,
  perSearch
}: {
  readonly perRequest?: number | undefined
  readonly perSearch?: number | undefined
}): { readonly fees?: Fees } => {
  const [request, search] = [feeOf("perRequest", perRequest), feeOf("perSearch", perSearch)]
  return request === undefined && search === undefined
    ? {}
    : {
        fees: {
          ...(request === undefined ? undefined : { request }),
          ...(search === undefined ? undefined : { search })
        }
      }
}

/** Makes your own price for a model, in USD per million tokens, without context tiers. */
export const fromUsdPerMillion = (model: string, usd: UsdPerMillion, source = "your own price"): Price => {
  const services = { ...usd.tiers, ...(usd.batch === undefined ? undefined : { batch: usd.batch }) }
  // The types reject it, but a flow may not have been type-checked.
  for (const rates of [usd, ...Object.values(services)]) {
    const missing = (["input", "output"] as const).find((name) => typeof rates[name] !== "number")
    if (missing !== undefined)
      throw new RangeError(`${missing} is missing: a price has input and output, in USD per million tokens`)
  }
  return { provider: "", model, source, tiers: [tierFromUsd(0, usd, services)], ...feesFromUsd(usd) }
}

/** The rates of a context length, and of service tiers that have their own there. */
export const tierFromUsd = (
  above: number,
  usd: UsdRates,
  services: { readonly [serviceTier: string]: UsdRates } = {}
): Tier => {
  const own = Object.entries(services).map(([name, rates]) => [name, ratesFromUsdPerMillion(rates)] as const)
  return {
    above,
    rates: ratesFromUsdPerMillion(usd),
    ...(own.length === 0 ? undefined : { services: Object.fromEntries(own) })
  }
}

/** The context length of a request with this many input tokens. */
export const tierAt = (price: Price, inputTokens: number): Tier =>
  price.tiers.findLast((tier) => inputTokens > tier.above) ?? price.tiers[0]

/** The rates for a request with this many input tokens. */
export const ratesAt = (price: Price, inputTokens: number): Rates => tierAt(price, inputTokens).rates

/** The rate of a class in fractions of a picodollar, or its parent's. */
const exactRate = (rates: Rates, tokenClass: Usage.TokenClass): bigint => {
  switch (tokenClass) {
    case "uncachedInput":
      return rates.input
    case "cacheRead":
      return rates.cacheRead ?? rates.input
    case "cacheWrite":
      return rates.cacheWrite ?? rates.input
    case "cacheWrite1h":
      return rates.cacheWrite1h ?? rates.cacheWrite ?? rates.input
    case "output":
      return rates.output
    case "reasoning":
      return rates.reasoning ?? rates.output
  }
}

const rareRate = (rates: Rates, tokenClass: Usage.RareClass): bigint | undefined => {
  switch (tokenClass) {
    case "inputImage":
      return rates.inputImage ?? rates.input
    case "outputImage":
      return rates.outputImage ?? rates.output
    default:
      return rates[tokenClass]
  }
}

/** The rate of a class in picodollars, rounded up, or its parent's. */
export const rateOf = (rates: Rates, tokenClass: Usage.TokenClass): Money.Money => {
  const rate = exactRate(rates, tokenClass)
  return rates.per === undefined ? rate : (rate + rates.per - 1n) / rates.per
}

/** The price per million tokens of a class, as price lists show it; `undefined` when it has none. */
export const perMillion = (rates: Rates, tokenClass: Usage.TokenClass | Usage.RareClass): Money.Money | undefined => {
  const rate =
    tokenClass === "inputAudio"
    || tokenClass === "outputAudio"
    || tokenClass === "inputImage"
    || tokenClass === "outputImage"
      ? rareRate(rates, tokenClass)
      : exactRate(rates, tokenClass)
  return rate === undefined ? undefined : (rate * 1_000_000n) / (rates.per ?? 1n)
}

/** Whether audio input has a rate. Without one it has no price. */
export const hasAudio = ({ tiers }: Price): boolean => tiers.every(({ rates }) => rates.inputAudio !== undefined)

/** The highest rate of an input token, which may be audio, and of an output token, in picodollars. */
export const dearestOf = (
  rates: Rates,
  isAudio = false
): { readonly input: Money.Money; readonly output: Money.Money } => {
  const most = (names: ReadonlyArray<Exclude<keyof Rates, "per">>) => {
    let found = Money.zero
    for (const name of names) if ((rates[name] ?? Money.zero) > found) found = rates[name]!
    return rates.per === undefined ? found : (found + rates.per - 1n) / rates.per
  }
  return {
    input: most([
      "input",
      "cacheRead",
      "cacheWrite",
      "cacheWrite1h",
      "inputImage",
      ...(isAudio ? (["inputAudio"] as const) : [])
    ]),
    output: most(["output", "reasoning", "outputImage"])
  }
}

/** Tests whether a class has a rate of its own. A class without one is charged at its parent's, and marked. */
export const hasOwnRate = (rates: Rates, tokenClass: Usage.TokenClass): boolean =>
  tokenClass === "uncachedInput" ? true : rates[tokenClass] !== undefined

type Ratio = readonly [numerator: bigint, denominator: bigint]

const ORDINARY: Ratio = [1n, 1n]
const HALF: Ratio = [1n, 2n]

/**
 * The published effect of a service tier on the price of every token class. A tier that is not listed has no known price.
 *
 * Sources, accessed 2026-11-30: developers.openai.com/api/docs/pricing (batch and flex half),
 * platform.claude.com/docs/en/about-claude/pricing (batch half, `us` 1.1 times), ai.google.dev/gemini-api/docs/flex-inference
 * (batch and flex half), console.groq.com/docs/flex-processing (flex at the standard price) and /docs/batch (half).
 */
const serviceTiers: { readonly [provider: string]: { readonly [tier: string]: Ratio } } = {
  // A decision of a model without a price for decisions is charged like a completion.
  openai: { default: ORDINARY, auto: ORDINARY, scale: ORDINARY, batch: HALF, flex: HALF, decision: ORDINARY },
  anthropic: { default: ORDINARY, standard: ORDINARY, batch: HALF, us: [11n, 10n] },
  google: { default: ORDINARY, standard: ORDINARY, batch: HALF, flex: HALF },
  groq: { default: ORDINARY, auto: ORDINARY, on_demand: ORDINARY, flex: ORDINARY, batch: HALF },
  aws: { default: ORDINARY }
}

/** The published share of the standard price in a service tier of a provider; `undefined` when none is known. */
export const knownShare = (provider: string, serviceTier: string): number | undefined => {
  const share = ownOf(ownOf(serviceTiers, provider), serviceTier)
  return share === undefined ? undefined : Number(share[0]) / Number(share[1])
}

/** The service tier of a request, and the provider that charges for it. */
export interface Service {
  /** Several are joined by `+`: `"batch+us"`. */
  readonly serviceTier?: string | undefined
  readonly provider?: string | undefined
}

/** The share of the standard price; `null` when not known. */
const shareOf = (price: Price, { provider, serviceTier }: Service): Ratio | undefined | null => {
  if (serviceTier === undefined || serviceTier === "default") return undefined
  const known = ownOf(serviceTiers, provider ?? price.provider)
  let share = ORDINARY
  for (const name of serviceTier.split("+")) {
    const one = ownOf(known, name)
    if (one === undefined) return null
    share = [share[0] * one[0], share[1] * one[1]]
  }
  return share
}

/** The rates that a model has of its own for a service tier, adjusted for the other tiers that are joined to it. */
const ownService = (
  price: Price,
  tier: Tier,
  service: Service
): readonly [Rates, Ratio | undefined | null] | undefined => {
  if (tier.services === undefined || service.serviceTier === undefined) return undefined
  const names = service.serviceTier.split("+")
  const own = names.find((name) => ownOf(tier.services, name) !== undefined)
  if (own === undefined) return undefined
  const others = names.filter((name) => name !== own).join("+")
  return [tier.services[own]!, shareOf(price, { ...service, serviceTier: others === "" ? undefined : others })]
}

/** Reads an own property only: a name from outside never finds an inherited one. */
const ownOf = <A>(table: { readonly [name: string]: A } | undefined, name: string): A | undefined =>
  table !== undefined && Object.hasOwn(table, name) ? table[name] : undefined

/** The rates of one context tier in a service tier; the standard ones when those are unknown. */
const ratesIn = (price: Price, tier: Tier, service: Service): Rates => {
  const [rates, share] = ownService(price, tier, service) ?? [tier.rates, shareOf(price, service)]
  if (share === undefined || share === null) return rates
  const parts = Object.entries(rates)
    .filter(([name]) => name !== "per")
    .map(([name, rate]: [string, bigint]) => [name, rate * share[0]])
  return { ...(Object.fromEntries(parts) as unknown as Rates), per: (rates.per ?? 1n) * share[1] }
}

/** The rates in a service tier; the standard ones when those are unknown. */
export const ratesFor = (price: Price, inputTokens: number, service: Service): Rates =>
  ratesIn(price, tierAt(price, inputTokens), service)

/** The rates of every context tier that applies to requests with up to this many input tokens. */
export const ratesUpTo = (price: Price, inputTokens: number, service: Service): ReadonlyArray<Rates> =>
  price.tiers.filter((tier) => tier.above < Math.max(1, inputTokens)).map((tier) => ratesIn(price, tier, service))

/** Tests whether the price of a service tier is known. */
export const hasService = (price: Price, service: Service): boolean => {
  const [tier] = price.tiers
  const own = ownService(price, tier, service)
  return (own === undefined ? shareOf(price, service) : own[1]) !== null
}

/** The charges of a usage in addition to tokens; `undefined` when they cannot be known. */
export const feesOf = ({ fees }: Price, { searches = 0 }: Usage.Usage): Money.Money | undefined => {
  const request = fees?.request ?? Money.zero
  if (searches === 0) return request
  // A fee per request is a fee for its search.
  return fees?.search === undefined ? fees?.request : request + Money.times(fees.search, searches)
}

/** More picodollars than a call can cost: four million dollars. */
const MOST = 2n ** 62n

/** The exact cost of a usage, rounded to a picodollar; `undefined` when it cannot be known. */
export const cost = (price: Price, usage: Usage.Usage, service: Service = {}): Money.Money | undefined => {
  if (usage.unpriceable === true) return undefined
  const tier = tierAt(price, Usage.inputTokens(usage))
  const [rates, share] = ownService(price, tier, service) ?? [tier.rates, shareOf(price, service)]
  const fees = feesOf(price, usage)
  if (share === null || fees === undefined) return undefined
  let total = Money.zero
  for (const tokenClass of Usage.classes) {
    const tokens = usage[tokenClass]
    if (!Number.isSafeInteger(tokens)) return undefined
    if (tokens > 0) total += Money.times(exactRate(rates, tokenClass), tokens)
  }
  for (const tokenClass of Usage.rareClasses) {
    const tokens = usage[tokenClass]
    if (tokens === undefined || tokens === 0) continue
    const rate = rareRate(rates, tokenClass)
    if (rate === undefined) return undefined
    total += Money.times(rate, tokens)
  }
  const parts = (rates.per ?? 1n) * (share?.[1] ?? 1n)
  const numerator = share === undefined ? total : total * share[0]
  const charge = (parts === 1n ? numerator : (2n * numerator + parts) / (2n * parts)) + fees
  // No column holds more, so such a price is invalid.
  return charge > MOST ? undefined : charge
}

/** The usage as it would be without the provider's prompt cache. */
export const withoutPromptCache = (usage: Usage.Usage): Usage.Usage => ({
  ...usage,
  uncachedInput: usage.uncachedInput + usage.cacheRead + usage.cacheWrite + usage.cacheWrite1h,
  cacheRead: 0,
  cacheWrite: 0,
  cacheWrite1h: 0
})
