/**
 * The least time that a provider waits for the answer of a call, for layers whose calls may take longer than usual.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** Milliseconds. Default: 0, so the provider's own `timeout` counts. */
export const CallTimeout = Context.Reference<number>("@pipe/core/CallTimeout", { defaultValue: () => 0 })

/** Lets the calls of an effect take at least this many milliseconds. */
export const provide =
  (milliseconds: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, CallTimeout, milliseconds)
