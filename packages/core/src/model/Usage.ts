/**
 * The usage of a model call in disjoint token classes: no token is counted twice, so each class is priced once and the
 * sum of all classes is the total.
 *
 * Providers report usage in two shapes: cached tokens *inside* the input count (OpenAI) or *beside* it (Anthropic), and
 * reasoning inside the output count (OpenAI) or beside it (Gemini). Only `fromInclusive` and `fromDisjoint` know about
 * them.
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

/** Disjoint token classes of a call, or of a sum of calls. */
export const Usage = Schema.Struct({
  /** Input tokens that were neither read from nor written to a prompt cache. */
  uncachedInput: Count,
  /** Input tokens read from the provider's prompt cache. */
  cacheRead: Count,
  /** Input tokens written to the provider's prompt cache (five minutes, or the provider's only duration). */
  cacheWrite: Count,
  /** Input tokens written to the provider's prompt cache for one hour. */
  cacheWrite1h: Count,
  /** Output tokens other than reasoning. */
  output: Count,
  /** Output tokens spent on reasoning. */
  reasoning: Count,
  /** Audio input tokens that no prompt cache served. */
  inputAudio: Schema.optionalKey(Count),
  /** Image input tokens, when the provider reports them separately. */
  inputImage: Schema.optionalKey(Count),
  /** Audio output tokens. */
  outputAudio: Schema.optionalKey(Count),
  /** Image output tokens. */
  outputImage: Schema.optionalKey(Count),
  /** Web searches that the provider made for the call. Each has a fee. */
  searches: Schema.optionalKey(Count),
  /** Set when the provider's figures contradict each other: describes how. */
  inconsistent: Schema.optionalKey(Schema.String),
  /** Set when the input is so uncertain that the usage must not be priced. */
  unpriceable: Schema.optionalKey(Schema.Literal(true))
})

export interface Usage extends Schema.Schema.Type<typeof Usage> {}

/** The token classes that every usage has. */
export const classes = ["uncachedInput", "cacheRead", "cacheWrite", "cacheWrite1h", "output", "reasoning"] as const

/** The token classes that few calls have. An absent class is zero. */
export const rareClasses = ["inputAudio", "inputImage", "outputAudio", "outputImage"] as const

/** A class of tokens that providers usually report. */
export type TokenClass = (typeof classes)[number]

/** A class of tokens that few providers report: audio and images. */
export type RareClass = (typeof rareClasses)[number]

/** The optional counts of a usage. */
const rare = [...rareClasses, "searches"] as const

/** Tests whether a usage has any of the optional counts. Few have. */
export const hasRare = (usage: Usage): boolean =>
  usage.inputAudio !== undefined
  || usage.inputImage !== undefined
  || usage.outputAudio !== undefined
  || usage.outputImage !== undefined
  || usage.searches !== undefined

const mapRare = (usage: Usage, f: (count: number, name: (typeof rare)[number]) => number): Partial<Usage> =>
  Object.fromEntries(rare.flatMap((name) => (usage[name] === undefined ? [] : [[name, f(usage[name], name)]])))

/** Zero tokens. */
export const zero: Usage = {
  uncachedInput: 0,
  cacheRead: 0,
  cacheWrite: 0,
  cacheWrite1h: 0,
  output: 0,
  reasoning: 0
}

/** All input tokens, cached ones included. */
export const inputTokens = (usage: Usage): number =>
  usage.uncachedInput
  + usage.cacheRead
  + usage.cacheWrite
  + usage.cacheWrite1h
  + (usage.inputAudio ?? 0)
  + (usage.inputImage ?? 0)

/** All output tokens, reasoning included. */
export const outputTokens = (usage: Usage): number =>
  usage.output + usage.reasoning + (usage.outputAudio ?? 0) + (usage.outputImage ?? 0)

/** Input and output tokens. */
export const totalTokens = (usage: Usage): number => inputTokens(usage) + outputTokens(usage)

/** Adds two usages class by class. Marks of single calls are dropped. */
export const add = (self: Usage, that: Usage): Usage => ({
  uncachedInput: self.uncachedInput + that.uncachedInput,
  cacheRead: self.cacheRead + that.cacheRead,
  cacheWrite: self.cacheWrite + that.cacheWrite,
  cacheWrite1h: self.cacheWrite1h + that.cacheWrite1h,
  output: self.output + that.output,
  reasoning: self.reasoning + that.reasoning,
  ...(hasRare(self) ? mapRare(self, (count, name) => count + (that[name] ?? 0)) : undefined),
  ...(hasRare(that) ? mapRare(that, (count, name) => count + (self[name] ?? 0)) : undefined)
})

