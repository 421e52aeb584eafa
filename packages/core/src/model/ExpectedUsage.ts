/**
 * The expected length of an answer, in tokens: one estimate for plans, budgets, rate limits and batches.
 *
 * **Details** It is learned from the answers of a step by a model, in earlier runs and in this one. If the model has
 * not answered yet, the answers of another model to that step are used. Without any answers it is a guess, bounded by
 * the answer schema for models that are known to write nothing but the answer. An output limit bounds both.
 *
 * What a budget reserves is not an estimate but a bound: see `Charge.most`.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as AnswerSize from "../answer/AnswerSize.ts"
import * as ModelName from "./ModelName.ts"
import * as ModelFacts from "./ModelFacts.ts"
import type * as ModelRequest from "./ModelRequest.ts"

/** Output tokens of one answer. */
export interface Expected {
  readonly low: number
  readonly expected: number
  readonly high: number
}

/** What is learned from the answers of a step by a model. */
export interface Learned {
  readonly step: string
  readonly model: string
  readonly answers: number
  /** Output tokens of an answer, reasoning included. */
  readonly mean: number
  /** Without reasoning: what later steps read. */
  readonly text: number
  readonly deviation: number
  readonly most: number
  /** Mean input tokens of a call. */
  readonly input: number
  /** Mean number of answers that a row pays for: a tool loop has several. */
  readonly rounds: number
}

export interface ExpectedUsage {
  /** Loads what earlier runs learned, once. Estimates before the first answer wait for it. */
  readonly seeded: Effect.Effect<void>
  readonly of: (step: string, request: ModelRequest.ModelRequest) => Expected
  /** What is known of a step's answers by a model, or by another model if this one has not answered yet. */
  readonly learned: (step: string, model: string) => Learned | undefined
  /** Adds an answer. */
  readonly learn: (step: string, model: string, tokens: number) => void
}

/** Output tokens of an answer when nothing is known. */
export const GUESS: Expected = { low: 16, expected: 128, high: 512 }

const NOTHING: Expected = { low: 0, expected: 0, high: 0 }

/** The lowest weight of an answer in the mean, however many came before it: lengths may change during a run. */
const LEAST_WEIGHT = 0.01

/** Characters of JSON per token: many in words, few in numbers and punctuation. */
const CHARACTERS = { most: 6, usual: 4, least: 2 }

/** The estimate without any answers. */
const guess = (request: ModelRequest.Completion): Expected => {
  const { responseFormat, settings } = request
  if (responseFormat.type !== "json" || settings.reasoningEffort !== undefined) return GUESS
  // A model that may think first writes more than its answer, and no schema bounds its thoughts.
  if (ModelFacts.of(request.model ?? "")?.isPlain !== true) return GUESS
  const { least, most } = AnswerSize.of(responseFormat.schema as { readonly [key: string]: unknown })
  const low = Math.ceil(least / CHARACTERS.most)
  const high = Math.max(low, Math.min(Math.max(GUESS.high, 2 * low), Math.ceil(most / CHARACTERS.least)))
  const usual = Math.ceil((least + Math.min(most, least + CHARACTERS.usual * GUESS.expected)) / 2 / CHARACTERS.usual)
  return { low: Math.min(low, GUESS.low), expected: Math.min(high, Math.max(low, usual)), high }
}

const within = ({ expected, high, low }: Expected, limit: number | undefined): Expected =>
  limit === undefined
    ? { low, expected, high }
    : { low: Math.min(low, limit), expected: Math.min(expected, limit), high: Math.min(high, limit) }

/** A decision has a few tokens for each question; a completion that answers it, the names and values. */
const ofDecision = ({ questions }: ModelRequest.Decision): Expected => ({
  low: 0,
  expected: 8 * questions.length,
  high: 32 * questions.length + 16
})

/** The estimate for a request, from what is known of its answers. */
const expect = (request: ModelRequest.ModelRequest, known: Learned | undefined): Expected => {
  if (request._tag === "Embedding") return NOTHING
  const { maxTokens } = request.settings
  if (known === undefined) return within(request._tag === "Decision" ? ofDecision(request) : guess(request), maxTokens)
  const { deviation, mean } = known
  return within({ low: Math.max(0, mean - 2 * deviation), expected: mean, high: mean + 2 * deviation }, maxTokens)
}

interface Mutable {
  step: string
  model: string
  answers: number
  mean: number
  text: number
  deviation: number
  most: number
  input: number
  rounds: number
}

/** Learns from answers as they arrive, and from those of earlier runs that `load` returns. */
export const make = (load: Effect.Effect<ReadonlyArray<Learned>> = Effect.succeed([])): ExpectedUsage => {
  const steps = new Map<string, Array<Mutable>>()
  const ofStep = (step: string): Array<Mutable> => {
    let all = steps.get(step)
    if (all === undefined) steps.set(step, (all = []))
    return all
  }
  const learned = (step: string, model: string): Learned | undefined => {
    const all = steps.get(step)
    return all?.find((one) => ModelName.isVersionOf(one.model, model)) ?? all?.[0]
  }
  const seeded = Effect.map(load, (samples) => {
    for (const sample of samples) {
      const all = ofStep(sample.step)
      if (!all.some(({ model }) => model === sample.model)) all.push({ ...sample })
    }
  })
  return {
    seeded: Effect.runSync(Effect.cached(seeded)),
    learned,
    of: (step, request) => expect(request, learned(step, request.model ?? "")),
    learn: (step, model, tokens) => {
      const all = ofStep(step)
      const known = all.find((one) => one.model === model)
      if (known === undefined) {
        const deviation = tokens / 2
        all.push({ step, model, answers: 1, mean: tokens, text: tokens, deviation, most: tokens, input: 0, rounds: 1 })
        return
      }
      known.answers++
      const weight = Math.max(LEAST_WEIGHT, 1 / known.answers)
      const off = tokens - known.mean
      known.mean += off * weight
      known.deviation = Math.sqrt((1 - weight) * (known.deviation ** 2 + weight * off ** 2))
      known.most = Math.max(known.most, tokens)
    }
  }
}

/** The estimate for prompts that hold `texts` texts at once; what is known applies to one of them. */
export const forTexts = (usage: ExpectedUsage, texts: number): ExpectedUsage => ({
  ...usage,
  of: (step, request) =>
    usage.learned(step, request.model ?? "") === undefined
      ? usage.of(step, request)
      : times(usage.of(step, request), texts),
  learn: (step, model, tokens) => usage.learn(step, model, tokens / texts)
})

export const add = (a: Expected, b: Expected): Expected => ({
  low: a.low + b.low,
  expected: a.expected + b.expected,
  high: a.high + b.high
})

export const times = ({ expected, high, low }: Expected, factor: number): Expected => ({
  low: low * factor,
  expected: expected * factor,
  high: high * factor
})

/** Outside a run nothing is learned: every estimate is a guess. */
const unlearned: ExpectedUsage = {
  seeded: Effect.void,
  learned: () => undefined,
  of: (_, request) => expect(request, undefined),
  learn: () => {}
}

/** The runner sets one for each run. Default: nothing is learned. */
export const ExpectedUsage = Context.Reference<ExpectedUsage>("@pipe/core/ExpectedUsage", {
  defaultValue: () => unlearned
})
