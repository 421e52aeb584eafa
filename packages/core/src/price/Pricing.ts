/**
 * Looks up prices: public prices, overridden by your own.
 *
 * **Example** (a model that no table knows)
 *
 * ```ts
 * import { Pricing } from "@pipe/core"
 *
 * export const prices = Pricing.layer({ "my-model": { input: 0.15, output: 0.6 } }) // USD per million tokens
 * ```
 *
 * **Details** Rates come from `@pydantic/genai-prices`; money is computed here, exactly. Names are resolved without a
 * provider prefix and with their date. A name that is not an entry, an alias or a dated version of one is unknown, and
 * never approximated by a similar one. An unknown price is `None`, which is not 0.
 *
 * @since 0.1.0
 */
import type * as GenaiPrices from "@pydantic/genai-prices"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Nearest from "../encoding/Nearest.ts"
import type * as LedgerEntry from "../ledger/LedgerEntry.ts"
import type * as Usage from "../model/Usage.ts"
import * as ModelName from "../model/ModelName.ts"
import * as KnownPrices from "./KnownPrices.ts"
import * as Money from "./Money.ts"
import * as Price from "./Price.ts"
import * as PriceTable from "./PriceTable.ts"

/** Looks up prices. */
export interface Service {
  /** The price of a model at a time (milliseconds since 1970). */
  readonly lookup: (options: {
    readonly model: string
    /** As price tables name it. Default: the provider that the model's name belongs to. */
    readonly provider?: string | undefined
    /** The requested model, when another one answered: your own price for it applies too. */
    readonly requested?: string | undefined
    /** Milliseconds since 1970. */
    readonly at: number
  }) => Option.Option<Price.Price>
  /**
   * Adds the prices that a provider brings for its own models, for one run: they come after your own, and before the
   * public ones. See `override`.
   */
  readonly declare: (provider: string, prices: Overrides) => Effect.Effect<void, PriceError>
  /** The table of the public prices. A run names it. */
  readonly table: PriceTable.Named
  /** The provider whose API has this base URL, as price tables name it. */
  readonly providerOf: (baseUrl: string) => Option.Option<string>
  /** All models of a provider in the table, with their prices at a time. */
  readonly list: (options: {
    /** Default: all providers. */
    readonly provider?: string | undefined
    /** Milliseconds since 1970. */
    readonly at: number
  }) => ReadonlyArray<Price.Price>
}

/** The price tables in context. */
export class Pricing extends Context.Service<Pricing, Service>()("@pipe/core/Pricing") {}

/** Your own prices by model name, in USD per million tokens. */
export type Overrides = { readonly [model: string]: Price.UsdPerMillion }

/**
 * A price is invalid: negative, not a number, or without input or output.
 *
 * **Remedy** Correct the flow's `prices`, in USD per million tokens: `{ "my-model": { input: 0.15, output: 0.6 } }`.
 */
export class PriceError extends Schema.TaggedError<PriceError>()("PriceError", {
  model: Schema.String,
  message: Schema.String
}) {}

/** The public prices of this package, and the day on which they were compared with the providers' pages. */
const PACKAGED: PriceTable.Named = { name: "built-in prices", date: KnownPrices.CHECKED }

const PACKAGE = `@pydantic/genai-prices 0.1.8, checked on ${KnownPrices.CHECKED}`

/** Prices by the names of their models. */
const pricesOf = Effect.fnUntraced(function* (overrides: Overrides, source?: string) {
  const prices = new Map<string, Price.Price>()
  for (const [model, usd] of Object.entries(overrides)) {
    prices.set(
      ModelName.withoutPrefix(model),
      yield* Effect.try({
        try: () => Price.fromUsdPerMillion(model, usd, source),
        catch: (error) =>
          new PriceError({ model, message: `price of ${model}: ${error instanceof Error ? error.message : error}` })
      })
    )
  }
  return prices
})

