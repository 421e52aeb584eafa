/**
 * Token buckets of this process. They count like those of `effect/persistence/RateLimiter` that delay, without an effect
 * for each turn.
 *
 * @internal
 */

/** The time in which an empty bucket fills, in milliseconds. */
export const WINDOW = 60_000

interface Bucket {
  left: number
  filledAt: number
}

export interface TokenBuckets {
  /**
   * Takes from a bucket, which may then owe some. Returns the milliseconds until it has that much again. A negative amount
   * gives back.
   */
  readonly take: (key: string, limit: number, amount: number, now: number) => number
}

/** Buckets that start full, by key. */
export const make = (): TokenBuckets => {
  const buckets = new Map<string, Bucket>()
  return {
    take: (key, limit, amount, now) => {
      let bucket = buckets.get(key)
      if (bucket === undefined) {
        bucket = { left: limit, filledAt: now }
        buckets.set(key, bucket)
      }
      const each = WINDOW / limit
      const filled = Math.floor((now - bucket.filledAt) / each)
      if (filled > 0) {
        bucket.left = Math.min(limit, bucket.left + filled)
        bucket.filledAt += filled * each
      }
      if (bucket.left >= limit) bucket.filledAt = now
      bucket.left -= amount
      return bucket.left >= 0 ? 0 : Math.max(0, Math.ceil(-bucket.left) * each - Math.max(0, now - bucket.filledAt))
    }
  }
}
