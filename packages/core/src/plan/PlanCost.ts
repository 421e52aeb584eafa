/**
 * The cost of planned calls, as they are and with other strategies.
 *
 * @internal
 */
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Usage from "../model/Usage.ts"
import * as Money from "../price/Money.ts"
import * as Price from "../price/Price.ts"
import * as PromptCacheMinimum from "../price/PromptCacheMinimum.ts"
import * as PlanCount from "./PlanCount.ts"
import type * as PlanSchema from "./PlanSchema.ts"

/** A line of the plan, with its inputs. */
export interface Planned {
  readonly one: PlanCount.PlanCounts
  readonly line: PlanSchema.PlanLine
  readonly price: Price.Price | undefined
  readonly output: { readonly expected: number }
  /** What its input is charged as without a cached beginning. */
  readonly charged: "uncachedInput" | "cacheWrite"
  readonly prefix: CommonPrefix
  /** The part of `prefix.saved` that the line's cost excludes already. */
  readonly off: Money.Money
}

/** The common prefix of a step's prompts. */
export interface CommonPrefix {
  /** Roughly counted. */
  readonly tokens: number
  readonly rule: PromptCacheMinimum.PromptCacheMinimum | undefined
  /** The tokens that the provider caches. */
  readonly kept: number
  /** The savings if every prompt after the first finds it. */
  readonly saved: Money.Money
}

export const prefixOf = (
  counts: PlanCount.PlanCounts,
  price: Price.Price | undefined,
  rule: PromptCacheMinimum.PromptCacheMinimum | undefined
): CommonPrefix => {
  const { input, isEmbedding, prefix, prompts } = counts
  const calls = PlanCount.callsOf(counts)
  const tokens = isEmbedding || calls < 2 || prefix === undefined ? 0 : TokenCounter.estimate(prefix)
  const kept = PromptCacheMinimum.kept(rule, tokens)
  if (price === undefined || kept === 0) return { tokens, rule, kept, saved: Money.zero }
  const rates = Price.ratesAt(price, Math.round(input / prompts))
  const otherwise = inputClass(rule, input / prompts)
  const each = (tokenClass: Usage.TokenClass) =>
    Money.times(Price.rateOf(rates, tokenClass) - Price.rateOf(rates, otherwise), kept)
  const saved = -Money.times(each("cacheRead"), calls - 1) - (rule?.isMarked === true ? each("cacheWrite") : Money.zero)
  return { tokens, rule, kept, saved: saved > Money.zero ? saved : Money.zero }
}

/** What input without a cached beginning is charged as: some providers write every prompt of some length. */
export const inputClass = (
  rule: PromptCacheMinimum.PromptCacheMinimum | undefined,
  tokens: number
): "uncachedInput" | "cacheWrite" =>
  rule?.isWritten === true && tokens >= rule.minimum ? "cacheWrite" : "uncachedInput"

/** The cost of calls of mean length. */
export const costOf = (
  price: Price.Price | undefined,
  calls: number,
  input: number,
  output: number,
  service: Price.Service = {},
  charged: "uncachedInput" | "cacheWrite" = "uncachedInput"
) => {
  if (price === undefined) return undefined
  // The price of a call depends on its length. All calls are assumed to have the mean.
  const each = { ...Usage.zero, uncachedInput: calls === 0 ? 0 : Math.round(input / calls) }
  if (Price.cost(price, each, service) === undefined) return undefined
  const rates = Price.ratesFor(price, Usage.inputTokens(each), service)
  return (
    Money.times(Price.rateOf(rates, charged), Math.round(input))
    + Money.times(Price.rateOf(rates, "output"), output)
    + Money.times(price.fees?.request ?? Money.zero, Math.ceil(calls))
  )
}

/** In batches. */
export const batchCost = ({
  charged,
  line: { provider },
  one,
  output,
  price
}: Pick<Planned, "charged" | "line" | "one" | "output" | "price">) =>
  costOf(
    price,
    PlanCount.callsOf(one),
    Math.round(one.input),
    output.expected,
    {
      // Batches take no decisions.
      serviceTier: one.tier === "decision" ? one.tier : "batch",
      provider
    },
    charged
  )

/** As single calls, with packed prompts where the stack has them, and with the provider's prompt cache. */
export const onlineCost = (
  { charged, one, output, prefix, price }: Pick<Planned, "charged" | "one" | "output" | "prefix" | "price">,
  cachesPrompts: boolean
) => {
  const cost = costOf(
    price,
    PlanCount.callsOf(one),
    Math.round(one.input),
    output.expected,
    {
      serviceTier: one.tier,
      provider: price?.provider
    },
    charged
  )
  return cost === undefined ? undefined : cost - (cachesPrompts ? prefix.saved : Money.zero)
}
