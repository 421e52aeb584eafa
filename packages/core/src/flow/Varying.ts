/**
 * The text of a request that varies from row to row, and how it may be used: `SemanticCache` reuses an answer for a
 * question that means the same, and `Pack` sends several texts in one prompt. A step declares it with `varies`, `reuse`
 * and `pack`; code can declare it around any effect.
 *
 * **Example** (one call whose answer may be reused for questions that mean the same)
 *
 * ```ts
 * import { Varying } from "@pipe/core"
 * import { LanguageModel } from "effect/ai"
 *
 * const intentOf = (question: string) =>
 *   LanguageModel.generateText({ prompt: `Name the intent of the question, in one word.\n\n${question}` }).pipe(
 *     Varying.provide({ text: question, reuse: { maxErrorRate: 0.02 } })
 *   )
 *
 * export const intent = intentOf("Where is my card?")
 * ```
 *
 * @since 0.1.0
 */
import type * as Prompt from "effect/ai/Prompt"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Nesting from "../encoding/Nesting.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"

/** When the answer to an earlier text may be reused. */
export interface Reuse {
  /**
   * The error bound δ: at most this share of the reused answers differs from what the model would have answered.
   * Between 0 and 1.
   */
  readonly maxErrorRate: number
  /** The share of reusable answers that are requested from the model anyway, to measure the error. Default: 0.02. */
  readonly audit?: number
  /**
   * Extracts what counts when two answers are compared, such as the label of an object whose explanation may differ.
   * Default: the whole answer; JSON is compared regardless of key order.
   */
  readonly answer?: (text: string) => unknown
}

/** How many texts are sent together. */
export interface Pack {
  /** Texts per prompt, or `"auto"` to find the number by trial on the first rows. */
  readonly size: number | "auto"
  /** The lowest share of packed answers that must agree with single ones. Default: 0.95. */
  readonly minAgreement?: number
  /** The share of prompts in which one text is also sent alone, to measure agreement. Default: 0.05. */
  readonly audit?: number
  /** Extracts what counts when two answers are compared. Default: the whole answer. */
  readonly answer?: (text: string) => unknown
}

export interface Varying {
  /** Exactly as it appears in the prompt. */
  readonly text: string
  readonly reuse?: Reuse | undefined
  readonly pack?: Pack | undefined
}

/** What varies in the calls of the current fiber. Default: unknown. */
export const Varying = Context.Reference<Varying | undefined>("@pipe/core/Varying", { defaultValue: () => undefined })

/** Declares what varies in the calls of an effect. */
export const provide =
  (varying: Varying) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(self, Varying, varying)

/** The position of a text in a request: a message, a part of it where it has parts, and a character offset. */
export interface Place {
  readonly message: number
  readonly part: number | undefined
  readonly from: number
  readonly length: number
}

/**
 * A text this long is unlikely to appear in an instruction by accident: it is searched from the start, a shorter one
 * from the end.
 */
const LONG = 20

/**
 * Finds a text in the user messages: the first occurrence of a long text, the last of a short one; `undefined` when it
 * is absent.
 */
export const find = ({ messages }: ModelRequest.Completion, text: string): Place | undefined => {
  if (text === "") return undefined
  const isLong = text.length >= LONG
  const places = messages.flatMap(({ content, role }, message) =>
    role !== "user"
      ? []
      : (typeof content === "string"
          ? [content]
          : content.map((part) => (part.type === "text" ? part.text : ""))
        ).flatMap((one, part): ReadonlyArray<Place> => {
          const from = isLong ? one.indexOf(text) : one.lastIndexOf(text)
          return from < 0
            ? []
            : [{ message, part: typeof content === "string" ? undefined : part, from, length: text.length }]
        })
  )
  return isLong ? places[0] : places.at(-1)
}

