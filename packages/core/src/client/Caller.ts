/**
 * Who sends a call: run, step and row. The runner sets it for every row, and layers read it for ledgers, keys and
 * limits per step. Authors of steps do not need it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"

export interface Caller {
  readonly run: string
  readonly step: string
  /** The index of the row in its source, from 0. */
  readonly row: number
  /** The position of the row, for display: `reviews.jsonl:12`. */
  readonly position?: string
}

/** The caller of the current fiber. Outside a run its fields are empty. */
export const Caller = Context.Reference<Caller>("@pipe/core/Caller", {
  defaultValue: (): Caller => ({ run: "", step: "", row: 0 })
})
