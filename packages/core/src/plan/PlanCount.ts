/**
 * What is counted of the calls that a run would make, by step and model.
 *
 * @internal
 */
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as FileTokens from "../model/FileTokens.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import * as Usage from "../model/Usage.ts"

/** What is counted of the calls of one step to one model. */
export interface PlanCounts {
  readonly step: string
  readonly provider: string
  readonly model: string
  readonly baseline: string | undefined
  /** Answers that are to be paid; shares of them, where a cascade asks a model for some rows only. */
  calls: number
  /** Prompts that they come from: fewer, where several texts are asked in one. */
  prompts: number
  cached: number
  input: number
  /** Input tokens, were each asked alone. */
  alone: number
  /** What the cached answers would cost again. */
  cachedUsage: Usage.Usage
  maxTokens: number
  /** Output tokens of the calls, where no answer has taught how long they are. */
  guessed: ExpectedUsage.Expected
  isEmbedding: boolean
  /** The beginning that all prompts have in common, in characters. */
  prefix: string | undefined
  /** Answers to earlier questions may be reused: how many, only the run shows. */
  isReused: boolean
  /** How many rows a cascade takes on from the models before, only the run shows: all of them are counted. */
  isMost: boolean
  /** Asked by a cascade. */
  isCascaded: boolean
  /** Calls a row of a loop over tools that earlier runs have made; 0 where none has. Absent: it has no tools. */
  rounds: number | undefined
  /** The kind of a file whose tokens nobody knows: none are counted for it. */
  unknownFile: string | undefined
  /** Of its strong model: what all rows would ask of it. */
  unrouted: { calls: number; input: number } | undefined
}

/** Whole prompts: shares of them are added up, and not exactly. */
export const callsOf = ({ prompts }: PlanCounts): number => Math.ceil(prompts - 1e-6)

/** Whose calls are counted. */
export type Of = Pick<PlanCounts, "step" | "provider" | "model" | "baseline" | "isEmbedding">

export const make = (of: Of): PlanCounts => ({
  ...of,
  calls: 0,
  prompts: 0,
  cached: 0,
  input: 0,
  alone: 0,
  cachedUsage: Usage.zero,
  maxTokens: 0,
  guessed: { low: 0, expected: 0, high: 0 },
  prefix: undefined,
  isReused: false,
  isMost: false,
  isCascaded: false,
  rounds: undefined,
  unknownFile: undefined,
  unrouted: undefined
})

/** A call, or a share of one. */
export interface PlannedCall {
  readonly request: ModelRequest.ModelRequest
  /** How much of it is counted: a cascade asks a model for some rows only. */
  readonly share: number
  /** What every row would ask without the cascade. */
  readonly isStrong: boolean
  /** Earlier answers may be reused for it. */
  readonly isReused: boolean
  /** The share of a prompt that it has, with that prompt's tokens, and what it would have alone. */
  readonly prompt: { readonly prompts: number; readonly input: number; readonly alone: number }
  /** Of a loop over tools: the tokens of a call, and the calls of a row. */
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
  counts.unknownFile ??= filesOf(request).unknown
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
  counts.prefix = commonPrefix(counts.prefix, ModelRequest.text(request))
}

const commonPrefix = (prefix: string | undefined, text: string): string => {
  if (prefix === undefined) return text
  let length = 0
  while (length < prefix.length && prefix[length] === text[length]) length++
  return prefix.slice(0, length)
}

/** The most tokens of the files of a request, and the kind of one of which nothing is known. */
export const filesOf = (request: ModelRequest.ModelRequest): { readonly tokens: number; readonly unknown?: string } => {
  if (request._tag === "Embedding") return { tokens: 0 }
  const types = request.messages.flatMap(({ content }) =>
    typeof content === "string" ? [] : content.flatMap((part) => (part.type === "file" ? [part.mediaType] : []))
  )
  const sizes = types.map((type) => FileTokens.most(request.model ?? "", type))
  const unknown = types[sizes.indexOf(undefined)]
  return {
    tokens: sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0),
    ...(unknown === undefined ? undefined : { unknown })
  }
}