/**
 * Divides a usage among the requests that share a call, class by class and in proportion to their weights. Shares are
 * whole tokens and add up to the usage.
 *
 * **Example** (three requests share ten tokens)
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
  const others = rare.flatMap((name) => {
    const whole = usage[name]
    if (whole === undefined) return []
    return [[name, portions(whole, name === "inputAudio" || name === "inputImage" ? inputs : outputs)] as const]
  })
  return weights.map((_, at) => ({
    ...usage,
    ...Object.fromEntries(others.map(([name, parts]) => [name, parts[at]!])),
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

/** More tokens than a call can have. A larger figure is not a count, so sums of counts stay exact. */
export const MOST = 1e9

/** The value as a count, if it is one. */
const count = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= MOST ? value : undefined

/** A class that the provider omits has no tokens. */
const part = (value: unknown): number | undefined => (value === undefined || value === null ? 0 : count(value))

/** Figures as a provider sent them, of any type. */
export type Figures = {
  readonly [
    F in
      | "input"
      | "output"
      | "cacheRead"
      | "cacheWrite"
      | "cacheWrite1h"
      | "reasoning"
      | "total"
      | (typeof rare)[number]
  ]?: unknown
}

/** The figures as counts, with 0 for omitted classes; `undefined` when a figure is present but not a count. */
const parts = (figures: Figures) => {
  const found = {
    cacheRead: part(figures.cacheRead),
    cacheWrite: part(figures.cacheWrite),
    cacheWrite1h: part(figures.cacheWrite1h),
    reasoning: part(figures.reasoning),
    inputAudio: part(figures.inputAudio),
    inputImage: part(figures.inputImage),
    outputAudio: part(figures.outputAudio),
    outputImage: part(figures.outputImage),
    searches: part(figures.searches)
  }
  for (const name in found) if (found[name as keyof typeof found] === undefined) return undefined
  return found as { readonly [F in keyof typeof found]: number }
}

type Parts = NonNullable<ReturnType<typeof parts>>

/** The optional counts other than 0. */
const others = (counts: Parts): Partial<Usage> | undefined => {
  let found: { [name in (typeof rare)[number]]?: number } | undefined
  for (const name of rare) if (counts[name] !== 0) (found ??= {})[name] = counts[name]
  return found
}

/** Input and output; the total may determine one of them. */
const ends = (figures: Figures): readonly [input: number, output: number] | undefined => {
  const [input, output, total] = [count(figures.input), count(figures.output), count(figures.total)]
  if (input !== undefined && output !== undefined) return [input, output]
  if (total === undefined) return undefined
  // A figure that is present but not a count invalidates the usage.
  if (input !== undefined && isLeftOut(figures.output) && total >= input) return [input, total - input]
  if (output !== undefined && isLeftOut(figures.input) && total >= output) return [total - output, output]
  return undefined
}

const isLeftOut = (value: unknown): boolean => value === undefined || value === null

/** Whether the input is a count, and nothing tells the output. */
const lacksOutput = ({ input, output, total }: Figures): boolean =>
  count(input) !== undefined && isLeftOut(output) && isLeftOut(total)

/** The output by class. `rest` is what the total leaves for it. */
const outputsOf = (said: number, rest: number | undefined, { outputAudio, outputImage, reasoning }: Parts) => {
  // The total exceeds input plus output: the rest is output, usually reasoning counted separately.
  const whole = Math.max(said, rest ?? said)
  const text = whole - reasoning - outputAudio - outputImage
  if (text >= 0) return { output: text, reasoning }
  const inconsistent = `the provider reports ${reasoning} reasoning tokens inside ${said} output tokens`
  // Without a total they may be separate counts: both are charged.
  return rest === undefined
    ? { output: said, reasoning, inconsistent }
    : { output: Math.max(0, whole - outputAudio - outputImage), reasoning: 0, inconsistent }
}

/**
 * Makes a usage from figures in which the cached classes are part of `input`, and `reasoning` is part of `output`
 * (OpenAI and most compatible endpoints). Returns `undefined` when `input` or `output` is not a count and `total` does
 * not determine it, or when another figure is present but not a count: an unknown usage is never 0. Where nothing is said
 * of the output, the usage is marked `unpriceable`, and its input is the least that was used.
 *
 * **Details** The top-level counts are authoritative: tokens without a class are ordinary input or output. The figures
 * decide which count includes which. Where `total` exceeds input plus output, the rest is output, because some
 * endpoints count reasoning separately; where it equals input, output and cached (or audio) input together, those are
 * separate. If reasoning exceeds the output, the output that the total confirms is charged, or both without a total,
 * and the contradiction is marked. If the cached parts exceed an input that the total confirms, both are charged and
 * marked. Where no total confirms it, no figure is reliable: the usage is marked `unpriceable` and keeps the provider's
 * figures in `inconsistent`.
 */
