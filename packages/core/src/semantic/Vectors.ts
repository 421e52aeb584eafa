/**
 * Vectors of texts, as embedding models make them.
 *
 * @internal
 */

/** Scales a vector to length 1. */
export const unit = (vector: ArrayLike<number>): Float32Array => {
  let sum = 0
  for (let at = 0; at < vector.length; at++) sum += vector[at]! * vector[at]!
  // The squares of very large and very small numbers are not numbers: scaled first, they are.
  if (sum === Infinity || (sum < Number.MIN_VALUE * 1e16 && !isZero(vector))) return unit(scaled(vector))
  const length = Math.sqrt(sum)
  return Float32Array.from(vector, length === 0 ? (x) => x : (x) => x / length)
}

/** The vector with its largest number at 1. */
const scaled = (vector: ArrayLike<number>): ArrayLike<number> => {
  let most = 0
  for (let at = 0; at < vector.length; at++) most = Math.max(most, Math.abs(vector[at]!))
  return Array.from(vector, (x) => x / most)
}

/** Tests whether a vector has no direction. */
export const isZero = (vector: ArrayLike<number>): boolean => {
  for (let at = 0; at < vector.length; at++) if (vector[at] !== 0) return false
  return true
}

/** A vector, as an author's node made it. Throws for anything else. */
export const checked = (value: unknown): ArrayLike<number> => {
  const isList = Array.isArray(value) || value instanceof Float32Array || value instanceof Float64Array
  if (!isList || value.length === 0 || !(value as ReadonlyArray<unknown>).every((x) => Number.isFinite(x)))
    throw new Error("its vector is not a list of numbers")
  return value as ArrayLike<number>
}

/** The cosine similarity of vectors of length 1. Throws where their lengths differ. */
export const dot = (a: Float32Array, b: Float32Array): number => {
  if (a.length !== b.length)
    throw new Error(`a vector of ${a.length} numbers is not comparable with one of ${b.length}`)
  let sum = 0
  for (let at = 0; at < a.length; at++) sum += a[at]! * b[at]!
  return sum
}
