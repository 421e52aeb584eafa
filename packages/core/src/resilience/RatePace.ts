/**
 * The pace of a limit of requests that processes share: a few at once, then one after the other, so that no minute has
 * more than the limit.
 *
 * A bucket that holds the requests of a whole minute would let twice as many through in its first one. Providers may enforce
 * a limit per minute over shorter times, such as one request a second for 60 a minute (Anthropic's and OpenAI's pages on
 * rate limits, 2026-11-29).
 *
 * @internal
 */

/** The share of a minute's requests that may be sent at once. */
const AT_ONCE = 0.02

/** The share of the limit that is used: requests may arrive closer together than they were sent. */
const USED = 0.98

export interface RatePace {
  /** Requests that may be sent at once. */
  readonly burst: number
  /** Requests per minute after that. */
  readonly perMinute: number
}

/** The pace of a limit of requests per minute. */
export const of = (limit: number): RatePace => {
  const burst = Math.max(1, Math.floor(limit * AT_ONCE))
  return { burst, perMinute: Math.max(limit - burst + 1, limit * AT_ONCE) * USED }
}
