/**
 * Passes the finished rows of a domain to a reader: an output, or the rows of another domain.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Queue from "effect/Queue"
import type * as Node from "../flow/Node.ts"
import type * as Sink from "../flow/Sink.ts"
import type * as DomainPlan from "./DomainPlan.ts"
import type * as JoinTable from "./JoinTable.ts"
import type * as Row from "./Row.ts"
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
  readonly tables: ReadonlyMap<Node.Any, JoinTable.JoinTable>
  readonly writers: ReadonlyMap<Sink.Any, OpenOutput>
  readonly state: RunState.RunState
}

/** Passes a domain's finished rows to their reader. */
export interface Outlet {
  readonly take: (rows: ReadonlyArray<Row.Row>) => Effect.Effect<void, unknown, unknown>
  /** The domain has no more rows. */
  readonly end: Effect.Effect<void, unknown, unknown>
}

/** A planned outlet of a kind. */
export type OutletOf<Tag extends DomainPlan.PlannedOutlet["_tag"]> = Extract<
  DomainPlan.PlannedOutlet,
  { readonly _tag: Tag }
>
