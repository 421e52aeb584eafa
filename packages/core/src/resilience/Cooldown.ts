/**
 * Skips an endpoint or a model for a while when it keeps failing: one circuit breaker per key, built on
 * `effect/persistence/CircuitBreaker`. Failures of a single request (too long, refused) do not count.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import type * as Scope from "effect/Scope"
import * as ModelFailure from "../model/ModelFailure.ts"

export interface Options {
  /** Consecutive failures after which a key is skipped. Default: 3. */
  readonly failures?: number
  /**
   * How long it is skipped; then one call tries it. A longer wait requested by the provider takes precedence. Default:
   * 30 seconds.
   */
  readonly cooldown?: Duration.Input
}

/** Runs a call under a key; `undefined` when the key is cooling down and nothing was called. */
export type Cooldown = (
  key: string
) => <A>(call: Effect.Effect<A, AiError.AiError>) => Effect.Effect<A | undefined, AiError.AiError>

/** Tests whether a failure is about the endpoint and not about the request. */
export const isItsOwn = (error: AiError.AiError): boolean => {
  const kind = ModelFailure.kind(error)
  return kind === "rate" || kind === "transient" || kind === "quota" || kind === "auth"
}

const outcomeOf = (exit: Exit.Exit<unknown, AiError.AiError>): CircuitBreaker.Outcome => {
  if (Exit.isSuccess(exit)) return CircuitBreaker.success
  const failed = exit.cause.reasons.find(Cause.isFailReason)
  if (failed === undefined || !isItsOwn(failed.error)) return CircuitBreaker.ignored
  const retryAfter = ModelFailure.retryAfter(failed.error)
  return CircuitBreaker.failure(retryAfter === undefined ? undefined : { retryAfter })
}

/** Circuits of this process. */
export const make = ({ cooldown = "30 seconds", failures = 3 }: Options = {}): Effect.Effect<
  Cooldown,
  never,
  Scope.Scope
> =>
  Effect.map(
    CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(failures), openDuration: cooldown }),
    (breaker): Cooldown =>
      (key) =>
      (call) =>
        Effect.catch(breaker.execute(call, { key, classify: outcomeOf }), (error) =>
          error._tag === "AiError" ? Effect.fail(error) : Effect.undefined
        )
  ).pipe(Effect.provide(CircuitBreaker.layerStoreMemory()))
