/**
 * What is known of a row or of an answer, as plain facts that a scorer can weigh: numbers, words, yes or no.
 *
 * @internal
 */

export type Feature = number | string | boolean

export type Features = { readonly [name: string]: Feature }

/** Features, and perhaps the vector of a text. */
export interface Sample {
  readonly features: Features
  readonly vector?: ArrayLike<number> | undefined
}

export const empty: Sample = { features: {} }

/** Both together; of a fact that both have, the second's. */
export const merge = (first: Sample, second: Sample): Sample => ({
  features: { ...first.features, ...second.features },
  vector: second.vector ?? first.vector
})
