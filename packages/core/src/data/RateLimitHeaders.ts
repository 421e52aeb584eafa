/**
 * What providers say about limits in their response headers: how long to wait, what is left, what the limits are.
 *
 * @since 0.1.0
 */

/** Reads one header by its lower-case name. */
export type Get = (name: string) => string | null | undefined

/** One dimension of a limit as the provider sees it now. */
export interface Dimension {
  readonly limit?: number
  readonly remaining?: number
  /** Milliseconds until the dimension is whole again. */
  readonly resetMillis?: number
}

/** Limits of a key and model, as observed in one response. */
export interface Observed {
  readonly requests?: Dimension
  readonly tokens?: Dimension
  /** The provider refused the call for its limits (429), and wants no other before this many milliseconds. */
  readonly retryAfterMillis?: number
}

const HTTP_DATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? [\w ,:-]+ GMT$/i
const SECONDS = /^\d+(?:\.\d+)?$/
const GO_DURATION = /^(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?$/
const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/

/**
 * The wait in milliseconds from `retry-after-ms` or `retry-after` (seconds, whole or with a fraction, or an HTTP date);
 * `undefined` where there is none or it is not of these forms. A bare number is never read as a date.
 */
export const retryAfterMillis = (get: Get, now: number): number | undefined => {
  const millis = get("retry-after-ms")?.trim()
  if (millis !== undefined && SECONDS.test(millis)) return Math.ceil(Number(millis))
  const value = get("retry-after")?.trim()
  if (value === undefined || value === "") return undefined
  if (SECONDS.test(value)) return Math.ceil(Number(value) * 1000)
  return HTTP_DATE.test(value) ? fromDate(value, now) : undefined
}

/**
 * Milliseconds from a reset header: a duration (`6m0s`, `1h0m1.5s`, `20ms`), seconds (`45`), Unix seconds, or an
 * RFC 3339 time; `undefined` for any other form.
 */
export const resetMillis = (text: string | null | undefined, now: number): number | undefined => {
  const value = text?.trim()
  if (value === undefined || value === "") return undefined
  if (SECONDS.test(value)) {
    const seconds = Number(value)
    return seconds >= 1e9 ? Math.max(0, seconds * 1000 - now) : Math.ceil(seconds * 1000)
  }
  if (RFC_3339.test(value)) return fromDate(value, now)
  const parts = GO_DURATION.exec(value)
  if (parts === null) return undefined
  const [h = "0", m = "0", s = "0", ms = "0"] = parts.slice(1)
  return Math.ceil(Number(h) * 3_600_000 + Number(m) * 60_000 + Number(s) * 1000 + Number(ms))
}

const fromDate = (text: string, now: number): number | undefined => {
  const at = Date.parse(text)
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}

/** The first header that is there, as a whole number. */
const count = (get: Get, names: ReadonlyArray<string>): number | undefined => {
  for (const name of names) {
    const value = get(name)?.trim()
    if (value !== undefined && /^\d+$/.test(value)) return Number(value)
  }
  return undefined
}

/** The names of one dimension's headers, those of OpenAI's form first. */
const namesOf = (openAi: string, anthropic: ReadonlyArray<string>) => {
  const names = (what: string) => [`x-ratelimit-${what}-${openAi}`, ...anthropic.map((name) => `${name}-${what}`)]
  return { limit: names("limit"), remaining: names("remaining"), reset: names("reset") }
}

const requestNames = namesOf("requests", ["anthropic-ratelimit-requests"])
const tokenNames = namesOf("tokens", ["anthropic-ratelimit-tokens", "anthropic-ratelimit-input-tokens"])

const dimension = (get: Get, now: number, names: typeof requestNames): Dimension | undefined => {
  const limit = count(get, names.limit)
  const remaining = count(get, names.remaining)
  let reset: number | undefined
  for (const name of names.reset) reset ??= resetMillis(get(name), now)
  return limit === undefined && remaining === undefined && reset === undefined
    ? undefined
    : {
        ...(limit === undefined ? undefined : { limit }),
        ...(remaining === undefined ? undefined : { remaining }),
        ...(reset === undefined ? undefined : { resetMillis: reset })
      }
}

/** Both dimensions from the headers of OpenAI (and compatible) or Anthropic; `undefined` when there are none. */
export const observe = (get: Get, status: number, now: number): Observed | undefined => {
  const requests = dimension(get, now, requestNames)
  const tokens = dimension(get, now, tokenNames)
  const retryAfter = status === 429 ? retryAfterMillis(get, now) : undefined
  return requests === undefined && tokens === undefined && retryAfter === undefined
    ? undefined
    : {
        ...(requests === undefined ? undefined : { requests }),
        ...(tokens === undefined ? undefined : { tokens }),
        ...(retryAfter === undefined ? undefined : { retryAfterMillis: retryAfter })
      }
}
