/**
 * A step's own check of the answers to its calls: what is wrong with a text, in words for the model; `undefined`: nothing.
 *
 * @internal
 */
import * as Context from "effect/Context"

/** What a check finds: nothing (`true`, `undefined`, an empty list), or what is wrong. */
export type Issues = true | undefined | string | ReadonlyArray<string>

export type AnswerCheck = (answer: string) => Issues

export const AnswerCheck = Context.Reference<AnswerCheck | undefined>("@pipe/core/AnswerCheck", {
  defaultValue: () => undefined
})

/** What is wrong with an answer; a check that throws finds that. */
export const problemOf = (check: AnswerCheck, answer: string): string | undefined => {
  const issues = check(answer)
  const words = typeof issues === "string" ? issues : Array.isArray(issues) ? issues.join("\n") : ""
  return words === "" ? undefined : words
}
