/**
 * A step's own check of its answers: returns what is wrong with a text, in words for the model, or `undefined`.
 *
 * @internal
 */

/** The result of a check: nothing wrong (`true`, `undefined`, an empty list), or what is wrong. */
export type Issues = true | undefined | string | ReadonlyArray<string>

export type AnswerCheck = (answer: string) => Issues

/** What is wrong with an answer. A check that throws, or returns neither `true` nor a problem, fails the row. */
export const problemOf = (check: AnswerCheck, answer: string): string | undefined => {
  const issues: unknown = check(answer)
  if (issues === true || issues === undefined) return undefined
  const words = typeof issues === "string" ? [issues] : issues
  if (!Array.isArray(words) || !words.every((word) => typeof word === "string")) {
    // A promise is not awaited: a later rejection would end the process.
    if (issues instanceof Promise) issues.catch(() => {})
    throw new TypeError(
      `a check returns true, or what is wrong in words: it returned ${issues instanceof Promise ? "a promise" : JSON.stringify(issues)}`
    )
  }
  const said = words.filter((word) => word.trim() !== "")
  return said.length === 0 ? undefined : said.join("\n")
}
