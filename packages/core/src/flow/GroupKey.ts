/**
 * The keys of groups and joins: what rows have in common.
 *
 * @internal
 */
import * as RequestKey from "../model/RequestKey.ts"

/** What rows have in common: a value, or several named ones (`{ department, year }`). */
export type GroupKey = string | number | boolean | { readonly [field: string]: string | number | boolean }

/** Equal keys have equal ids. The number 1 and the text "1" differ. */
export const idOf = (key: GroupKey): string => (typeof key === "string" ? key : `\u0000${RequestKey.canonical(key)}`)

/** A key in words: `math, 2024`. */
export const labelOf = (key: GroupKey): string =>
  typeof key === "object" ? Object.values(key).join(", ") : String(key)

/** Describes what a function of an author returned in place of a key; `undefined` for a key. */
export const problemOf = (key: unknown): string | undefined => {
  const isValue = (value: unknown) => ["string", "number", "boolean"].includes(typeof value)
  if (isValue(key)) return undefined
  if (typeof key !== "object" || key === null)
    return `${key === null || key === undefined ? String(key) : `a ${typeof key}`} is not a key`
  if ("then" in key) return "a promise is not a key"
  const wrong = Object.entries(key).find(([, value]) => !isValue(value))
  return wrong === undefined ? undefined : `the field ${wrong[0]} of a key is not a text, a number or a boolean`
}

/** A key, as an author's function returned it. Throws for anything else. */
export const checked = (key: unknown): GroupKey => {
  const problem = problemOf(key)
  if (problem !== undefined) throw new Error(problem)
  return key as GroupKey
}
