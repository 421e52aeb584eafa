/**
 * Defines a good answer, as its author knows it: facts that may tell how hard a row is, a check that reads an answer,
 * the part of an answer that counts, and the correct answer where it is known. `Cascade` decides by it and `pipe tune`
 * measures by it. A step declares it with `quality`; code can declare it around any effect.
 *
 * **Example** (a label, where only the word counts)
 *
 * ```ts
 * import { Quality } from "@pipe/core"
 * import { LanguageModel } from "effect/ai"
 *
 * const intentOf = (question: string) =>
 *   LanguageModel.generateText({ prompt: `Name the intent of the question, in one word.\n\n${question}` }).pipe(
 *     Quality.provide({
 *       features: { words: question.split(" ").length },
 *       check: (answer) => /^\w+$/.test(answer.trim()),
 *       answer: (text) => text.trim().toLowerCase()
 *     })
 *   )
 *
 * export const intent = intentOf("Where is my card?")
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

/** The verdict of a check: whether the answer is good, how good it is from 0 to 1, or facts for a trained score. */
export type Verdict = boolean | number | Features.Features

export interface Quality {
  /** Facts about the row, known before any call. */
  readonly features?: Features.Features | undefined
  /** Reads the text of an answer. */
  readonly check?: ((answer: string) => Verdict) | undefined
  /**
   * Extracts what counts when two answers are compared. Default: the whole answer; JSON is compared regardless of key
   * order.
   */
  readonly answer?: ((text: string) => unknown) | undefined
  /**
   * How good an answer is compared with the correct one, or with the strong model's, from 0 to 1. Default: 1 when they
   * are equal, otherwise 0.
   */
  readonly score?: ((answer: RowValues.Erased, reference: RowValues.Erased) => number | boolean) | undefined
  /**
   * The correct answer, in the form that `answer` returns. When `undefined`, the strong model's answer is the
   * reference.
   */
  readonly label?: unknown
}

/** The definition for the current fiber. Default: none. */
export const Quality = Context.Reference<Quality | undefined>("@pipe/core/Quality", { defaultValue: () => undefined })

/** Declares what makes the answers to an effect's calls good. */
export const provide =
  (quality: Quality) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(self, Quality, quality)

/** The part of an answer's text that counts. Throws what the author's function throws. */
export const answerOf = ({ answer }: Quality, text: string): unknown => (answer === undefined ? text : answer(text))

/** Equal for answers with the same content. */
export const keyOf = (quality: Quality, text: string): string =>
  Varying.answerKey(text, quality.answer, RequestKey.canonical, (error) => {
    throw error
  })

const clamp = (value: number | boolean): number => {
  if (typeof value === "boolean") return Number(value)
  if (!Number.isFinite(value)) throw new Error(`it returned ${value}, not a number from 0 to 1`)
  return Math.max(0, Math.min(1, value))
}

/** A value for comparison: JSON text by its content, a number by its text. */
const comparable = (value: unknown): string =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? Varying.answerKey(String(value), undefined, RequestKey.canonical, () => {})
    : RequestKey.canonical(value ?? null)

/** The quality of an answer compared with a label. */
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

/** A verdict as facts. */
export const factsOf = (verdict: Verdict): Features.Features =>
  typeof verdict === "object"
    ? Object.fromEntries(Object.entries(verdict).map(([name, value]) => [`check ${name}`, value]))
    : { check: verdict }

/** Tests whether a check alone accepts an answer: true, at least a half, or facts without a false. */
export const isGood = (verdict: Verdict): boolean =>
  typeof verdict === "boolean"
    ? verdict
    : typeof verdict === "number"
      ? verdict >= 0.5
      : !Object.values(verdict).includes(false)
