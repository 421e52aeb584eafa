/**
 * Compares a new table of prices with those in use, and finds what must not be used unseen: a price that is a hundred
 * times what it was or a hundredth, and a model that runs use and that has no price any more.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Usage from "../model/Usage.ts"
import type * as Money from "./Money.ts"
import * as Price from "./Price.ts"
import * as PriceTable from "./PriceTable.ts"
import type * as Pricing from "./Pricing.ts"

/** A figure of a price that changes. */
export interface Change {
  readonly provider: string
  readonly model: string
  /** The figure, such as `input`, `output above 200,000`, `flex input`, `search` or `context window`. */
  readonly what: string
  /** Picodollars, per million tokens or for each search and request; tokens for the context window. */
  readonly before: Money.Money | undefined
  readonly after: Money.Money | undefined
  readonly unit: "tokens" | "usd"
  /** The figure was not known: `before` is that of its parent, or absent. */
  readonly isNew: boolean
}

/** A model of a provider. */
export interface ModelOf {
  readonly provider: string
  readonly model: string
}

/** What a new table would change. */
export interface PriceChanges {
  readonly changed: ReadonlyArray<Change>
  /** Models that have had no price. */
  readonly added: ReadonlyArray<ModelOf>
  /** Changes by a factor of 100 or more, and models in use that would be free. */
  readonly absurd: ReadonlyArray<Change>
  /** Models that runs use, and that the new table does not have. */
  readonly missing: ReadonlyArray<ModelOf>
}

/** A change by this factor is a mistake until someone says that it is not. */
const FACTOR = 100n

const classes = [...Usage.classes, ...Usage.rareClasses]

const nameOf: { readonly [K in (typeof classes)[number]]: string } = {
  uncachedInput: "input",
  cacheRead: "cache read",
  cacheWrite: "cache write",
  cacheWrite1h: "cache write, 1 hour",
  output: "output",
  reasoning: "reasoning",
  inputAudio: "audio input",
  inputImage: "image input",
  outputAudio: "audio output",
  outputImage: "image output"
}

const isRare = (name: (typeof classes)[number]): name is Usage.RareClass =>
  (Usage.rareClasses as ReadonlyArray<string>).includes(name)

const hasOwn = (rates: Price.Rates, name: (typeof classes)[number]): boolean =>
  isRare(name) ? rates[name] !== undefined : Price.hasOwnRate(rates, name)

/** Context lengths of two prices. Tables differ by one in where a length begins. */
const lengthsOf = (before: Price.Price, after: Price.Price): ReadonlyArray<number> => {
  const all = [...before.tiers, ...after.tiers].map(({ above }) => above).sort((a, b) => a - b)
  return all.filter((above, at) => at === all.length - 1 || all[at + 1]! - above > 1)
}

/** Service tiers with figures of their own in one of two prices, and the ordinary one. */
const servicesOf = (...prices: ReadonlyArray<Price.Price>): ReadonlyArray<string | undefined> => [
  undefined,
  ...new Set(prices.flatMap(({ tiers }) => tiers.flatMap(({ services }) => Object.keys(services ?? {}))))
]

type Figure = Omit<Change, "provider" | "model">

const ratesChanged = (before: Price.Price, after: Price.Price): ReadonlyArray<Figure> =>
  lengthsOf(before, after).flatMap((above) =>
    servicesOf(before, after).flatMap((serviceTier) => {
      const [old, now] = [before, after].map((price) =>
        Price.ratesFor(price, above + 1, { provider: price.provider, serviceTier })
      )
      // A class without a price of its own follows its parent.
      return classes.flatMap((one): ReadonlyArray<Figure> => {
        if (!hasOwn(old!, one) && !hasOwn(now!, one)) return []
        const [was, is] = [Price.perMillion(old!, one), Price.perMillion(now!, one)]
        if (was === is) return []
        const what = `${serviceTier === undefined ? "" : `${serviceTier} `}${nameOf[one]}${above === 0 ? "" : ` above ${above.toLocaleString("en-US")}`}`
        return [{ what, before: was, after: is, unit: "usd", isNew: !hasOwn(old!, one) }]
      })
    })
  )

/** The figures that differ between two prices. */
const changesOf = (before: Price.Price, after: Price.Price): ReadonlyArray<Change> => {
  const figure = (
    what: string,
    unit: Change["unit"],
    was: Money.Money | undefined,
    is: Money.Money | undefined
  ): ReadonlyArray<Figure> => (was === is ? [] : [{ what, unit, before: was, after: is, isNew: was === undefined }])
  const window = ({ contextWindow }: Price.Price) => (contextWindow === undefined ? undefined : BigInt(contextWindow))
  return [
    ...ratesChanged(before, after),
    ...figure("request", "usd", before.fees?.request, after.fees?.request),
    ...figure("search", "usd", before.fees?.search, after.fees?.search),
    ...figure("context window", "tokens", window(before), window(after))
  ].map((change) => ({ provider: after.provider, model: after.model, ...change }))
}

/** A price that is not known any more is no mistake: it is shown, and no budget holds without it. */
const isAbsurd = ({ after, before = 0n, isNew, unit }: Change): boolean =>
  unit === "usd" && !isNew && after !== undefined && (after >= before * FACTOR || before >= after * FACTOR)

const isFree = ({ tiers }: Price.Price): boolean => tiers.some(({ rates }) => rates.input === 0n)

/** Compares a table with the prices in use. `after` are the prices with the table. `used` are the models that runs have called. */
export const make = (
  pricing: Pricing.Service,
  after: Pricing.Service,
  table: PriceTable.PriceTable,
  used: ReadonlyArray<ModelOf>,
  at: number
): PriceChanges => {
  const changed: Array<Change> = []
  const added: Array<ModelOf> = []
  const free: Array<Change> = []
  const find = (prices: Pricing.Service, { model, provider }: ModelOf) =>
    Option.getOrUndefined(prices.lookup({ model, provider, at }))
  const keyOf = ({ model, provider }: ModelOf): string => `${provider}/${model}`
  // A table may also change the price of a dated version that it does not have.
  const all = new Map([...table.rows, ...used].map((one) => [keyOf(one), { provider: one.provider, model: one.model }]))
  const isUsed = new Set(used.map(keyOf))
  for (const [key, one] of all) {
    const [before, then] = [find(pricing, one), find(after, one)]
    if (then === undefined) continue
    if (before === undefined) {
      added.push(one)
      if (isUsed.has(key) && isFree(then))
        free.push({ ...one, what: "input", before: undefined, after: 0n, unit: "usd", isNew: true })
    } else changed.push(...changesOf(before, { ...then, ...one }))
  }
  // What runs use comes first.
  const rank = (change: Change): number => (isUsed.has(keyOf(change)) ? 0 : 2) + (change.unit === "usd" ? 0 : 1)
  changed.sort((a, b) => rank(a) - rank(b))
  const index = PriceTable.index(table)
  const missing = used.filter((one) => find(pricing, one) !== undefined && index(one.provider, one.model) === undefined)
  return { changed, added, absurd: [...changed.filter(isAbsurd), ...free], missing }
}