/** The parts of the message that contains the position: those before it, those after it, and its own. */
const cut = (request: ModelRequest.Completion, { message, part = 0 }: Place) => {
  const { content } = request.messages[message]!
  const parts: ReadonlyArray<Prompt.PartEncoded> =
    typeof content === "string" ? [{ type: "text", text: content }] : content
  return { before: parts.slice(0, part), own: parts[part] as Prompt.TextPartEncoded, after: parts.slice(part + 1) }
}

const textPart = (own: Prompt.TextPartEncoded, text: string): ReadonlyArray<Prompt.TextPartEncoded> =>
  text === "" ? [] : [{ ...own, text }]

const withContent = (
  request: ModelRequest.Completion,
  message: number,
  content: string | ReadonlyArray<Prompt.PartEncoded>
) => ({
  ...request,
  messages: request.messages.with(message, { ...request.messages[message]!, content } as ModelRequest.Message)
})

/** Replaces the text in the request; `undefined` when the request does not contain it. */
export const replace = (
  request: ModelRequest.Completion,
  text: string,
  by: string
): ModelRequest.Completion | undefined => {
  const place = find(request, text)
  if (place === undefined) return undefined
  if (text.length < LONG) {
    const { after, before, own } = cut(request, place)
    const joined = own.text.slice(0, place.from) + by + own.text.slice(place.from + place.length)
    return withContent(
      request,
      place.message,
      place.part === undefined ? joined : [...before, { ...own, text: joined }, ...after]
    )
  }
  const everywhere = (one: string): string => one.split(text).join(by)
  return {
    ...request,
    messages: request.messages.map((message) =>
      message.role !== "user"
        ? message
        : ({
            ...message,
            content:
              typeof message.content === "string"
                ? everywhere(message.content)
                : message.content.map((part) =>
                    part.type === "text" ? { ...part, text: everywhere(part.text) } : part
                  )
          } as ModelRequest.Message)
    )
  }
}

/** The part of a request before a position. */
export const before = (request: ModelRequest.Completion, place: Place): ModelRequest.Completion => {
  const { before, own } = cut(request, place)
  const whole = withContent(request, place.message, [...before, ...textPart(own, own.text.slice(0, place.from))])
  return { ...whole, messages: whole.messages.slice(0, place.message + 1) }
}

/** Splits the text of a request in two at a position, and adds provider options at the end of the first part. */
export const split = (
  request: ModelRequest.Completion,
  place: Place,
  options: { readonly [provider: string]: Schema.Json }
): ModelRequest.Completion => {
  const { after, before, own } = cut(request, place)
  const first = [...before, ...textPart(own, own.text.slice(0, place.from))]
  const marked = first.map((part, at) =>
    at === first.length - 1 ? { ...part, options: { ...part.options, ...options } } : part
  )
  return withContent(request, place.message, [
    ...marked,
    ...textPart(own, own.text.slice(place.from)),
    ...after
  ] as ReadonlyArray<Prompt.PartEncoded>)
}

/**
 * A key for the content of an answer: equal for answers that agree. When the author's function throws, `failed` is
 * called and the whole answer counts.
 */
export const answerKey = (
  text: string,
  of: ((text: string) => unknown) | undefined,
  canonical: (value: unknown) => string,
  failed: (error: unknown) => void
): string => {
  if (of !== undefined) {
    try {
      return canonical(of(text) ?? null)
    } catch (error) {
      failed(error)
    }
  }
  const trimmed = text.trim()
  if (/^[[{]/.test(trimmed)) {
    try {
      return canonical(Nesting.parse(trimmed))
    } catch {
      // Not JSON.
    }
  }
  return trimmed
}

/** The warning when the author's function throws. */
export const answerFailed = (step: string, option: "reuse" | "pack", error: unknown): string =>
  `step ${step}: \`${option}.answer\` failed (${error instanceof Error ? error.message : String(error)}): the whole answer is compared`

/** The warning when a text is not found in its prompt. */
export const notFound = (step: string, consequence: string): string =>
  `step ${step}: the text from \`varies\` does not occur in a user message of its prompt, so ${consequence}: return the text exactly as it is in the prompt`
