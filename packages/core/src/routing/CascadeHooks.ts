/**
 * Between a cascade and those who look at it: what the steps of a flow are (a calibration holds for a step as it was), and who
 * wants to see every model's answer to a row (`pipe tune`).
 *
 * @internal
 */
import * as Context from "effect/Context"
import type * as ModelResponse from "../model/ModelResponse.ts"
import type * as Features from "./Features.ts"

/** What one model did with a request, when all were asked. */
export interface ModelTrial {
  readonly model: string
  /** Its answer, and what its judges asked, for what they cost. */
  readonly calls: ReadonlyArray<ModelResponse.Discarded>
  readonly judging: ReadonlyArray<ModelResponse.Discarded>
  /** From 0 to 1: beside the label where there is one, and else beside the strong model's answer. */
  readonly quality: number
  /** Facts about the row and the answer; `undefined`: there is no answer that could stand. */
  readonly sample: Features.Sample | undefined
}

/** A request that every model has answered. */
export interface CascadeTrial {
  readonly step: string
  /** Position of the row, from 0. */
  readonly index: number
  readonly row: Features.Sample
  /** Whether the quality is measured by a label. */
  readonly isLabelled: boolean
  /** Another model than the one that was asked has answered (a fallback): it tells nothing. */
  readonly isSubstituted: boolean
  /** The strong model last. */
  readonly tried: ReadonlyArray<ModelTrial>
}

/** Receives trials; while it is set a cascade asks every model, and gives the strong one's answer. */
export const Trials = Context.Reference<((trial: CascadeTrial) => void) | undefined>("@pipe/core/CascadeHooks/Trials", {
  defaultValue: () => undefined
})

/** What a step is: its code, its settings, the values of its parameters; `undefined`: it is not known. */
export const StepKeys = Context.Reference<(step: string) => string | undefined>("@pipe/core/CascadeHooks/StepKeys", {
  defaultValue: () => () => undefined
})
