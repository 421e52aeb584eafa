/**
 * What a model charges: one price for each token class, at each context length, for each class of service.
 *
 * @since 0.1.0
 */
import * as Money from "../data/Money.ts"
import * as Usage from "../data/Usage.ts"

/** Prices in picodollars a token. A class that is left out has no price of its own and is charged as its parent. */
export interface Rates {
  readonly input: Money.Money
  /** Parent: `input`. */
  readonly cacheRead?: Money.Money
  /** Parent: `input`. */
  readonly cacheWrite?: Money.Money
  /** Parent: `cacheWrite`. */
  readonly cacheWrite1h?: Money.Money
  readonly output: Money.Money
  /** Parent: `output`. */
  readonly reasoning?: Money.Money
}

/** Rates for requests whose whole input is longer than `above` tokens. */
export interface Tier {
  readonly above: number
  readonly rates: Rates
  /** Of the batch API, where they are not a plain share of `rates`. */
  readonly batch?: Rates
}

export interface Price {
  readonly provider: string
  /** The entry of the table that the name was resolved to. */
  readonly model: string
  /** Where the figures come from, for people. */
  readonly source: string
  /** By context length, ascending; the first is for `above: 0`. */
  readonly tiers: readonly [Tier, ...Array<Tier>]
  /** The model's context window in tokens, where it is known. */
  readonly contextWindow?: number
}

/** A price of one's own, in USD per million tokens. */
export interface UsdPerMillion {
  readonly input: number
  readonly output: number
  readonly cacheRead?: number
  readonly cacheWrite?: number
  readonly cacheWrite1h?: number
  readonly reasoning?: number
  /** Prices of the batch API; left out, those that the provider publishes: half of each class. */
  readonly batch?: Omit<UsdPerMillion, "batch">
}

const rateKeys = ["input", "cacheRead", "cacheWrite", "cacheWrite1h", "output", "reasoning"] as const

/**
 * Rates from USD per million tokens. 0 is a price; a price under 0.0001 or over 100,000 USD is refused with a
 * `RangeError`, since it was given for another unit.
 */
export const ratesFromUsdPerMillion = (usd: UsdPerMillion): Rates => {
  const rates: { -readonly [K in keyof Rates]?: Money.Money } = {}
  for (const key of rateKeys) {
    const value = usd[key]
    if (value === undefined) continue
    if (value !== 0 && (value < 1e-4 || value > 1e5)) {
      throw new RangeError(
        `${key}: ${value} USD per million tokens cannot be right; prices here are per million, so 0.15 means 0.15 USD for 1,000,000 tokens`
      )
    }
    rates[key] = Money.perMillionTokens(value)
  }
  return rates as Rates
}

/** A price of one's own for a model, in USD per million tokens, without tiers. */
export const fromUsdPerMillion = (model: string, usd: UsdPerMillion, source = "your own price"): Price => ({
  provider: "",
  model,
  source,
  tiers: [
    {
      above: 0,
      rates: ratesFromUsdPerMillion(usd),
      ...(usd.batch === undefined ? undefined : { batch: ratesFromUsdPerMillion(usd.batch) })
    }
  ]
})

const tierAt = (price: Price, inputTokens: number): Tier =>
  price.tiers.findLast((tier) => inputTokens > tier.above) ?? price.tiers[0]

/** The rates for a request with this many input tokens. */
export const ratesAt = (price: Price, inputTokens: number): Rates => tierAt(price, inputTokens).rates

