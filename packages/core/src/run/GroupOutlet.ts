/**
 * Gathers rows into groups, whose values become rows when all rows are there.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as AuthorValue from "../flow/AuthorValue.ts"
import * as GroupKey from "../flow/GroupKey.ts"
import * as IncompleteGroup from "./IncompleteGroup.ts"
import type * as Outlet from "./Outlet.ts"
import type * as Row from "./Row.ts"

/** Makes the outlet to a group or a reduction. */
export const make = (
  { kind, node }: Outlet.OutletOf<"Reduce">,
  read: Row.RowReader,
  { feeds, state }: Outlet.OutletEnvironment
): Outlet.Outlet => {
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
            const group = groupOf(by === undefined ? "" : GroupKey.checked(by(values)))
            if (group.rows === 0) AuthorValue.refusePromise(`\`initial\` of ${node.name}`, group.state)
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

/** The group of a row that has failed; `undefined` when it depends on what has failed. */
const keyOf = (
  by: Outlet.OutletOf<"Reduce">["kind"]["by"],
  values: () => Record<string, unknown>
): GroupKey.GroupKey | undefined => {
  if (by === undefined) return ""
  try {
    return GroupKey.checked(by(values()))
  } catch {
    return undefined
  }
}
