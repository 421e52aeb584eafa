/**
 * Connects a cascade with its observers: the keys of the flow's steps (a calibration is valid for a step as it was),
 * and `pipe tune`, which wants every model's answer to a row.
 *
 * @internal
 */
import * as Context from "effect/Context"
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
  /** Another model answered instead (a fallback), so the trial says nothing. */
  readonly isSubstituted: boolean
  /** The strong model comes last. */
  readonly tried: ReadonlyArray<ModelTrial>
}

/** Receives trials. While it is set, a cascade calls every model and returns the strong one's answer. */
export const Trials = Context.Reference<((trial: CascadeTrial) => void) | undefined>("@pipe/core/CascadeHooks/Trials", {
  defaultValue: () => undefined
})

/** The key of a step: its code, its settings, its parameter values; `undefined` when not known. */
export const StepKeys = Context.Reference<(step: string) => string | undefined>("@pipe/core/CascadeHooks/StepKeys", {
  defaultValue: () => () => undefined
})
