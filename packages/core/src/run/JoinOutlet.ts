/**
 * Brings the rows of two sides together: the second is held in memory, and each row of the first finds its partners there.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as IncompleteGroup from "./IncompleteGroup.ts"
import type * as JoinTable from "./JoinTable.ts"
import type * as Outlet from "./Outlet.ts"
import * as Row from "./Row.ts"

/**
 * A row of a join has no partner, and `unmatched: "fail"` requires one.
 *
 * **Remedy** Compare the keys of both sides: they are equal only with the same type (`1` is not `"1"`). `type: "left"` keeps rows without a partner.
 */
export class NoMatch extends Schema.TaggedError<NoMatch>()("NoMatch", {
  message: Schema.String
}) {}

/** A row of a side with its key. */
interface Keyed extends JoinTable.Keyed {
  readonly row: Row.Row
}

/** The rows of a side with their keys, and those that have failed. */
interface Read {
  readonly rows: ReadonlyArray<Keyed>
  readonly lost: ReadonlyArray<Row.Row>
}

type Work = Effect.Effect<unknown, unknown, unknown>

/** Makes the outlet of one side. */
export const make = (
  outlet: Outlet.OutletOf<"Join">,
  read: Row.RowReader,
  env: Outlet.OutletEnvironment
): Outlet.Outlet => {
  const table = env.tables.get(outlet.node)!
  const keyed = reading(outlet, read, table, env)
  return outlet.isFirst ? first(outlet, table, keyed, env) : second(outlet, table, keyed, env)
}

/** Reads the keys of rows. A row whose key cannot be computed has failed. */
const reading = (
  { node, side }: Outlet.OutletOf<"Join">,
  read: Row.RowReader,
  table: JoinTable.JoinTable,
  { state }: Outlet.OutletEnvironment
) => {
  return (rows: ReadonlyArray<Row.Row>): { readonly read: Read; readonly failed: Effect.Effect<void> } => {
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
        good.push({ row, value, key: table.keyOf(side.key(values)) })
      } catch (defect) {
        lost.push(row)
        failed.push(state.onDefect(node, row, value, defect))
      }
    }
    return { read: { rows: good, lost }, failed: Effect.all(failed, { discard: true }) }
  }
}

type Reading = ReturnType<typeof reading>

const second = (
  { node, side }: Outlet.OutletOf<"Join">,
  table: JoinTable.JoinTable,
  keyed: Reading,
  { state }: Outlet.OutletEnvironment
): Outlet.Outlet => {
  let failed = IncompleteGroup.none
  return {
    take: (rows) => {
      const { failed: failures, read } = keyed(rows)
      for (const row of read.lost) failed = IncompleteGroup.add(failed, row.position)
      return Effect.andThen(failures, table.add(read.rows))
    },
    end: Effect.suspend(() =>
      Effect.andThen(
        failed.count === 0 || state.stopped() !== undefined || state.suspendedRows() > 0
          ? Effect.void
          : Effect.logWarning(
              `${node.name}: ${failed.count === 1 ? "1 row" : `${failed.count} rows`} of ${side.name} failed, and ${
                failed.count === 1 ? "is" : "are"
              } not found (${IncompleteGroup.named(failed)})`
            ),
        Effect.asVoid(Deferred.succeed(table.complete, undefined))
      )
    )
  }
}

/** Stands for the rows of a join that a row would have made. */
const lostOf = ({ position }: Row.Row): Outlet.OutletItem => ({
  value: Row.lost,
  position,
  parent: undefined,
  isLost: true
})

const first = (
  { holdFirst, kind, node }: Outlet.OutletOf<"Join">,
  table: JoinTable.JoinTable,
  keyed: Reading,
  { feeds, state }: Outlet.OutletEnvironment
): Outlet.Outlet => {
  const feed = feeds.get(node)!
  const stats = state.statsOf(node)
  const { match, sides } = kind
  const [{ name: firstName }, { name: secondName }] = sides

  const joined = ({ key, row, value }: Keyed, partners: ReadonlyArray<unknown> | undefined) => {
    const items = (partners ?? [undefined]).map((partner): Outlet.OutletItem => ({
      value: { [firstName]: value, [secondName]: partner },
      position: row.position,
      parent: undefined
    }))
    if (partners !== undefined || match._tag === "Nearest" || match.type === "left") return { items }
    if (match.unmatched === "drop") return { items: [] }
    stats.unmatched ??= { rows: 0, first: row.position }
    stats.unmatched.rows++
    if (match.unmatched === "warn") return { items: [] }
    const error = new NoMatch({ message: `${node.name}: no row of ${secondName} has the key ${JSON.stringify(key)}` })
    return { items: [lostOf(row)], failure: state.onDefect(node, row, value, error) }
  }

  const offer = ({ lost, rows }: Read): Work =>
    Effect.flatMap(table.find(rows), (found) => {
      const made = rows.map((row, at) => joined(row, found[at]))
      return Effect.andThen(
        Effect.all(
          made.flatMap(({ failure }) => failure ?? []),
          { discard: true }
        ),
        Queue.offerAll(feed, [...made.flatMap(({ items }) => items), ...lost.map(lostOf)])
      )
    })
  // The second side may lack the matches of suspended rows.
  const probe = (read: Read): Work => Effect.suspend(() => (state.suspendedRows() > 0 ? Effect.void : offer(read)))

  const completed = Deferred.await(table.complete)
  const end = Effect.asVoid(Queue.end(feed))
  if (!holdFirst) {
    return {
      take: (rows) =>
        Effect.andThen(
          completed,
          Effect.suspend(() => {
            const { failed, read } = keyed(rows)
            return Effect.asVoid(Effect.andThen(failed, probe(read)))
          })
        ),
      end: Effect.andThen(completed, end)
    }
  }
  // The second side derives from the rows of the first, so waiting for it here would never end.
  const held: Array<Read> = []
  return {
    take: (rows) => {
      const { failed, read } = keyed(rows)
      held.push(read)
      return failed
    },
    // The other outlets of this domain must end before the second side can be complete.
    end: Effect.asVoid(
      Effect.forkScoped(
        Effect.andThen(
          completed,
          Effect.andThen(
            Effect.suspend(() =>
              probe({ rows: held.flatMap(({ rows }) => rows), lost: held.flatMap(({ lost }) => lost) })
            ),
            end
          )
        )
      )
    )
  }
}
