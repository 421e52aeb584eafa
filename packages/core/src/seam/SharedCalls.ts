/**
 * Work that several callers wait for: it is done once, and goes on as long as one of them waits, whoever began it.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

/** In the place of a result: whoever did the work was cut, and another begins anew. */
const CUT: unique symbol = Symbol("cut")

/** Work under way. */
interface Shared<A, E> {
  waiters: number
  readonly done: Deferred.Deferred<A | typeof CUT, E>
  fiber: Fiber.Fiber<unknown, unknown> | undefined
}

export interface SharedCalls<A, E> {
  /** Whether work under a key is under way. */
  readonly has: (key: string) => boolean
  /**
   * Begins work under a key, or waits for what is under way there. `isOwn`: the work is that of the caller alone, who may be put down
   * with it; then one of the others begins it anew.
   */
  readonly run: <R>(key: string, work: Effect.Effect<A, E, R>, isOwn: boolean) => Effect.Effect<A, E, R>
}

export const make = <A, E>(): SharedCalls<A, E> => {
  const calls = new Map<string, Shared<A, E>>()

  const leave = (key: string, shared: Shared<A, E>): void => {
    if (calls.get(key) === shared) calls.delete(key)
  }

  const begin = (key: string): Shared<A, E> => {
    const shared: Shared<A, E> = { waiters: 0, done: Deferred.makeUnsafe(), fiber: undefined }
    calls.set(key, shared)
    return shared
  }

  const ending = <R>(key: string, shared: Shared<A, E>, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.onExitPrimitive(work, (exit) => {
      leave(key, shared)
      // The caller that worked for itself was cut. A fiber of its own is cut by its last waiter alone: an interrupt is an answer there.
      const isCut = shared.fiber === undefined && Exit.isFailure(exit) && Exit.hasInterrupts(exit)
      Deferred.doneUnsafe(shared.done, isCut ? Exit.succeed(CUT) : exit)
      return undefined
    })

  /** Waits for the end; who is the last to leave before it ends the work. */
  const wait = (key: string, shared: Shared<A, E>): Effect.Effect<A | typeof CUT, E> => {
    shared.waiters++
    return Effect.onInterrupt(Deferred.await(shared.done), () => {
      if (--shared.waiters > 0 || shared.fiber === undefined) return Effect.void
      leave(key, shared)
      return Fiber.interrupt(shared.fiber)
    })
  }

  const run = <R>(key: string, work: Effect.Effect<A, E, R>, isOwn: boolean): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const known = calls.get(key)
      if (known === undefined && isOwn) return ending(key, begin(key), work)
      const shared = known ?? begin(key)
      const begun =
        known === undefined
          ? Effect.map(Effect.forkDetach(ending(key, shared, work), { startImmediately: true }), (fiber) => {
              shared.fiber = fiber
            })
          : Effect.void
      return Effect.flatMap(
        Effect.andThen(
          begun,
          Effect.suspend(() => wait(key, shared))
        ),
        (result) => (result === CUT ? run(key, work, isOwn) : Effect.succeed(result))
      )
    })

  return { has: (key) => calls.has(key), run }
}
