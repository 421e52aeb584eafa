/**
 * Who is calling: the runner says it for every row, and layers read it (for books, keys, limits a step). Authors of
 * steps never need to.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"

export interface Caller {
  readonly run: string
  readonly step: string
  /** Position of the row in its source, from 0. */
  readonly row: number
  /** Its place, for people: `reviews.jsonl:12`. */
  readonly position?: string
}

/** The caller of the present fiber; outside a run everything is empty. */
export const Caller = Context.Reference<Caller>("@pipe/core/Caller", {
  defaultValue: (): Caller => ({ run: "", step: "", row: 0 })
})
