/**
 * Identifies the options of a layer, without showing them.
 *
 * @internal
 */
import * as Redacted from "effect/Redacted"
import { hash } from "node:crypto"

/** A text that is equal for equal values. Functions and patterns count by their text. */
const textOf = (value: unknown, above: ReadonlyArray<unknown>): string => {
  if (Redacted.isRedacted(value)) return "a secret"
  if (typeof value === "function" || value instanceof RegExp) return String(value)
  if (typeof value !== "object" || value === null) return `${typeof value} ${String(value)}`
  if (above.includes(value)) return "itself"
  const inside = [...above, value]
  if (value instanceof Date) return `date ${value.getTime()}`
  if (value instanceof Map || value instanceof Set || Array.isArray(value))
    return `[${[...value].map((one: unknown) => textOf(one, inside)).join(",")}]`
  const fields = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${textOf(field, inside)}`).join(",")}}`
}

/** A hash that is equal for equal values. */
export const of = (value: unknown): string => hash("sha256", textOf(value, []), "hex").slice(0, 32)
