/**
 * What the program of a row reports to its run.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Node from "../flow/Node.ts"
import type * as FailedRow from "./FailedRow.ts"
import type * as Journal from "./Journal.ts"
import type * as NodeCounts from "./NodeCounts.ts"
import type * as RowCosts from "./RowCosts.ts"
import type { Row } from "./Row.ts"

export interface RowHooks {
  readonly id: string
  /** The values of the flow's parameters. */
  readonly parameters: ReadonlyMap<string, unknown>
  readonly statsOf: (node: Node.Any) => NodeCounts.NodeStats
  /** Keeps a failed row. */
  readonly onFailed: (row: FailedRow.FailedRow) => Effect.Effect<void>
  /** A row has failed, and is skipped. */
  readonly onDropped: (row: FailedRow.FailedRow) => void
  /** Called for a value that was not in the journal; `undefined` when the reason is not needed. */
  readonly onMissing:
    | ((node: Node.Any, row: Row, journal: Journal.NodeJournal, missing: Journal.Missing) => Effect.Effect<void>)
    | undefined
  /** Nothing more can succeed: no further row is started. */
  readonly stop: (stop: Stop) => void
  /** Set when rows can be suspended, because a layer answers later; `undefined` when they wait. */
  readonly suspended: Suspended | undefined
  /** How rows failed in a worker, by node, row and position: they are not run again here. */
  readonly elsewhere: Map<string, FailedRow.Described>
  /** What the calls of rows cost; `undefined` when no node reads it. */
  readonly costs: RowCosts.RowCosts | undefined
  /** The journal of a node; `undefined` when its value is always computed. */
  readonly journalOf: (node: Node.Any) => Journal.NodeJournal | undefined
}

/** Why no further row is started. */
export interface Stop {
  readonly kind: "failed" | "budget" | "interrupted" | "waiting"
  readonly message: string
  /** Every call of this process fails, whatever the row: another process may have another key or network. */
  readonly isOfProcess?: boolean
  /** A source cannot be read any further. */
  readonly isOfSource?: boolean
}

/** What is kept of rows between replays. */
export interface Suspended {
  /** Called when a row is suspended. */
  readonly onSuspended: () => void
  /** How many answers to each request of a step and row are recorded. */
  readonly recorded: Map<string, ReadonlyMap<string, number>>
  /** How steps failed, by input: they are not tried again in this run. */
  readonly failures: Map<string, Cause.Cause<unknown>>
}
