/**
 * Streams the rows of a flow through its domains to its outputs: each domain's rows by workers of their own, joined by
 * bounded queues, so that back-pressure reaches the source.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import * as Sink from "../flow/Sink.ts"
import * as RowSample from "../routing/tune/RowSample.ts"
import * as DomainPlan from "./DomainPlan.ts"
import * as OrderedPool from "./OrderedPool.ts"
import * as Row from "./Row.ts"
import * as RowProgram from "./RowProgram.ts"
import type * as RunOptions from "./RunOptions.ts"
import type * as NodeCounts from "./NodeCounts.ts"
import type * as RunState from "./RunState.ts"

/** How many finished rows may wait for a slow one before them. */
const windowFor = (concurrency: number): number => Math.max(256, concurrency * 8)

/** Most rows that are at work together because a step asks for several in one prompt. */
const MOST_ROWS = 4_096

/** Rows that are at work together: where a step asks for several in one prompt, as many prompts as there would be rows. */
const rowsAtOnce = (members: ReadonlyArray<Node.Any>, concurrency: number): number =>
  Math.max(concurrency, Math.min(MOST_ROWS, concurrency * Math.max(1, ...members.map(Node.packSize))))

type Item = { readonly value: unknown; readonly position: string; readonly parent: Row.Row | undefined }

/** An output that has taken its place. */
export interface Written {
  readonly sink: Sink.Any
  readonly rows: number
}

/** Runs all rows; the outputs that were written. */
export const run = Effect.fnUntraced(function* (
  flow: Flow.Any,
  state: RunState.RunState,
  options: Pick<RunOptions.RunOptions, "limit" | "sample" | "concurrency" | "outputs"> & {
    /** Why the outputs must not take their places, when so many rows are written. */
    readonly problemOf?: (
      rowsOf: (sink: Sink.Any) => number | undefined
    ) => Effect.Effect<string | undefined, unknown, unknown>
    /** The stack gathers texts in prompts, where a step says so. */
    readonly packs?: boolean
  }
) {
  const plans = DomainPlan.make(flow)
  const slots = new Map(plans.map((plan) => [plan.root.domain, Row.slotsOf(plan.root, plan.members)]))
  const concurrency = options.concurrency ?? flow.concurrency
  const feeds = new Map<Node.Any, Queue.Queue<Item, Cause.Done>>()
  const tables = new Map<Node.Any, JoinTable>()
  for (const { root } of plans) {
    if (root.kind._tag === "Source") continue
    feeds.set(root, yield* Queue.bounded<Item, Cause.Done>(windowFor(concurrency)))
    if (root.kind._tag === "Join") tables.set(root, makeTable())
  }
  const writers = new Map<Sink.Any, { readonly writer: Sink.Writer<unknown, unknown>; rows: number }>()
  for (const output of options.outputs === false ? [] : flow.outputs) {
    // A pipe without a reader does not hold a run that is to end.
    const writer = yield* Effect.raceFirst(
      output.open as Effect.Effect<Sink.Writer<unknown, unknown>>,
      Effect.as(state.stopping, undefined)
    )
    if (writer === undefined) return []
    writers.set(output, { writer, rows: 0 })
  }

  const runDomain = Effect.fnUntraced(function* (plan: DomainPlan.DomainPlan) {
    const rows = options.packs === true ? rowsAtOnce(plan.members, concurrency) : concurrency
    const program = RowProgram.make({
      root: plan.root,
      members: plan.members,
      slots,
      run: state,
      ...(rows === concurrency ? undefined : { concurrency })
    })
    const size = slots.get(plan.root.domain)!.size
    const stats = state.statsOf(plan.root)
    const isReduce = plan.root.kind._tag === "Reduce"
    const outlets = plan.outlets.map((outlet) =>
      makeOutlet(outlet, plan.root.domain, slots, { feeds, tables, writers, state })
    )
    let read: NodeCounts.Reading | undefined
    const stream: Stream.Stream<Item | Node.SourceRow<unknown>, unknown, unknown> =
      plan.root.kind._tag === "Source"
        ? Stream.unwrap(
            Effect.map(plan.root.kind.open, (reading) => {
              state.readings.set(plan.root, (read = { size: reading.size, offset: 0, ended: false }))
              // What is only looked up is needed whole: the rows of a sample give what they would give among all.
              if (!flow.graph.driving.has(plan.root)) return reading.rows
              const rows = options.limit === undefined ? reading.rows : Stream.take(reading.rows, options.limit)
              return options.sample === undefined ? rows : Stream.unwrap(RowSample.take(rows, options.sample))
            })
          )
        : Stream.fromQueue(feeds.get(plan.root)!)
    yield* OrderedPool.run(stream, {
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
        if (read !== undefined && "offset" in item) read.offset = item.offset ?? 0
        if ("problem" in item) return Effect.as(state.onBadRow(plan.root, row, item), row)
        row.values[0] = item.value
        if (!isReduce) stats.done++
        return Effect.as(program(row) as Effect.Effect<void>, row)
      },
      emit: (rows) =>
        Effect.andThen(
          Effect.forEach(outlets, (outlet) => outlet.take(rows), { discard: true }),
          state.onRows(plan.root, rows)
        )
    })
    const feed = feeds.get(plan.root)
    // Nobody reads on: who still gives rows must not wait for it.
    if (feed !== undefined && state.stopped() !== undefined) yield* Queue.shutdown(feed)
    if (read !== undefined) {
      ;(read as NodeCounts.Reading).ended = true
      if (state.stopped() === undefined) state.onSourceEnd(plan.root)
    }
    yield* Effect.forEach(outlets, (outlet) => outlet.end, { discard: true })
  })

  yield* Effect.forEach(plans, runDomain, { concurrency: "unbounded", discard: true })
  if (state.stopped() !== undefined) return []
  const problem = yield* options.problemOf?.((sink) => writers.get(sink)?.rows) ?? Effect.undefined
  if (problem !== undefined) {
    state.stop({ kind: "failed", message: problem })
    return []
  }
  return yield* Effect.forEach(writers, ([sink, { rows, writer }]) =>
    Effect.gen(function* () {
      yield* writer.finish
      yield* state.emit({ _tag: "OutputWritten", run: state.id, output: sink.name, rows })
      return { sink, rows }
    })
  )
})

