/** How good a run's answers are by the labels of a person, for all of its inputs where they were drawn at random. */
import * as Binomial from "@pipe/core/internal/Binomial"
import type * as LabelRepo from "@pipe/core/internal/LabelRepo"
import type * as Kept from "./Kept.ts"
import * as KeptAnswer from "./KeptAnswer.ts"

/** How many of a step's answers in this run are as the labels say. */
export interface Measured {
  readonly step: string
  /** Whether the rows were drawn at random, so that they speak for all stored answers of the step. */
  readonly isRandom: boolean
  readonly labelled: number
  readonly right: number
  /** Rows drawn at random and skipped: the interval holds whatever their answers are. */
  readonly skipped: number
  readonly low: number
  readonly high: number
}

/** A stored answer with its label. */
export interface Labelled {
  readonly row: Kept.KeptRow
  readonly label: LabelRepo.Label | undefined
}

/** The key is a hash, so its order is as good as random, and the same each time. */
export const byKey = (a: Labelled, b: Labelled): number => (a.row.content! < b.row.content! ? -1 : 1)

/**
 * How many rows of the random order were drawn from it: those up to the last that was reviewed in this order, while none
 * before it is left out. Rows that were reviewed for their doubt are among them as they would be in any sample; rows that
 * follow are there for their doubt alone.
 */
const drawnOf = (sorted: ReadonlyArray<Labelled>): number => {
  const open = sorted.findIndex(({ label }) => label === undefined)
  return sorted.slice(0, open === -1 ? sorted.length : open).findLastIndex(({ label }) => label!.drawn === "random") + 1
}

const measuredOf = (step: string, isRandom: boolean, rows: ReadonlyArray<Labelled>): ReadonlyArray<Measured> => {
  const labelled = rows.filter(({ label }) => label?.label !== undefined)
  const right = labelled.filter(({ label, row }) => KeptAnswer.isSame(row.answer, label!.label!)).length
  const skipped = isRandom ? rows.length - labelled.length : 0
  const of = labelled.length + skipped
  return labelled.length === 0
    ? []
    : [
        {
          step,
          isRandom,
          labelled: labelled.length,
          right,
          skipped,
          low: Binomial.interval(right, of)[0],
          high: Binomial.interval(right + skipped, of)[1]
        }
      ]
}

/** Measures the steps of a run by their labels. */
export const measure = (once: ReadonlyArray<Labelled>): ReadonlyArray<Measured> =>
  [...Map.groupBy(once, ({ row }) => row.step)].flatMap(([step, rows]) => {
    const sorted = rows.toSorted(byKey)
    const drawn = drawnOf(sorted)
    return [
      ...measuredOf(step, true, sorted.slice(0, drawn)),
      ...measuredOf(
        step,
        false,
        sorted.slice(drawn).filter(({ label }) => label !== undefined)
      )
    ]
  })
