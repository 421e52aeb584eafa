/**
 * What one model call consumed, in disjoint classes of tokens: no token is counted in two of them, so each class is
 * priced once and the sum of all is the total.
 *
 * Providers report usage in two shapes: with cached tokens *inside* the input count (OpenAI) or *beside* it
 * (Anthropic), with reasoning inside the output count (OpenAI) or beside it (Gemini). `fromInclusive` and
 * `fromDisjoint` are the only places that know.
 *
 * **Example** (cached tokens are not counted twice)
 *
 * ```ts
 * import { Usage } from "@pipe/core"
 *
 * const usage = Usage.fromInclusive({ input: 10_000, cacheRead: 9_000, output: 200 })
 * usage?.uncachedInput // => 1000
 * ```
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** Disjoint token classes of one call or of a sum of calls. */
export const Usage = Schema.Struct({
  /** Input tokens that no prompt cache served or stored. */
  uncachedInput: Count,
  /** Input tokens read from the provider's prompt cache. */
  cacheRead: Count,
  /** Input tokens written to the provider's prompt cache (five minutes, or the provider's only duration). */
  cacheWrite: Count,
  /** Input tokens written to the provider's prompt cache for one hour. */
  cacheWrite1h: Count,
  /** Output tokens that are not reasoning. */
  output: Count,
  /** Output tokens spent on reasoning. */
  reasoning: Count,
  /** Set when the provider's figures contradict each other: says which. */
  inconsistent: Schema.optionalKey(Schema.String),
  /** Set when nothing sure can be said about the input, so that no price may be put on it. */
  unpriceable: Schema.optionalKey(Schema.Literal(true))
})

export interface Usage extends Schema.Schema.Type<typeof Usage> {}

/** The names of the token classes. */
export const classes = ["uncachedInput", "cacheRead", "cacheWrite", "cacheWrite1h", "output", "reasoning"] as const

export type TokenClass = (typeof classes)[number]

/** No tokens at all. */
export const zero: Usage = {
  uncachedInput: 0,
  cacheRead: 0,
  cacheWrite: 0,
  cacheWrite1h: 0,
  output: 0,
  reasoning: 0
}

export const inputTokens = (usage: Usage): number =>
  usage.uncachedInput + usage.cacheRead + usage.cacheWrite + usage.cacheWrite1h

export const outputTokens = (usage: Usage): number => usage.output + usage.reasoning

export const totalTokens = (usage: Usage): number => inputTokens(usage) + outputTokens(usage)

/** Adds class by class; the marks of single calls are not carried into a sum. */
export const add = (self: Usage, that: Usage): Usage => ({
  uncachedInput: self.uncachedInput + that.uncachedInput,
  cacheRead: self.cacheRead + that.cacheRead,
  cacheWrite: self.cacheWrite + that.cacheWrite,
  cacheWrite1h: self.cacheWrite1h + that.cacheWrite1h,
  output: self.output + that.output,
  reasoning: self.reasoning + that.reasoning
})

/**
 * Divides a usage among those who share a call, class by class by their weights: whole tokens, and together exactly what was
 * used.
 *
 * **Example** (three share ten tokens)
 *
 * ```ts
 * import { Usage } from "@pipe/core"
 *
 * const parts = Usage.split({ ...Usage.zero, uncachedInput: 10 }, [1, 1, 1].map((input) => ({ input, output: 1 })))
 * parts.map(({ uncachedInput }) => uncachedInput) // => [3, 4, 3]
 * ```
 */
export const split = (
  usage: Usage,
  weights: ReadonlyArray<{ readonly input: number; readonly output: number }>
): ReadonlyArray<Usage> => {
  const inputs = weights.map(({ input }) => input)
  const outputs = weights.map(({ output }) => output)
  const uncachedInput = portions(usage.uncachedInput, inputs)
  const cacheRead = portions(usage.cacheRead, inputs)
  const cacheWrite = portions(usage.cacheWrite, inputs)
  const cacheWrite1h = portions(usage.cacheWrite1h, inputs)
  const output = portions(usage.output, outputs)
  const reasoning = portions(usage.reasoning, outputs)
  return weights.map((_, at) => ({
    ...usage,
    uncachedInput: uncachedInput[at]!,
    cacheRead: cacheRead[at]!,
    cacheWrite: cacheWrite[at]!,
    cacheWrite1h: cacheWrite1h[at]!,
    output: output[at]!,
    reasoning: reasoning[at]!
  }))
}

const portions = (total: number, weights: ReadonlyArray<number>): ReadonlyArray<number> => {
  const whole = weights.reduce((sum, weight) => sum + weight, 0)
  let upTo = 0
  let given = 0
  return weights.map((weight, at) => {
    upTo += weight
    const share = whole > 0 ? upTo / whole : (at + 1) / weights.length
    const portion = Math.round(total * Math.min(1, share)) - given
    given += portion
    return portion
  })
}

/** More tokens than one call can have: a larger figure is not a count, and sums of counts stay exact. */
export const MOST = 1e9

/** What was sent as a count, if it is one. */
const count = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MOST ? value : undefined

