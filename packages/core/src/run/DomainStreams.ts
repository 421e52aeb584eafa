/**
 * Streams the rows of a flow through its domains to its outputs. Each domain has its own workers, and bounded queues
 * join the domains, so back-pressure reaches the source.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import * as Sink from "../flow/Sink.ts"
import type * as Coordinator from "../work/Coordinator.ts"
import * as RowSample from "../routing/tune/RowSample.ts"
import * as Store from "../store/Store.ts"
import * as DomainPlan from "./DomainPlan.ts"
import * as JoinTable from "./JoinTable.ts"
import * as OrderedPool from "./OrderedPool.ts"
import type * as Outlet from "./Outlet.ts"
import * as Outlets from "./Outlets.ts"
import * as Row from "./Row.ts"
import * as RowProgram from "./RowProgram.ts"
import type * as RunOptions from "./RunOptions.ts"
import type * as NodeCounts from "./NodeCounts.ts"
import type * as RunState from "./RunState.ts"

/** How many finished rows may wait for a slow one before them. */
const windowFor = (concurrency: number): number => Math.max(256, concurrency * 8)

/** The most rows processed together for a step that sends several in one request. */
const MOST_ROWS = 4_096

/**
 * The rows processed together. For a step that sends several in one request, there are as many requests as there would
 * be rows.
 */
const rowsAtOnce = (members: ReadonlyArray<Node.Any>, concurrency: number, packs: boolean): number => {
  const each = Math.max(1, ...members.map((node) => Node.rowsPerRequest(node, packs)))
  return Math.max(concurrency, Math.min(MOST_ROWS, concurrency * each))
}

/** An output that was moved to its destination. */
export interface WrittenOutput {
  readonly sink: Sink.Any
  readonly name: string
  readonly rows: number
}

export interface Options extends Pick<
  RunOptions.RunOptions,
  "limit" | "sample" | "sources" | "concurrency" | "outputs"
> {
  /** Why outputs with this many rows must not replace what is there. */
  readonly problemOf?: (
    rowsOf: (sink: Sink.Any) => number | undefined
  ) => Effect.Effect<string | undefined, unknown, unknown>
  /** Rows may be suspended: the outputs, which are written aside, are finished only when none is. */
  readonly isAside?: boolean
  /** Whether the stack packs texts into prompts for steps that enable it. */
  readonly packs?: boolean
  /** Has the rows of a domain computed by workers. */
  readonly warm?: Coordinator.Coordinator["warm"] | undefined
}

/** What all domains of a run share. */
interface Environment extends Outlet.OutletEnvironment {
  readonly flow: Flow.Any
  readonly options: Options
  readonly slots: ReadonlyMap<Node.Domain, Row.Slots>
}

/** Runs all rows; returns the written outputs. */
export const run = Effect.fnUntraced(function* (flow: Flow.Any, state: RunState.RunState, options: Options) {
  const plans = DomainPlan.make(flow)
  const slots = new Map(plans.map((plan) => [plan.root.domain, Row.slotsOf(plan.root, plan.members)]))
  const concurrency = options.concurrency ?? flow.concurrency
  const feeds = new Map<Node.Any, Queue.Queue<Outlet.OutletItem, Cause.Done>>()
  const tables = new Map<Node.Any, JoinTable.JoinTable>()
  for (const { root } of plans) {
    if (root.kind._tag === "Source") continue
    feeds.set(root, yield* Queue.bounded<Outlet.OutletItem, Cause.Done>(windowFor(concurrency)))
    if (root.kind._tag === "Join") tables.set(root, JoinTable.make(root.name, root.kind))
  }
  const writers = yield* openOutputs(flow, state, options)
  if (writers === undefined) return []
  const env: Environment = { flow, options, slots, feeds, tables, writers, state }
  yield* Effect.forEach(plans, (plan) => runDomain(plan, env), { concurrency: "unbounded", discard: true })
  if (state.stopped() !== undefined) return []
  if (options.isAside === true && state.suspendedRows() > 0) return []
  const problem = yield* options.problemOf?.((sink) => writers.get(sink)?.rows) ?? Effect.undefined
  if (problem !== undefined) {
    state.stop({ kind: "failed", message: problem })
    return []
  }
  return yield* Effect.forEach(writers, ([sink, { rows, writer }]) =>
    Effect.gen(function* () {
      yield* writer.finish
      const name = Sink.nameIn(sink, state.parameters)
      yield* state.emit({ _tag: "OutputWritten", run: state.id, output: name, rows })
      const written: WrittenOutput = { sink, name, rows }
      return written
    })
  )
})

