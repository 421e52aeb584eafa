/**
 * How long a call waits for a limit that is used up, for layers that have another way for it.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** Milliseconds. Default: as long as the limiter allows. */
export const Patience = Context.Reference<number>("@pipe/core/Patience", {
  defaultValue: () => Number.POSITIVE_INFINITY
})

/** Has the calls of an effect fail, as refused for now, where they would wait longer. */
export const provide =
  (milliseconds: number) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, Patience, milliseconds)
