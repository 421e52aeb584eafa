/**
 * Logistic regression with a ridge: the probability that something holds, from numbers.
 *
 * **Details** Two fits of the same model. `fit` is for many columns: Newton's method, with conjugate gradients in each
 * step, so the Hessian is never computed (Hastie, Tibshirani and Friedman, *The Elements of Statistical Learning*,
 * 4.4). `fitFrom` is for few columns: it starts from earlier weights and returns their covariance, for the uncertainty
 * of predictions.
 *
 * @internal
 */

/** `y` is the outcome, from 0 to 1. */
export interface LogisticRow {
  readonly x: ArrayLike<number>
  readonly y: number
}

/** The dot product, by the length of the first vector. */
export const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return sum
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

/**
 * Fits weights by Newton's method with conjugate gradients in each step, without computing the Hessian. The first
 * weight has no ridge.
 */
export const fit = (rows: ReadonlyArray<LogisticRow>, width: number, ridge: number): Float64Array => {
  const weights = new Float64Array(width)
  for (let round = 0; round < 12; round++) {
    const gradient = Float64Array.from(weights, (weight, i) => (i === 0 ? 0 : -ridge * weight))
    const spread = new Float64Array(rows.length)
    rows.forEach(({ x, y }, at) => {
      const p = sigmoid(dot(weights, x))
      spread[at] = Math.max(1e-6, p * (1 - p))
      const error = y - p
      for (let i = 0; i < width; i++) gradient[i]! += error * x[i]!
    })
    const step = new Float64Array(width)
    const rest = Float64Array.from(gradient)
    const direction = Float64Array.from(gradient)
    const first = dot(rest, rest)
    let size = first
    for (let i = 0; i < Math.min(width, 60) && size > first * 1e-4; i++) {
      const image = Float64Array.from(direction, (value, j) => (j === 0 ? 1e-9 : ridge) * value)
      rows.forEach(({ x }, at) => {
        const along = spread[at]! * dot(direction, x)
        for (let j = 0; j < width; j++) image[j]! += along * x[j]!
      })
      const by = size / dot(direction, image)
      for (let j = 0; j < width; j++) {
        step[j]! += by * direction[j]!
        rest[j]! -= by * image[j]!
      }
      const now = dot(rest, rest)
      for (let j = 0; j < width; j++) direction[j] = rest[j]! + (now / size) * direction[j]!
      size = now
    }
    // A longer step would leave the region where the approximation is valid.
    const length = Math.sqrt(dot(step, step))
    const by = Math.min(1, 5 / Math.max(length, 1e-12))
    for (let j = 0; j < width; j++) weights[j]! += by * step[j]!
    if (length < 1e-4) break
  }
  return weights
}

/** The logarithmic loss of weights on rows. */
export const logLoss = (rows: ReadonlyArray<LogisticRow>, weights: Float64Array): number =>
  rows.reduce((sum, { x, y }) => {
    const p = Math.max(1e-9, Math.min(1 - 1e-9, sigmoid(dot(weights, x))))
    return sum - y * Math.log(p) - (1 - y) * Math.log(1 - p)
  }, 0)

/** The inverse of a symmetric positive definite matrix (Gauss–Jordan). */
const inverse = (matrix: ReadonlyArray<Float64Array>): ReadonlyArray<Float64Array> => {
  const n = matrix.length
  const rows = matrix.map((row, i) =>
    Float64Array.from({ length: 2 * n }, (_, j) => (j < n ? row[j]! : j - n === i ? 1 : 0))
  )
  for (let i = 0; i < n; i++) {
    let pivot = i
    for (let j = i + 1; j < n; j++) if (Math.abs(rows[j]![i]!) > Math.abs(rows[pivot]![i]!)) pivot = j
    ;[rows[i], rows[pivot]] = [rows[pivot]!, rows[i]!]
    const row = rows[i]!
    const by = row[i]!
    for (let k = 0; k < 2 * n; k++) row[k]! /= by
    for (let j = 0; j < n; j++) {
      const factor = rows[j]![i]!
      if (j === i || factor === 0) continue
      for (let k = 0; k < 2 * n; k++) rows[j]![k]! -= factor * row[k]!
    }
  }
  return rows.map((row) => row.slice(n))
}

/** Weights with their covariance. */
export interface LogisticFit {
  readonly weights: Float64Array
  readonly covariance: ReadonlyArray<Float64Array>
}

/** Fits weights by Newton's method, starting from earlier ones. All of them have the ridge. */
export const fitFrom = (rows: ReadonlyArray<LogisticRow>, from: Float64Array, ridge: number): LogisticFit => {
  const width = from.length
  const weights = Float64Array.from(from)
  for (let round = 0; ; round++) {
    const gradient = Float64Array.from(weights, (weight) => ridge * weight)
    const hessian = Array.from({ length: width }, (_, i) => {
      const row = new Float64Array(width)
      row[i] = ridge
      return row
    })
    for (const { x, y } of rows) {
      const p = sigmoid(dot(weights, x))
      const error = p - y
      const spread = p * (1 - p)
      for (let i = 0; i < width; i++) {
        gradient[i]! += error * x[i]!
        const row = hessian[i]!
        const scaled = spread * x[i]!
        for (let j = 0; j < width; j++) row[j]! += scaled * x[j]!
      }
    }
    const covariance = inverse(hessian)
    let largest = 0
    for (let i = 0; i < width; i++) {
      const step = dot(covariance[i]!, gradient)
      weights[i]! -= step
      largest = Math.max(largest, Math.abs(step))
    }
    if (largest < 1e-4 || round === 25) return { weights, covariance }
  }
}

/** The standard error of a linear combination under a fit. */
export const deviation = ({ covariance }: Pick<LogisticFit, "covariance">, x: ArrayLike<number>): number => {
  let variance = 0
  for (let i = 0; i < covariance.length; i++) variance += x[i]! * dot(covariance[i]!, x)
  return Math.sqrt(variance)
}