/** Writes rows to an output; one that it has no form for is a failed row. */
const writeRows = (
  sink: Sink.Any,
  entry: { readonly writer: Sink.Writer<unknown, unknown>; rows: number },
  rows: ReadonlyArray<Row.Row>,
  records: ReadonlyArray<Record<string, unknown>>,
  state: RunState.RunState
): Effect.Effect<void, unknown, unknown> => {
  if (records.length === 0) return Effect.void
  entry.rows += records.length
  return Effect.catch(entry.writer.write(records), (error) => {
    if (!(error instanceof Sink.UnwritableRow)) return Effect.fail(error)
    const { index, message } = error
    entry.rows -= records.length
    return Effect.andThen(
      state.onDefect(sink, rows[index]!, records[index], new Error(`${sink.name} cannot hold the row: ${message}`)),
      Effect.suspend(() => writeRows(sink, entry, rows.toSpliced(index, 1), records.toSpliced(index, 1), state))
    )
  })
}

/** The second side of a join by key. */
interface JoinTable {
  readonly rows: Map<string | number, Array<unknown>>
  readonly complete: Deferred.Deferred<void>
}

const makeTable = (): JoinTable => ({ rows: new Map(), complete: Deferred.makeUnsafe() })

/** A row of a join with its key. */
interface Keyed {
  readonly row: Row.Row
  readonly value: unknown
  readonly key: string | number
}

/** Takes a domain's finished rows on to what reads them. */
interface Outlet {
  readonly take: (rows: ReadonlyArray<Row.Row>) => Effect.Effect<void, unknown, unknown>
  /** The domain has no more rows. */
  readonly end: Effect.Effect<void, unknown, unknown>
}

const makeOutlet = (
  outlet: DomainPlan.Outlet,
  domain: Node.Domain,
  slots: ReadonlyMap<Node.Domain, Row.Slots>,
  env: {
    readonly feeds: ReadonlyMap<Node.Any, Queue.Queue<Item, Cause.Done>>
    readonly tables: ReadonlyMap<Node.Any, JoinTable>
    readonly writers: ReadonlyMap<Sink.Any, { readonly writer: Sink.Writer<unknown, unknown>; rows: number }>
    readonly state: RunState.RunState
  }
): Outlet => {
  const present = (read: Row.Reader, rows: ReadonlyArray<Row.Row>) =>
    rows.flatMap((row) => {
      const values = read(row)
      return values === undefined ? [] : [{ row, values }]
    })
  switch (outlet._tag) {
    case "Sink": {
      const read = Row.reader(outlet.sink.inputs, domain, slots)
      const entry = env.writers.get(outlet.sink)
      if (entry === undefined) return { end: Effect.void, take: () => Effect.void }
      return {
        end: Effect.void,
        take: (rows) => {
          const given: Array<Row.Row> = []
          const records: Array<Record<string, unknown>> = []
          for (const row of rows) {
            const values = read(row)
            if (values === undefined) continue
            given.push(row)
            records.push(values)
          }
          return writeRows(outlet.sink, entry, given, records, env.state)
        }
      }
    }
    case "Expand": {
      const feed = env.feeds.get(outlet.node)!
      const slot = slots.get(domain)!.get(outlet.slotNode)!
      return {
        end: Effect.asVoid(Queue.end(feed)),
        take: (rows) =>
          Effect.forEach(
            rows,
            (row) => {
              const items = row.values[slot]
              if (items === Row.absent) return Effect.void
              // The list itself is not kept: its items are rows of their own now.
              row.values[slot] = undefined
              return Queue.offerAll(
                feed,
                (items as ReadonlyArray<unknown>).map((value, index) => ({
                  value,
                  position: `${row.position}[${index}]`,
                  parent: row
                }))
              )
            },
            { discard: true }
          )
      }
    }
    case "Reduce": {
      const { by, initial, inputs, step } = outlet.kind
      const read = Row.reader(inputs, domain, slots)
      const feed = env.feeds.get(outlet.node)!
      const groups = new Map<string, unknown>()
      return {
        take: (rows) =>
          Effect.forEach(
            present(read, rows),
            ({ row, values }) => {
              try {
                const key = by === undefined ? "" : by(values)
                groups.set(key, step(groups.has(key) ? groups.get(key) : initial(), values))
                return Effect.void
              } catch (defect) {
                return env.state.onDefect(outlet.node, row, values, defect)
              }
            },
            { discard: true }
          ),
        end: Effect.suspend(() => {
          // A group lacks the rows that were put down.
          if (env.state.putDown() > 0) return Queue.end(feed)
          if (by === undefined && groups.size === 0) groups.set("", initial())
          return Effect.andThen(
            Queue.offerAll(
              feed,
              Array.from(groups, ([key, state]) => ({
                value: { key, state },
                position: by === undefined ? outlet.node.name : `${outlet.node.name}[${key}]`,
                parent: undefined
              }))
            ),
            Queue.end(feed)
          )
        })
      }
    }
    case "Join":
      return makeJoinOutlet(outlet, Row.reader({ value: outlet.input }, domain, slots), env)
  }
}

