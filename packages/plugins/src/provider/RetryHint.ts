/**
 * Reads how long the body of a refusal asks to wait, when its headers do not say.
 *
 * **Details** Supported are Gemini's `RetryInfo` (`retryDelay: "34s"`), OpenRouter's `metadata.headers`, the fields
 * `retry_after`, `retry_after_seconds` and `retry_after_ms`, and sentences: "Please try again in 1m30.951s", "Please
 * retry after 43 seconds", "Quota will be replenished in 00:30:02".
 *
 * @internal
 */
import * as RateLimitHeaders from "@pipe/core/RateLimitHeaders"
import * as Fields from "./Fields.ts"

/** The most characters and levels of a refusal that are examined. */
const MOST_WORDS = 2_000
const MOST_DEPTH = 6

const SENTENCE = /(?:try again|retry|resets?|replenished|wait)[^0-9]{0,20}(\d[^]{0,60})/i
const UNITS = "milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d"
const DURATION = new RegExp(`^(?:\\d{1,9}(?:\\.\\d{1,12})?\\s?(?:${UNITS})(?![a-z])\\s?){1,4}`, "i")
const CLOCK = /^(\d{1,3}):(\d{2}):(\d{2})(?!\d)/

const inWords = (words: string): number | undefined => {
  const rest = SENTENCE.exec(words.slice(0, MOST_WORDS))?.[1]
  if (rest === undefined) return undefined
  const clock = CLOCK.exec(rest)
  if (clock !== null) return (Number(clock[1]) * 3_600 + Number(clock[2]) * 60 + Number(clock[3])) * 1_000
  const duration = DURATION.exec(rest)?.[0]
  return duration === undefined ? undefined : RateLimitHeaders.durationMillis(duration)
}

const inHeaders = (headers: Fields.Fields, now: number): number | undefined => {
  const byName = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]))
  const get: RateLimitHeaders.Get = (name) => byName.get(name)
  return RateLimitHeaders.retryAfterMillis(get, now) ?? RateLimitHeaders.resetMillis(get("x-ratelimit-reset"), now)
}

const millis = (value: unknown, unit: number): number | undefined => {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value
  if (typeof number === "number" && Number.isFinite(number)) return Math.ceil(number * unit)
  return typeof value === "string" ? RateLimitHeaders.durationMillis(value) : undefined
}

/** `retryDelay` has whole seconds, rounded down. */
const ROUNDED = 1_000

const inFields = (value: unknown, now: number, depth: number): number | undefined => {
  if (depth > MOST_DEPTH || typeof value !== "object" || value === null) return undefined
  if (Fields.isRecord(value)) {
    const delay = millis(value["retryDelay"], 1_000)
    const found =
      (delay === undefined ? undefined : delay + ROUNDED)
      ?? millis(value["retry_after_ms"], 1)
      ?? millis(value["retry_after_seconds"] ?? value["retry_after"], 1_000)
      ?? (Fields.isRecord(value["headers"]) ? inHeaders(value["headers"], now) : undefined)
    if (found !== undefined) return found
  }
  for (const part of Object.values(value).slice(0, 20)) {
    const found = inFields(part, now, depth + 1)
    if (found !== undefined) return found
  }
  return undefined
}

/** Milliseconds; `undefined` when it asks for no wait, or for a wait of 0. */
export const waitIn = (said: unknown, words: string, now: number): number | undefined => {
  const wait = inWords(words) ?? inFields(said, now, 0)
  return wait !== undefined && wait > 0 ? wait : undefined
}