/** A class that the provider leaves out has no tokens. */
const part = (value: unknown): number | undefined => (value === undefined || value === null ? 0 : count(value))

const splitOutput = (total: number, reasoning: number) =>
  reasoning > total
    ? {
        output: total,
        reasoning: 0,
        inconsistent: `the provider reports ${reasoning} reasoning tokens inside ${total} output tokens`
      }
    : { output: total - reasoning, reasoning }

/** Figures as a provider sent them: of any kind. */
export type Figures = {
  readonly [F in "input" | "output" | "cacheRead" | "cacheWrite" | "cacheWrite1h" | "reasoning" | "total"]?: unknown
}

/**
 * From figures in which the cached classes are parts of `input` and `reasoning` is a part of `output` (OpenAI and most
 * compatible endpoints). `undefined` where `input` or `output` is no count, or another figure is there and is none: an
 * unknown usage is never 0.
 *
 * **Details** The top-level count is the truth: an unnamed remainder is ordinary input or output. Where `total` is more than input
 * and output together, the rest is output: some endpoints count reasoning beside it. If reasoning exceeds the output, the output is
 * billed and the contradiction is marked. If the cached parts exceed the input, no number is
 * right, so the usage is marked `unpriceable` and keeps the provider's figures in `inconsistent`.
 */
export const fromInclusive = (figures: Figures): Usage | undefined => {
  const input = count(figures.input)
  const cacheRead = part(figures.cacheRead)
  const cacheWrite = part(figures.cacheWrite)
  const said = count(figures.output)
  const whole = said === undefined || input === undefined ? said : Math.max(said, (count(figures.total) ?? 0) - input)
  const reasoning = part(figures.reasoning)
  if (
    input === undefined
    || cacheRead === undefined
    || cacheWrite === undefined
    || whole === undefined
    || reasoning === undefined
  )
    return undefined
  const output = splitOutput(whole, reasoning)
  const uncachedInput = input - cacheRead - cacheWrite
  return uncachedInput < 0
    ? {
        ...zero,
        ...output,
        uncachedInput: input,
        inconsistent: `the provider reports ${input} input tokens of which ${cacheRead} cache read and ${cacheWrite} cache write`,
        unpriceable: true
      }
    : { ...zero, uncachedInput, cacheRead, cacheWrite, ...output }
}

/**
 * From figures in which every class stands beside the others (Anthropic's input classes, Gemini's thoughts). Nothing
 * is subtracted. `undefined` as in `fromInclusive`.
 */
export const fromDisjoint = (figures: Figures): Usage | undefined => {
  const uncachedInput = count(figures.input)
  const cacheRead = part(figures.cacheRead)
  const cacheWrite = part(figures.cacheWrite)
  const cacheWrite1h = part(figures.cacheWrite1h)
  const output = count(figures.output)
  const reasoning = part(figures.reasoning)
  return uncachedInput === undefined
    || cacheRead === undefined
    || cacheWrite === undefined
    || cacheWrite1h === undefined
    || output === undefined
    || reasoning === undefined
    ? undefined
    : { uncachedInput, cacheRead, cacheWrite, cacheWrite1h, output, reasoning }
}

/** Whether a usage has a count in each class, whoever made it. */
export const isSound = (usage: Usage): boolean => classes.every((name) => count(usage[name]) !== undefined)

/** The shape in which `effect/ai` reports usage. */
export interface AiUsage {
  readonly inputTokens: {
    readonly uncached?: number | undefined
    readonly total?: number | undefined
    readonly cacheRead?: number | undefined
    readonly cacheWrite?: number | undefined
  }
  readonly outputTokens: {
    readonly total?: number | undefined
    readonly text?: number | undefined
    readonly reasoning?: number | undefined
  }
}

/** To `effect/ai`'s usage; `undefined` gives one in which every figure is unknown. */
export const toAi = (usage: Usage | undefined): AiUsage =>
  usage === undefined
    ? { inputTokens: {}, outputTokens: {} }
    : {
        inputTokens: {
          uncached: usage.uncachedInput,
          total: inputTokens(usage),
          cacheRead: usage.cacheRead,
          cacheWrite: usage.cacheWrite + usage.cacheWrite1h
        },
        outputTokens: { total: outputTokens(usage), text: usage.output, reasoning: usage.reasoning }
      }

/** From `effect/ai`'s usage; `undefined` when it holds no total to stand on. */
export const fromAi = ({ inputTokens, outputTokens }: AiUsage): Usage | undefined => {
  const input =
    inputTokens.total
    ?? (inputTokens.uncached === undefined
      ? undefined
      : inputTokens.uncached + (inputTokens.cacheRead ?? 0) + (inputTokens.cacheWrite ?? 0))
  const output =
    outputTokens.total
    ?? (outputTokens.text === undefined ? undefined : outputTokens.text + (outputTokens.reasoning ?? 0))
  return input === undefined || output === undefined
    ? undefined
    : fromInclusive({
        input,
        output,
        cacheRead: inputTokens.cacheRead,
        cacheWrite: inputTokens.cacheWrite,
        reasoning: outputTokens.reasoning
      })
}
