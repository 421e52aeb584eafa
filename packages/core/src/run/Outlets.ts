/**
 * Passes a domain's finished rows to their readers: outputs, and the rows of other domains.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as GroupKey from "../flow/GroupKey.ts"
import type * as Node from "../flow/Node.ts"
import * as Sink from "../flow/Sink.ts"
import type * as DomainPlan from "./DomainPlan.ts"
import * as AuthorValue from "../flow/AuthorValue.ts"
import * as IncompleteGroup from "./IncompleteGroup.ts"
import * as Row from "./Row.ts"
import type * as RunState from "./RunState.ts"

/** A value that becomes a row of another domain. */
export interface OutletItem {
  readonly value: unknown
  readonly position: string
  readonly parent: Row.Row | undefined
  /** It stands for rows that could not be made. */
  readonly isLost?: boolean
}

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
  readonly rows: Map<string, Array<unknown>>
  readonly complete: Deferred.Deferred<void>
}

export const makeTable = (): JoinTable => ({ rows: new Map(), complete: Deferred.makeUnsafe() })

/** A row of a join with its key. */
interface Keyed {
  readonly row: Row.Row
  readonly value: unknown
  readonly key: GroupKey.GroupKey
}

/** Passes a domain's finished rows to their reader. */
export interface Outlet {
  readonly take: (rows: ReadonlyArray<Row.Row>) => Effect.Effect<void, unknown, unknown>
  /** The domain has no more rows. */
  readonly end: Effect.Effect<void, unknown, unknown>
}

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

