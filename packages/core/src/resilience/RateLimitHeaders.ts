/**
 * Parses rate-limit headers: how long to wait, what is left, and what the limits are.
 *
 * **Details** Supported are the forms of OpenAI and Azure (`x-ratelimit-remaining-requests: 0`,
 * `x-ratelimit-reset-tokens: 6m0s`, `retry-after-ms`), Anthropic (`anthropic-ratelimit-output-tokens-reset`, RFC 3339),
 * Groq, Cerebras, SambaNova and Mistral (`-minute`, `-hour`, `-day`), Together, OpenRouter and GitHub
 * (`x-ratelimit-reset`, Unix seconds or milliseconds), Hugging Face and Cloudflare (`ratelimit: "api";r=0;t=55`), and
 * of gateways in front of them (`llm_provider-retry-after`). Times are read by the server's clock when the response has
 * a `Date`.
 *
 * **Example**
 *
 * ```ts
 * import { RateLimitHeaders } from "@pipe/core"
 *
 * RateLimitHeaders.durationMillis("6m0s") // => 360_000
 * const headers = new Headers({ "retry-after": "2" })
 * RateLimitHeaders.retryAfterMillis((name) => headers.get(name), Date.now()) // => 2_000
 * ```
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Headers from "effect/http/Headers"
import * as Option from "effect/Option"
import * as Result from "effect/Result"

/** Reads one header by its lower-case name. */
export type Get = (name: string) => string | null | undefined

/** One rate limit, as the provider reports it. */
export interface Dimension {
  /** The most in the window of the limit. */
  readonly limit?: number
  /** What is left of it now. */
  readonly remaining?: number
  /** Milliseconds until the limit is full again. */
  readonly resetMillis?: number
}

/** Limits of a key and model, as observed in one response. */
export interface Observed {
  readonly requests?: Dimension
  readonly tokens?: Dimension
  /** Other limits: output tokens, tokens per day, and so on. */
  readonly others?: ReadonlyArray<Dimension>
  /** Whether the provider refused the call because of a limit (429) or overload (503, 529). */
  readonly isRefused?: boolean
  /** No other call is wanted before this many milliseconds. */
  readonly retryAfterMillis?: number
}

const NUMBER = /^\d+(?:\.\d+)?$/
/** Milliseconds by unit. */
const UNITS: ReadonlyMap<string, number> = new Map(
  (
    [
      [86_400_000, "d day days"],
      [3_600_000, "h hr hrs hour hours"],
      [60_000, "m min mins minute minutes"],
      [1_000, "s sec secs second seconds"],
      [1, "ms millisecond milliseconds"],
      [0.001, "us µs μs microsecond microseconds"],
      [0.000_001, "ns nanosecond nanoseconds"]
    ] as const
  ).flatMap(([millis, units]) => units.split(" ").map((unit) => [unit, millis] as const))
)

const DURATION = /^(?:\d{1,15}(?:\.\d{1,12})?\s?[a-zµμ]{1,12}[\s,]{0,2}){1,7}$/i
const DURATION_PART = /(\d+(?:\.\d+)?)\s?([a-zµμ]+)/gi
const RFC_3339 = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/i
/** Parses an HTTP date (RFC 9110, section 5.6.7). Some servers write `UTC` for `GMT`. */
const httpDateMillis = (value: string): number | undefined =>
  Option.getOrUndefined(
    Option.map(Result.getSuccess(Headers.parseHttpDate(value.replace(/UTC$/i, "GMT"))), DateTime.toEpochMillis)
  )

/**
 * Milliseconds of a duration with units: `6m0s`, `1.5s`, `20ms`, `1d2h`, `43 seconds`; `undefined` for anything else.
 */
export const durationMillis = (text: string): number | undefined => {
  const value = text.trim()
  if (!DURATION.test(value)) return undefined
  let total = 0
  for (const [, number, unit] of value.matchAll(DURATION_PART)) {
    const millis = UNITS.get(unit!.toLowerCase())
    if (millis === undefined) return undefined
    total += Number(number) * millis
  }
  return Math.ceil(total)
}

/** From here on, a number is a time since 1970 and not a wait: in seconds, milliseconds or microseconds. */
const EPOCH = 1e9

const sinceEpoch = (value: number): number => (value >= 1e15 ? value / 1_000 : value >= 1e12 ? value : value * 1_000)