/** The price of one token of a class, its parent's where it has none of its own. */
export const rateOf = (rates: Rates, tokenClass: Usage.TokenClass): Money.Money => {
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

/** Whether a class has a price of its own; a class that has none is charged as its parent and is to be marked. */
export const hasOwnRate = (rates: Rates, tokenClass: Usage.TokenClass): boolean =>
  tokenClass === "uncachedInput" ? true : rates[tokenClass] !== undefined

/**
 * How a class of service changes the price, as published: OpenAI's batch and flex and Anthropic's batch are half of every
 * token class (platform.openai.com/docs/pricing and docs.anthropic.com pricing, looked at 2026-11-25; every batch price
 * in LiteLLM's table of 2026-07-24 is half). A class of service that is not here has no known price.
 */
const serviceTiers: { readonly [provider: string]: { readonly [tier: string]: readonly [bigint, bigint] } } = {
  openai: { default: [1n, 1n], auto: [1n, 1n], scale: [1n, 1n], batch: [1n, 2n], flex: [1n, 2n] },
  anthropic: { default: [1n, 1n], standard: [1n, 1n], batch: [1n, 2n] }
}

/** The class of service that a request is asked in, and the provider that asks its price. */
export interface Service {
  readonly serviceTier?: string | undefined
  readonly provider?: string | undefined
}

/** The share of the ordinary price, as numerator and denominator; `null`: not known. */
const shareOf = (price: Price, { provider, serviceTier }: Service): readonly [bigint, bigint] | undefined | null =>
  serviceTier === undefined || serviceTier === "default"
    ? undefined
    : (ownOf(ownOf(serviceTiers, provider ?? price.provider), serviceTier) ?? null)

/** A property of the object's own: a name from outside never finds what every object inherits. */
const ownOf = <A>(table: { readonly [name: string]: A } | undefined, name: string): A | undefined =>
  table !== undefined && Object.hasOwn(table, name) ? table[name] : undefined

/** The rates of one context tier in a class of service; the ordinary ones where its own are not known. */
const ratesIn = (price: Price, tier: Tier, service: Service): Rates => {
  if (service.serviceTier === "batch" && tier.batch !== undefined) return tier.batch
  const share = shareOf(price, service)
  if (share === undefined || share === null) return tier.rates
  // Rounded up: what is held must not be less than what may be charged.
  return Object.fromEntries(
    Object.entries(tier.rates).map(([name, rate]: [string, Money.Money]) => [
      name,
      (rate * share[0] + share[1] - 1n) / share[1]
    ])
  ) as unknown as Rates
}

/** The rates in a class of service; the ordinary ones where its own are not known. */
export const ratesFor = (price: Price, inputTokens: number, service: Service): Rates =>
  ratesIn(price, tierAt(price, inputTokens), service)

/** The rates of every context tier that a request of at most so many input tokens may be in. */
export const ratesUpTo = (price: Price, inputTokens: number, service: Service): ReadonlyArray<Rates> =>
  price.tiers.filter((tier) => tier.above < Math.max(1, inputTokens)).map((tier) => ratesIn(price, tier, service))

/** Whether the price of a class of service is known. */
export const hasService = (price: Price, service: Service): boolean => shareOf(price, service) !== null

/** More picodollars than a call can cost: four million dollars. */
const MOST = 2n ** 62n

/** The exact charge for a usage; `undefined` when it cannot be known. */
export const cost = (price: Price, usage: Usage.Usage, service: Service = {}): Money.Money | undefined => {
  if (usage.unpriceable === true) return undefined
  const tier = tierAt(price, Usage.inputTokens(usage))
  const own = service.serviceTier === "batch" ? tier.batch : undefined
  const share = own === undefined ? shareOf(price, service) : undefined
  if (share === null) return undefined
  const rates = own ?? tier.rates
  let total = Money.zero
  for (const tokenClass of Usage.classes) {
    const tokens = usage[tokenClass]
    if (!Number.isSafeInteger(tokens)) return undefined
    if (tokens > 0) total += Money.times(rateOf(rates, tokenClass), tokens)
  }
  const charge = share === undefined ? total : (total * share[0]) / share[1]
  // No column holds more: such a price is none.
  return charge > MOST ? undefined : charge
}

/** What the same usage would cost were nothing read from or written to the provider's prompt cache. */
export const withoutPromptCache = (usage: Usage.Usage): Usage.Usage => ({
  ...usage,
  uncachedInput: Usage.inputTokens(usage),
  cacheRead: 0,
  cacheWrite: 0,
  cacheWrite1h: 0
})