const makeSink = (
  { sink }: OutletOf<"Sink">,
  { read }: Row.RowReader,
  { state, writers }: OutletEnvironment
): Outlet => {
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

const makeReduce = (
  { kind, node }: OutletOf<"Reduce">,
  read: Row.RowReader,
  { feeds, state }: OutletEnvironment
): Outlet => {
  const { by, initial, step } = kind
  const feed = feeds.get(node)!
  const groups = new Map<string, OpenGroup>()
  /** Failed rows whose group is not known. */
  let strays = IncompleteGroup.none
  const groupOf = (key: GroupKey.GroupKey): OpenGroup => {
    const id = GroupKey.idOf(key)
    let group = groups.get(id)
    if (group === undefined) groups.set(id, (group = { key, state: initial(), rows: 0, failed: IncompleteGroup.none }))
    return group
  }
  const miss = (row: Row.Row): void => {
    const key = keyOf(by, () => read.readSome(row))
    if (key === undefined) strays = IncompleteGroup.add(strays, row.position)
    else {
      const group = groupOf(key)
      group.failed = IncompleteGroup.add(group.failed, row.position)
    }
  }
  return {
    take: (rows) =>
      Effect.forEach(
        rows,
        (row) => {
          const values = read.read(row)
          if (values === undefined) {
            if (read.isLost(row)) miss(row)
            return Effect.void
          }
          try {
            const group = groupOf(by === undefined ? "" : checked(by(values)))
            group.state = step(group.state, values)
            if (group.rows++ === 0) AuthorValue.refusePromise(`the step of ${node.name}`, group.state)
            return Effect.void
          } catch (defect) {
            miss(row)
            return state.onDefect(node, row, values, defect)
          }
        },
        { discard: true }
      ),
    end: Effect.suspend(() => {
      // A group would lack the suspended rows.
      if (state.suspendedRows() > 0) return Queue.end(feed)
      if (by === undefined) groupOf("")
      const items = Array.from(groups.values()).flatMap((group) =>
        // Without rows there is no value.
        by !== undefined && group.rows === 0 && kind.missing !== "fail"
          ? []
          : [
              {
                value: toValue(group),
                position: by === undefined ? node.name : `${node.name}[${GroupKey.labelOf(group.key)}]`,
                parent: undefined
              }
            ]
      )
      return Effect.all(
        [
          strays.count === 0 || state.stopped() !== undefined
            ? Effect.void
            : Effect.logWarning(
                `${node.name}: ${
                  strays.count === 1
                    ? "1 row failed before its group was known, and is in none"
                    : `${strays.count} rows failed before their group was known, and are in none`
                } (${IncompleteGroup.named(strays)})`
              ),
          Queue.offerAll(feed, items),
          Queue.end(feed)
        ],
        { discard: true }
      )
    })
  }
}

/**
 * A row of a join has no partner, and `unmatched: "fail"` requires one.
 *
 * **Remedy** Compare the keys of both sides: they are equal only with the same type (`1` is not `"1"`). `type: "left"` keeps rows without a partner.
 */
export class NoMatch extends Schema.TaggedError<NoMatch>()("NoMatch", {
  message: Schema.String
}) {}

/** A group whose rows arrive. */
interface OpenGroup {
  readonly key: GroupKey.GroupKey
  state: unknown
  rows: number
  failed: IncompleteGroup.FailedRows
}

const toValue = ({ failed, key, rows, state }: OpenGroup): IncompleteGroup.Group => ({
  key,
  state,
  ...(failed.count === 0 ? undefined : { lacking: { ...failed, rows } })
})

/** A key, as an author's function returned it. */
const checked = (key: GroupKey.GroupKey): GroupKey.GroupKey => {
  const problem = GroupKey.problemOf(key)
  if (problem !== undefined) throw new Error(problem)
  return key
}

/** The group of a row that has failed; `undefined` when it depends on what has failed. */
const keyOf = (
  by: OutletOf<"Reduce">["kind"]["by"],
  values: () => Record<string, unknown>
): GroupKey.GroupKey | undefined => {
  if (by === undefined) return ""
  try {
    return checked(by(values()))
  } catch {
    return undefined
  }
}

/** Passes on the rows of a join with their keys. A row whose key cannot be computed has failed. */
const withKeys =
  (
    read: Row.RowReader,
    keyOf: (value: unknown) => GroupKey.GroupKey,
    onDefect: (row: Row.Row, value: unknown, defect: unknown) => Effect.Effect<void>
  ) =>
  (
    rows: ReadonlyArray<Row.Row>,
    use: (rows: ReadonlyArray<Keyed>, lost: ReadonlyArray<Row.Row>) => Effect.Effect<unknown>
  ): Effect.Effect<void> => {
    const lost: Array<Row.Row> = []
    const good: Array<Keyed> = []
    const failed: Array<Effect.Effect<void>> = []
    for (const row of rows) {
      const values = read.read(row)
      if (values === undefined) {
        if (read.isLost(row)) lost.push(row)
        continue
      }
      const { value } = values
      try {
        good.push({ row, value, key: checked(keyOf(value)) })
      } catch (defect) {
        lost.push(row)
        failed.push(onDefect(row, value, defect))
      }
    }
    return Effect.andThen(Effect.all(failed, { discard: true }), Effect.asVoid(Effect.suspend(() => use(good, lost))))
  }

/** Stands for the rows of a join that a row would have made. */
const lostOf = ({ position }: Row.Row): OutletItem => ({ value: Row.lost, position, parent: undefined, isLost: true })

const noMatch = ({ node }: OutletOf<"Join">, second: string, key: GroupKey.GroupKey): Error =>
  new NoMatch({ message: `${node.name}: no row of ${second} has the key ${JSON.stringify(key)}` })

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
              const id = GroupKey.idOf(key)
              const partners = table.rows.get(id)
              if (partners === undefined) table.rows.set(id, [value])
              else partners.push(value)
            }
          })
        ),
      end: Effect.asVoid(Deferred.succeed(table.complete, undefined))
    }
  }
  const [firstName, secondName] = Object.keys(outlet.kind.inputs) as [string, string]
  const stats = env.state.statsOf(outlet.node)
  const { type, unmatched } = outlet.kind
  const probe = (items: ReadonlyArray<Keyed>, lost: ReadonlyArray<Row.Row>): Effect.Effect<unknown> => {
    // The second side may lack the matches of suspended rows.
    if (env.state.suspendedRows() > 0) return Effect.void
    const failures: Array<Effect.Effect<void>> = []
    const joined = items.flatMap(({ key, row, value }): ReadonlyArray<OutletItem> => {
      const partners = table.rows.get(GroupKey.idOf(key))
      if (partners === undefined && type === "inner") {
        if (unmatched === "drop") return []
        stats.unmatched ??= { rows: 0, first: row.position }
        stats.unmatched.rows++
        if (unmatched === "warn") return []
        failures.push(env.state.onDefect(outlet.node, row, value, noMatch(outlet, secondName, key)))
        return [lostOf(row)]
      }
      return (partners ?? [undefined]).map((partner) => ({
        value: { [firstName]: value, [secondName]: partner },
        position: row.position,
        parent: undefined
      }))
    })
    return Effect.andThen(
      Effect.all(failures, { discard: true }),
      Queue.offerAll(feed, [...joined, ...lost.map(lostOf)])
    )
  }
  // The second side derives from the rows of the first, so waiting for it here would never end.
  const held: Array<Keyed> = []
  const heldLost: Array<Row.Row> = []
  return {
    take: (rows) =>
      outlet.holdFirst
        ? keyed(rows, (rows, lost) =>
            Effect.sync(() => {
              held.push(...rows)
              heldLost.push(...lost)
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
                Effect.suspend(() => probe(held, heldLost))
              ),
              Queue.end(feed)
            )
          )
        )
      : Effect.andThen(Effect.andThen(Deferred.await(table.complete), Effect.void), Effect.asVoid(Queue.end(feed)))
  }
}
