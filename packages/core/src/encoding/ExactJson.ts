/**
 * Reads JSON whose integers may have more digits than a number holds: such an integer is read as its text, so that an
 * id stays what it is.
 *
 * **Example**
 *
 * ```ts
 * import * as ExactJson from "@pipe/core/internal/ExactJson"
 *
 * ExactJson.parse('{"id": 653247040368672768, "n": 5}') // => { id: "653247040368672768", n: 5 }
 * ```
 *
 * @internal
 */
import * as Nesting from "./Nesting.ts"

const LONG = /\d{16}/
const INTEGER = /^-?\d+$/

const exact = (_: string, value: unknown, context?: { readonly source?: string }): unknown => {
  const source = context?.source
  return typeof value === "number" && !Number.isSafeInteger(value) && source !== undefined && losesDigits(source)
    ? source
    : value
}

/** Tests whether a text is an integer that a number would write with other digits. */
export const losesDigits = (text: string): boolean =>
  LONG.test(text) && INTEGER.test(text) && String(Number(text)) !== text.replace(/^(-?)0+(?=\d)/, "$1")

/** Parses a text. Throws when it is not JSON, or nested too deep. */
export const parse = (text: string): unknown =>
  LONG.test(text) ? Nesting.parse(text, exact as (key: string, value: unknown) => unknown) : Nesting.parse(text)
