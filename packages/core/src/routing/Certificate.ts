/**
 * Whether a mean is at least so high, said so that it is wrong with a probability of at most δ, whatever the number of rows: the
 * statistics under a certified routing.
 *
 * **Details** Two tests, both exact for any number of rows:
 *
 * - `exceeds`: for values from 0 to 1, by betting: a capital that starts at 1 and bets before each value that it is above the
 *   mean in question. Were the true mean not above, the capital would reach 1/δ with a probability of at most δ (Ville's
 *   inequality). The stakes are those of Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (Journal of
 *   the Royal Statistical Society B 86, 2024; arXiv 2010.09686): predictable, by the variance so far, for the number of values that there are. Values that are all 0 or 1 are tested by the tail of the binomial
 *   distribution (Clopper and Pearson, Biometrika 26, 1934), which is exact and has no better test.
 * - `descend`: several settings from the safest on, each tested at the whole δ, up to the first that fails ("fixed sequence
 *   testing"; Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then Test", arXiv 2110.01052). That holds since the order is fixed before the rows are seen. Cascades of models
 *   with such guarantees: BARGAIN (arXiv 2509.02896).
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

/** The largest stake, as a share of what would lose everything at once. */
const MOST = 0.9

/** The logarithm of the highest capital that betting on a mean above `mean` has had. */
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

/** Whether the mean of what the values were drawn from is above `mean`: a yes is wrong with a probability of at most δ. Values are from 0 to 1. */
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

/** The highest number from 0 to 1, to a ten-thousandth, of which something holds that holds of all lower ones too. */
export const highest = (holds: (value: number) => boolean): number => {
  let [low, high] = [0, 1]
  while (high - low > 1e-4) {
    const middle = (low + high) / 2
    if (holds(middle)) low = middle
    else high = middle
  }
  return low
}

/** The highest mean that is exceeded with certainty 1 − δ, to a ten-thousandth. */
export const lowerBound = (values: ReadonlyArray<number>, delta: number): number =>
  highest((mean) => exceeds(values, mean, delta))

/** The lowest mean that is above the true one with certainty 1 − δ. */
export const upperBound = (values: ReadonlyArray<number>, delta: number): number =>
  1
  - lowerBound(
    values.map((value) => 1 - value),
    delta
  )

/** The last of some settings, from the safest on, before the first whose test fails; `undefined`: the safest already fails. */
export const descend = <A>(settings: ReadonlyArray<A>, passes: (setting: A) => boolean): A | undefined => {
  let last: A | undefined
  for (const setting of settings) {
    if (!passes(setting)) break
    last = setting
  }
  return last
}

/** Rows without which no agreement of `target` can be certified, if all of them agree: ln δ / ln target. */
export const leastRows = (target: number, delta: number): number => Math.ceil(Math.log(delta) / Math.log(target))
