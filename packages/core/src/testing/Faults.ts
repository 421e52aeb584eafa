/**
 * Faults inside of a provider, in tests: what a call meets there is recorded, billed and retried as if the provider had
 * done it. Use it to see what a stack does when a real provider, or a simulator, fails.
 *
 * **Example** (every third call fails after it was answered)
 *
 * ```ts
 * import { Faults, TestModel } from "@pipe/core/testing"
 * import { Effect } from "effect"
 *
 * let calls = 0
 *
 * export const faults = Faults.layer((call, answer) =>
 *   ++calls % 3 === 0 ? Effect.andThen(answer, Effect.fail(TestModel.failure())) : answer
 * )
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as CallContext from "../client/CallContext.ts"
import * as RunHooks from "../client/RunHooks.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"

/** A call as it reaches the provider. */
export interface FaultCall {
  readonly step: string
  /** Why a layer made the call itself; `""` for the calls of the step. */
  readonly purpose: string
  /** The index of the row in its source, from 0. */
  readonly row: number
  readonly provider: string
  readonly request: ModelRequest.ModelRequest
}

/**
 * What happens to a call. `answer` calls the provider: leave it out for a refusal, end it early for an interrupted call,
 * or fail after it for an answer that was lost.
 */
export type Fault = <A extends ModelResponse.ModelResponse>(
  call: FaultCall,
  answer: Effect.Effect<A, AiError.AiError>
) => Effect.Effect<A, AiError.AiError>

/** Puts a fault into the providers of a run. Single calls meet it; those of batches do not. */
export const layer = (fault: Fault): Layer.Layer<never> =>
  Layer.effect(
    RunHooks.RunHooks,
    Effect.map(RunHooks.RunHooks, (hooks) => ({ ...hooks, inside: insideOf(fault) }))
  )

/** Runs an effect with a fault in its providers. */
export const provide =
  (fault: Fault) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    RunHooks.provide({ inside: insideOf(fault) })(effect)

const insideOf =
  (fault: Fault): NonNullable<RunHooks.RunHooks["inside"]> =>
  (provider, send) =>
  <R extends ModelRequest.ModelRequest>(request: R): ReturnType<typeof send<R>> =>
    Effect.flatMap(CallContext.CallContext, ({ purpose, row, step }) =>
      fault({ step, purpose, row, provider, request }, send(request))
    )
