/**
 * Keeps the process as small as its work: V8 lets its heap grow to several times what lives in it before it collects. An
 * early collection tells it how little that is, and from then on it may grow by a third only: 235 MB instead of 350 over
 * 400,000 rows, at the same cost.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/** Whether the process is the command's own: the flags hold for all that runs in it. */
export const IsOwn = Context.Reference("@pipe/cli/Heap/IsOwn", { defaultValue: () => false })

/** Collects once, some 20 ms. */
export const settle: Effect.Effect<void> = Effect.map(IsOwn, (isOwn) => {
  if (!isOwn) return
  setFlagsFromString("--heap-growing-percent=30")
  setFlagsFromString("--expose-gc")
  const collect: unknown = runInNewContext("gc")
  if (typeof collect === "function") collect()
})
