/**
 * Values as JSON, in the forms that `Schema.toCodecJson` reads: dates as texts, maps as lists of pairs, big integers and
 * numbers that JSON lacks as texts, bytes in base64. What is plain is written as it is.
 *
 * **Example**
 *
 * ```ts
 * import * as JsonForm from "@pipe/core/internal/JsonForm"
 *
 * JsonForm.stringify({ n: 5n, seen: new Map([["a", 1]]) }) // => '{"n":"5","seen":[["a",1]]}'
 * ```
 *
 * @internal
 */
import * as Base64 from "effect/encoding/Base64"
import * as Nesting from "./Nesting.ts"

/** Tests whether JSON writes a value as it is. */
const isPlain = (value: unknown, left = Nesting.limit): boolean => {
  switch (typeof value) {
    case "number":
      return Number.isFinite(value)
    case "bigint":
      return false
    case "object": {
      if (value === null) return true
      if (left === 0) return false
      if (Array.isArray(value)) {
        for (let at = 0; at < value.length; at++) if (!isPlain(value[at], left - 1)) return false
        return true
      }
      if (Object.getPrototypeOf(value) !== Object.prototype) return false
      for (const key in value) if (!isPlain((value as Record<string, unknown>)[key], left - 1)) return false
      return true
    }
    default:
      return true
  }
}

/** The JSON form of a value that is not plain, without its parts. */
const formOf = (value: unknown): unknown => {
  if (typeof value === "bigint") return value.toString()
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value)
  if (typeof value !== "object" || value === null) return value
  if (value instanceof Map || value instanceof Set) return Array.from(value as Iterable<unknown>)
  if (value instanceof Uint8Array) return Base64.encode(value)
  return "toJSON" in value && typeof value.toJSON === "function" ? (value.toJSON() as unknown) : value
}

/** A value in the forms of JSON. Throws for one that is nested too deep, or contains itself. */
export const of = (value: unknown, left = Nesting.limit): unknown => {
  const form = formOf(value)
  if (typeof form !== "object" || form === null) return form
  if (left === 0) throw new Error(`it is nested more than ${Nesting.limit} levels deep, or contains itself`)
  return Array.isArray(form)
    ? form.map((item) => of(item, left - 1) ?? null)
    : Object.fromEntries(Object.entries(form).map(([key, item]) => [key, of(item, left - 1)]))
}

/** The JSON text of a value; `null` for what has none. */
export const stringify = (value: unknown): string => JSON.stringify(isPlain(value) ? value : of(value)) ?? "null"