/** The options of `Pricing.layer`. */
export interface Options {
  /** Public prices that come before those of the package: the table that `pipe prices update` has written. */
  readonly table?: PriceTable.PriceTable | undefined
}

/** Makes a `Pricing` from public prices and `overrides`. The table is loaded here, not at import. */
export const make = Effect.fnUntraced(function* (overrides: Overrides = {}, options: Options = {}) {
  const own = yield* pricesOf(overrides)
  const table = yield* Effect.promise(() => import("@pydantic/genai-prices"))
  return fromTable(table, own, options.table)
})

/** Provides `Pricing` with your own prices. */
export const layer = (overrides: Overrides = {}, options: Options = {}): Layer.Layer<Pricing, PriceError> =>
  Layer.effect(Pricing, make(overrides, options))

const said = new WeakSet<PriceTable.Named>()

/** Says once that the table of the public prices is old. */
export const sayOld = ({ table }: Service, at: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (said.has(table) || PriceTable.ageOf(table, at) <= PriceTable.OLD) return Effect.void
    said.add(table)
    return Effect.logWarning(
      `prices are those of ${PriceTable.describe(table)}, more than ${PriceTable.OLD} days old: update them with pipe prices update`
    )
  })

/**
 * A `Pricing` with more of your own prices. What providers declare to it stays in it: runs at the same time do not share
 * the prices of their providers.
 */
export const override = Effect.fnUntraced(function* (self: Service, overrides: Overrides) {
  const own = yield* pricesOf(overrides)
  const declared = new Map<string, ReadonlyMap<string, Price.Price>>()
  const declaredBy = (provider: string | undefined): ReadonlyArray<ReadonlyMap<string, Price.Price>> =>
    provider === undefined ? [...declared.values()] : [declared.get(provider) ?? NONE]
  const ownOf = (model: string, provider: string | undefined): Price.Price | undefined =>
    priceIn(own, model) ?? declaredBy(provider).flatMap((prices) => priceIn(prices, model) ?? [])[0]
  return Pricing.of({
    ...self,
    lookup: (options) => {
      if (own.size === 0 && declared.size === 0) return self.lookup(options)
      const { model, provider, requested = model } = options
      const found = ownOf(model, provider) ?? ownOf(requested, provider)
      return found === undefined ? self.lookup(options) : Option.some(found)
    },
    declare: (provider, prices) =>
      Effect.map(pricesOf(prices, `the prices of ${provider}`), (priced) => {
        declared.set(provider, new Map([...(declared.get(provider) ?? []), ...priced]))
      }),
    list: (options) => [
      ...own.values(),
      ...declaredBy(options.provider).flatMap((prices) => [...prices.values()]),
      ...self.list(options)
    ]
  })
})

const NONE: ReadonlyMap<string, Price.Price> = new Map()

/** Shows how to set the price of a model that no table knows. */
export const example = (model: string): string =>
  `prices: { "${model}": { input: 0.15, output: 0.6 } } (USD per million tokens)`

/** What to do about a model without a price: the name that was probably meant, and how to set a price. */
export const advice = (
  pricing: Service,
  { at, model, provider }: { readonly model: string; readonly provider?: string | undefined; readonly at: number }
): string => {
  const meant = Nearest.of(
    ModelName.withoutPrefix(model),
    pricing.list({ provider, at }).map(({ model }) => model)
  )
  return `${meant === undefined ? "" : `Did you mean ${meant}? `}Set one in the flow: ${example(model)}`
}

/** The parts of an answer that decide its price. */
export interface PricedAnswer {
  readonly provider: string
  readonly model: string
  readonly requestedModel?: string | undefined
  readonly usage: Usage.Usage
  readonly serviceTier?: string | undefined
  /** The cost of the call in USD, as the provider reports it. */
  readonly reportedCost?: number | undefined
}

