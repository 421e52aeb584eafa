/**
 * Reads sources with `onError: "fail"` to their ends before anything is sent: a row that ends the run then costs nothing.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as FileBytes from "../file/FileBytes.ts"
import type * as Flow from "../flow/Flow.ts"
import type * as Node from "../flow/Node.ts"
import * as DomainStreams from "./DomainStreams.ts"
import type * as RunState from "./RunState.ts"

type Source = Node.Any & { readonly kind: Extract<Node.Kind, { readonly _tag: "Source" }> }

/** Only what names files gives the same rows again. */
const endsRun = (node: Node.Any): node is Source =>
  node.kind._tag === "Source" && node.kind.onError === "fail" && node.kind.paths.length > 0

/** Runs `work` unless a row ends the run first. */
export const before = <A, E, R>(
  flow: Flow.Any,
  state: RunState.RunState,
  options: DomainStreams.Options,
  work: Effect.Effect<ReadonlyArray<A>, E, R>
): Effect.Effect<ReadonlyArray<A>, unknown, unknown> => {
  const sources = flow.graph.nodes.filter(endsRun)
  const isGiven = (source: Source): boolean => options.sources?.some((given) => given.source === source) === true
  if (sources.every(isGiven)) return work
  return Effect.flatMap(FileBytes.rereadable, (again) =>
    Effect.gen(function* () {
      for (const source of sources) {
        if (!isGiven(source)) yield* Effect.scoped(readAll(source, { flow, options, state }))
        if (state.stopped() !== undefined) return []
      }
      return yield* work
    }).pipe(Effect.provideContext(again))
  )
}

/** Reads to the first row that does not fit. */
const readAll = (source: Source, env: Parameters<typeof DomainStreams.sourceRows>[2]) =>
  Effect.suspend(() => {
    let index = 0
    const rows = DomainStreams.sourceRows(source, source.kind, env, () => {})
    return Stream.runForEach(
      Stream.takeUntil(rows, (row) => "problem" in row),
      (row) => {
        const { position } = row
        return "problem" in row
          ? env.state.onBadRow(source, { index, position, parent: undefined, values: [], failed: false }, row)
          : Effect.sync(() => void index++)
      }
    )
  })
