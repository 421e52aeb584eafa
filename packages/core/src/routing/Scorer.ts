/**
 * A small trained scorer: the probability that something holds, from facts about a row or an answer, and optionally the
 * vector of a text.
 *
 * **Details** Logistic regression with a ridge. Numbers are standardised over the training rows. A word has a weight
 * for each value shared by several training rows. A missing or unknown fact counts as the average. Cross-validation
 * chooses the strength of the ridge. A scorer is plain data: it can be stored in a file and gives the same result
 * everywhere.
 *
 * **Example** (long questions are answered wrongly more often)
 *
 * ```ts
 * import * as Scorer from "@pipe/core/internal/Scorer"
 *
 * const rows = Array.from({ length: 100 }, (_, n) => ({ features: { words: n }, target: n < 60 ? 1 : 0 }))
 * const scorer = Scorer.fit(rows)
 * Scorer.score(scorer, { features: { words: 10 } }) > 0.9 // => true
 * Scorer.score(scorer, { features: { words: 90 } }) < 0.1 // => true
 * ```
 *
 * @internal
 */
import * as Schema from "effect/Schema"
import * as Logistic from "../stats/Logistic.ts"
import type * as Features from "./Features.ts"

export const Scorer = Schema.Struct({
  intercept: Schema.Finite,
  /** By name. A number is standardised with `mean` and `scale`, and limited to 4 in size. */
  numbers: Schema.Record(
    Schema.String,
    Schema.Struct({ mean: Schema.Finite, scale: Schema.Finite, weight: Schema.Finite })
  ),
  /** By name, then by value. */
  words: Schema.Record(Schema.String, Schema.Record(Schema.String, Schema.Finite)),
  /** One weight per component of the vector. */
  vector: Schema.optionalKey(Schema.Array(Schema.Finite))
})

export interface Scorer extends Schema.Schema.Type<typeof Scorer> {}

/** A training row. `target` is from 0 to 1. */
export interface ScoredSample extends Features.Sample {
  readonly target: number
}

/** The strengths of the ridge to try. */
const RIDGES = [1, 4, 16, 64, 256]

const FOLDS = 5

/** A value with fewer training rows counts as the average. */
const LEAST_ROWS = 3

/** Components of a vector are small (its length is 1), so the ridge penalises their weights less. */
const VECTOR_SCALE = 8

const CLIP = 4

/** How a sample becomes a row of numbers. */
interface Layout {
  readonly numbers: ReadonlyMap<string, { readonly at: number; readonly mean: number; readonly scale: number }>
  readonly words: ReadonlyMap<string, ReadonlyMap<string, number>>
  readonly vector: { readonly at: number; readonly length: number } | undefined
  readonly width: number
}

const toNumber = (value: Features.Feature | undefined): number | undefined =>
  typeof value === "number"
    ? Number.isFinite(value)
      ? value
      : undefined
    : typeof value === "boolean"
      ? Number(value)
      : undefined

const layoutOf = (samples: ReadonlyArray<Features.Sample>): Layout => {
  const names = new Set(samples.flatMap(({ features }) => Object.keys(features)))
  const numbers = new Map<string, { readonly at: number; readonly mean: number; readonly scale: number }>()
  const words = new Map<string, Map<string, number>>()
  let width = 1
  for (const name of [...names].toSorted()) {
    const values = samples.map(({ features }) => toNumber(features[name])).filter((value) => value !== undefined)
    if (values.length > 0) {
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length
      const scale = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)
      if (scale > 1e-9) numbers.set(name, { at: width++, mean: round(mean), scale: round(scale) })
    }
    const counts = new Map<string, number>()
    for (const { features } of samples) {
      const value = features[name]
      if (typeof value === "string") counts.set(value, (counts.get(value) ?? 0) + 1)
    }
    const common = [...counts]
      .filter(([, count]) => count >= LEAST_ROWS)
      .map(([value]) => value)
      .toSorted()
    if (common.length > 0) words.set(name, new Map(common.map((value) => [value, width++])))
  }
  const length = samples.reduce((most, { vector }) => Math.max(most, vector?.length ?? 0), 0)
  const vector = length === 0 ? undefined : { at: width, length }
  return { numbers, words, vector, width: width + length }
}

const clip = (value: number): number => Math.max(-CLIP, Math.min(CLIP, value))

