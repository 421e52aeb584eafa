/**
 * What a model charges at a time: a package of public prices, and over it the author's own.
 *
 * **Example** (a model that no table knows)
 *
 * ```ts
 * import { Pricing } from "@pipe/core"
 *
 * export const prices = Pricing.layer({ "my-model": { input: 0.15, output: 0.6 } }) // USD per million tokens
 * ```
 *
 * **Details** Rates come from `@pydantic/genai-prices`; money is computed here, exactly. Names are resolved without their
 * provider's prefix and with their date; a name that is neither an entry, an alias nor a dated version of one is unknown,
 * never "about like" another. An unknown price is `None`, which is not 0.
 *
 * @since 0.1.0
 */
import type * as GenaiPrices from "@pydantic/genai-prices"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Nearest from "../data/Nearest.ts"
import type * as Usage from "../data/Usage.ts"
import type * as LedgerEntry from "../seam/LedgerEntry.ts"
import * as ModelName from "./ModelName.ts"
import * as Price from "./Price.ts"

export interface Service {
  /** The price of a model at a time (milliseconds since 1970). */
  readonly lookup: (options: {
    readonly model: string
    /** As price tables name it; left out, the provider that the model's name belongs to. */
    readonly provider?: string | undefined
    readonly at: number
  }) => Option.Option<Price.Price>
  /** The provider whose API has this base URL, as price tables name it. */
  readonly providerOf: (baseUrl: string) => Option.Option<string>
  /** All models of a provider that the table knows, with their prices at a time. */
  readonly list: (options: {
    readonly provider?: string | undefined
    readonly at: number
  }) => ReadonlyArray<Price.Price>
}

export class Pricing extends Context.Service<Pricing, Service>()("@pipe/core/Pricing") {}

/** The author's prices by model name, in USD per million tokens. */
export type Overrides = { readonly [model: string]: Price.UsdPerMillion }

/** A price that cannot be right. */
export class PriceError extends Schema.TaggedError<PriceError>()("PriceError", {
  model: Schema.String,
  message: Schema.String
}) {}

const SOURCE = "@pydantic/genai-prices 0.1.8"

/** Public prices, with those of `overrides` before them. The table is loaded here, not when the module is. */
export const make = Effect.fnUntraced(function* (overrides: Overrides = {}) {
  const own = new Map<string, Price.Price>()
  for (const [model, usd] of Object.entries(overrides)) {
    own.set(
      ModelName.withoutPrefix(model),
      yield* Effect.try({
        try: () => Price.fromUsdPerMillion(model, usd),
        catch: (error) =>
          new PriceError({ model, message: `price of ${model}: ${error instanceof Error ? error.message : error}` })
      })
    )
  }
  const table = yield* Effect.promise(() => import("@pydantic/genai-prices"))
  return fromTable(table, own)
})

/** Provides `Pricing` with the author's prices. */
export const layer = (overrides: Overrides = {}): Layer.Layer<Pricing, PriceError> =>
  Layer.effect(Pricing, make(overrides))

/** Another `Pricing` with more prices of one's own over it. */
export const override = Effect.fnUntraced(function* (self: Service, overrides: Overrides) {
  if (Object.keys(overrides).length === 0) return self
  const over = yield* make(overrides)
  const own = Object.keys(overrides).map(ModelName.withoutPrefix)
  const isOwn = (model: string) => own.some((name) => ModelName.isVersionOf(ModelName.withoutPrefix(model), name))
  return Pricing.of({
    ...self,
    lookup: (options) => (isOwn(options.model) ? over.lookup(options) : self.lookup(options))
  })
})

/** How an author gives the price of a model that no table knows. */
export const example = (model: string): string =>
  `prices: { "${model}": { input: 0.15, output: 0.6 } } (USD per million tokens)`

/** What to do about a model without a price: the name that may have been meant, and how a price is given. */
export const advice = (
  pricing: Service,
  { at, model, provider }: { readonly model: string; readonly provider?: string | undefined; readonly at: number }
): string => {
  const meant = Nearest.of(
    ModelName.withoutPrefix(model),
    pricing.list({ provider, at }).map(({ model }) => model)
  )
  return `${meant === undefined ? "" : `Did you mean ${meant}? `}Give one in the flow: ${example(model)}`
}

