/**
 * Keeps the heap of the process small: V8 lets it grow to several times the live data before it collects. An early
 * collection shows it how little that is, and from then on the heap grows by a part of that only between two
 * collections.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/** Whether the process belongs to the command: the flags apply to everything in it. */
export const IsOwn = Context.Reference("@pipe/cli/Heap/IsOwn", { defaultValue: () => false })

const collect = (percent: number) =>
  Effect.sync(() => {
    setFlagsFromString(`--heap-growing-percent=${percent}`)
    setFlagsFromString("--expose-gc")
    const gc: unknown = runInNewContext("gc")
    if (typeof gc === "function") gc()
  })

/**
 * Collects once, in about 20 ms, when the work has lasted for a second: a short run needs no collection. Rows of a batch
 * wait in memory, and to look at them at each third of growth costs a tenth of the time.
 */
export const settle = (isBatch = false): Effect.Effect<void> =>
  Effect.flatMap(IsOwn, (isOwn) =>
    isOwn ? Effect.asVoid(Effect.forkChild(Effect.delay(collect(isBatch ? 60 : 30), "1 second"))) : Effect.void
  )
