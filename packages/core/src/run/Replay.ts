/**
 * Runs all rows of a flow: once when every answer comes immediately, and otherwise repeatedly. Rows whose answers come
 * later are suspended. When the answers are there, all rows are replayed, and finished steps come from the journal. The
 * last replay, in which no row is suspended, writes the outputs. Files are written aside as soon as a replay may be the
 * last, and moved to their places when no row was suspended: a run whose outputs are all files needs no replay of its own
 * to write them.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as Suspension from "../client/Suspension.ts"
import * as FileBytes from "../file/FileBytes.ts"
import type * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import type * as Sink from "../flow/Sink.ts"
import * as Store from "../store/Store.ts"
import * as DomainStreams from "./DomainStreams.ts"
import type * as RunOptions from "./RunOptions.ts"
import type * as RunState from "./RunState.ts"

/** The most nodes that call a model one after the other for a row: no earlier replay can be the last of new rows. */
const chainOf = ({ graph }: Flow.Any): number => {
  const lengths = new Map<Node.Any, number>()
  for (const node of graph.nodes) {
    const before = Math.max(0, ...Node.inputsOf(node).map((input) => lengths.get(input) ?? 0))
    lengths.set(node, before + (Node.canCall(node) ? 1 : 0))
  }
  return Math.max(1, ...lengths.values())
}

/** Runs all rows; returns the written outputs. */
export const run = Effect.fnUntraced(function* (
  flow: Flow.Any,
  state: RunState.RunState,
  /** The layers that suspend rows. */
  holders: ReadonlyArray<Suspension.Holder>,
  options: Pick<RunOptions.RunOptions, "limit" | "sample" | "sources" | "concurrency" | "outputs" | "detach"> & {
    readonly packs: boolean
    /** Whether outputs can be written before it is known that a replay is the last. */
    readonly isAside: boolean
    readonly warm: DomainStreams.Options["warm"]
    readonly problemOf: (
      rowsOf: (sink: Sink.Any) => number | undefined
    ) => Effect.Effect<string | undefined, unknown, unknown>
  }
) {
  if (holders.length === 0) return yield* DomainStreams.run(flow, state, options)
  state.useReplays(() => holders.map((holder) => holder.status()))
  const again = yield* FileBytes.rereadable
  const replay = (outputs: "none" | "aside" | "written") => {
    const writes = outputs !== "none"
    return Effect.andThen(
      state.beginReplay(writes),
      Effect.scoped(
        Effect.provideContext(
          DomainStreams.run(flow, state, {
            ...options,
            isAside: outputs === "aside",
            outputs: writes && options.outputs !== false
          }),
          again
        )
      )
    )
  }
  const first = chainOf(flow)
  for (let replays = 0; ; replays++) {
    const isAside = replays >= first && options.isAside
    const written = yield* replay(isAside ? "aside" : "none")
    const stop = state.stopped()
    if (state.suspendedRows() === 0) {
      if (stop !== undefined) return []
      if (isAside) return written
      break
    }
    if (stop !== undefined) {
      if (stop.kind !== "budget") return []
      // The reservations for requests in flight may be released.
      state.unstop()
    }
    if (options.detach === true) {
      if (yield* Effect.map(Store.Store, ({ inMemory }) => inMemory)) {
        state.stop({
          kind: "failed",
          message: "a run with a store in memory cannot be detached: its batches could not be found again"
        })
        return []
      }
      yield* Effect.raceFirst(
        Effect.forEach(holders, ({ send }) => send, { discard: true }),
        state.stopping
      )
      const open = holders.reduce((sum, holder) => sum + holder.status().batches, 0)
      state.stop({ kind: "waiting", message: `${open} ${open === 1 ? "batch is" : "batches are"} at the provider` })
      return []
    }
    yield* Effect.raceFirst(
      Effect.forEach(holders, ({ settle }) => settle, { concurrency: "unbounded", discard: true }),
      state.stopping
    )
    if (state.stopped() !== undefined) return []
  }
  return yield* replay("written")
})