/** What a usage costs, or why that is not known. */
export const charge = (
  pricing: Service,
  options: {
    readonly provider: string
    readonly model: string
    readonly at: number
    readonly usage: Usage.Usage
    readonly serviceTier?: string | undefined
  }
): Pick<LedgerEntry.AttemptEntry, "usage" | "cost" | "unknown"> => {
  const { provider, serviceTier, usage } = options
  const price = Option.getOrUndefined(pricing.lookup(options))
  const cost = price === undefined ? undefined : Price.cost(price, usage, { serviceTier, provider })
  return cost !== undefined ? { usage, cost } : { usage, cost, unknown: usage.unpriceable === true ? "usage" : "price" }
}

const MINUTE = 60_000

const fromTable = (table: typeof GenaiPrices, own: ReadonlyMap<string, Price.Price>): Service => {
  // A price may change by the time of day, so what is remembered is good for its minute only.
  const known = new Map<string, { readonly minute: number; readonly price: Option.Option<Price.Price> }>()
  /** The author's price of a name, or of the name that it is a dated version of. */
  const ownOf = (model: string): Price.Price | undefined => {
    const name = ModelName.withoutPrefix(model)
    const exact = own.get(name)
    if (exact !== undefined || own.size === 0) return exact
    for (const [known, price] of own) if (ModelName.isVersionOf(name, known)) return price
    return undefined
  }
  const lookup: Service["lookup"] = ({ at, model, provider }) => {
    const key = `${provider ?? ""}/${model}`
    const minute = Math.floor(at / MINUTE)
    const hit = known.get(key)
    if (hit !== undefined && hit.minute === minute) return hit.price
    const price = Option.fromNullishOr(ownOf(model) ?? fromPackage(table, model, provider, at))
    known.set(key, { minute, price })
    return price
  }
  return Pricing.of({
    lookup,
    providerOf: (baseUrl) => Option.fromNullishOr(table.findProvider({ providerApiUrl: baseUrl })?.id),
    list: ({ at, provider }) => [
      ...own.values(),
      ...(provider === undefined ? ["openai", "anthropic"] : [provider]).flatMap((id) =>
        (table.findProvider({ providerId: id })?.models ?? []).flatMap((entry) =>
          Option.toArray(lookup({ model: entry.id, provider: id, at }))
        )
      )
    ]
  })
}

const fromPackage = (
  table: typeof GenaiPrices,
  model: string,
  provider: string | undefined,
  at: number
): Price.Price | undefined => {
  const name = ModelName.withoutPrefix(model)
  const providerId = provider ?? ModelName.prefix(model) ?? table.findProvider({ modelId: name })?.id
  if (providerId === undefined || name === "") return undefined
  const found = table.calcPrice({}, name, { providerId, timestamp: new Date(at) })
  if (found === null || !isNamed(found.model, name)) return undefined
  const tiers = toTiers(found.model_price)
  return tiers === undefined
    ? undefined
    : {
        provider: found.provider.id,
        model: found.model.id,
        source: SOURCE,
        tiers,
        ...(found.model.context_window === undefined ? undefined : { contextWindow: found.model.context_window })
      }
}

/** The package also matches by beginnings of names; a name counts only if the entry says it, or dates it. */
const isNamed = (entry: GenaiPrices.ModelInfo, name: string): boolean => {
  // A fine-tuned model is named `ft:<model>:<owner>:…`; only the first two parts say what it costs.
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
  ["reasoning", "output_reasoning_mtok"]
] as const

const toTiers = (price: GenaiPrices.ModelPrice): Price.Price["tiers"] | undefined => {
  const starts = new Set<number>([0])
  for (const [, field] of fields) {
    const value = price[field]
    if (typeof value === "object") for (const tier of value.tiers) starts.add(tier.start)
  }
  const tiers = [...starts]
    .sort((a, b) => a - b)
    .map((above): Price.Tier | undefined => {
      const usd: { -readonly [K in keyof Omit<Price.UsdPerMillion, "batch">]?: number } = {}
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
