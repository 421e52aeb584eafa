/**
 * Features of a row or an answer, as plain facts for a scorer: numbers, words, booleans.
 *
 * @internal
 */

export type Feature = number | string | boolean

export type Features = { readonly [name: string]: Feature }

/** Features, and optionally the vector of a text. */
export interface Sample {
  readonly features: Features
  readonly vector?: ArrayLike<number> | undefined
}

export const empty: Sample = { features: {} }

/** Merges two samples; the second wins. */
export const merge = (first: Sample, second: Sample): Sample => ({
  features: { ...first.features, ...second.features },
  vector: second.vector ?? first.vector
})
