/**
 * Shares work that is in flight: equal calls run it once, and it runs until it ends or its last caller is interrupted.
 *
 * **Details** `RcMap` looks up in the context in which it was made; this work needs that of the caller who starts it: budgets and the
 * ledger read the row from it.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"

/** Replaces a result when the caller that ran the work was interrupted: another caller runs it. */
const INTERRUPTED: unique symbol = Symbol("interrupted")

type Result<A, E> = Exit.Exit<A, E> | typeof INTERRUPTED

/** Receives the result of work. */
type Waiter<A, E> = (result: Result<A, E>) => void

/** Work in flight. */
interface Shared<A, E> {
  readonly waiters: Set<Waiter<A, E>>
  /** Whether the work has its own fiber, and does not run in that of its first caller. */
  readonly isForked: boolean
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  /** Work that ends at once has ended before its first caller waits. */
  result: Result<A, E> | undefined
}

export interface SingleFlight<A, E> {
  /** Whether work under a key is in flight. */
  readonly has: (key: string) => boolean
  /**
   * Runs work under a key, or waits for the work in flight. With `isOwn` the work runs in the caller's fiber; when the
   * caller is interrupted, another one runs the work again. Default: `false`.
   */
  readonly run: <R>(key: string, work: Effect.Effect<A, E, R>, isOwn?: boolean) => Effect.Effect<A, E, R>
}

/**
 * Calls in flight by key. `isOwnFailure` tells whether a failure belongs to the caller that ran the work alone, like
 * its time limit; another caller then runs it again. Default: never.
 */
export const make = <A, E>(isOwnFailure: (cause: Cause.Cause<E>) => boolean = () => false): SingleFlight<A, E> => {
  const calls = new Map<string, Shared<A, E>>()

  const leave = (key: string, shared: Shared<A, E>): void => {
    if (calls.get(key) === shared) calls.delete(key)
  }

  const begin = (key: string, isForked: boolean): Shared<A, E> => {
    const shared: Shared<A, E> = { waiters: new Set(), isForked, fiber: undefined, result: undefined }
    calls.set(key, shared)
    return shared
  }

  const ending = <R>(key: string, shared: Shared<A, E>, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.onExitPrimitive(work, (exit) => {
      leave(key, shared)
      // Only the last caller interrupts a forked fiber, so an interruption from within is its result.
      const isInterrupted =
        !shared.isForked && Exit.isFailure(exit) && (Exit.hasInterrupts(exit) || isOwnFailure(exit.cause))
      shared.result = isInterrupted ? INTERRUPTED : exit
      for (const waiter of shared.waiters) waiter(shared.result)
      return undefined
    })

  /** Waits for the result; the last caller to be interrupted interrupts the work. */
  const wait = <R>(
    key: string,
    shared: Shared<A, E>,
    resume: (effect: Effect.Effect<A, E, R>) => void,
    again: Effect.Effect<A, E, R>
  ): Effect.Effect<void> | undefined => {
    const waiter: Waiter<A, E> = (result) => resume(result === INTERRUPTED ? again : result)
    if (shared.result !== undefined) {
      waiter(shared.result)
      return undefined
    }
    shared.waiters.add(waiter)
    return Effect.suspend(() => {
      shared.waiters.delete(waiter)
      if (shared.waiters.size > 0 || shared.fiber === undefined) return Effect.void
      leave(key, shared)
      return Fiber.interrupt(shared.fiber)
    })
  }

  /** Tests whether a caller can wait for work: it is in flight, or has a result. */
  const isShared = (key: string, shared: Shared<A, E>): boolean => {
    const { result } = shared
    return result === undefined ? calls.get(key) === shared : result !== INTERRUPTED && !Exit.hasInterrupts(result)
  }

  const run = <R>(key: string, work: Effect.Effect<A, E, R>, isOwn = false): Effect.Effect<A, E, R> =>
    Effect.withFiber((caller) => {
      const known = calls.get(key)
      if (known === undefined && isOwn) return ending(key, begin(key, false), work)
      return Effect.callback((resume) => {
        // The fiber may have yielded since, and the work may be over or given up.
        const current = known !== undefined && isShared(key, known) ? known : calls.get(key)
        const shared = current ?? begin(key, true)
        // In the context of its first caller: the ledger and budgets read the row from it.
        if (current === undefined)
          shared.fiber = Effect.runForkWith(caller.context as Context.Context<R>)(ending(key, shared, work))
        return wait(key, shared, resume, run(key, work, isOwn))
      })
    })

  return { has: (key) => calls.has(key), run }
}
