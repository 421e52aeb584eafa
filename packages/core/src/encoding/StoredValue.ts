/**
 * Encodes values of steps as text that decodes to equal values: JSON, plus dates, big integers, maps, sets, bytes,
 * `Option`s, `undefined` and the numbers that JSON lacks. A value that contains anything else (a class instance, a
 * function) cannot be stored.
 *
 * **Example** (there and back)
 *
 * ```ts
 * import * as StoredValue from "@pipe/core/internal/StoredValue"
 * import { Option } from "effect"
 *
 * StoredValue.encode({ text: "bee" }) // => "{\"text\":\"bee\"}"
 * StoredValue.decode(StoredValue.encode([new Date(0), 5n])!) // => Option.some([new Date(0), 5n])
 * StoredValue.decode("{") // => Option.none()
 * StoredValue.encode(() => 1) // => undefined
 * ```
 *
 * @internal
 */
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as RequestKey from "../model/RequestKey.ts"
import * as ContentHash from "./ContentHash.ts"

/** Marks what is not plain JSON: `{"~":["date",…]}`. */
const MARK = "~"

const isRecord = (value: object): value is Record<string, unknown> => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** The most levels of lists and records in a value, because traversal recurses. */
const DEPTH = 1_000

/** The values that `isPlain` has seen since this was set to 0. */
let seen = 0

const isPlain = (value: unknown, left = DEPTH): boolean => {
  seen++
  switch (typeof value) {
    case "string":
    case "boolean":
      return true
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0)
    case "object": {
      if (value === null) return true
      if (left === 0) return false
      if (isHashing && hashes.has(value)) {
        seen += LARGE
        return true
      }
      if (Array.isArray(value)) {
        for (let i = 0; i < value.length; i++) if (!isPlain(value[i], left - 1)) return false
        return true
      }
      if (!isRecord(value) || Object.getOwnPropertySymbols(value).length > 0) return false
      for (const key in value) if (key === MARK || !isPlain(value[key], left - 1)) return false
      return true
    }
    default:
      return false
  }
}

class NotKept extends Error {}

const mark = (tag: string, ...rest: ReadonlyArray<unknown>) => ({ [MARK]: [tag, ...rest] })

/** With `sorted`, the fields of marked records are sorted too. */
const toJson = (value: unknown, sorted: boolean, left = DEPTH): unknown => {
  const inner = (item: unknown) => toJson(item, sorted, left - 1)
  switch (typeof value) {
    case "string":
    case "boolean":
      return value
    case "undefined":
      return mark("undefined")
    case "bigint":
      return mark("bigint", value.toString())
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : mark("number", Object.is(value, -0) ? "-0" : String(value))
    case "object": {
      if (value === null) return value
      if (left === 0) throw new NotKept()
      if (Array.isArray(value)) return Array.from(value, inner)
      if (value instanceof Date) return mark("date", value.getTime())
      if (value instanceof Map)
        return mark(
          "map",
          Array.from(value, ([key, item]) => [inner(key), inner(item)])
        )
      if (value instanceof Set) return mark("set", Array.from(value, inner))
      if (value instanceof Uint8Array) return mark("bytes", Base64.encode(value))
      if (value instanceof URL) return mark("url", value.href)
      if (Option.isOption(value)) return Option.isSome(value) ? mark("some", inner(value.value)) : mark("none")
      if (!isRecord(value) || Object.getOwnPropertySymbols(value).length > 0) throw new NotKept()
      const entries = Object.entries(value).map(([key, item]) => [key, inner(item)] as const)
      if (!(MARK in value)) return Object.fromEntries(entries)
      return mark("record", sorted ? entries.sort(([a], [b]) => (a < b ? -1 : 1)) : entries)
    }
    default:
      throw new NotKept()
  }
}

/** Encodes a value; `undefined` when it cannot be stored, or a getter throws. */
const kept = (value: unknown, toText: (value: unknown) => string): string | undefined => {
  try {
    return toText(value)
  } catch {
    return undefined
  }
}

/** Encodes a value as text; `undefined` when it cannot be stored. */
export const encode = (value: unknown): string | undefined =>
  kept(value, (value) => JSON.stringify(isPlain(value) ? value : toJson(value, false)))

/** Tests whether the fields of all records of a plain value are sorted: its JSON is then canonical. */
const isSorted = (value: unknown): boolean => {
  if (typeof value !== "object" || value === null) return true
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isSorted(value[i])) return false
    return true
  }
  let last = ""
  const record = value as Record<string, unknown>
  for (const key in record) {
    if (key < last || !isSorted(record[key])) return false
    last = key
  }
  return true
}

const canonicalText = (value: unknown, plain: boolean): string => {
  if (!plain) return RequestKey.canonical(toJson(value, true))
  return isSorted(value) ? JSON.stringify(value) : RequestKey.canonical(value)
}