/** Opens the outputs; `undefined` when the run is to end first. */
const openOutputs = Effect.fnUntraced(function* (flow: Flow.Any, state: RunState.RunState, options: Options) {
  const writers = new Map<Sink.Any, Outlet.OpenOutput>()
  for (const output of options.outputs === false ? [] : flow.outputs) {
    // A pipe without a reader does not delay a run that is to end.
    const writer = yield* Effect.raceFirst(
      output.open as Effect.Effect<Sink.SinkWriter<unknown, unknown>>,
      Effect.as(state.stopping, undefined)
    )
    if (writer === undefined) return undefined
    writers.set(output, { writer, rows: 0 })
  }
  return writers
})

/** The rows of a source, as far as the run reads it. */
export const sourceRows = (
  root: Node.Any,
  kind: Extract<Node.Kind, { readonly _tag: "Source" }>,
  { flow, options, state }: Pick<Environment, "flow" | "options" | "state">,
  onOpen: (reading: NodeCounts.SourceProgress) => void
): Stream.Stream<Node.ReadRow<unknown>, unknown, unknown> =>
  Stream.unwrap(
    Effect.map((options.sources?.find(({ source }) => source === root) ?? kind).open, (opened) => {
      const reading = { size: opened.size, offset: 0, ended: false }
      state.readings.set(root, reading)
      onOpen(reading)
      // What is only looked up must be complete: sampled rows then give the same results as among all rows.
      if (!flow.graph.driving.has(root)) return opened.rows
      const rows = options.limit === undefined ? opened.rows : Stream.take(opened.rows, options.limit)
      return options.sample === undefined ? rows : Stream.unwrap(RowSample.take(rows, options.sample))
    })
  )

/** Streams the rows of a domain through its program to its outlets. */
const runDomain = Effect.fnUntraced(function* (plan: DomainPlan.DomainPlan, env: Environment) {
  const { members, root } = plan
  const { feeds, flow, options, slots, state } = env
  const concurrency = options.concurrency ?? flow.concurrency
  const packs = options.packs === true
  const rows = rowsAtOnce(members, concurrency, packs)
  const program = RowProgram.make({
    root,
    members,
    slots,
    run: state,
    ...(rows === concurrency ? undefined : { concurrency, packs })
  })
  const size = slots.get(root.domain)!.size
  const stats = state.statsOf(root)
  const isReduce = root.kind._tag === "Reduce"
  const outlets = plan.outlets.map((outlet) => Outlets.make(outlet, root.domain, slots, env))
  const feed = feeds.get(root)
  let read: NodeCounts.SourceProgress | undefined
  const stream: Stream.Stream<Outlet.OutletItem | Node.ReadRow<unknown>, unknown, unknown> =
    root.kind._tag === "Source"
      ? Stream.catch(
          sourceRows(root, root.kind, env, (reading) => (read = reading)),
          (error) => {
            // Calls in flight are paid for: they may end.
            state.stop({ kind: "failed", message: Store.messageOf(error), isOfSource: true })
            return Stream.empty
          }
        )
      : Stream.fromQueue(feed!)
  const rowStream = options.warm === undefined ? stream : options.warm(plan, slots, stream)
  yield* OrderedPool.run(rowStream, {
    concurrency: rows,
    window: windowFor(rows),
    isStopped: () => state.stopped() !== undefined,
    stopping: state.stopping,
    work: (item, index) => {
      const row: Row.Row = {
        index,
        position: item.position,
        parent: "parent" in item ? item.parent : undefined,
        values: new Array<unknown>(size),
        failed: false
      }
      if ("isLost" in item && item.isLost === true) return Effect.succeed(Row.lostRow(row, size))
      if (read !== undefined && "offset" in item) read.offset = item.offset ?? 0
      if ("problem" in item) return Effect.as(state.onBadRow(root, row, item), row)
      row.values[0] = item.value
      if (!isReduce) stats.done++
      return Effect.as(program(row) as Effect.Effect<void>, row)
    },
    emit: (rows) =>
      Effect.andThen(
        Effect.forEach(outlets, (outlet) => outlet.take(rows), { discard: true }),
        state.onRows(
          root,
          rows.filter(({ isLost }) => isLost !== true)
        )
      )
  })
  // Nothing reads any further: producers must not wait.
  if (feed !== undefined && state.stopped() !== undefined) yield* Queue.shutdown(feed)
  if (read !== undefined) {
    ;(read as NodeCounts.SourceProgress).ended = true
    if (state.stopped() === undefined) state.onSourceEnd(root)
  }
  yield* Effect.forEach(outlets, (outlet) => outlet.end, { discard: true })
})