/** The price of the model that answered: your own first, including one for the requested model. */
export const priceOf = (
  pricing: Service,
  { model, provider, requestedModel }: Pick<PricedAnswer, "provider" | "model" | "requestedModel">,
  at: number
): Price.Price | undefined => Option.getOrUndefined(pricing.lookup({ model, provider, requested: requestedModel, at }))

/** The cost of a usage, or why it is not known. Without a known price, the provider's reported cost is used. */
export const charge = (
  pricing: Service,
  answered: PricedAnswer,
  at: number
): Pick<LedgerEntry.AttemptEntry, "usage" | "cost" | "unknown" | "fees" | "doubt"> => {
  const { provider, reportedCost, serviceTier, usage } = answered
  const price = priceOf(pricing, answered, at)
  const cost = price === undefined ? undefined : Price.cost(price, usage, { serviceTier, provider })
  const reported = reportedCost === undefined ? undefined : Money.fromReported(reportedCost)
  if (price !== undefined && cost !== undefined) {
    const fees = Price.feesOf(price, usage)
    const isDoubted = reported !== undefined && !isNear(cost, reported)
    // A table's price may lack fees, and usage may contradict itself; your own price is what was agreed.
    const isBetter = isDoubted && price.provider !== "" && (reported > cost || usage.inconsistent !== undefined)
    const charged = isBetter ? reported : cost
    return {
      usage,
      cost: charged,
      ...(fees === undefined || fees === Money.zero ? undefined : { fees }),
      ...(isDoubted ? { doubt: doubtOf(answered, cost, reported, charged) } : undefined)
    }
  }
  if (usage.unpriceable === true) return { usage, cost: undefined, unknown: "usage" }
  return reported === undefined ? { usage, cost: undefined, unknown: "price" } : { usage, cost: reported }
}

/** Tests whether two figures for one cost agree, within the provider's rounding. */
const isNear = (ours: Money.Money, theirs: Money.Money): boolean => {
  const apart = ours > theirs ? ours - theirs : theirs - ours
  return apart * 50n <= theirs || apart <= ROUNDING
}

/** A ten-thousandth of a cent. */
const ROUNDING = 1_000_000n

const doubtOf = (
  { model, provider }: PricedAnswer,
  ours: Money.Money,
  theirs: Money.Money,
  charged: Money.Money
): string =>
  `${provider} reports ${Money.format(theirs)} for a call of ${model} that costs ${Money.format(ours)} by its price: the ledger has ${Money.format(charged)}. If the price has changed, set it in the flow: ${example(model)}`

const MINUTE = 60_000

/** The prices of a table as data. */
const fromRows = (table: Pick<PriceTable.PriceTable, "rows"> & PriceTable.Named) => {
  const made = new Map<PriceTable.Row, Price.Price>()
  const find = PriceTable.index(table)
  const source = PriceTable.describe(table)
  return (provider: string, model: string): Price.Price | undefined => {
    const row = find(provider, model)
    if (row === undefined) return undefined
    let price = made.get(row)
    if (price === undefined) made.set(row, (price = PriceTable.toPrice(row, source)))
    return price
  }
}

/** A price of a table, with what public tables do not have: fees, prices of services, and the larger context window. */
const completedBy = (price: Price.Price, packaged: Price.Price | undefined): Price.Price => {
  if (packaged === undefined) return price
  const window = Math.max(price.contextWindow ?? 0, packaged.contextWindow ?? 0)
  const fees = { ...packaged.fees, ...price.fees }
  const tiers = price.tiers.map((tier) => {
    const services = { ...Price.tierAt(packaged, tier.above + 1).services, ...tier.services }
    return Object.keys(services).length === 0 ? tier : { ...tier, services }
  })
  return {
    ...price,
    tiers: tiers as unknown as Price.Price["tiers"],
    ...(Object.keys(fees).length === 0 ? undefined : { fees }),
    ...(window === 0 ? undefined : { contextWindow: window })
  }
}

