/**
 * What earlier attempts of a resumed run left: the rows that failed, and how many rows there were.
 *
 * @internal
 */
import * as Stream from "effect/Stream"
import * as Format from "../encoding/Format.ts"
import type * as Flow from "../flow/Flow.ts"
import type * as Store from "../store/Store.ts"
import type * as RunEvent from "./RunEvent.ts"
import type * as RunState from "./RunState.ts"

/** The rows read from the source with the most of them. */
export const readOf = (flow: Flow.Any, { nodes }: RunEvent.RunFinished): number => {
  const driving = new Set([...flow.graph.driving].map(({ name }) => name))
  return Math.max(0, ...nodes.flatMap(({ done, failed, name }) => (driving.has(name) ? [done + failed] : [])))
}

/**
 * The positions of rows that failed in a run, and of the rows they came from: `docs.jsonl:3[2]` comes from
 * `docs.jsonl:3`.
 */
export const failedPlaces = (store: Store.Service, run: number) =>
  Stream.runFold(
    store.rows.failures(run),
    () => new Set<string>(),
    (places, { position }) => {
      for (let place: string | undefined = position; place !== undefined;) {
        places.add(place)
        place = /^(.+)\[[^[\]]*\]$/.exec(place)?.[1]
      }
      return places
    }
  )

/**
 * Why an attempt must not complete the run: its sources gave fewer rows than before, as standard input does when it is
 * not provided again.
 */
export const lostRows = (
  flow: Flow.Any,
  before: RunEvent.RunFinished,
  state: RunState.RunState
): string | undefined => {
  const earlier = readOf(flow, before)
  const now = Math.max(
    0,
    ...Array.from(flow.graph.driving, (node) => {
      const { done, failed } = state.statsOf(node)
      return done + failed
    })
  )
  return now >= earlier
    ? undefined
    : `the sources gave ${Format.of(now, "row")}, but ${Format.count(earlier)} in the previous attempt: give run ${before.run} the same input again, or force it with --overwrite`
}
