/**
 * The lines of a plan: the counts of each step and model, with expected answers and costs.
 *
 * @internal
 */
import * as Option from "effect/Option"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as Money from "../price/Money.ts"
import type * as Price from "../price/Price.ts"
import type * as Pricing from "../price/Pricing.ts"
import * as PromptCacheMinimum from "../price/PromptCacheMinimum.ts"
import * as PlanCost from "./PlanCost.ts"
import * as PlanCount from "./PlanCount.ts"
import type * as PlanRows from "./PlanRows.ts"
import type * as PlanSchema from "./PlanSchema.ts"

export type TierOf = (step: string, model: string) => string | undefined

/** What was counted, and how it is priced. */
export interface CountedPlan {
  readonly at: number
  readonly counts: ReadonlyArray<PlanCount.PlanCounts>
  readonly expected: ExpectedUsage.ExpectedUsage
  readonly pricing: Pricing.Service
  readonly layers: ReadonlyArray<ModelClient.LayerInfo>
  readonly tierOf: TierOf
  readonly rowsOf: PlanRows.PlanRows["of"]
}

/** The service tier of a step's requests to a model. */
export const tiers = (layers: ReadonlyArray<ModelClient.LayerInfo>, batch: boolean | undefined): TierOf => {
  if (batch === true) return () => "batch"
  return (step, model) => {
    const tier = LayerAnnotations.tierOf(layers, step, model)
    return batch === false && tier === "batch" ? undefined : tier
  }
}

/** The price of a model at its provider, or at any. */
export const priceOf = (
  pricing: Pricing.Service,
  at: number,
  model: string,
  provider?: string
): Price.Price | undefined => Option.getOrUndefined(pricing.lookup({ model, provider, at }))

/** A line per step and model. */
export const plan = (counted: CountedPlan): ReadonlyArray<PlanCost.Planned> => {
  const lengths = lengthsOf(counted)
  return counted.counts.map((one) => {
    const { by, least, of, times } = counted.rowsOf(one)
    const scaled = PlanCount.scaled(one, times)
    const planned = plannedOf(scaled, counted, lengths, of === "input")
    if (by === "counted") return planned
    const { calls, cost, ...line } = planned.line
    const certain = Math.floor(calls * least + 1e-6)
    const low =
      cost === undefined || calls === 0
        ? undefined
        : { cost: { ...cost, low: Money.times(cost.low, certain) / BigInt(calls) } }
    return { ...planned, line: { ...line, calls, counted: by, least: certain, ...low } }
  })
}

/** How much shorter and longer answers may be than placeholders. */
interface Lengths {
  readonly shorter: number
  readonly longer: number
}

/** How much the tokens of an answer may differ from those of a placeholder with the same number of letters. */
const TOKENS = 0.25

/** By the widest range of the answers that are planned. */
const lengthsOf = ({ counts, expected: usage }: CountedPlan): Lengths => {
  const answers = counts
    .filter(({ calls, isEmbedding }) => calls > 0 && !isEmbedding)
    .map((one) => outputOf(one, usage.learned(one.step, one.model)))
    .filter(({ expected }) => expected > 0)
  return {
    shorter: (1 - TOKENS) * Math.min(1, ...answers.map(({ expected, low }) => low / expected)),
    longer: (1 + TOKENS) * Math.max(1, ...answers.map(({ expected, high }) => high / expected))
  }
}

/** Tokens around an answer in a prompt, which placeholders of a few tokens do not show. */
const AROUND = 8

/** The input of a line, whose answers in it may be shorter or longer than their placeholders. */
const inputOf = (
  one: PlanCount.PlanCounts,
  { longer, shorter }: Lengths,
  isUnknown: boolean
): ExpectedUsage.Expected => {
  const expected = Math.round(one.input)
  if (isUnknown) return { low: 0, expected, high: expected }
  if (one.filler === 0) return { low: expected, expected, high: expected }
  const around = AROUND * one.calls
  return {
    // Equal answers share a vector.
    low: one.isEmbedding
      ? 0
      : Math.max(0, Math.floor(expected - one.filler * (1 - shorter) - Math.min(one.filler, around))),
    expected,
    high: Math.ceil(expected + one.filler * (longer - 1) + around)
  }
}

