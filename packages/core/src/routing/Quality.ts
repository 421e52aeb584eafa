/**
 * What makes an answer good, as its author knows it: facts that may tell how hard a row is, a check that reads an answer, what of an
 * answer counts, and the right answer where it is known. `Cascade` decides by it, and `pipe tune` measures by it. A step says it
 * by its option `quality`; code can say it around any effect.
 *
 * **Example** (a label, of which only the word counts)
 *
 * ```ts
 * import { Quality } from "@pipe/core"
 * import { LanguageModel } from "effect/ai"
 *
 * export const intent = (question: string) =>
 *   LanguageModel.generateText({ prompt: `Name the intent of the question, in one word.\n\n${question}` }).pipe(
 *     Quality.provide({
 *       features: { words: question.split(" ").length },
 *       check: (answer) => /^\w+$/.test(answer.trim()),
 *       answer: (text) => text.trim().toLowerCase()
 *     })
 *   )
 * ```
 *
 * @since 0.1.0
 */
import type * as RowValues from "../client/RowValues.ts"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Varying from "../flow/Varying.ts"
import * as RequestKey from "../model/RequestKey.ts"
import type * as Features from "./Features.ts"

/** What a check says of an answer: whether it is good, how good from 0 to 1, or facts that a trained score weighs. */
export type Verdict = boolean | number | Features.Features

export interface Quality {
  /** Facts about the row, known before anything is asked. */
  readonly features?: Features.Features | undefined
  /** Reads the text of a model's answer. */
  readonly check?: ((answer: string) => Verdict) | undefined
  /** What of an answer's text counts when two are compared. Default: all of it, JSON without regard to the order of its keys. */
  readonly answer?: ((text: string) => unknown) | undefined
  /** How good an answer is beside the right one, or beside the strong model's, from 0 to 1. Default: 1 where they are equal, else 0. */
  readonly score?: ((answer: RowValues.Erased, reference: RowValues.Erased) => number | boolean) | undefined
  /** The right answer, in the form that `answer` gives; `undefined`: the strong model's answer is the standard. */
  readonly label?: unknown
}

/** That of the present fiber; by default nothing is known. */
export const Quality = Context.Reference<Quality | undefined>("@pipe/core/Quality", { defaultValue: () => undefined })

/** Says what makes the answers to an effect's calls good. */
export const provide =
  (quality: Quality) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(self, Quality, quality)

/** What counts of the text of an answer. Throws what the author's function throws. */
export const answerOf = ({ answer }: Quality, text: string): unknown => (answer === undefined ? text : answer(text))

/** Equal for answers that say the same. */
export const keyOf = (quality: Quality, text: string): string =>
  Varying.answerKey(text, quality.answer, RequestKey.canonical, (error) => {
    throw error
  })

const clamp = (value: number | boolean): number => {
  if (typeof value === "boolean") return Number(value)
  if (!Number.isFinite(value)) throw new Error(`it gave ${value}, and not a number from 0 to 1`)
  return Math.max(0, Math.min(1, value))
}

/** A value as it is compared: JSON text as what it says, a number as its text. */
const comparable = (value: unknown): string =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? Varying.answerKey(String(value), undefined, RequestKey.canonical, () => {})
    : RequestKey.canonical(value ?? null)

/** How good an answer is beside a label. */
export const againstLabel = (quality: Quality, text: string): number => {
  const found = answerOf(quality, text)
  return clamp(
    quality.score === undefined ? comparable(found) === comparable(quality.label) : quality.score(found, quality.label)
  )
}

/** How far an answer agrees with another. */
export const agreement = (quality: Quality, text: string, other: string): number =>
  clamp(
    quality.score === undefined
      ? keyOf(quality, text) === keyOf(quality, other)
      : quality.score(answerOf(quality, text), answerOf(quality, other))
  )

/** What a check says, as facts. */
export const factsOf = (verdict: Verdict): Features.Features =>
  typeof verdict === "object"
    ? Object.fromEntries(Object.entries(verdict).map(([name, value]) => [`check ${name}`, value]))
    : { check: verdict }

/** Whether a check alone lets an answer stand: a yes, a half at least, facts of which none is a no. */
export const isGood = (verdict: Verdict): boolean =>
  typeof verdict === "boolean"
    ? verdict
    : typeof verdict === "number"
      ? verdict >= 0.5
      : !Object.values(verdict).includes(false)
