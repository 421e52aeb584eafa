/**
 * What planned calls cost, as they stand and by other strategies.
 *
 * @internal
 */
import * as PromptCache from "../cache/PromptCache.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Usage from "../model/Usage.ts"
import * as Money from "../price/Money.ts"
import * as Price from "../price/Price.ts"
import * as PromptCaching from "../price/PromptCaching.ts"
import * as PlanCount from "./PlanCount.ts"
import type * as PlanSchema from "./PlanSchema.ts"

/** A line of the plan, with what it was made of. */
export interface Planned {
  readonly one: PlanCount.Counts
  readonly line: PlanSchema.Line
  readonly price: Price.Price | undefined
  readonly output: { readonly expected: number }
  readonly prefix: Prefix
  /** What of `prefix.saved` is off the line's cost already. */
  readonly off: Money.Money
}

/** The beginning that the prompts of a step have in common. */
export interface Prefix {
  /** Counted roughly. */
  readonly tokens: number
  readonly rule: PromptCaching.Rule | undefined
  /** What the provider keeps of it. */
  readonly kept: number
  /** What that takes off, if each prompt after the first finds it. */
  readonly saved: Money.Money
}

export const prefixOf = (counts: PlanCount.Counts, price: Price.Price | undefined, provider: string): Prefix => {
  const { input, isEmbedding, model, prefix, prompts } = counts
  const calls = PlanCount.callsOf(counts)
  const tokens = isEmbedding || calls < 2 || prefix === undefined ? 0 : TokenCounter.estimate(prefix)
  const rule = PromptCaching.ruleOf(provider, model)
  const kept = PromptCaching.kept(rule, tokens)
  if (price === undefined || kept === 0) return { tokens, rule, kept, saved: Money.zero }
  const rates = Price.ratesAt(price, Math.round(input / prompts))
  const each = (tokenClass: Usage.TokenClass) =>
    Money.times(Price.rateOf(rates, tokenClass) - Price.rateOf(rates, "uncachedInput"), kept)
  const saved = -Money.times(each("cacheRead"), calls - 1) - (rule?.isMarked === true ? each("cacheWrite") : Money.zero)
  return { tokens, rule, kept, saved: saved > Money.zero ? saved : Money.zero }
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
  return (
    Money.times(Price.rateOf(rates, "uncachedInput"), Math.round(input))
    + Money.times(Price.rateOf(rates, "output"), output)
    + Money.times(price.fees?.request ?? Money.zero, Math.ceil(calls))
  )
}

/** In batches, each request by itself. */
const batchCost = ({ line: { provider }, one, output, price }: Pick<Planned, "line" | "one" | "output" | "price">) =>
  costOf(price, one.calls, one.alone, output.expected, { serviceTier: "batch", provider })

/** At once, with packed prompts where the stack has them, and with the provider's prompt cache. */
const onlineCost = (
  { one, output, prefix, price }: Pick<Planned, "one" | "output" | "prefix" | "price">,
  cachesPrompts: boolean
) => {
  const cost = costOf(price, PlanCount.callsOf(one), Math.round(one.input), output.expected)
  return cost === undefined ? undefined : cost - (cachesPrompts ? prefix.saved : Money.zero)
}

