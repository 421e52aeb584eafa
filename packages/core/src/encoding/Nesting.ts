/**
 * Limits how deeply data from outside may be nested: writing JSON and traversing values recurse, so a text of a few
 * kilobytes can exhaust the stack of the whole process.
 *
 * **Example** (a text that is nested too deep is refused like invalid JSON)
 *
 * ```ts
 * import * as Nesting from "@pipe/core/internal/Nesting"
 *
 * Nesting.parse("[1]") // => [1]
 * Nesting.isTooDeep(JSON.parse("[".repeat(1_000) + "]".repeat(1_000))) // => true
 * ```
 *
 * @internal
 */

/** The most levels of lists and records in data from outside. */
export const limit = 256

/** Tests whether a value has more levels of lists and records than `limit`. */
export const isTooDeep = (value: unknown, left = limit): boolean => {
  if (typeof value !== "object" || value === null) return false
  if (left === 0) return true
  for (const item of Array.isArray(value) ? value : Object.values(value)) if (isTooDeep(item, left - 1)) return true
  return false
}

/** The message for a value that is nested too deep. */
export const problem = `it is nested more than ${limit} levels deep`

/** `JSON.parse` that also throws for text that is nested too deep. */
export const parse = (text: string, reviver?: (key: string, value: unknown) => unknown): unknown => {
  const value: unknown = JSON.parse(text, reviver)
  // This many brackets are rare, so most texts are not scanned.
  if (hasMore(text, "[", limit / 2) || hasMore(text, "{", limit / 2)) {
    if (isTooDeep(value)) throw new SyntaxError(problem)
  }
  return value
}

/** `JSON.stringify` for display: a value that cannot be written is described. */
export const shown = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? "nothing"
  } catch (error) {
    return `(a value that cannot be shown: ${error instanceof RangeError ? problem : String(error)})`
  }
}

const hasMore = (text: string, character: string, count: number): boolean => {
  if (text.length <= count) return false
  for (let at = text.indexOf(character), n = 1; at !== -1; at = text.indexOf(character, at + 1), n++) {
    if (n > count) return true
  }
  return false
}
