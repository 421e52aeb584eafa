/**
 * Values of steps as text, so that they can be kept and are the same when they come back: JSON, and beside it dates, big
 * integers, maps, sets, bytes, `Option`s, `undefined` and the numbers that JSON has not. A value with anything else in it
 * (an instance of a class, a function) cannot be kept.
 *
 * **Example** (there and back)
 *
 * ```ts
 * import { StoredValue } from "@pipe/core"
 *
 * StoredValue.encode({ text: "bee" }) // => "{\"text\":\"bee\"}"
 * const day = StoredValue.decode(StoredValue.encode([new Date(0), 5n])!) as [Date, bigint]
 * day[0].getTime() // => 0
 * StoredValue.encode(() => 1) // => undefined
 * ```
 *
 * @since 0.1.0
 */
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as RequestKey from "./RequestKey.ts"

/** Marks what is not plain JSON: `{"~":["date",…]}`. */
const MARK = "~"

const isRecord = (value: object): value is Record<string, unknown> => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

const isPlain = (value: unknown): boolean => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0)
    case "object": {
      if (value === null) return true
      if (Array.isArray(value)) {
        for (let i = 0; i < value.length; i++) if (!isPlain(value[i])) return false
        return true
      }
      if (!isRecord(value) || Object.getOwnPropertySymbols(value).length > 0) return false
      for (const key in value) if (key === MARK || !isPlain(value[key])) return false
      return true
    }
    default:
      return false
  }
}

class NotKept extends Error {}

const mark = (tag: string, ...rest: ReadonlyArray<unknown>) => ({ [MARK]: [tag, ...rest] })

/** `sorted`: also the fields of records that need a mark stand in their order. */
const toJson = (value: unknown, sorted: boolean): unknown => {
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
      if (Array.isArray(value)) return Array.from(value, (item) => toJson(item, sorted))
      if (value instanceof Date) return mark("date", value.getTime())
      if (value instanceof Map)
        return mark(
          "map",
          Array.from(value, ([key, item]) => [toJson(key, sorted), toJson(item, sorted)])
        )
      if (value instanceof Set)
        return mark(
          "set",
          Array.from(value, (item) => toJson(item, sorted))
        )
      if (value instanceof Uint8Array) return mark("bytes", Base64.encode(value))
      if (value instanceof URL) return mark("url", value.href)
      if (Option.isOption(value)) return Option.isSome(value) ? mark("some", toJson(value.value, sorted)) : mark("none")
      if (!isRecord(value) || Object.getOwnPropertySymbols(value).length > 0) throw new NotKept()
      const entries = Object.entries(value).map(([key, item]) => [key, toJson(item, sorted)] as const)
      if (!(MARK in value)) return Object.fromEntries(entries)
      return mark("record", sorted ? entries.sort(([a], [b]) => (a < b ? -1 : 1)) : entries)
    }
    default:
      throw new NotKept()
  }
}

/** JSON of any value that can be kept; `undefined` for one that cannot. */
const json = (value: unknown, sorted: boolean): { readonly json: unknown } | undefined => {
  try {
    return { json: isPlain(value) ? value : toJson(value, sorted) }
  } catch {
    return undefined
  }
}

/** The text of a value; `undefined` when it cannot be kept. */
export const encode = (value: unknown): string | undefined => {
  const kept = json(value, false)
  return kept === undefined ? undefined : JSON.stringify(kept.json)
}

/** Whether the fields of all records of a plain value stand in their order: then its JSON is canonical as it is. */
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

/** A text that is equal for equal values, whatever the order of their fields; `undefined` when it cannot be told. */
export const canonical = (value: unknown): string | undefined => {
  if (isPlain(value) && isSorted(value)) return JSON.stringify(value)
  const kept = json(value, true)
  return kept === undefined ? undefined : RequestKey.canonical(kept.json)
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
    case "record":
      return Object.fromEntries((content as ReadonlyArray<[string, unknown]>).map(([key, item]) => [key, revive(item)]))
    default:
      return undefined
  }
}

/** The value of a text that `encode` gave. */
export const decode = (text: string): unknown => {
  const value: unknown = JSON.parse(text)
  return text.includes(`"${MARK}"`) ? revive(value) : value
}