const encode = (layout: Layout, sample: Features.Sample): Float64Array => {
  const row = new Float64Array(layout.width)
  row[0] = 1
  for (const [name, { at, mean, scale }] of layout.numbers) {
    const value = toNumber(sample.features[name])
    if (value !== undefined) row[at] = clip((value - mean) / scale)
  }
  for (const [name, values] of layout.words) {
    const value = sample.features[name]
    const at = typeof value === "string" ? values.get(value) : undefined
    if (at !== undefined) row[at] = 1
  }
  if (layout.vector !== undefined && sample.vector !== undefined) {
    for (let i = 0; i < layout.vector.length; i++) row[layout.vector.at + i] = VECTOR_SCALE * (sample.vector[i] ?? 0)
  }
  return row
}

/** The strength of the ridge that predicts left-out rows best. */
export const ridgeOf = (observations: ReadonlyArray<ScoredSample>): number => {
  const layout = layoutOf(observations)
  return bestRidge(rowsOf(layout, observations), layout.width)
}

const rowsOf = (layout: Layout, observations: ReadonlyArray<ScoredSample>): ReadonlyArray<Logistic.LogisticRow> =>
  observations.map((observation) => ({ x: encode(layout, observation), y: observation.target }))

const bestRidge = (rows: ReadonlyArray<Logistic.LogisticRow>, width: number): number => {
  if (rows.length < 2 * FOLDS) return RIDGES[RIDGES.length - 1]!
  let best = { ridge: RIDGES[0]!, loss: Number.POSITIVE_INFINITY }
  for (const ridge of RIDGES) {
    let loss = 0
    for (let fold = 0; fold < FOLDS; fold++) {
      const weights = Logistic.fit(
        rows.filter((_, at) => at % FOLDS !== fold),
        width,
        ridge
      )
      loss += Logistic.logLoss(
        rows.filter((_, at) => at % FOLDS === fold),
        weights
      )
    }
    if (loss < best.loss) best = { ridge, loss }
  }
  return best.ridge
}

/** Six digits, as in the file. */
const round = (value: number): number => Number(value.toPrecision(6))

/**
 * Trains a scorer. Rows with a single outcome, or no rows, give a scorer that always returns their share. Without a
 * ridge strength the best one is found.
 */
export const fit = (observations: ReadonlyArray<ScoredSample>, ridge?: number): Scorer => {
  const layout = layoutOf(observations)
  const rows = rowsOf(layout, observations)
  const holds = observations.reduce((sum, { target }) => sum + target, 0)
  if (holds < 1e-9 || holds > observations.length - 1e-9) {
    // This many rows, and one of the other outcome.
    return { intercept: round(Math.log((holds + 0.5) / (observations.length - holds + 0.5))), numbers: {}, words: {} }
  }
  const weights = Logistic.fit(rows, layout.width, ridge ?? bestRidge(rows, layout.width))
  return {
    intercept: round(weights[0]!),
    numbers: Object.fromEntries(
      [...layout.numbers].map(([name, { at, mean, scale }]) => [name, { mean, scale, weight: round(weights[at]!) }])
    ),
    words: Object.fromEntries(
      [...layout.words].map(([name, values]) => [
        name,
        Object.fromEntries([...values].map(([value, at]) => [value, round(weights[at]!)]))
      ])
    ),
    ...(layout.vector === undefined
      ? undefined
      : {
          vector: Array.from(weights.subarray(layout.vector.at), (weight) => round(weight * VECTOR_SCALE))
        })
  }
}

/** The probability from 0 to 1. */
export const score = (scorer: Scorer, { features, vector }: Features.Sample): number => {
  let sum = scorer.intercept
  for (const name in scorer.numbers) {
    const value = toNumber(features[name])
    if (value === undefined) continue
    const { mean, scale, weight } = scorer.numbers[name]!
    sum += weight * clip((value - mean) / scale)
  }
  for (const name in scorer.words) {
    const value = features[name]
    if (typeof value === "string" && Object.hasOwn(scorer.words[name]!, value)) sum += scorer.words[name]![value]!
  }
  if (scorer.vector !== undefined && vector !== undefined) {
    for (let i = 0; i < scorer.vector.length; i++) sum += scorer.vector[i]! * (vector[i] ?? 0)
  }
  return Logistic.sigmoid(sum)
}
