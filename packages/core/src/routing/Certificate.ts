/**
 * The statistics under a certified routing: tests whether a mean is at least a given value, with an error probability
 * of at most δ for any number of rows.
 *
 * **Details** Two tests, both exact for any number of rows:
 *
 * - `exceeds` tests values from 0 to 1 by betting. A capital starts at 1 and bets before each value that the value is
 *   above the mean in question. If the true mean is not above it, the capital reaches 1/δ with a probability of at most
 *   δ (Ville's inequality). The stakes are those of Waudby-Smith and Ramdas, "Estimating means of bounded random
 *   variables by betting" (Journal of the Royal Statistical Society B 86, 2024; arXiv 2010.09686): predictable, from
 *   the variance so far and the number of values. Values that are all 0 or 1 are tested by the tail of the binomial
 *   distribution (Clopper and Pearson, Biometrika 26, 1934), which is exact and optimal.
 * - `descend` tests several settings from the safest on, each at the whole δ, up to the first that fails ("fixed
 *   sequence testing"; Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then Test", arXiv 2110.01052). This is valid
 *   because the order is fixed before the rows are seen. BARGAIN (arXiv 2509.02896) gives cascades such guarantees.
 *
 * **Example** (99 of 100 answers agree: is it certain that at least nine in ten do?)
 *
 * ```ts
 * import * as Certificate from "@pipe/core/internal/Certificate"
 *
 * const answers = Array.from({ length: 100 }, (_, n) => (n === 40 ? 0 : 1))
 * Certificate.exceeds(answers, 0.9, 0.05) // => true
 * Certificate.exceeds(answers, 0.97, 0.05) // => false
 * ```
 *
 * @internal
 */

import * as Binomial from "../stats/Binomial.ts"

/** The largest stake, as a share of the one that could lose everything at once. */
const MOST = 0.9

/** The logarithm of the highest capital reached by betting on a mean above `mean`. */
const capital = (values: ReadonlyArray<number>, mean: number, delta: number): number => {
  let logCapital = 0
  let highest = 0
  let sum = 0.5
  let squares = 0.25
  let variance = 0.25
  values.forEach((value, at) => {
    const stake = Math.min(MOST / mean, Math.sqrt((2 * Math.log(1 / delta)) / (variance * values.length)))
    logCapital += Math.log1p(stake * (value - mean))
    highest = Math.max(highest, logCapital)
    sum += value
    squares += (value - sum / (at + 2)) ** 2
    variance = squares / (at + 2)
  })
  return highest
}

/**
 * Tests whether the mean of the values' distribution is above `mean`. A positive result is wrong with a probability of
 * at most δ. Values are from 0 to 1.
 */
export const exceeds = (values: ReadonlyArray<number>, mean: number, delta: number): boolean => {
  if (values.length === 0) return mean < 0
  if (mean <= 0) return true
  if (mean >= 1) return false
  if (values.every((value) => value === 0 || value === 1)) {
    return (
      Binomial.atLeast(
        values.reduce<number>((sum, value) => sum + value, 0),
        values.length,
        mean
      ) <= delta
    )
  }
  return capital(values, mean, delta) >= Math.log(1 / delta)
}

/** The highest number from 0 to 1, to a ten-thousandth, for which a monotone condition holds. */
export const highest = (holds: (value: number) => boolean): number => {
  let [low, high] = [0, 1]
  while (high - low > 1e-4) {
    const middle = (low + high) / 2
    if (holds(middle)) low = middle
    else high = middle
  }
  return low
}

/** The highest mean exceeded with confidence 1 − δ, to a ten-thousandth. */
export const lowerBound = (values: ReadonlyArray<number>, delta: number): number =>
  highest((mean) => exceeds(values, mean, delta))

/** The lowest mean above the true one with confidence 1 − δ. */
export const upperBound = (values: ReadonlyArray<number>, delta: number): number =>
  1
  - lowerBound(
    values.map((value) => 1 - value),
    delta
  )

/**
 * The last of several settings, from the safest on, before the first whose test fails; `undefined` when the safest
 * fails.
 */
export const descend = <A>(settings: ReadonlyArray<A>, passes: (setting: A) => boolean): A | undefined => {
  let last: A | undefined
  for (const setting of settings) {
    if (!passes(setting)) break
    last = setting
  }
  return last
}

/** The fewest rows that can certify an agreement of `target`, if all of them agree: ln δ / ln target. */
export const leastRows = (target: number, delta: number): number => Math.ceil(Math.log(delta) / Math.log(target))
