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
import type * as Schema from "effect/Schema"
import * as Nesting from "../encoding/Nesting.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"

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
export const provide =
  (varying: Varying) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(self, Varying, varying)

/** Where a text stands in a request: in a message, in a part of it where it has parts, from a character on. */
export interface Place {
  readonly message: number
  readonly part: number | undefined
  readonly from: number
  readonly length: number
}

/** A text of so many characters hardly stands in an instruction by chance: it is found wherever it stands, a shorter one at its last place. */
const LONG = 20

/** Where a text stands in the messages of the user: the first place of a long one, the last of a short one; `undefined`: nowhere. */
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

/** The parts of the message in which a place is: those before it and after it, and its own. */
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

/** The request with something else in the places of the text; `undefined` where it does not stand in it. */
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

/** What of a request stands before a place. */
export const before = (request: ModelRequest.Completion, place: Place): ModelRequest.Completion => {
  const { before, own } = cut(request, place)
  const whole = withContent(request, place.message, [...before, ...textPart(own, own.text.slice(0, place.from))])
  return { ...whole, messages: whole.messages.slice(0, place.message + 1) }
}

/** The request with its text cut in two at a place, and options for a provider at the end of what stands before in its message. */
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
 * The key of what an answer says: equal for answers that agree. `failed` is told when the author's function throws; then all of
 * the answer counts.
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
      // Not JSON after all.
    }
  }
  return trimmed
}

/** What is said when the author's function fails. */
export const answerFailed = (step: string, option: "reuse" | "pack", error: unknown): string =>
  `step ${step}: \`${option}.answer\` failed (${error instanceof Error ? error.message : String(error)}): all of the answer is compared`

/** What is said when a text is not found in its prompt. */
export const notFound = (step: string, consequence: string): string =>
  `step ${step}: the text that \`varies\` gives does not stand in a user's message of its prompt as it is, so ${consequence}: give the text as the prompt has it`
