/**
 * Ctrl-C, SIGTERM, and SIGHUP of a closed terminal: the first signal asks a run to stop cleanly (or ends any other
 * command), the second ends the process at once.
 */
import * as Effect from "effect/Effect"

const listeners = new Set<() => void>()

/** Ends with the first signal. While something waits for it, the signal does not end the command. */
export const first: Effect.Effect<void> = Effect.callback((resume) => {
  const listener = () => resume(Effect.void)
  listeners.add(listener)
  return Effect.sync(() => {
    listeners.delete(listener)
  })
})

/** Notifies everything that waits; false when nothing does. */
export const notify = (): boolean => {
  for (const listener of listeners) listener()
  return listeners.size > 0
}
