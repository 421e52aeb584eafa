/**
 * The tails of a binomial distribution, and the confidence interval of a share, exact for any number.
 *
 * @internal
 */

/** The logarithms of P(X = 0), P(X = 1) and so on, up to a given value. */
const logTerms = function* (to: number, n: number, p: number): Generator<number> {
  let logTerm = n * Math.log1p(-p)
  yield logTerm
  for (let i = 1; i <= to; i++) {
    logTerm += Math.log((n - i + 1) / i) + Math.log(p) - Math.log1p(-p)
    yield logTerm
  }
}

/** P(X ≤ k) for n draws with success probability p. */
export const atMost = (k: number, n: number, p: number): number => {
  if (k < 0) return 0
  if (p <= 0) return 1
  if (p >= 1) return k >= n ? 1 : 0
  let sum = 0
  for (const logTerm of logTerms(k, n, p)) sum += Math.exp(logTerm)
  return sum
}

/** P(X ≥ k). */
export const atLeast = (k: number, n: number, p: number): number => {
  const rest = 1 - atMost(k - 1, n, p)
  // A tail that rounding would lose is summed separately.
  if (rest > 1e-6 || k <= 0 || p <= 0) return rest
  let sum = 0
  let at = 0
  for (const logTerm of logTerms(n, n, p)) if (at++ >= k) sum += Math.exp(logTerm)
  return sum
}

/**
 * The 95 % confidence interval of a share, when `count` of `of` were observed: the exact interval of Clopper and
 * Pearson (Biometrika 26, 1934).
 */
export const interval = (count: number, of: number): readonly [low: number, high: number] => {
  if (of === 0) return [0, 1]
  const solve = (isBelow: (p: number) => boolean): number => {
    let [low, high] = [0, 1]
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2
      if (isBelow(middle)) low = middle
      else high = middle
    }
    return (low + high) / 2
  }
  return [
    count === 0 ? 0 : solve((p) => atLeast(count, of, p) < 0.025),
    count === of ? 1 : solve((p) => atMost(count, of, p) > 0.025)
  ]
}
