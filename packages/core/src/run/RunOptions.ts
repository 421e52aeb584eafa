/**
 * How a run goes.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Batch from "../batch/Batch.ts"
import type * as Budget from "../ledger/Budget.ts"
import type * as CascadeHooks from "../routing/CascadeHooks.ts"
import type * as RowSample from "../routing/tune/RowSample.ts"
import type * as RunEvent from "./RunEvent.ts"
import type * as RunRepo from "./RunRepo.ts"

/** How a run goes; all of it may be left out. */
export interface RunOptions {
  /** Goes on with an unfinished run, by its name: its rows and its books are its own. Default: a new run. */
  readonly resume?: string
  /**
   * With `resume`: only rows without a result are run. Where a step was edited since, the others keep what it gave in that run.
   * Default: `false`, an edited step runs for all rows.
   */
  readonly retry?: boolean
  /** What the store remembers of how the run was begun: the flow's file, and the command's options. */
  readonly record?: RunRepo.Options
  /** Equal for runs that write the same outputs: one of them may run at a time. Default: any number may. */
  readonly identity?: string
  /** When this ends no further row is begun; rows under way have `grace` to end, and are cut then. */
  readonly drain?: Effect.Effect<void>
  /** Default: 8 seconds. */
  readonly grace?: Duration.Input
  /** Says why a row is not reused from earlier work, with events `RowMissing`. */
  readonly explain?: boolean
  /** Has requests sent in batches, over what the flow's own stack says; `"off"`: asks all at once. */
  readonly batch?: Batch.Options | "off"
  /** Ends when batches are on their way (`waiting`): going on with the run collects them. Default: waits for them. */
  readonly detach?: boolean
  /** Most that the run may spend, over the flow's own budget. */
  readonly budget?: Budget.BudgetLimits
  /** Reads at most so many rows of each source; those that are only looked up, by the second side of a join, are read whole. */
  readonly limit?: number
  /** Takes these rows of each source alone; those that are only looked up are read whole. */
  readonly sample?: RowSample.RowSample
  /** Has a cascade ask every model for every row, and receives how each fared; nothing is reused from earlier work. */
  readonly trials?: (trial: CascadeHooks.CascadeTrial) => void
  /** Replaces outputs also by less than what a whole, real run has left there. Default: `false`, which refuses to. */
  readonly overwrite?: boolean
  /** `false`: the outputs are neither opened nor written. Default: `true`. */
  readonly outputs?: boolean
  /** Rows at once, instead of the flow's own number. */
  readonly concurrency?: number
  /** Values of the flow's parameters by name; checked against their schemas. */
  readonly parameters?: { readonly [name: string]: unknown }
  /** `false`: the exact cache is neither read nor written, and nothing of other runs is reused. */
  readonly cache?: boolean
  /** Receives the events of the run as they happen; the run waits for it. */
  readonly observe?: (event: RunEvent.RunEvent) => Effect.Effect<void>
  /** Whether `observe` wants an event for every row. Default: `false`. */
  readonly rowEvents?: boolean
  /** File for the failed rows; `false`: they are in the store and in the events alone. Default: `<flow>.errors.jsonl`. */
  readonly errorsFile?: string | false
}