const plannedOf = (
  one: PlanCount.PlanCounts,
  { at, expected: usage, layers, pricing, tierOf }: CountedPlan,
  lengths: Lengths,
  isUnknown: boolean
): PlanCost.Planned => {
  const learned = usage.learned(one.step, one.model)
  const output = outputOf(one, learned)
  const price = priceOf(pricing, at, one.model, one.provider)
  const serviceTier = one.tier ?? tierOf(one.step, one.model)
  const [calls, input] = [PlanCount.callsOf(one), inputOf(one, lengths, isUnknown)]
  // Your own price names no provider.
  const provider = price === undefined || price.provider === "" ? one.provider : price.provider
  const rule = ModelClient.promptCacheOf(layers, one.model) ?? PromptCacheMinimum.ruleOf(provider, one.model)
  const charged =
    one.isEmbedding || one.tier === "decision"
      ? "uncachedInput"
      : PlanCost.inputClass(rule, input.expected / Math.max(1, calls))
  const [low, expected, high] = (["low", "expected", "high"] as const).map((end) =>
    PlanCost.costOf(
      price,
      calls,
      input[end],
      output[end],
      {
        // Calls that a tier does not take are in the ordinary one. A batch takes all.
        serviceTier: end === "high" && one.tier === undefined && serviceTier !== "batch" ? undefined : serviceTier,
        provider
      },
      charged
    )
  )
  const prefix = PlanCost.prefixOf(one, price, rule)
  // With `PromptCache`, the common prefix is charged less. The high end assumes that it is not found again.
  const off =
    serviceTier !== "batch" && LayerAnnotations.has(layers, LayerAnnotations.UsesPromptCache)
      ? prefix.saved
      : Money.zero
  const line: PlanSchema.PlanLine = {
    step: one.step,
    provider,
    model: one.model,
    ...(serviceTier === undefined ? undefined : { serviceTier }),
    reused: 0,
    cached: one.cached,
    calls,
    inputTokens: input.expected,
    outputTokens: output,
    learnedFrom: learned?.answers ?? 0,
    ...(low === undefined || expected === undefined || high === undefined
      ? undefined
      : { cost: { low: low - off, expected: expected - off, high } })
  }
  return { one, line, price, output, charged, prefix, off }
}

/** The output of all calls of a line. */
const outputOf = (one: PlanCount.PlanCounts, learned: ExpectedUsage.Learned | undefined): ExpectedUsage.Expected => {
  const rounded = ({ expected, high, low }: ExpectedUsage.Expected) => ({
    low: Math.round(low),
    expected: Math.round(expected),
    high: Math.round(high)
  })
  if (learned === undefined || one.isEmbedding) return rounded(one.guessed)
  const off = 2 * spread(learned, one.calls)
  // The mean of future answers, with 95 % confidence from the mean of earlier ones, and never beyond a limit.
  const each = {
    low: Math.max(0, learned.mean - off),
    expected: learned.mean,
    high: Math.min(one.maxTokens > 0 ? one.maxTokens : Number.POSITIVE_INFINITY, learned.mean + off)
  }
  return rounded(ExpectedUsage.times(each, one.calls))
}

/** The uncertainty of a mean of `calls` answers, from earlier answers. */
const spread = ({ answers, deviation, mean }: ExpectedUsage.Learned, calls: number): number =>
  calls === 0 ? 0 : answers < 2 ? mean / 2 : deviation * Math.sqrt(1 / answers + 1 / calls)

/** Reused rows belong to a step and not to one of its models: they are in its first line, or in a separate one. */
export const withReused = (
  lines: ReadonlyArray<PlanSchema.PlanLine>,
  reused: ReadonlyMap<string, number>
): ReadonlyArray<PlanSchema.PlanLine> => {
  const named = new Set<string>()
  const first = lines.map((line) => {
    if (named.has(line.step)) return line
    named.add(line.step)
    return { ...line, reused: reused.get(line.step) ?? 0 }
  })
  const own = Array.from(reused).filter(([step, taken]) => taken > 0 && !named.has(step))
  return [
    ...first,
    ...own.map(([step, taken]) => ({
      step,
      provider: "",
      model: "",
      reused: taken,
      cached: 0,
      calls: 0,
      inputTokens: 0,
      outputTokens: { low: 0, expected: 0, high: 0 },
      learnedFrom: 0,
      cost: { low: Money.zero, expected: Money.zero, high: Money.zero }
    }))
  ]
}
