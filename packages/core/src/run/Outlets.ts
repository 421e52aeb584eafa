/**
 * Passes a domain's finished rows to their readers: outputs, and the rows of other domains.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Node from "../flow/Node.ts"
import * as Sink from "../flow/Sink.ts"
import type * as DomainPlan from "./DomainPlan.ts"
import * as Row from "./Row.ts"
import type * as RunState from "./RunState.ts"

/** A value that becomes a row of another domain. */
export type OutletItem = { readonly value: unknown; readonly position: string; readonly parent: Row.Row | undefined }

/** An open output with the number of its rows. */
export interface OpenOutput {
  readonly writer: Sink.SinkWriter<unknown, unknown>
  rows: number
}

/** What the domains of a run share. */
export interface OutletEnvironment {
  readonly feeds: ReadonlyMap<Node.Any, Queue.Queue<OutletItem, Cause.Done>>
  readonly tables: ReadonlyMap<Node.Any, JoinTable>
  readonly writers: ReadonlyMap<Sink.Any, OpenOutput>
  readonly state: RunState.RunState
}

/** Writes rows to an output. A row without a form becomes a failed row. */
const writeRows = (
  sink: Sink.Any,
  entry: OpenOutput,
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

/** The second side of a join, by key. */
export interface JoinTable {
  readonly rows: Map<string | number, Array<unknown>>
  readonly complete: Deferred.Deferred<void>
}

export const makeTable = (): JoinTable => ({ rows: new Map(), complete: Deferred.makeUnsafe() })

/** A row of a join with its key. */
interface Keyed {
  readonly row: Row.Row
  readonly value: unknown
  readonly key: string | number
}

/** Passes a domain's finished rows to their reader. */
export interface Outlet {
  readonly take: (rows: ReadonlyArray<Row.Row>) => Effect.Effect<void, unknown, unknown>
  /** The domain has no more rows. */
  readonly end: Effect.Effect<void, unknown, unknown>
}

const present = (read: Row.RowReader, rows: ReadonlyArray<Row.Row>) =>
  rows.flatMap((row) => {
    const values = read(row)
    return values === undefined ? [] : [{ row, values }]
  })

/** Makes the outlet to an output, a list, a group or a join. */
export const make = (
  outlet: DomainPlan.PlannedOutlet,
  domain: Node.Domain,
  slots: ReadonlyMap<Node.Domain, Row.Slots>,
  env: OutletEnvironment
): Outlet => {
  switch (outlet._tag) {
    case "Sink":
      return makeSink(outlet, Row.reader(outlet.sink.inputs, domain, slots), env)
    case "Expand":
      return makeExpand(outlet, slots.get(domain)!.get(outlet.slotNode)!, env)
    case "Reduce":
      return makeReduce(outlet, Row.reader(outlet.kind.inputs, domain, slots), env)
    case "Join":
      return makeJoin(outlet, Row.reader({ value: outlet.input }, domain, slots), env)
  }
}

type OutletOf<Tag extends DomainPlan.PlannedOutlet["_tag"]> = Extract<DomainPlan.PlannedOutlet, { readonly _tag: Tag }>

const makeSink = ({ sink }: OutletOf<"Sink">, read: Row.RowReader, { state, writers }: OutletEnvironment): Outlet => {
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
        given.push(row)
        records.push(values)
      }
      return writeRows(sink, entry, given, records, state)
    }
  }
}

const makeExpand = ({ node }: OutletOf<"Expand">, slot: number, { feeds }: OutletEnvironment): Outlet => {
  const feed = feeds.get(node)!
  return {
    end: Effect.asVoid(Queue.end(feed)),
    take: (rows) =>
      Effect.forEach(
        rows,
        (row) => {
          const items = row.values[slot]
          if (items === Row.absent) return Effect.void
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

const makeReduce = (
  { kind, node }: OutletOf<"Reduce">,
  read: Row.RowReader,
  { feeds, state }: OutletEnvironment
): Outlet => {
  const { by, initial, step } = kind
  const feed = feeds.get(node)!
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
            return state.onDefect(node, row, values, defect)
          }
        },
        { discard: true }
      ),
    end: Effect.suspend(() => {
      // A group would lack the suspended rows.
      if (state.suspendedRows() > 0) return Queue.end(feed)
      if (by === undefined && groups.size === 0) groups.set("", initial())
      return Effect.andThen(
        Queue.offerAll(
          feed,
          Array.from(groups, ([key, state]) => ({
            value: { key, state },
            position: by === undefined ? node.name : `${node.name}[${key}]`,
            parent: undefined
          }))
        ),
        Queue.end(feed)
      )
    })
  }
}

/** Passes on the rows of a join with their keys. A row whose key cannot be computed has failed. */
const withKeys =
  (
    read: Row.RowReader,
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

const makeJoin = (outlet: OutletOf<"Join">, read: Row.RowReader, env: OutletEnvironment): Outlet => {
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
      // The second side may lack the matches of suspended rows.
      env.state.suspendedRows() > 0
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
  // The second side derives from the rows of the first, so waiting for it here would never end.
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
      ? // The other outlets of this domain must end before the second side can be complete.
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