/** The provider of a model that a request does not name. */
const providerIn = (
  table: typeof GenaiPrices,
  tables: ReadonlyArray<Pick<PriceTable.PriceTable, "rows">>,
  model: string
): string | undefined => {
  const name = ModelName.withoutPrefix(model)
  return (
    ModelName.prefix(model)
    ?? table.findProvider({ modelId: name })?.id
    ?? tables.flatMap(({ rows }) => rows.filter((row) => ModelName.isVersionOf(name, row.model)))[0]?.provider
  )
}

const fromTable = (
  table: typeof GenaiPrices,
  own: ReadonlyMap<string, Price.Price>,
  updated: PriceTable.PriceTable | undefined
): Service => {
  const tables = [...(updated === undefined ? [] : [updated]), { ...PACKAGED, rows: KnownPrices.knownPrices }]
  const inTable = updated === undefined ? undefined : fromRows(updated)
  const inKnown = fromRows({ ...PACKAGED, rows: KnownPrices.knownPrices })
  const find = (model: string, provider: string | undefined, at: number): Price.Price | undefined => {
    const providerId = provider ?? providerIn(table, tables, model)
    if (providerId === undefined || ModelName.withoutPrefix(model) === "") return undefined
    const found = inTable?.(providerId, model)
    const packaged = inKnown(providerId, model) ?? fromPackage(table, model, providerId, at)
    if (found === undefined) return packaged
    // A dated version with a price of its own is not that of its name without the date.
    const isCloser =
      packaged !== undefined
      && packaged.model.length > found.model.length
      && ModelName.isVersionOf(ModelName.withoutPrefix(model), packaged.model)
    return isCloser ? packaged : completedBy(found, packaged)
  }
  // A price may depend on the time of day, so it is cached for its minute only.
  const known = new Map<string, { readonly minute: number; readonly price: Option.Option<Price.Price> }>()
  const lookup: Service["lookup"] = ({ at, model, provider, requested = model }) => {
    const key =
      requested === model || own.size === 0 ? `${provider ?? ""}/${model}` : `${provider ?? ""}/${model}\n${requested}`
    const minute = Math.floor(at / MINUTE)
    const hit = known.get(key)
    if (hit !== undefined && hit.minute === minute) return hit.price
    const price = Option.fromNullishOr(priceIn(own, model) ?? priceIn(own, requested) ?? find(model, provider, at))
    known.set(key, { minute, price })
    return price
  }
  /** The models that tables have of a provider, each once. */
  const namesOf = (id: string): ReadonlyArray<string> => [
    ...new Set([
      ...tables.flatMap(({ rows }) => rows.flatMap((row) => (row.provider === id ? [row.model] : []))),
      ...(table.findProvider({ providerId: id })?.models ?? []).map((entry) => entry.id)
    ])
  ]
  return Pricing.of({
    lookup,
    table: updated ?? PACKAGED,
    declare: (provider, prices) => Effect.asVoid(pricesOf(prices, `the prices of ${provider}`)),
    providerOf: (baseUrl) => Option.fromNullishOr(table.findProvider({ providerApiUrl: baseUrl })?.id),
    list: ({ at, provider }) => [
      ...own.values(),
      ...(provider === undefined ? ["openai", "anthropic"] : [provider]).flatMap((id) =>
        namesOf(id).flatMap((model) => Option.toArray(lookup({ model, provider: id, at })))
      )
    ]
  })
}

/** The price for a name, or for the name that it is a dated version of. */
const priceIn = (prices: ReadonlyMap<string, Price.Price>, model: string): Price.Price | undefined => {
  if (prices.size === 0) return undefined
  const name = ModelName.withoutPrefix(model)
  const exact = prices.get(name)
  if (exact !== undefined) return exact
  for (const [known, price] of prices) if (ModelName.isVersionOf(name, known)) return price
  return undefined
}

