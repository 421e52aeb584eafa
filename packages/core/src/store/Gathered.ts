/**
 * Gathers the look-ups of a turn of the event loop into one query. While queries are in flight, the next one gathers.
 *
 * @internal
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** The most keys in a query, and the most queries in flight. */
const MOST_KEYS = 1_000
const MOST_QUERIES = 2

/** Makes a look-up of one key from a look-up of many. A key without a value is `undefined`. */
export const make = <A, E>(
  look: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, A>, E>
): ((key: string) => Effect.Effect<A | undefined, E>) => {
  const waiting = new Map<string, Array<(exit: Exit.Exit<A | undefined, E>) => void>>()
  let queries = 0
  let isScheduled = false

  /** Queries run as the fiber that scheduled them, with its loggers. */
  const send = (context: Context.Context<never>): void => {
    isScheduled = false
    const keys = [...waiting.keys()].slice(0, MOST_KEYS)
    if (keys.length === 0) return
    const taken = keys.map((key) => [key, waiting.get(key)!] as const)
    for (const key of keys) waiting.delete(key)
    queries++
    Effect.runForkWith(context)(
      Effect.onExitPrimitive(look(keys), (exit) => {
        queries--
        for (const [key, all] of taken) {
          const found = Exit.map(exit, (rows) => rows.get(key))
          for (const resume of all) resume(found)
        }
        schedule(context)
        return undefined
      })
    )
  }

  const schedule = (context: Context.Context<never>): void => {
    if (isScheduled || waiting.size === 0 || queries >= MOST_QUERIES) return
    isScheduled = true
    setImmediate(send, context)
  }

  return (key) =>
    Effect.withFiber((fiber) =>
      Effect.callback((resume) => {
        const all = waiting.get(key)
        if (all === undefined) waiting.set(key, [resume])
        else all.push(resume)
        schedule(fiber.context)
      })
    )
}
