/**
 * The share of the strong model's quality that a routing keeps, and how certain that is.
 *
 * @internal
 */
import * as Certificate from "../Certificate.ts"

/** How good the routed answer to a row is, and the strong model's. */
export interface QualityPair {
  readonly quality: number
  readonly strong: number
}

/** The values that are tested, and the mean that they have to exceed: quality less `target` of the strong model's, from 0 to 1. */
const tested = (pairs: ReadonlyArray<QualityPair>, target: number) =>
  pairs.every(({ strong }) => strong === 1)
    ? { values: pairs.map(({ quality }) => quality), mean: target }
    : {
        values: pairs.map(({ quality, strong }) => (quality - target * strong + target) / (1 + target)),
        mean: target / (1 + target)
      }

/** Whether at least `target` of the strong model's quality is kept, with certainty 1 − delta. */
export const keeps = (pairs: ReadonlyArray<QualityPair>, target: number, delta: number): boolean => {
  const { mean, values } = tested(pairs, target)
  return Certificate.exceeds(values, mean, delta)
}

/** The share of the strong model's quality that is kept at least, with certainty 1 − delta; to a ten-thousandth. */
export const kept = (pairs: ReadonlyArray<QualityPair>, delta: number): number =>
  Certificate.highest((share) => keeps(pairs, share, delta))

/** The share that is kept at most, with certainty 1 − delta. */
export const keptAtMost = (pairs: ReadonlyArray<QualityPair>, delta: number): number =>
  1
  - Certificate.highest((lost) => {
    const { mean, values } = tested(pairs, 1 - lost)
    return Certificate.exceeds(
      values.map((value) => 1 - value),
      1 - mean,
      delta
    )
  })
