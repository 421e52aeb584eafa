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

/** What is wrong with an answer. What a check throws fails the row, and so does a check that says neither yes nor what is wrong. */
export const problemOf = (check: AnswerCheck, answer: string): string | undefined => {
  const issues: unknown = check(answer)
  if (issues === true || issues === undefined) return undefined
  const words = typeof issues === "string" ? [issues] : issues
  if (!Array.isArray(words) || !words.every((word) => typeof word === "string")) {
    // What it may still come to is nobody's: a rejection would end the process.
    if (issues instanceof Promise) issues.catch(() => {})
    throw new TypeError(
      `a check gives true, or what is wrong in words: it gave ${issues instanceof Promise ? "a promise" : JSON.stringify(issues)}`
    )
  }
  const said = words.filter((word) => word.trim() !== "")
  return said.length === 0 ? undefined : said.join("\n")
}
