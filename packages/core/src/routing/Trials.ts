/**
 * The answers of all models of a cascade to a request, for `pipe tune`.
 *
 * @internal
 */
import type * as ModelResponse from "../model/ModelResponse.ts"
import type * as Features from "./Features.ts"

/** What one model did with a request, when all were called. */
export interface ModelTrial {
  readonly model: string
  /** Its answer, and the calls of its judges, with their costs. */
  readonly calls: ReadonlyArray<ModelResponse.Discarded>
  readonly judging: ReadonlyArray<ModelResponse.Discarded>
  /** From 0 to 1: compared with the label, or with the strong model's answer when there is none. */
  readonly quality: number
  /** The same without a person's answer, where `isReviewed`. */
  readonly unreviewed?: number
  /** Features of the row and the answer; `undefined` when there is no usable answer. */
  readonly sample: Features.Sample | undefined
}

/** A request that every model has answered. */
export interface CascadeTrial {
  readonly step: string
  /** The index of the row, from 0. */
  readonly index: number
  readonly row: Features.Sample
  /** Whether the quality is measured against a label. */
  readonly isLabelled: boolean
  /** Whether the quality is measured against an answer that a person has accepted or corrected. */
  readonly isReviewed: boolean
  /** Another model answered instead (a fallback), so the trial says nothing. */
  readonly isSubstituted: boolean
  /** The strong model comes last. */
  readonly tried: ReadonlyArray<ModelTrial>
}
