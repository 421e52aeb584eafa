/**
 * Replaces every provider while a run is simulated. A host sets it (`Simulator.layer`). Providers that can be
 * redirected send to the simulator; all others are replaced, so no real provider is called.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import type * as Tool from "effect/ai/Tool"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as BatchProvider from "../batch/BatchProvider.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type { ResponseTo } from "../model/ModelResponse.ts"
import type * as RowValues from "./RowValues.ts"

/** A call for which a flow's own answers are requested. */
export interface SimulatedCall {
  /** The step's name. */
  readonly step: string
  /** The model that would be called. */
  readonly model: string
  /** The full text of the request. */
  readonly prompt: string
  /** The step's input values, by name. */
  readonly values: RowValues.Values
  /** The number of the sample, from 0. */
  readonly sample: number
}

/** A flow's own answers: a text, or a value that is sent as JSON. `undefined` lets the simulator generate one. */
export type Answers = (call: SimulatedCall) => unknown

export interface Simulation {
  /** Equal for simulations that give the same answers. An answer of another simulation is not reused. */
  readonly identity: string
  /** Adds a number to the request under which the simulator finds its row. Called where the row is known. */
  readonly note: <R extends ModelRequest.ModelRequest>(request: R) => Effect.Effect<R>
  /** Answers for a provider that cannot be redirected, under its name. */
  readonly answer: <R extends ModelRequest.ModelRequest>(
    provider: string,
    request: R
  ) => Effect.Effect<ResponseTo<R>, AiError.AiError>
  /** The batch API in place of that of a provider that cannot be redirected, under its name. */
  readonly batch: (provider: string) => BatchProvider.BatchProvider
}

/** Default: none, so the run is real. */
export const Simulation = Context.Reference<Simulation | undefined>("@pipe/core/Simulation", {
  defaultValue: () => undefined
})

/** The flow's own answers. Default: none. */
export const Own = Context.Reference<Answers | undefined>("@pipe/core/Simulation/Own", {
  defaultValue: () => undefined
})

/** The tools of a call. Their schemas say more than what is sent. The bridge to `effect/ai` sets it. */
export const Tools = Context.Reference<ReadonlyArray<Tool.Any>>("@pipe/core/Simulation/Tools", {
  defaultValue: () => []
})

/** In a simulated run, the lines of a batch carry the numbers of their rows. */
export const noted = (batch: BatchProvider.BatchProvider): BatchProvider.BatchProvider => ({
  ...batch,
  encode: (customId, request) =>
    Effect.flatMap(Simulation, (simulation) =>
      simulation === undefined
        ? batch.encode(customId, request)
        : Effect.flatMap(simulation.note(request), (marked) => batch.encode(customId, marked))
    )
})
