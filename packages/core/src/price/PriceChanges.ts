/**
 * Compares a new table of prices with those in use, and finds what must not be used unseen: a price that is a hundred
 * times what it was or a hundredth, and a model that runs use and that has no price any more.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type * as Money from "./Money.ts"
import * as Price from "./Price.ts"
import * as PriceTable from "./PriceTable.ts"
import type * as Pricing from "./Pricing.ts"

/** A price that changes. */
export interface Change {
  readonly provider: string
  readonly model: string
  /** The class, such as `input` or `output above 200,000`. */
  readonly what: string
  /** Picodollars per million tokens. */
  readonly before: Money.Money | undefined
  readonly after: Money.Money | undefined
  /** The class had no price of its own: `before` is that of its parent. */
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
  /** Changes by a factor of 100 or more. */
  readonly absurd: ReadonlyArray<Change>
  /** Models that runs use, and that the new table does not have. */
  readonly missing: ReadonlyArray<ModelOf>
}

/** A change by this factor is a mistake until someone says that it is not. */
const FACTOR = 100n

const classes = ["uncachedInput", "cacheRead", "cacheWrite", "cacheWrite1h", "output", "reasoning"] as const

const nameOf = {
  uncachedInput: "input",
  cacheRead: "cache read",
  cacheWrite: "cache write",
  cacheWrite1h: "cache write, 1 hour"
}

/** The classes that differ between two prices, at each context length. */
const changesOf = (before: Price.Price, after: Price.Price): ReadonlyArray<Change> => {
  const lengths = [...new Set([...before.tiers, ...after.tiers].map(({ above }) => above))].sort((a, b) => a - b)
  return lengths.flatMap((above) => {
    const [old, now] = [before, after].map((price) => Price.ratesAt(price, above + 1))
    return classes.flatMap((one): ReadonlyArray<Change> => {
      // A class without a price of its own follows its parent.
      const hasOwn = Price.hasOwnRate(old!, one) || Price.hasOwnRate(now!, one)
      const [was, is] = [Price.perMillion(old!, one), Price.perMillion(now!, one)]
      if (!hasOwn || was === is) return []
      const what = `${one in nameOf ? nameOf[one as keyof typeof nameOf] : one}${above === 0 ? "" : ` above ${above.toLocaleString("en-US")}`}`
      // A class that had no price of its own says nothing against the first one that it is given.
      const isNew = !Price.hasOwnRate(old!, one)
      return [{ provider: after.provider, model: after.model, what, before: was, after: is, isNew }]
    })
  })
}

const isAbsurd = ({ after = 0n, before = 0n, isNew }: Change): boolean =>
  !isNew && before !== after && (after >= before * FACTOR || before >= after * FACTOR)

/** Compares a table with the prices in use. `used` are the models that runs have called. */
export const make = (
  pricing: Pricing.Service,
  table: PriceTable.PriceTable,
  used: ReadonlyArray<ModelOf>,
  at: number
): PriceChanges => {
  const changed: Array<Change> = []
  const added: Array<ModelOf> = []
  const find = (prices: Pricing.Service, { model, provider }: ModelOf) =>
    Option.getOrUndefined(prices.lookup({ model, provider, at }))
  for (const row of table.rows) {
    const before = find(pricing, row)
    if (before === undefined) added.push({ provider: row.provider, model: row.model })
    else changed.push(...changesOf(before, PriceTable.toPrice(row, table.name)))
  }
  const index = PriceTable.index(table)
  const missing = used.filter((one) => find(pricing, one) !== undefined && index(one.provider, one.model) === undefined)
  return { changed, added, absurd: changed.filter(isAbsurd), missing }
}