/** Milliseconds of a wait: seconds, a duration, or a time by the server's clock. */
const waitMillis = (value: string, now: number): number | undefined => {
  if (NUMBER.test(value)) {
    const number = Number(value)
    return number >= EPOCH ? until(sinceEpoch(number), now) : Math.ceil(number * 1_000)
  }
  const duration = durationMillis(value)
  if (duration !== undefined) return duration
  const at = RFC_3339.test(value) ? Date.parse(value) : httpDateMillis(value)
  return at === undefined || Number.isNaN(at) ? undefined : until(at, now)
}

const until = (at: number, now: number): number => Math.max(0, Math.ceil(at - now))

/** Correct clocks of two machines differ by less. The `Date` of a response has whole seconds. */
const SKEW = 2_000

/** The server's clock, from the `Date` of its response; ours when there is none, or when they agree. */
const serverNow = (get: Get, now: number): number => {
  // A response that a proxy cached is as old as its `Age`.
  if ((get("age") ?? "") !== "") return now
  const date = header(get, "date")
  const at = date === undefined ? undefined : httpDateMillis(date)
  return at === undefined || Math.abs(at - now) <= SKEW ? now : at
}

const header = (get: Get, name: string): string | undefined => {
  const value = get(name)?.trim()
  return value === undefined || value === "" ? undefined : value
}

/** Includes the headers that a gateway passes on from the provider behind it. */
const withProvider = (get: Get): Get => {
  const prefix = "llm_provider-"
  return ["retry-after", "x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens", "date"].some(
    (name) => header(get, prefix + name) !== undefined
  )
    ? (name) => get(name) ?? get(prefix + name)
    : get
}

/**
 * The wait in milliseconds that a response asks for: `retry-after-ms` or `retry-after` (seconds, a duration, or a
 * time), and similar headers. `undefined` when it asks for none, for 0, or for a time in the past.
 */
export const retryAfterMillis = (from: Get, now: number): number | undefined => requestedMillis(from, now) || undefined

/** Like `retryAfterMillis`, with 0 for a response that asks for an immediate retry. */
const requestedMillis = (from: Get, now: number): number | undefined => {
  const get = withProvider(from)
  const waits = [
    ...["retry-after-ms", "x-ms-retry-after-ms"].map((name) => {
      const value = header(get, name)
      return value !== undefined && NUMBER.test(value) ? Math.ceil(Number(value)) : undefined
    }),
    ...["retry-after", "x-retry-after", "x-ratelimit-timeremaining"].map((name) => {
      const value = header(get, name)
      return value === undefined ? undefined : waitOf(value, serverNow(get, now))
    })
  ].filter((millis) => millis !== undefined)
  return waits.find((millis) => millis > 0) ?? waits[0]
}

/** Repeated headers are joined by a comma. */
const waitOf = (value: string, now: number): number | undefined => {
  const [first] = /^\d+(?:\.\d+)?, \d/.test(value) ? value.split(",") : [value]
  return waitMillis(first!, now)
}

/**
 * Milliseconds from a reset header: a duration (`6m0s`, `1h0m1.5s`, `20ms`), seconds (`45`), Unix seconds or milliseconds, an RFC 3339
 * time or an HTTP date; `undefined` for any other form.
 */
export const resetMillis = (text: string | null | undefined, now: number): number | undefined => {
  const value = text?.trim()
  return value === undefined || value === "" ? undefined : waitMillis(value, now)
}

/**
 * The wait after a 429: what the response asks for, or until everything that is used up is available again. If it does
 * not say what is used up, the first reset.
 */
export const refusalMillis = (get: Get, now: number): number | undefined => {
  const asked = requestedMillis(get, now)
  if (asked !== undefined) return asked || undefined
  const observed = observe(get, 429, now)
  const all = [observed?.requests, observed?.tokens, ...(observed?.others ?? [])].filter((one) => one !== undefined)
  const resets = (dimensions: typeof all) => dimensions.flatMap(({ resetMillis }) => resetMillis || [])
  const usedUp = resets(all.filter(({ remaining }) => remaining === 0))
  const any = resets(all)
  return usedUp.length > 0 ? Math.max(...usedUp) : any.length > 0 ? Math.min(...any) : undefined
}

/** Whether the provider says that the call can be retried: `x-should-retry`. */
export const shouldRetry = (get: Get): boolean | undefined => {
  const value = header(get, "x-should-retry")?.toLowerCase()
  return value === "true" ? true : value === "false" ? false : undefined
}

