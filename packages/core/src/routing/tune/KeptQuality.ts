/**
 * The share of the strong model's quality that a routing keeps, and its certainty.
 *
 * @internal
 */
import * as Certificate from "../Certificate.ts"

/** The quality of the routed answer to a row, and of the strong model's. */
export interface QualityPair {
  readonly quality: number
  readonly strong: number
}

/**
 * The values to test, and the mean they must exceed: quality less `target` of the strong model's, scaled to 0 to 1.
 */
const tested = (pairs: ReadonlyArray<QualityPair>, target: number) =>
  pairs.every(({ strong }) => strong === 1)
    ? { values: pairs.map(({ quality }) => quality), mean: target }
    : {
        values: pairs.map(({ quality, strong }) => (quality - target * strong + target) / (1 + target)),
        mean: target / (1 + target)
      }

/** Tests whether at least `target` of the strong model's quality is kept, with confidence 1 − delta. */
export const keeps = (pairs: ReadonlyArray<QualityPair>, target: number, delta: number): boolean => {
  const { mean, values } = tested(pairs, target)
  return Certificate.exceeds(values, mean, delta)
}

/** The share of the strong model's quality that is kept at least, with confidence 1 − delta, to a ten-thousandth. */
export const kept = (pairs: ReadonlyArray<QualityPair>, delta: number): number =>
  Certificate.highest((share) => keeps(pairs, share, delta))

/** The share that is kept at most, with confidence 1 − delta. */
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