/** A text that is equal for equal values, whatever the order of their fields; `undefined` when there is none. */
export const canonical = (value: unknown): string | undefined =>
  kept(value, (value) => canonicalText(value, isPlain(value)))

/**
 * The canonical text, in which a large part is replaced by its hash. That is computed once for an object that many rows
 * share.
 */
export const content = (value: unknown): string | undefined =>
  kept(value, (value) => {
    seen = 0
    const plain = isPlain(value)
    const isLarge = plain ? seen >= LARGE : sizeOf(value, LARGE) >= LARGE
    return isLarge ? canonicalText(compacted(value).value, plain) : canonicalText(value, plain)
  })

/** Says that a value is read by many rows and changed by none: its hash is computed once. */
export const share = (value: unknown): void => {
  if (typeof value === "object" && value !== null) shared.add(value)
}

/** The values of lists and records in a value, counted up to a number. */
const sizeOf = (value: unknown, most: number): number => {
  if (typeof value !== "object" || value === null || (!Array.isArray(value) && !isRecord(value))) return 1
  let size = 1
  for (const item of Array.isArray(value) ? (value as ReadonlyArray<unknown>) : Object.values(value)) {
    if (size >= most) break
    size += sizeOf(item, most - size)
  }
  return size
}

/** The values in a part that is replaced by its hash. */
const LARGE = 4_096

/** Values that many rows read. Others may be changed by their author between rows. */
const shared = new WeakSet<object>()

/** The hashes of their large parts. */
const hashes = new WeakMap<object, string>()

/** Whether there is any. */
let isHashing = false

/** A value with its large parts replaced, and how many values it has then. The replaced value is not changed. */
const compacted = (value: unknown, isShared = false): { readonly value: unknown; readonly size: number } => {
  if (typeof value !== "object" || value === null || (!Array.isArray(value) && !isRecord(value)))
    return { value, size: 1 }
  const known = hashes.get(value)
  if (known !== undefined) return { value: known, size: 1 }
  let size = 1
  const isKept = isShared || shared.has(value)
  const inner = (item: unknown): unknown => {
    const part = compacted(item, isKept)
    size += part.size
    return part.value
  }
  const copy = Array.isArray(value)
    ? value.map(inner)
    : Object.fromEntries(Object.entries(value).map(([key, item]) => [key, inner(item)]))
  if (size < LARGE) return { value: copy, size }
  // No text of an author begins like this.
  const hash = `\u0000large ${ContentHash.make(canonicalText(copy, isPlain(copy)))}`
  if (isKept) {
    hashes.set(value, hash)
    isHashing = true
  }
  return { value: hash, size: 1 }
}

const revive = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(revive)
  const record = value as Record<string, unknown>
  const marked = record[MARK]
  if (!Array.isArray(marked))
    return Object.fromEntries(Object.entries(record).map(([key, item]) => [key, revive(item)]))
  const [tag, content] = marked as [string, unknown]
  switch (tag) {
    case "bigint":
      return BigInt(content as string)
    case "number":
      return Number(content)
    case "date":
      return new Date((content as string | null) ?? Number.NaN)
    case "map":
      return new Map((content as ReadonlyArray<[unknown, unknown]>).map(([key, item]) => [revive(key), revive(item)]))
    case "set":
      return new Set((content as ReadonlyArray<unknown>).map(revive))
    case "bytes":
      return Result.getOrThrow(Base64.decode(content as string))
    case "url":
      return new URL(content as string)
    case "some":
      return Option.some(revive(content))
    case "none":
      return Option.none()
    case "with":
      return revive((content as ReadonlyArray<unknown>)[0])
    case "record":
      return Object.fromEntries((content as ReadonlyArray<[string, unknown]>).map(([key, item]) => [key, revive(item)]))
    default:
      return undefined
  }
}

/** A text that decodes to the same value, with something beside it. */
export const withNote = (text: string, note: Schema.Json): string =>
  `{"${MARK}":["with",[${text},${JSON.stringify(note)}]]}`

const NOTED = `{"${MARK}":["with",`

/** What is beside the value of a text; `undefined` for nothing. */
export const noteOf = (text: string): unknown =>
  text.startsWith(NOTED)
    ? (JSON.parse(text) as { readonly [MARK]: [string, [unknown, unknown]] })[MARK][1][1]
    : undefined

/** Decodes a text that `encode` made. Any other text gives `None`. */
export const decode = (text: string): Option.Option<unknown> => {
  try {
    const value: unknown = JSON.parse(text)
    return Option.some(text.includes(`"${MARK}"`) ? revive(value) : value)
  } catch {
    return Option.none()
  }
}
