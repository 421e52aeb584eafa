/**
 * What the program of a row tells the run that it is part of.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Node from "../flow/Node.ts"
import type * as FailedRow from "./FailedRow.ts"
import type * as Journal from "./Journal.ts"
import type * as NodeCounts from "./NodeCounts.ts"
import type { Row } from "./Row.ts"

export interface RowHooks {
  readonly id: string
  readonly statsOf: (node: Node.Any) => NodeCounts.NodeStats
  /** Keeps a failed row. */
  readonly onFailed: (row: FailedRow.FailedRow) => Effect.Effect<void>
  readonly onDropped: () => void
  /** A value that was not found in the journal; `undefined`: nobody asks why. */
  readonly onMissing:
    | ((node: Node.Any, row: Row, journal: Journal.NodeJournal, missing: Journal.Missing) => Effect.Effect<void>)
    | undefined
  /** Nothing more can succeed: no further row is begun. */
  readonly stop: (stop: Stop) => void
  /** Where rows may be put down, since layers answer later than a row should wait; `undefined`: they wait. */
  readonly suspended: Suspended | undefined
  /** What is known of a node's values from before; `undefined`: its value is always computed. */
  readonly journalOf: (node: Node.Any) => Journal.NodeJournal | undefined
}

/** Why no further row is begun. */
export interface Stop {
  readonly kind: "failed" | "budget" | "interrupted" | "waiting"
  readonly message: string
}

/** What is kept of rows between the times that they are gone through. */
export interface Suspended {
  /** A row was put down. */
  readonly onSuspended: () => void
  /** How many answers to each request of a step and row are booked. */
  readonly recorded: Map<string, Map<string, number>>
  /** How steps failed, by what they were given: they are not tried again in this run. */
  readonly failures: Map<string, Cause.Cause<unknown>>
}