/** What the run would cost otherwise. */
export const strategies = (
  planned: ReadonlyArray<Planned>,
  layers: ReadonlyArray<ModelClient.LayerInfo>,
  expected: Money.Money,
  priceOf: (model: string) => Price.Price | undefined
): ReadonlyArray<PlanSchema.Strategy> => {
  const has = (name: string) => ModelClient.hasLayer(layers, name)
  const sum = (f: (planned: Planned) => Money.Money | undefined) =>
    Money.sum(planned.map((one) => f(one) ?? one.line.cost?.expected ?? Money.zero))
  const all: Array<PlanSchema.Strategy> = [{ name: "as it stands", cost: expected, how: "" }]
  const add = (name: string, cost: Money.Money, how: string): void => {
    if (cost !== expected) all.push({ name, cost, how })
  }
  const repeated = Money.sum(
    planned.map(({ one, price }) =>
      price === undefined ? Money.zero : (Price.cost(price, one.cachedUsage) ?? Money.zero)
    )
  )
  if (has("Cache")) add("without the exact cache", expected + repeated, "take Cache.layer out: this is what it saves")
  if (has("Router")) {
    add(
      "without routing",
      sum(({ line, one, output }) =>
        one.baseline === undefined
          ? undefined
          : costOf(priceOf(one.baseline), line.calls, line.inputTokens, output.expected, line)
      ),
      "take the Router out: every call goes to the strong model"
    )
  }
  if (planned.some(({ one }) => one.unrouted !== undefined)) {
    add(
      "without the cascade",
      sum(({ line, one, output, price }) =>
        one.unrouted === undefined
          ? one.isCascaded
            ? Money.zero
            : undefined
          : costOf(
              price,
              one.unrouted.calls,
              one.unrouted.input,
              Math.round((output.expected / Math.max(one.calls, 1e-9)) * one.unrouted.calls),
              line
            )
      ),
      "take Cascade.layer out: every row goes to the strong model"
    )
  }
  const cachesPrompts = has(PromptCache.NAME)
  if (planned.some(({ line }) => line.serviceTier !== "batch")) {
    add("batch service", sum(batchCost), "--batch: half of each token class, for answers within a day")
    if (planned.some(({ line, one }) => line.serviceTier !== "batch" && one.alone > one.input)) {
      add(
        "without packed prompts",
        sum(({ line: { provider, serviceTier }, one, output, price }) =>
          costOf(price, one.calls, one.alone, output.expected, { serviceTier, provider })
        ),
        "take Pack.layer out: every text has its own prompt"
      )
    }
  }
  if (planned.some(({ line }) => line.serviceTier === "batch")) {
    add(
      "all at once",
      sum((one) => (one.line.serviceTier === "batch" ? onlineCost(one, cachesPrompts) : undefined)),
      "--online: answers in seconds, at the ordinary price"
    )
  }
  const kept = Money.sum(planned.map(({ prefix }) => prefix.saved))
  const off = Money.sum(planned.map((one) => one.off))
  if (off > Money.zero) {
    add(
      "without the provider's prompt cache",
      expected + off,
      "take PromptCache.layer out: this is what it saves, if each prompt finds the beginning that the first one brought"
    )
  } else if (kept > Money.zero && planned.every(({ line }) => line.serviceTier !== "batch")) {
    add(
      "the provider's prompt cache",
      expected - kept,
      "PromptCache.layer(): the first prompt brings what all have in common, and the others find it"
    )
  }
  const smaller = new Map(
    planned.flatMap(({ one }) => {
      const names = [`${one.model}-mini`, `${one.model}-nano`]
      const cheap =
        one.isCascaded || /-(?:mini|nano)$/.test(one.model)
          ? undefined
          : names.find((name) => priceOf(name) !== undefined)
      return cheap === undefined ? [] : [[one.model, cheap] as const]
    })
  )
  for (const [model, cheap] of smaller) {
    add(
      `${cheap} in place of ${model}`,
      sum(({ line, one, output }) =>
        one.model === model ? costOf(priceOf(cheap), line.calls, line.inputTokens, output.expected, line) : undefined
      ),
      "for the rows that it does well enough: a Router decides, and quality is yours to check"
    )
  }
  return all
}

/** What the author may want to know of the calls that are planned. */
export const notes = (planned: ReadonlyArray<Planned>): ReadonlyArray<string> =>
  planned.flatMap(({ line, one, output, prefix, price }) => {
    const { kept, rule, saved, tokens } = prefix
    const found: Array<string> = []
    if (kept === 0 && tokens >= NOTEWORTHY && rule !== undefined) {
      found.push(
        `${one.step}: its prompts have about ${tokens} tokens in common at their beginning; ${line.provider} keeps a beginning of ${one.model} from ${rule.minimum} on, so none is charged less`
      )
    }
    const batch = batchCost({ line, one, output, price })
    if (saved > Money.zero && batch !== undefined) {
      const online = onlineCost({ one, output, price, prefix }, true)!
      found.push(
        `${one.step}: batch service and prompt cache do not add up, since the requests of a batch run beside each other and rarely find what another brought: ${Money.format(
          batch
        )} in batches, ${Money.format(online)} at once with PromptCache.layer(); ${online < batch ? "at once" : "in batches"} is cheaper`
      )
    }
    if (one.isMost)
      found.push(
        `${one.step}: how many rows the models before leave to ${one.model} only the run shows; all are counted here`
      )
    if (one.rounds !== undefined)
      found.push(
        one.rounds === 0
          ? `${one.step}: it has tools, and how often a row calls the model only the run shows; once is counted here, and what the run counts in the next plan`
          : `${one.step}: it has tools; a row is counted with ${Number(one.rounds.toFixed(1))} calls, as in earlier runs`
      )
    if (one.unknownFile !== undefined)
      found.push(
        `${one.step}: how many tokens a file of type ${one.unknownFile} is for ${one.model} only the run shows; none are counted here`
      )
    if (one.isReused)
      found.push(`${one.step}: how many of its answers are reused by meaning only the run shows; it costs at most this`)
    return found
  })

/** A beginning that is shorter is not worth a word. */
const NOTEWORTHY = 200
