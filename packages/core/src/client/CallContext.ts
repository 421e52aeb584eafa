/**
 * What a model call is made for: the run, the step and the row, the answers that are accepted, and its purpose. The
 * runner sets it for each row and the bridge to `effect/ai` for each call. Layers read it from the fiber, and `resolve`
 * receives it.
 *
 * **Example** (a layer that counts calls per step)
 *
 * ```ts
 * import { CallContext, ModelClient } from "@pipe/core"
 * import { Effect, Metric } from "effect"
 *
 * const calls = Metric.counter("calls")
 *
 * export const count = ModelClient.middleware(
 *   (send) => (request) =>
 *     Effect.flatMap(CallContext.CallContext, ({ step }) =>
 *       Effect.andThen(Metric.update(Metric.withAttributes(calls, { step }), 1), send(request))
 *     ),
 *   { name: "Count", answers: false }
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Schema from "effect/Schema"
import type * as ModelResponse from "../model/ModelResponse.ts"
import type { CallState } from "./CallState.ts"
import type * as RowValues from "./RowValues.ts"

/** Who makes a call. Outside a run all fields are empty. */
export interface Caller {
  readonly run: string
  readonly step: string
  /** The index of the row in its source, from 0. */
  readonly row: number
  /** The position of the row, for display: `reviews.jsonl:12`. */
  readonly position?: string
}

/**
 * The caller's check of answers. It returns what is wrong, or `undefined`. `Retry` sends the request again with those
 * words, and `Cache` does not keep an answer that fails.
 */
export interface Accept {
  (response: ModelResponse.ModelResponse): string | undefined
  /** The schema that decodes the answer, when it is an object. */
  readonly schema?: Schema.Top
}

/** What a call is made for. */
export interface CallContext extends Caller {
  /** Why a layer makes the call itself, such as `guardrail`; `""` for the calls of the step. See `ModelClient.aside`. */
  readonly purpose: string
  /** The values of the step's inputs, by name. Empty outside a row. */
  readonly values: RowValues.Values
  /** The values of all rows of the call: a packed prompt has several. Empty for a call of one row. */
  readonly rows: ReadonlyArray<RowValues.Values>
  /** The caller's check of answers. By default every answer is accepted. */
  readonly accept: Accept
  /** With `off`, answers of earlier calls are neither read nor written (`--no-cache` on the command line). */
  readonly cache: "on" | "off"
  /** The request is sent again because an answer to it was not accepted. */
  readonly isReask: boolean
  /** @internal */
  readonly state: CallState
}

/** The context outside a run. */
export const empty: CallContext = {
  run: "",
  step: "",
  row: 0,
  purpose: "",
  values: {},
  rows: [],
  accept: () => undefined,
  cache: "on",
  isReask: false,
  state: {}
}

/** The context of the current fiber's calls. */
export const CallContext = Context.Reference<CallContext>("@pipe/core/CallContext", { defaultValue: () => empty })

/** Runs an effect with some fields of the context replaced. */
export const provide =
  (changes: Partial<CallContext>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.updateService(effect, CallContext, (call) => ({ ...call, ...changes }))

/**
 * Runs an effect with some fields of the runner's state replaced.
 *
 * @internal
 */
export const provideState =
  (changes: CallState) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.updateService(effect, CallContext, (call) => ({ ...call, state: { ...call.state, ...changes } }))

/**
 * The runner's state of a fiber's calls.
 *
 * @internal
 */
export const stateOf = (fiber: Fiber.Fiber<unknown, unknown>): CallState => fiber.getRef(CallContext).state

/** The name under which a call is recorded and planned: `reply`, or `reply / guardrail` for a layer's own call. */
export const nameOf = (step: string, purpose: string): string => (purpose === "" ? step : `${step} / ${purpose}`)

/** The step of such a name. */
export const nodeOf = (name: string): string => name.split(" / ")[0]!

/** The caller as it is recorded, to keep it longer than the call. */
export const callerOf = ({ position, purpose, row, run, step }: CallContext): Caller => ({
  run,
  step: nameOf(step, purpose),
  row,
  ...(position === undefined ? undefined : { position })
})
