/**
 * What answers in the place of every provider while a run is simulated. A host sets it (`Simulator.layer`); providers that can be
 * pointed at another address send there, and all others are replaced, so that nothing real is called.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import type * as Tool from "effect/ai/Tool"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type { ResponseTo } from "../model/ModelResponse.ts"
import type * as RowValues from "./RowValues.ts"

/** A call that a flow's own answers are asked for. */
export interface SimulatedCall {
  /** The step's name. */
  readonly step: string
  /** The model that would be called. */
  readonly model: string
  /** All text of the request. */
  readonly prompt: string
  /** What the step reads, by the names of its inputs. */
  readonly values: RowValues.Values
  /** Number of the sample, from 0. */
  readonly sample: number
}

/** Answers of a flow's own: a text, or a value that is sent as JSON; `undefined`: the simulator makes one up. */
export type Answers = (call: SimulatedCall) => unknown

export interface Simulation {
  /** Equal for simulations that give the same answers: an answer of another is not reused. */
  readonly identity: string
  /** Gives the request a number under which the simulator knows its row; called where the row is known. */
  readonly note: <R extends ModelRequest.ModelRequest>(request: R) => Effect.Effect<R>
  /** Answers for a provider that cannot be pointed at another address, under its name. */
  readonly answer: <R extends ModelRequest.ModelRequest>(
    provider: string,
    request: R
  ) => Effect.Effect<ResponseTo<R>, AiError.AiError>
}

/** Default: none, the run is real. */
export const Simulation = Context.Reference<Simulation | undefined>("@pipe/core/Simulation", {
  defaultValue: () => undefined
})

/** The answers of the flow that is run. Default: none. */
export const Own = Context.Reference<Answers | undefined>("@pipe/core/Simulation/Own", {
  defaultValue: () => undefined
})

/** The tools of a call, whose schemas say more than what is sent of them. The bridge to `effect/ai` sets it. */
export const Tools = Context.Reference<ReadonlyArray<Tool.Any>>("@pipe/core/Simulation/Tools", {
  defaultValue: () => []
})