export const fromInclusive = (figures: Figures): Usage | undefined => {
  if (lacksOutput(figures)) return ofInput(fromInclusive({ ...figures, output: 0 }))
  const found = ends(figures)
  const counts = parts(figures)
  if (found === undefined || counts === undefined) return undefined
  const [said, { cacheRead, cacheWrite, cacheWrite1h, inputAudio, inputImage }] = [found[1], counts]
  const media = inputAudio + inputImage
  const isBeside = media > 0 && count(figures.total) === found[0] + media + said
  const input = isBeside ? found[0] + media : found[0]
  const cached = cacheRead + cacheWrite + cacheWrite1h
  const total = count(figures.total)
  // All three add up to the total: the cached classes are separate from the input, and reasoning is part of the output.
  if (cached > 0 && media === 0 && total === input + cached + said && counts.reasoning <= said) {
    return fromDisjoint({ ...figures, input, output: said - counts.reasoning })
  }
  const output = outputsOf(said, total === undefined ? undefined : total - input, counts)
  const text = input - media
  if (cached > input || text < 0) {
    // The total leaves the cached tokens out: they are separate, and charged too.
    const isConfirmed = total === input + said && media === 0
    return {
      ...zero,
      ...output,
      uncachedInput: input,
      ...(isConfirmed ? { cacheRead, cacheWrite, cacheWrite1h } : undefined),
      inconsistent: `the provider reports ${input} input tokens of which ${cacheRead} cache read and ${cacheWrite + cacheWrite1h} cache write${
        media === 0 ? "" : ` and ${media} audio or image`
      }`,
      ...(isConfirmed ? undefined : { unpriceable: true as const })
    }
  }
  // Audio may be part of what was read from the cache. It is charged as if it were not.
  const read = Math.min(cacheRead, text - Math.min(text, cacheWrite + cacheWrite1h))
  return {
    ...zero,
    ...others(counts),
    uncachedInput: text - read - Math.min(text, cacheWrite + cacheWrite1h),
    cacheRead: read,
    cacheWrite: Math.min(text, cacheWrite + cacheWrite1h) - Math.min(text, cacheWrite1h),
    cacheWrite1h: Math.min(text, cacheWrite1h),
    ...output
  }
}

/**
 * Makes a usage from figures in which all classes are separate (Anthropic's input classes, Gemini's thoughts). Nothing
 * is subtracted. Returns `undefined` as in `fromInclusive`.
 */
export const fromDisjoint = (figures: Figures): Usage | undefined => {
  if (lacksOutput(figures)) return ofInput(fromDisjoint({ ...figures, output: 0 }))
  const [uncachedInput, output] = [count(figures.input), count(figures.output)]
  const counts = parts(figures)
  if (uncachedInput === undefined || output === undefined || counts === undefined) return undefined
  const { cacheRead, cacheWrite, cacheWrite1h, reasoning } = counts
  return { ...others(counts), uncachedInput, cacheRead, cacheWrite, cacheWrite1h, output, reasoning }
}

/**
 * Accepts a usage that its call does not contradict: every request has input, and an answer with content has output. A
 * usage with one of them only is marked `unpriceable`: the call cost what it reports, and more.
 */
export const ofAnswer = (usage: Usage | undefined, showsSomething: boolean): Usage | undefined => {
  if (usage === undefined) return undefined
  const [input, output] = [inputTokens(usage), outputTokens(usage)]
  const lacks = input === 0 ? "input" : showsSomething && output === 0 ? "output" : undefined
  if (lacks === undefined) return usage
  return input === 0 && output === 0 ? undefined : lacking(usage, lacks)
}

/** A usage of which a part is not reported. What it has is the least that was used. */
const lacking = (usage: Usage, what: "input" | "output"): Usage => ({
  ...usage,
  inconsistent: `the provider reports no ${what} tokens`,
  unpriceable: true
})

/** A usage of which only the input is reported. */
const ofInput = (usage: Usage | undefined): Usage | undefined =>
  usage === undefined || inputTokens(usage) === 0 ? undefined : lacking(usage, "output")

/** Tests whether a part of the input was read from a cache of prompts, or written to it. */
export const hasPromptCache = (usage: Usage): boolean =>
  usage.cacheRead !== 0 || usage.cacheWrite !== 0 || usage.cacheWrite1h !== 0

/** Tests whether a usage has a valid count in every class. */
export const isSound = (usage: Usage): boolean =>
  classes.every((name) => count(usage[name]) !== undefined)
  && (!hasRare(usage) || rare.every((name) => part(usage[name]) !== undefined))

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

/** Converts to `effect/ai`'s usage. `undefined` becomes a usage in which every figure is unknown. */
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

/** Converts from `effect/ai`'s usage; `undefined` when it has no reliable total. */
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
