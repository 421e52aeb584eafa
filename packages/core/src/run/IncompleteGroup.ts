/**
 * Groups that lack rows, because those have failed.
 *
 * @internal
 */
import * as Schema from "effect/Schema"
import type * as GroupKey from "../flow/GroupKey.ts"
import type * as Row from "./Row.ts"

/**
 * Rows of a group have failed, so its value would be that of a part.
 *
 * **Remedy** Retry the failed rows that the message names (`pipe retry --failed`), or say what the value of a part is worth: `missing: "keep"` computes it and marks it, `missing: "skip"`
 * leaves the group out.
 */
export class IncompleteGroup extends Schema.TaggedError<IncompleteGroup>()("IncompleteGroup", {
  /** How many rows it lacks. */
  missing: Schema.Int,
  message: Schema.String
}) {}

/** Failed rows: how many, and where the first ones are. */
export interface FailedRows {
  readonly count: number
  readonly positions: ReadonlyArray<string>
}

/** The failed rows that a group lacks. */
export interface Lacking extends FailedRows {
  /** The rows that it has. */
  readonly rows: number
}

/** The state of a group, as the row of its node. */
export interface Group {
  readonly key: GroupKey.GroupKey
  readonly state: unknown
  readonly lacking?: Lacking
}

/** Positions that a message names. */
const NAMED = 3

export const none: FailedRows = { count: 0, positions: [] }

export const add = ({ count, positions }: FailedRows, position: string): FailedRows => ({
  count: count + 1,
  positions: positions.length < NAMED ? [...positions, position] : positions
})

/** The positions in words: `docs[0][3], docs[1][0] and 5 more`. */
export const named = ({ count, positions }: FailedRows): string =>
  count > positions.length ? `${positions.join(", ")} and ${count - positions.length} more` : positions.join(", ")

export const make = ({ position }: Pick<Row.Row, "position">, lacking: Lacking): IncompleteGroup =>
  new IncompleteGroup({
    missing: lacking.count,
    message: `${lacking.count} of the ${lacking.count + lacking.rows} rows of ${position} failed: ${named(lacking)}`
  })
