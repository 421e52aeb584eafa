/**
 * The options of a run.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Batch from "../batch/Batch.ts"
import type * as Source from "../flow/Source.ts"
import type * as Budget from "../ledger/Budget.ts"
import type * as Trials from "../routing/Trials.ts"
import type * as RowSample from "../routing/tune/RowSample.ts"
import type * as RunEvent from "./RunEvent.ts"
import type * as RunRepo from "./RunRepo.ts"

/** The options of a run. All are optional. */
export interface RunOptions {
  /** Resumes an unfinished run, by name: its rows and its ledger are used. Default: a new run. */
  readonly resume?: string
  /**
   * With `resume`, runs only the rows without a result. When a step was edited since, the other rows keep its results
   * of that run. Default: `false`, so an edited step runs for all rows.
   */
  readonly retry?: boolean
  /** What the store keeps about how the run was started: the flow's file, and the options of the command. */
  readonly record?: RunRepo.Options
  /** Equal for runs that write the same outputs. Only one of them may run at a time. Default: any number may. */
  readonly identity?: string
  /** When this ends, no further row is started. Rows in progress have `grace` to end, and are then interrupted. */
  readonly drain?: Effect.Effect<void>
  /** Default: 8 seconds. */
  readonly grace?: Duration.Input
  /** Reports why a row is not reused, in `RowMissing` events. */
  readonly explain?: boolean
  /** Sends requests in batches, overriding the flow's own stack. `"off"` sends everything as single calls. */
  readonly batch?: Batch.Options | "off"
  /**
   * Ends as soon as all batches are submitted (`waiting`); resuming the run collects them. Default: waits for them.
   */
  readonly detach?: boolean
  /** The most that the run may spend, overriding the flow's own budget. */
  readonly budget?: Budget.BudgetLimits
  /**
   * Reads at most this many rows of each source. Sources that are only looked up, by the second side of a join, are
   * read completely. Default: all rows.
   */
  readonly limit?: number
  /** Takes only these rows of each source. Sources that are only looked up are read completely. */
  readonly sample?: RowSample.RowSample
  /** Rows in place of those that sources read: `Source.given(reviews, rows)`. Default: none. */
  readonly sources?: ReadonlyArray<Source.GivenRows>
  /** Makes a cascade call every model for every row, and receives the results. Nothing is reused. */
  readonly trials?: (trial: Trials.CascadeTrial) => void
  /**
   * Has the rows computed by workers that have joined (`Runner.work`, `pipe worker`). Needs a store on a server; while
   * no worker is there, the run computes the rows itself. Default: `false`.
   */
  readonly workers?: boolean
  /** Replaces outputs even with less than what a whole, real run left. Default: `false`, which refuses. */
  readonly overwrite?: boolean
  /** With `false`, the outputs are neither opened nor written. Default: `true`. */
  readonly outputs?: boolean
  /** Rows processed concurrently. Default: the flow's own number. */
  readonly concurrency?: number
  /** Values of the flow's parameters by name, validated by their schemas. */
  readonly parameters?: { readonly [name: string]: unknown }
  /** With `false`, the exact cache is neither read nor written, and nothing of other runs is reused. Default: `true`. */
  readonly cache?: boolean
  /** Receives the events of the run as they happen. The run waits for it. */
  readonly observe?: (event: RunEvent.RunEvent) => Effect.Effect<void>
  /** Emits events for every row. Default: `false`. */
  readonly rowEvents?: boolean
  /**
   * The file for failed rows. With `false` they are only in the store and in the events. Default:
   * `<flow>.errors.jsonl`.
   */
  readonly errorsFile?: string | false
}
