/**
 * Where the limits of `RateLimit` are kept: in this process, in a `RateLimiter`, or in one that the processes of a run
 * share. A key has two buckets, one for requests and one for tokens.
 *
 * @internal
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as RateLimiter from "effect/persistence/RateLimiter"
import type * as SharedState from "../client/SharedState.ts"
import * as RatePace from "./RatePace.ts"
import * as TokenBucket from "./TokenBucket.ts"

/** What a call takes of its limits, or gives back. */
export interface Turn {
  readonly key: string
  readonly requests: { readonly limit: number; readonly amount: number } | undefined
  /** The amount is read when the tokens are taken. */
  readonly tokens: { readonly limit: number; readonly amount: () => number } | undefined
}

export interface Limiter {
  /** Takes a turn. Returns the milliseconds until the limits have room for it: as an effect where processes share them. */
  readonly take: (turn: Turn, now: number) => number | Effect.Effect<number>
  /** Tells other processes of a pause of a key, in milliseconds. */
  readonly pause: ((key: string, millis: number) => Effect.Effect<void>) | undefined
}

const requestsOf = (key: string): string => `requests/${key}`
const tokensOf = (key: string): string => `tokens/${key}`

/** Limits of this process alone. */
export const make = (): Limiter => {
  const buckets = TokenBucket.make()
  return {
    take: ({ key, requests, tokens }, now) =>
      Math.max(
        requests === undefined ? 0 : buckets.take(requestsOf(key), requests.limit, requests.amount, now),
        tokens === undefined ? 0 : buckets.take(tokensOf(key), tokens.limit, tokens.amount(), now)
      ),
    pause: undefined
  }
}

const consume = (
  limiter: RateLimiter.RateLimiter,
  key: string,
  limit: number,
  tokens: number,
  window = Duration.millis(TokenBucket.WINDOW)
): Effect.Effect<number> =>
  Effect.map(
    Effect.orDie(limiter.consume({ algorithm: "token-bucket", onExceeded: "delay", window, key, limit, tokens })),
    ({ delay }) => Duration.toMillis(delay)
  )

/** Takes from both buckets of a limiter. `RateLimiter` accepts negative tokens as a refund. */
const takeOf = (
  limiter: RateLimiter.RateLimiter,
  takeRequests: (key: string, limit: number, amount: number) => Effect.Effect<number>
): Limiter["take"] =>
  Effect.fnUntraced(function* ({ key, requests, tokens }) {
    const forRequests =
      requests === undefined ? 0 : yield* takeRequests(requestsOf(key), requests.limit, requests.amount)
    const forTokens = tokens === undefined ? 0 : yield* consume(limiter, tokensOf(key), tokens.limit, tokens.amount())
    return Math.max(forRequests, forTokens)
  })

/** A limiter whose pauses no other process knows. */
export const fromRateLimiter = (limiter: RateLimiter.RateLimiter): Limiter => ({
  take: takeOf(limiter, (key, limit, amount) => consume(limiter, key, limit, amount)),
  pause: undefined
})

/** A limiter that processes share. Its requests are paced: no minute has more than the limit. */
export const paced = ({ limiter, pause }: SharedState.SharedLimiter): Limiter => ({
  take: takeOf(limiter, (key, limit, amount) => {
    const { burst, perMinute } = RatePace.of(limit)
    return consume(limiter, key, burst, amount, Duration.millis((TokenBucket.WINDOW * burst) / perMinute))
  }),
  pause: (key, millis) => pause([requestsOf(key), tokensOf(key)], millis)
})
