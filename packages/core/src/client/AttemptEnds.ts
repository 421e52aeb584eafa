/**
 * The effects that hooks return when attempts end. They run one after another, beside the calls.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Attempt from "./Attempt.ts"

/** Runs what the hooks of a layer return. The end of the scope waits until all of it is done. */
export const make = <E, R>(
  layer: string
): Effect.Effect<(hook: Attempt.Watch<E, R>) => Attempt.AttemptHook, never, R | Scope.Scope> =>
  Effect.gen(function* () {
    const ends = yield* Queue.unbounded<Effect.Effect<unknown, E, R>, Cause.Done>()
    const one = Effect.flatMap(Queue.take(ends), (end) =>
      Effect.catchCause(Effect.asVoid(end), (cause) =>
        Effect.logWarning(`${layer}: onEnd failed: ${String(Cause.squash(cause))}`)
      )
    )
    const fiber = yield* Effect.forkScoped(Effect.ignore(Effect.forever(one)))
    yield* Effect.addFinalizer(() => Effect.andThen(Queue.end(ends), Fiber.await(fiber)))
    const taken = (onEnd: NonNullable<Attempt.Watched<never, E, R>["onEnd"]>, ended: Attempt.AttemptEnd): void => {
      const end = onEnd(ended)
      if (Effect.isEffect(end)) Queue.offerUnsafe(ends, end)
    }
    return (hook) => (call) => {
      const watched = hook(call)
      const admission = ({ onEnd, ...rest }: Effect.Success<typeof watched>) => ({
        ...rest,
        ...(onEnd === undefined ? undefined : { onEnd: (ended: Attempt.AttemptEnd) => taken(onEnd, ended) })
      })
      const known = Attempt.immediate(watched)
      return known === undefined ? Effect.map(watched, admission) : Effect.succeed(admission(known))
    }
  })
