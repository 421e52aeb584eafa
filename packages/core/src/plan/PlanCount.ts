/**
 * Counts the calls that a run would make, by step and model.
 *
 * @internal
 */
import type * as CallState from "../client/CallState.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as FileTokens from "../model/FileTokens.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import * as Usage from "../model/Usage.ts"
import * as Placeholder from "./Placeholder.ts"

/** A request of a row. */
export interface FirstRequest {
  readonly request: ModelRequest.ModelRequest
  readonly position: string | undefined
  /** Its input tokens. */
  readonly tokens: number
}

/** The counts of a step's calls to a model. */
export interface PlanCounts {
  readonly step: string
  readonly provider: string
  readonly model: string
  readonly baseline: string | undefined
  /** Answers to pay for; fractions where a cascade calls a model for some rows only. */
  calls: number
  /** Prompts for them: fewer, when several texts share one. */
  prompts: number
  cached: number
  /** The rows that call, each sample by itself. */
  callers: number
  /** Those that are counted. */
  readonly known: WeakSet<CallState.CallOutcome>
  input: number
  /** The part of `input` that stands for answers which have not come. */
  filler: number
  /** Input tokens, if each were sent alone. */
  alone: number
  /** What the cached answers would cost again. */
  cachedUsage: Usage.Usage
  maxTokens: number
  /** Output tokens of the calls whose answer length is not learned. */
  guessed: ExpectedUsage.Expected
  isEmbedding: boolean
  /** The service tier or price class that its requests name; `undefined` for the standard one. */
  readonly tier: string | undefined
  /** The common prefix of all prompts, in characters. */
  prefix: string | undefined
  /** Answers to earlier questions may be reused. Only the run shows how many. */
  isReused: boolean
  /** Only the run shows how many rows earlier models of a cascade leave over: all are counted. */
  isMost: boolean
  /** Sent by a cascade. */
  isCascaded: boolean
  /** Calls per row of a tool loop, from earlier runs; 0 without any. Absent when the step has no tools. */
  rounds: number | undefined
  /** The fewest and the most calls of a row, in a bounded loop. */
  bounds: CallState.Loop | undefined
  /** A kind of file with unknown tokens: a guess is counted. */
  unknownFile: string | undefined
  /** What its requests are sent without, in sentences. */
  readonly leftOut: Set<string>
  /** The first request to pay for. */
  first: FirstRequest | undefined
  /** The counts of its strong model without the cascade. */
  unrouted: { calls: number; input: number } | undefined
}

/** The number of prompts. Fractions add up inexactly. */
export const callsOf = ({ prompts }: PlanCounts): number => Math.ceil(prompts - 1e-6)

/** Identifies the calls. */
export type Of = Pick<PlanCounts, "step" | "provider" | "model" | "baseline" | "isEmbedding" | "tier">

export const make = (of: Of): PlanCounts => ({
  ...of,
  calls: 0,
  prompts: 0,
  cached: 0,
  callers: 0,
  known: new WeakSet(),
  input: 0,
  filler: 0,
  alone: 0,
  cachedUsage: Usage.zero,
  maxTokens: 0,
  guessed: { low: 0, expected: 0, high: 0 },
  prefix: undefined,
  isReused: false,
  isMost: false,
  isCascaded: false,
  rounds: undefined,
  bounds: undefined,
  unknownFile: undefined,
  leftOut: new Set(),
  first: undefined,
  unrouted: undefined
})

/** The counts, if each call stood for several. */
export const scaled = (counts: PlanCounts, times: number): PlanCounts =>
  times === 1
    ? counts
    : {
        ...counts,
        calls: counts.calls * times,
        prompts: counts.prompts * times,
        input: counts.input * times,
        filler: counts.filler * times,
        alone: counts.alone * times,
        guessed: ExpectedUsage.times(counts.guessed, times),
        ...(counts.unrouted === undefined
          ? undefined
          : { unrouted: { calls: counts.unrouted.calls * times, input: counts.unrouted.input * times } })
      }

/** Notes that a row calls, and returns the counts. */
export const called = (counts: PlanCounts, { outcome }: CallState.CallState): PlanCounts => {
  if (outcome !== undefined && !counts.known.has(outcome)) {
    counts.known.add(outcome)
    counts.callers++
  }
  return counts
}

/** A call, or a fraction of one. */
export interface PlannedCall {
  readonly request: ModelRequest.ModelRequest
  /** The fraction to count: a cascade calls a model for some rows only. */
  readonly share: number
  /** Set for what every row would send without the cascade. */
  readonly isStrong: boolean
  /** Whether an earlier answer may be reused for it. */
  readonly isReused: boolean
  /** Its share of a prompt with the prompt's tokens, and what it would use alone. */
  readonly prompt: { readonly prompts: number; readonly input: number; readonly alone: number }
  /** For a tool loop: the tokens of a call, and the calls of a row. */
  readonly loop: Pick<ExpectedUsage.Learned, "input" | "rounds">
  readonly output: ExpectedUsage.Expected
}

/** Counts a call. */
export const add = (
  counts: PlanCounts,
  { isReused, isStrong, loop, output, prompt, request, share: part }: PlannedCall
): void => {
  const [alone, input] = [Math.max(prompt.alone, loop.input), Math.max(prompt.input, loop.input)]
  const share = part * loop.rounds
  counts.unknownFile ??= unknownFileOf(request)
  counts.calls += share
  counts.prompts += share * prompt.prompts
  counts.input += share * input
  counts.alone += share * alone
  counts.guessed = ExpectedUsage.add(counts.guessed, ExpectedUsage.times(output, share))
  if (isStrong) {
    counts.unrouted ??= { calls: 0, input: 0 }
    counts.unrouted.calls++
    counts.unrouted.input += alone
  }
  if (isReused) counts.isReused = true
  counts.maxTokens = Math.max(counts.maxTokens, request._tag === "Embedding" ? 0 : (request.settings.maxTokens ?? 0))
  const text = ModelRequest.text(request)
  counts.filler += share * Math.min(input, Placeholder.tokensIn(text))
  counts.prefix = commonPrefix(counts.prefix, text)
}

const commonPrefix = (prefix: string | undefined, text: string): string => {
  if (prefix === undefined) return text
  let length = 0
  while (length < prefix.length && prefix[length] === text[length]) length++
  return prefix.slice(0, length)
}

/** A kind of file in a request of whose tokens nothing is known. */
const unknownFileOf = (request: ModelRequest.ModelRequest): string | undefined => {
  if (request._tag !== "Completion") return undefined
  for (const { content } of request.messages)
    for (const part of typeof content === "string" ? [] : content)
      if (part.type === "file" && FileTokens.of(request.model ?? "", part).expected === undefined) return part.mediaType
  return undefined
}