/** An integer. A negative number means that more was used than allowed. */
const count = (value: string | undefined): number | undefined =>
  value !== undefined && /^-?\d+(?:\.\d+)?$/.test(value) ? Math.floor(Number(value)) : undefined

interface Names {
  readonly limit: string
  readonly remaining: string
  readonly reset: string
}

/** Header names of the limits: `{}` stands for `limit`, `remaining` and `reset`. */
const namesOf = (...forms: ReadonlyArray<string>): ReadonlyArray<Names> =>
  forms.map((form) => ({
    limit: form.replace("{}", "limit"),
    remaining: form.replace("{}", "remaining"),
    reset: form.replace("{}", "reset")
  }))

const requestNames = namesOf(
  "x-ratelimit-{}-requests",
  "anthropic-ratelimit-requests-{}",
  "x-ratelimit-{}-requests-minute",
  "x-ratelimit-{}-req-minute",
  "x-ratelimit-{}",
  "ratelimit-{}"
)

const tokenNames = namesOf(
  "x-ratelimit-{}-tokens",
  "anthropic-ratelimit-tokens-{}",
  "anthropic-ratelimit-input-tokens-{}",
  "x-ratelimit-{}-tokens-minute",
  "x-tokenlimit-{}"
)

const otherNames = namesOf(
  "anthropic-ratelimit-input-tokens-{}",
  "anthropic-ratelimit-output-tokens-{}",
  "x-ratelimit-{}-project-tokens",
  "x-ratelimit-{}-tokens_usage_based",
  "x-ratelimit-{}-requests-hour",
  "x-ratelimit-{}-requests-day",
  "x-ratelimit-{}-tokens-hour",
  "x-ratelimit-{}-tokens-day",
  "ratelimitbysize-{}"
)

const dimension = (get: Get, now: number, names: Names): Dimension | undefined => {
  const limit = count(header(get, names.limit))
  const left = count(header(get, names.remaining))
  const reset = resetMillis(get(names.reset), now)
  // A limit of -1 means unlimited.
  const isLimited = limit === undefined || limit >= 0
  return limit === undefined && left === undefined && reset === undefined
    ? undefined
    : {
        ...(limit === undefined || !isLimited ? undefined : { limit }),
        ...(left === undefined || !isLimited ? undefined : { remaining: Math.max(0, left) }),
        ...(reset === undefined ? undefined : { resetMillis: reset })
      }
}

const first = (get: Get, now: number, names: ReadonlyArray<Names>): Dimension | undefined => {
  for (const name of names) {
    const found = dimension(get, now, name)
    if (found !== undefined) return found
  }
  return undefined
}

/** Limits with a remaining amount. A limit alone says nothing. */
const others = (get: Get, now: number): ReadonlyArray<Dimension> =>
  otherNames.flatMap((names) => (header(get, names.remaining) === undefined ? [] : (dimension(get, now, names) ?? [])))

/** Structured fields (draft-ietf-httpapi-ratelimit-headers): `"api";r=0;t=55`. */
const structured = (get: Get): ReadonlyArray<Dimension> =>
  (header(get, "ratelimit") ?? "")
    .slice(0, 1_000)
    .split(",")
    .flatMap((item) => {
      const remaining = /;\s*r=(\d+)/.exec(item)?.[1]
      const seconds = /;\s*t=(\d+)/.exec(item)?.[1]
      return remaining === undefined || seconds === undefined
        ? []
        : [{ remaining: Number(remaining), resetMillis: Number(seconds) * 1_000 }]
    })

/** What a response says about limits; `undefined` when it says nothing. */
export const observe = (from: Get, status: number, now: number): Observed | undefined => {
  const get = withProvider(from)
  const theirs = serverNow(get, now)
  const requests = first(get, theirs, requestNames)
  const tokens = first(get, theirs, tokenNames)
  const more = [...others(get, theirs), ...structured(get)]
  const isRefused = status === 429 || status === 503 || status === 529
  const retryAfter = isRefused ? retryAfterMillis(get, now) : undefined
  return requests === undefined && tokens === undefined && more.length === 0 && retryAfter === undefined
    ? undefined
    : {
        ...(requests === undefined ? undefined : { requests }),
        ...(tokens === undefined ? undefined : { tokens }),
        ...(more.length === 0 ? undefined : { others: more }),
        ...(isRefused ? { isRefused } : undefined),
        ...(retryAfter === undefined ? undefined : { retryAfterMillis: retryAfter })
      }
}
