/**
 * Ctrl-C, SIGTERM, and SIGHUP of a terminal that is closed: the first asks a run to end in good order (or ends any other command), the second leaves at once.
 */
import * as Effect from "effect/Effect"

const listeners = new Set<() => void>()

/** Ends when the first signal comes; while somebody waits for it, the command is not ended by it. */
export const first: Effect.Effect<void> = Effect.callback((resume) => {
  const listener = () => resume(Effect.void)
  listeners.add(listener)
  return Effect.sync(() => {
    listeners.delete(listener)
  })
})

/** Tells all who wait; false when nobody does. */
export const notify = (): boolean => {
  for (const listener of listeners) listener()
  return listeners.size > 0
}