const fromPackage = (
  table: typeof GenaiPrices,
  model: string,
  providerId: string,
  at: number
): Price.Price | undefined => {
  const name = ModelName.withoutPrefix(model)
  // Some providers prefix their models with the maker: `openai/gpt-4o-mini`.
  for (const called of model === name ? [name] : [model, name]) {
    const found = table.calcPrice({}, called, { providerId, timestamp: new Date(at) })
    if (found === null || !isNamed(found.model, called)) continue
    const figures = toFigures(found.model_price)
    return figures === undefined
      ? undefined
      : {
          provider: found.provider.id,
          model: found.model.id,
          source: PACKAGE,
          ...figures,
          ...(found.model.context_window === undefined ? undefined : { contextWindow: found.model.context_window })
        }
  }
  return undefined
}

/** The package also matches prefixes of names. A name counts only if the entry lists it, or it is a dated version. */
const isNamed = (entry: GenaiPrices.ModelInfo, called: string): boolean => {
  const name = ModelName.withoutPrefix(called)
  // A fine-tuned model is named `ft:<model>:<owner>:…`; only the first two parts decide its price.
  const model = name.startsWith("ft:") ? name.split(":", 2).join(":") : name
  return [entry.id, ...exactNames(entry.match)].some((known) =>
    ModelName.isVersionOf(model.toLowerCase(), ModelName.withoutPrefix(known).toLowerCase())
  )
}

const exactNames = (match: GenaiPrices.MatchLogic): ReadonlyArray<string> =>
  "equals" in match
    ? [match.equals]
    : "or" in match
      ? match.or.flatMap(exactNames)
      : "starts_with" in match
        ? [match.starts_with.replace(/[-@:.]$/, "")]
        : []

const fields = [
  ["input", "input_mtok"],
  ["cacheRead", "cache_read_mtok"],
  ["cacheWrite", "cache_write_mtok"],
  ["cacheWrite1h", "cache_write_1h_mtok"],
  ["output", "output_mtok"],
  ["reasoning", "output_reasoning_mtok"],
  ["inputAudio", "input_audio_mtok"],
  ["inputImage", "input_image_mtok"],
  ["outputAudio", "output_audio_mtok"],
  ["outputImage", "output_image_mtok"]
] as const

/** The figures of the table; none when one of them cannot be right. */
const toFigures = (price: GenaiPrices.ModelPrice): Pick<Price.Price, "tiers" | "fees"> | undefined => {
  try {
    const tiers = toTiers(price)
    const each = (kilo: unknown) => (typeof kilo === "number" ? kilo / 1_000 : undefined)
    return tiers === undefined
      ? undefined
      : {
          tiers,
          ...Price.feesFromUsd({
            perRequest: each(price.requests_kcount),
            perSearch: each(price.web_searches_kcount)
          })
        }
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

const toTiers = (price: GenaiPrices.ModelPrice): Price.Price["tiers"] | undefined => {
  const starts = new Set<number>([0])
  for (const [, field] of fields) {
    const value = price[field]
    if (typeof value === "object") for (const tier of value.tiers) starts.add(tier.start)
  }
  const tiers = [...starts]
    .sort((a, b) => a - b)
    .map((above): Price.Tier | undefined => {
      const usd: { -readonly [K in keyof Price.UsdRates]?: number } = {}
      for (const [key, field] of fields) {
        const value = price[field]
        if (value === undefined) continue
        usd[key] =
          typeof value === "number" ? value : (value.tiers.findLast((tier) => tier.start <= above)?.price ?? value.base)
      }
      if (usd.input === undefined) return undefined
      return { above, rates: Price.ratesFromUsdPerMillion({ ...usd, input: usd.input, output: usd.output ?? 0 }) }
    })
  return tiers.every((tier) => tier !== undefined) ? (tiers as unknown as Price.Price["tiers"]) : undefined
}
