/**
 * How many tokens the answer to a request will probably have: one estimate for plans, budgets, rate limits and batches.
 *
 * **Details** It is learned from the answers of a step by a model: those of earlier runs, and those of this one as they come. Where the model
 * has not answered yet, the answers of another to that step count; without any it is a guess, bounded by the schema of the
 * answer where the model is known to write nothing but the answer. An output limit bounds both.
 *
 * What a budget holds is no estimate but a bound: that is `Charge.most`.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as AnswerSize from "../answer/AnswerSize.ts"
import * as ModelName from "../price/ModelName.ts"
import * as ModelTable from "../price/ModelTable.ts"
import type * as ModelRequest from "./ModelRequest.ts"

/** Output tokens of one answer. */
export interface Expected {
  readonly low: number
  readonly expected: number
  readonly high: number
}

/** What the answers of one step by one model have taught. */
export interface Learned {
  readonly step: string
  readonly model: string
  readonly answers: number
  /** Output tokens of an answer, reasoning included. */
  readonly mean: number
  readonly deviation: number
  readonly most: number
  /** Input tokens of a call, in the mean. */
  readonly input: number
  /** Answers that a row has paid for, in the mean: a loop over tools has several. */
  readonly rounds: number
}

export interface ExpectedUsage {
  /** Reads what earlier runs have taught, once; what needs it before the first answer waits for it. */
  readonly seeded: Effect.Effect<void>
  readonly of: (step: string, request: ModelRequest.ModelRequest) => Expected
  /** What is known of a step's answers by a model; where it has not answered yet, by another. */
  readonly learned: (step: string, model: string) => Learned | undefined
  /** An answer has come. */
  readonly learn: (step: string, model: string, tokens: number) => void
}

/** Output tokens of an answer of which nothing is known. */
export const GUESS: Expected = { low: 16, expected: 128, high: 512 }

const NOTHING: Expected = { low: 0, expected: 0, high: 0 }

/** An answer counts for at least this share of the mean, however many came before: answers may grow longer or shorter. */
const LEAST_WEIGHT = 0.01

/** Characters of JSON for a token: many in words, few in numbers and marks. */
const CHARACTERS = { most: 6, usual: 4, least: 2 }

/**
 * Models that write nothing but their answer, by the pages that `MaxOutputTokens` names. Any other may think first, and
 * no schema bounds thoughts.
 */
const plain: ModelTable.ModelTable<true> = [
  ["gpt-3.5-turbo", true],
  ["gpt-4", true],
  ["gpt-4-turbo", true],
  ["gpt-4o", true],
  ["gpt-4o-mini", true],
  ["gpt-4.1", true],
  ["gpt-4.5", true],
  ["claude-3", true],
  ["claude-3-5", true],
  ["gemini-1.5", true],
  ["gemini-2.0", true]
]

/** Without any answers. */
const guess = (request: ModelRequest.Completion): Expected => {
  const { responseFormat, settings } = request
  if (responseFormat.type !== "json" || settings.reasoningEffort !== undefined) return GUESS
  if (ModelTable.find(plain, request.model ?? "", "-.") === undefined) return GUESS
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

/** What is expected of a request, from what is known of its answers. */
const expect = (request: ModelRequest.ModelRequest, known: Learned | undefined): Expected => {
  if (request._tag === "Embedding") return NOTHING
  const { maxTokens } = request.settings
  if (known === undefined) return within(guess(request), maxTokens)
  const { deviation, mean } = known
  return within({ low: Math.max(0, mean - 2 * deviation), expected: mean, high: mean + 2 * deviation }, maxTokens)
}

interface Mutable {
  step: string
  model: string
  answers: number
  mean: number
  deviation: number
  most: number
  input: number
  rounds: number
}

/** Learned from answers as they come, and from those that `load` has of earlier runs. */
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
        all.push({ step, model, answers: 1, mean: tokens, deviation: tokens / 2, most: tokens, input: 0, rounds: 1 })
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

/** For prompts that ask about `texts` texts at once: what is known is known of one of them. */
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

/** Outside of a run there is nothing to learn for: every answer is a guess. */
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
