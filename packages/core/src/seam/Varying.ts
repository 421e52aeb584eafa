/**
 * The text of a request that varies from row to row, and what may be done with it: an answer to a question that means the same
 * may be reused (`SemanticCache`), and several may be asked in one prompt (`Pack`). A step says it by its options `varies`,
 * `reuse` and `pack`; code can say it around any effect.
 *
 * **Example** (one call whose answer may be reused for questions that mean the same)
 *
 * ```ts
 * import { Varying } from "@pipe/core"
 * import { LanguageModel } from "effect/ai"
 *
 * export const intent = (question: string) =>
 *   LanguageModel.generateText({ prompt: `Name the intent of the question, in one word.\n\n${question}` }).pipe(
 *     Varying.provide({ text: question, reuse: { maxErrorRate: 0.02 } })
 *   )
 * ```
 *
 * @since 0.1.0
 */
import type * as Prompt from "effect/ai/Prompt"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as ModelRequest from "../data/ModelRequest.ts"

/** When an answer to an earlier text may stand for the answer to this one. */
export interface Reuse {
  /** δ: at most this share of the reused answers is another than the model would have given. Between 0 and 1. */
  readonly maxErrorRate: number
  /** Share of answers that could be reused for which the model is asked nevertheless, to measure the error. Default: 0.02. */
  readonly audit?: number
  /**
   * What of an answer's text counts when two are compared: the label of an object whose reason may differ. Default: all of it,
   * JSON without regard to the order of its keys.
   */
  readonly answer?: (text: string) => unknown
}

/** How many texts are asked together. */
export interface Pack {
  /** Texts of one prompt, or `"auto"`: found by trial on the first rows. */
  readonly size: number | "auto"
  /** Least share of packed answers that are to agree with single ones. Default: 0.95. */
  readonly minAgreement?: number
  /** Share of the prompts of which one text is asked alone too, to measure the agreement. Default: 0.05. */
  readonly audit?: number
  /** What of an answer's text counts when two are compared. Default: all of it. */
  readonly answer?: (text: string) => unknown
}

export interface Varying {
  /** As it stands in the prompt. */
  readonly text: string
  readonly reuse?: Reuse | undefined
  readonly pack?: Pack | undefined
}

/** What varies in the calls of the present fiber; by default nothing is known of it. */
export const Varying = Context.Reference<Varying | undefined>("@pipe/core/Varying", { defaultValue: () => undefined })

/** Says what varies in the calls of an effect. */
export const provide = (varying: Varying) => <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(self, Varying, varying)

/**
 * The request with something else in the place of the text: the last place at which it stands, which must be in a message of
 * the user. `undefined` where it stands in none.
 */
export const replace = (request: ModelRequest.Completion, text: string, by: string): ModelRequest.Completion | undefined => {
  if (text === "") return undefined
  for (let at = request.messages.length - 1; at >= 0; at--) {
    const message = request.messages[at]!
    if (message.role !== "user") continue
    const content = typeof message.content === "string"
      ? replaceLast(message.content, text, by)
      : replaceInParts(message.content, text, by)
    if (content !== undefined) {
      return { ...request, messages: request.messages.with(at, { ...message, content } as ModelRequest.Message) }
    }
  }
  return undefined
}

const replaceLast = (content: string, text: string, by: string): string | undefined => {
  const at = content.lastIndexOf(text)
  return at < 0 ? undefined : content.slice(0, at) + by + content.slice(at + text.length)
}

const replaceInParts = (
  parts: ReadonlyArray<Prompt.PartEncoded>,
  text: string,
  by: string
): ReadonlyArray<Prompt.PartEncoded> | undefined => {
  for (let at = parts.length - 1; at >= 0; at--) {
    const part = parts[at]!
    const replaced = part.type === "text" ? replaceLast(part.text, text, by) : undefined
    if (replaced !== undefined) return parts.with(at, { ...part, text: replaced } as Prompt.PartEncoded)
  }
  return undefined
}

/** The key of what an answer says: equal for answers that agree. */
export const answerKey = (text: string, of: ((text: string) => unknown) | undefined, canonical: (value: unknown) => string): string => {
  if (of !== undefined) return canonical(of(text))
  const trimmed = text.trim()
  if (/^[[{]/.test(trimmed)) {
    try {
      return canonical(JSON.parse(trimmed))
    } catch {
      // Not JSON after all.
    }
  }
  return trimmed
}
