/** Two runs side by side: what they cost, and where their answers differ. */
import * as Binomial from "@pipe/core/internal/Binomial"
import * as Effect from "effect/Effect"
import type * as Kept from "./Kept.ts"
import * as KeptAnswer from "./KeptAnswer.ts"

export interface ChangedRow {
  readonly step: string
  readonly position: string
  /** Where the row is in each run. */
  readonly rows: readonly [number, number]
  readonly answers: readonly [string, string]
  readonly models: readonly [string, string]
}

export interface StepAgreement {
  readonly step: string
  readonly compared: number
  readonly equal: number
  /** The 95 % interval of the share of equal answers. */
  readonly low: number
  readonly high: number
}

export interface Comparison {
  readonly steps: ReadonlyArray<StepAgreement>
  /** The first of them. */
  readonly changed: ReadonlyArray<ChangedRow>
  readonly changes: number
  /** Answers that only one of the runs has. */
  readonly only: readonly [number, number]
}

const MOST_CHANGED = 500

/** Rows are the same when the inputs of the step are; where those are not known, when their positions are. */
const keyOf = ({ content, position, row, step }: Kept.KeptRow): string =>
  JSON.stringify([step, content ?? (position === "" ? row : position)])

const placeOf = ({ position, row }: Kept.KeptRow): string => `${row}\n${position}`

/** Rows of both runs with the same inputs: those at the same place first, because several rows may have the same. */
const pairsOf = (
  one: ReadonlyMap<string, Kept.KeptRow>,
  other: ReadonlyMap<string, Kept.KeptRow>
): ReadonlyArray<readonly [Kept.KeptRow, Kept.KeptRow]> => {
  const found = new Map<string, Map<string, Kept.KeptRow>>()
  for (const row of other.values()) {
    const key = keyOf(row)
    const group = found.get(key) ?? new Map<string, Kept.KeptRow>()
    found.set(key, group.set(placeOf(row), row))
  }
  const pairs: Array<readonly [Kept.KeptRow, Kept.KeptRow]> = []
  const rest: Array<Kept.KeptRow> = []
  const pair = (row: Kept.KeptRow, place: string | undefined): boolean => {
    const group = found.get(keyOf(row))
    const twin = place === undefined ? undefined : group?.get(place)
    if (twin === undefined) return false
    group!.delete(place!)
    pairs.push([row, twin])
    return true
  }
  for (const row of one.values()) if (!pair(row, placeOf(row))) rest.push(row)
  for (const row of rest) pair(row, found.get(keyOf(row))?.keys().next().value)
  return pairs
}

/** Compares the stored answers of two runs. */
export const make = (
  one: ReadonlyMap<string, Kept.KeptRow>,
  other: ReadonlyMap<string, Kept.KeptRow>
): Effect.Effect<Comparison> =>
  Effect.sync(() => {
    const steps = new Map<string, { compared: number; equal: number }>()
    const changed: Array<ChangedRow> = []
    let changes = 0
    const pairs = pairsOf(one, other).toSorted(([a], [b]) => a.row - b.row)
    for (const [row, twin] of pairs) {
      let own = steps.get(row.step)
      if (own === undefined) steps.set(row.step, (own = { compared: 0, equal: 0 }))
      own.compared++
      if (KeptAnswer.isSame(row.answer, twin.answer)) own.equal++
      else {
        changes++
        if (changed.length < MOST_CHANGED)
          changed.push({
            step: row.step,
            position: row.position,
            rows: [row.row, twin.row],
            answers: [row.answer.slice(0, 2_000), twin.answer.slice(0, 2_000)],
            models: [row.model, twin.model]
          })
      }
    }
    return {
      steps: [...steps].map(([step, { compared, equal }]) => {
        const [low, high] = Binomial.interval(equal, compared)
        return { step, compared, equal, low, high }
      }),
      changed,
      changes,
      only: [one.size - pairs.length, other.size - pairs.length]
    }
  })