/** Gives rows of a join on with their keys; one whose key cannot be made has failed. */
const withKeys =
  (
    read: Row.Reader,
    keyOf: (value: unknown) => string | number,
    onDefect: (row: Row.Row, value: unknown, defect: unknown) => Effect.Effect<void>
  ) =>
  (rows: ReadonlyArray<Row.Row>, use: (rows: ReadonlyArray<Keyed>) => Effect.Effect<unknown>): Effect.Effect<void> => {
    const good: Array<Keyed> = []
    const failed: Array<Effect.Effect<void>> = []
    for (const row of rows) {
      const values = read(row)
      if (values === undefined) continue
      const { value } = values
      try {
        good.push({ row, value, key: keyOf(value) })
      } catch (defect) {
        failed.push(onDefect(row, value, defect))
      }
    }
    return Effect.andThen(Effect.all(failed, { discard: true }), Effect.asVoid(Effect.suspend(() => use(good))))
  }

const makeJoinOutlet = (
  outlet: Extract<DomainPlan.Outlet, { readonly _tag: "Join" }>,
  read: Row.Reader,
  env: {
    readonly feeds: ReadonlyMap<Node.Any, Queue.Queue<Item, Cause.Done>>
    readonly tables: ReadonlyMap<Node.Any, JoinTable>
    readonly state: RunState.RunState
  }
): Outlet => {
  const feed = env.feeds.get(outlet.node)!
  const table = env.tables.get(outlet.node)!
  const keyOf = outlet.kind.on[outlet.side]!
  const keyed = withKeys(read, keyOf, (row, value, defect) => env.state.onDefect(outlet.node, row, value, defect))
  if (!outlet.first) {
    return {
      take: (rows) =>
        keyed(rows, (rows) =>
          Effect.sync(() => {
            for (const { key, value } of rows) {
              const partners = table.rows.get(key)
              if (partners === undefined) table.rows.set(key, [value])
              else partners.push(value)
            }
          })
        ),
      end: Effect.asVoid(Deferred.succeed(table.complete, undefined))
    }
  }
  const [firstName, secondName] = Object.keys(outlet.kind.inputs) as [string, string]
  const probe = (items: ReadonlyArray<Keyed>) =>
    Queue.offerAll(
      feed,
      // The second side may lack the partners of rows that were put down.
      env.state.putDown() > 0
        ? []
        : items.flatMap(({ key, row, value }) => {
            const partners = table.rows.get(key) ?? (outlet.kind.type === "left" ? [undefined] : [])
            return partners.map((partner) => ({
              value: { [firstName]: value, [secondName]: partner },
              position: row.position,
              parent: undefined
            }))
          })
    )
  // Where the second side comes out of the first one's rows, waiting for it here would wait for ever.
  const held: Array<Keyed> = []
  return {
    take: (rows) =>
      outlet.holdFirst
        ? keyed(rows, (rows) =>
            Effect.sync(() => {
              held.push(...rows)
            })
          )
        : Effect.andThen(Deferred.await(table.complete), keyed(rows, probe)),
    end: outlet.holdFirst
      ? // The rest of this domain's outlets must end before the second side can be complete.
        Effect.asVoid(
          Effect.forkScoped(
            Effect.andThen(
              Effect.andThen(
                Deferred.await(table.complete),
                Effect.suspend(() => probe(held))
              ),
              Queue.end(feed)
            )
          )
        )
      : Effect.andThen(Effect.andThen(Deferred.await(table.complete), Effect.void), Effect.asVoid(Queue.end(feed)))
  }
}
