/**
 * The simulator's answer to a request: a text or a tool call, and its usage.
 *
 * @internal
 */
import type { Options } from "./Options.ts"
import type * as RequestNotes from "./RequestNotes.ts"
import * as Packed from "./Packed.ts"
import type * as PromptCache from "./PromptCache.ts"
import * as Script from "./Script.ts"
import type * as Wire from "./Wire.ts"

export interface Answering {
  readonly options: Options
  readonly seed: string
  readonly count: (text: string) => number
  readonly promptCache: PromptCache.PromptCache
}

/** The arguments of a tool call. */
const argumentsOf = (
  { name, parameters }: NonNullable<Wire.WireRequest["tool"]>,
  key: string,
  note: RequestNotes.RequestNote | undefined
): unknown => {
  const noted = note?.tools.get(name)
  return noted === undefined ? Script.fromSchema(parameters, key) : (JSON.parse(noted) as unknown)
}

/** The answer to one text: from the caller, from a note, or generated. */
const single =
  ({ options, seed }: Answering, asked: Wire.WireRequest, note: RequestNotes.RequestNote | undefined) =>
  (prompt: string, schema: Wire.WireJson | undefined): string => {
    const key = `${seed}\n${asked.model}\n${prompt}`
    return (
      options.answer?.({ model: asked.model, prompt })
      ?? (prompt === asked.prompt ? note?.text : undefined)
      ?? (schema === undefined ? Script.text(key) : JSON.stringify(Script.fromSchema(schema, key)))
    )
  }

/** The text of an answer, or one that does not fit the schema. */
const textOf = (
  answering: Answering,
  asked: Wire.WireRequest,
  isWrong: boolean,
  note: RequestNotes.RequestNote | undefined
): string => {
  const { options, seed } = answering
  // Varies with the prompt: a model that sees the error rarely repeats itself exactly.
  if (isWrong) return `{"this": "does not fit, ${Math.floor(Script.chance(seed, "wrong text", asked.prompt) * 1e6)}"`
  const one = single(answering, asked, note)
  return Packed.answer(asked, seed, options.packs ?? {}, one) ?? one(asked.prompt, asked.schema)
}

/** Answers a request. `arrived` is its time, for the prompt cache. */
export const answer = (
  answering: Answering,
  asked: Wire.WireRequest,
  isWrong: boolean,
  arrived: number,
  note: RequestNotes.RequestNote | undefined
): Wire.WireAnswer => {
  const { count, options, promptCache, seed } = answering
  const key = note?.seed ?? `${seed}\n${asked.model}\n${asked.prompt}`
  const tool =
    asked.tool === undefined ? undefined : { name: asked.tool.name, arguments: argumentsOf(asked.tool, key, note) }
  let text = textOf(answering, asked, isWrong, note)
  let output = count(tool === undefined ? text : JSON.stringify(tool.arguments))
  const reasoning = asked.reasoning ? 64 * (1 + Math.floor(Script.chance(key, "reasoning") * 4)) : 0
  const truncated = asked.maxTokens !== undefined && output + reasoning > asked.maxTokens
  if (truncated) {
    output = Math.max(0, asked.maxTokens - reasoning)
    text = text.slice(0, Math.max(1, Math.floor((text.length * output) / Math.max(1, count(text)))))
  }
  const input =
    count(asked.prompt) + 8 + (asked.schema === undefined ? 0 : count(JSON.stringify(asked.schema))) + asked.files
  return {
    id: Math.floor(Script.chance(key, "id") * 2 ** 48).toString(36),
    text,
    tool,
    truncated,
    confidence:
      options.confidence?.({ model: asked.model, prompt: asked.prompt, text })
      ?? 0.5 + Script.chance(key, "confidence") / 2,
    tokens: {
      input,
      ...promptCache.use(asked, input, arrived),
      output: Math.min(output + reasoning, asked.maxTokens ?? Number.POSITIVE_INFINITY),
      reasoning: Math.min(reasoning, asked.maxTokens ?? reasoning)
    }
  }
}
