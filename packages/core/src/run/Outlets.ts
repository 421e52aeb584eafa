/**
 * Makes the outlets of a domain.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Node from "../flow/Node.ts"
import * as Sink from "../flow/Sink.ts"
import type * as DomainPlan from "./DomainPlan.ts"
import * as GroupOutlet from "./GroupOutlet.ts"
import * as JoinOutlet from "./JoinOutlet.ts"
import type * as Outlet from "./Outlet.ts"
import * as Row from "./Row.ts"
import type * as RunState from "./RunState.ts"

/** Writes rows to an output. A row without a form becomes a failed row. */
const writeRows = (
  sink: Sink.Any,
  entry: Outlet.OpenOutput,
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
      state.onDefect(
        sink,
        rows[index]!,
        records[index],
        new Error(`${sink.name} cannot represent the row: ${message}`)
      ),
      Effect.suspend(() => writeRows(sink, entry, rows.toSpliced(index, 1), records.toSpliced(index, 1), state))
    )
  })
}

/** Makes the outlet to an output, a list, a group or a join. */
export const make = (
  outlet: DomainPlan.PlannedOutlet,
  domain: Node.Domain,
  slots: ReadonlyMap<Node.Domain, Row.Slots>,
  env: Outlet.OutletEnvironment
): Outlet.Outlet => {
  const reader = (inputs: Node.Inputs) => Row.reader(inputs, domain, slots, env.state.parameters)
  switch (outlet._tag) {
    case "Sink":
      return makeSink(outlet, reader(outlet.sink.inputs), env)
    case "Expand":
      return makeExpand(outlet, slots.get(domain)!.get(outlet.slotNode)!, env)
    case "Reduce":
      return GroupOutlet.make(outlet, reader(outlet.kind.inputs), env)
    case "Join":
      return JoinOutlet.make(outlet, reader(outlet.side.inputs), env)
  }
}

const makeSink = (
  { sink }: Outlet.OutletOf<"Sink">,
  { read }: Row.RowReader,
  { state, writers }: Outlet.OutletEnvironment
): Outlet.Outlet => {
  const entry = writers.get(sink)
  if (entry === undefined) return { end: Effect.void, take: () => Effect.void }
  return {
    end: Effect.void,
    take: (rows) => {
      const given: Array<Row.Row> = []
      const records: Array<Record<string, unknown>> = []
      for (const row of rows) {
        const values = read(row)
        if (values === undefined) continue
        const missing = Row.missingOf(row)
        given.push(row)
        records.push(missing === undefined ? values : { ...values, $missing: missing })
      }
      return writeRows(sink, entry, given, records, state)
    }
  }
}

const makeExpand = (
  { node }: Outlet.OutletOf<"Expand">,
  slot: number,
  { feeds }: Outlet.OutletEnvironment
): Outlet.Outlet => {
  const feed = feeds.get(node)!
  return {
    end: Effect.asVoid(Queue.end(feed)),
    take: (rows) =>
      Effect.forEach(
        rows,
        (row) => {
          const items = row.values[slot]
          if (items === Row.absent) return Effect.void
          if (items === Row.lost)
            return Queue.offer(feed, { value: Row.lost, position: row.position, parent: row, isLost: true })
          // The list itself is not kept, because its items are rows now.
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
