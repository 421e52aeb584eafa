/**
 * What planned calls cost, as they stand and by other strategies.
 *
 * @internal
 */
import * as Money from "../data/Money.ts"
import * as Usage from "../data/Usage.ts"
import * as Price from "../price/Price.ts"
import type * as ModelClient from "../seam/ModelClient.ts"
import * as TokenCounter from "../seam/TokenCounter.ts"
import type * as Plan from "./Plan.ts"

/** A prompt that is shared by calls is cached by providers from this many tokens on, in steps of 128 (OpenAI's own rule). */
const PROMPT_CACHE = 1_024

/** What is counted of the calls of one step to one model. */
export interface Counts {
  readonly step: string
  readonly provider: string
  readonly model: string
  readonly baseline: string | undefined
  calls: number
  cached: number
  input: number
  /** What the cached answers would cost again. */
  cachedUsage: Usage.Usage
  maxTokens: number
  isEmbedding: boolean
  /** The beginning that all prompts have in common, in characters. */
  prefix: string | undefined
}

/** A line of the plan, with what it was made of. */
export interface Planned {
  readonly one: Counts
  readonly line: Plan.Line
  readonly price: Price.Price | undefined
  readonly output: { readonly expected: number }
}

/** The cost of calls of a mean length. */
export const costOf = (
  price: Price.Price | undefined,
  calls: number,
  input: number,
  output: number,
  service: Price.Service = {}
) => {
  if (price === undefined) return undefined
  // The price of a call depends on its length: all are taken to have the mean.
  const each = { ...Usage.zero, uncachedInput: calls === 0 ? 0 : Math.round(input / calls) }
  if (Price.cost(price, each, service) === undefined) return undefined
  const rates = Price.ratesFor(price, Usage.inputTokens(each), service)
  return Money.times(Price.rateOf(rates, "uncachedInput"), input) + Money.times(Price.rateOf(rates, "output"), output)
}

/** What the run would cost otherwise. */
export const strategies = (
  planned: ReadonlyArray<Planned>,
  layers: ReadonlyArray<ModelClient.LayerInfo>,
  expected: Money.Money,
  priceOf: (model: string) => Price.Price | undefined
): ReadonlyArray<Plan.Strategy> => {
  const has = (name: string) => layers.some((layer) => layer.name === name)
  const sum = (f: (planned: Planned) => Money.Money | undefined) =>
    Money.sum(planned.map((one) => f(one) ?? one.line.cost?.expected ?? Money.zero))
  const all: Array<Plan.Strategy> = [{ name: "as it stands", cost: expected, how: "" }]
  const add = (name: string, cost: Money.Money, how: string): void => {
    if (cost !== expected) all.push({ name, cost, how })
  }
  const repeated = Money.sum(planned.map(({ one, price }) => price === undefined ? Money.zero : Price.cost(price, one.cachedUsage) ?? Money.zero))
  if (has("Cache")) add("without the exact cache", expected + repeated, "take Cache.layer out: this is what it saves")
  if (has("Router")) {
    add(
      "without routing",
      sum(({ line, one, output }) =>
        one.baseline === undefined ? undefined : costOf(priceOf(one.baseline), one.calls, one.input, output.expected, line)),
      "take the Router out: every call goes to the strong model"
    )
  }
  add(
    "batch service",
    sum(({ line: { provider }, one, output, price }) =>
      costOf(price, one.calls, one.input, output.expected, { serviceTier: "batch", provider })),
    "--batch: half of each token class, for answers within a day"
  )
  add(
    "all at once",
    sum(({ one, output, price }) => costOf(price, one.calls, one.input, output.expected)),
    "--online: answers in seconds, at the ordinary price"
  )
  const prefixes = planned.map((one) => ({ ...one, shared: sharedTokens(one) }))
  if (prefixes.some(({ shared }) => shared > 0)) {
    add(
      "the provider's prompt cache",
      Money.sum(prefixes.map(({ line, one, price, shared }) => {
        if (price === undefined || line.cost === undefined) return Money.zero
        const rates = Price.ratesAt(price, one.input)
        return line.cost.expected - Money.times(Price.rateOf(rates, "uncachedInput") - Price.rateOf(rates, "cacheRead"), shared * Math.max(0, one.calls - 1))
      })),
      "what prompts have in common stands at their beginning already: the provider charges it less where it finds it again"
    )
  }
  const smaller = new Map(planned.flatMap(({ one }) => {
    const names = [`${one.model}-mini`, `${one.model}-nano`]
    const cheap = /-(?:mini|nano)$/.test(one.model) ? undefined : names.find((name) => priceOf(name) !== undefined)
    return cheap === undefined ? [] : [[one.model, cheap] as const]
  }))
  for (const [model, cheap] of smaller) {
    add(
      `${cheap} in place of ${model}`,
      sum(({ line, one, output }) =>
        one.model === model ? costOf(priceOf(cheap), one.calls, one.input, output.expected, line) : undefined),
      "for the rows that it does well enough: a Router decides, and quality is yours to check"
    )
  }
  return all
}

/** Tokens of the common beginning that a provider would cache. */
const sharedTokens = ({ one }: Planned): number => {
  if (one.calls < 2 || one.prefix === undefined) return 0
  const tokens = TokenCounter.estimate(one.prefix)
  return tokens < PROMPT_CACHE ? 0 : Math.floor(tokens / 128) * 128
}
