/**
 * Work that several callers wait for: it is done once, and goes on as long as one of them waits, whoever began it.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/** Work under way. */
interface Shared<A, E> {
  waiters: number
  readonly done: Deferred.Deferred<A, E>
  fiber: Fiber.Fiber<unknown, unknown> | undefined
}

export interface SharedCalls<A, E> {
  /** Whether work under a key is under way. */
  readonly has: (key: string) => boolean
  /** Begins work under a key, or waits for what is under way there. */
  readonly run: <R>(key: string, work: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

export const make = <A, E>(): SharedCalls<A, E> => {
  const calls = new Map<string, Shared<A, E>>()

  /** Waits for the end; who is the last to leave before it ends the work. */
  const wait = (key: string, shared: Shared<A, E>): Effect.Effect<A, E> => {
    shared.waiters++
    return Effect.onInterrupt(Deferred.await(shared.done), () => {
      if (--shared.waiters > 0) return Effect.void
      if (calls.get(key) === shared) calls.delete(key)
      return shared.fiber === undefined ? Effect.void : Fiber.interrupt(shared.fiber)
    })
  }

  return {
    has: (key) => calls.has(key),
    run: (key, work) =>
      Effect.suspend(() => {
        const known = calls.get(key)
        if (known !== undefined) return wait(key, known)
        const shared: Shared<A, E> = { waiters: 0, done: Deferred.makeUnsafe(), fiber: undefined }
        calls.set(key, shared)
        const ended = Effect.onExitPrimitive(work, (exit) => {
          if (calls.get(key) === shared) calls.delete(key)
          Deferred.doneUnsafe(shared.done, exit)
          return undefined
        })
        return Effect.flatMap(Effect.forkDetach(ended, { startImmediately: true }), (fiber) => {
          shared.fiber = fiber
          return wait(key, shared)
        })
      })
  }
}
