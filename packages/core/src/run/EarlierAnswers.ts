/**
 * The answers that earlier attempts of a run have recorded. A row whose result was not kept receives them again when the
 * run is resumed: they are counted once, and so is what they saved.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as SqlError from "effect/sql/SqlError"
import type * as LedgerEntry from "../ledger/LedgerEntry.ts"
import type * as Database from "../store/Database.ts"

/** Tests whether an answer is one of them. Each counts once. */
export type EarlierAnswers = (entry: LedgerEntry.AnswerEntry) => boolean

/** The most answers of a row that are counted, in a byte. */
const MOST = 255

/** The numbers of answers, by row. */
interface Counts {
  byRow: Uint8Array
}

const add = (counts: Counts, row: number): void => {
  if (row >= counts.byRow.length) {
    const larger = new Uint8Array(Math.max(1024, 2 * row))
    larger.set(counts.byRow)
    counts.byRow = larger
  }
  if (counts.byRow[row]! < MOST) counts.byRow[row]!++
}

export const make = (
  answered: Stream.Stream<Database.DatabaseRow, SqlError.SqlError>
): Effect.Effect<EarlierAnswers, SqlError.SqlError> =>
  Effect.gen(function* () {
    const byStep = new Map<string, Counts>()
    yield* Stream.runForEachArray(answered, (rows) =>
      Effect.sync(() => {
        for (const row of rows) {
          const step = String(row["step"])
          let counts = byStep.get(step)
          if (counts === undefined) byStep.set(step, (counts = { byRow: new Uint8Array(0) }))
          add(counts, Number(row["row_index"]))
        }
      })
    )
    return ({ attempts, caller }) => {
      // An answer with a call of its own is a new one.
      const counts = attempts > 0 ? undefined : byStep.get(caller.step)
      const count = counts?.byRow[caller.row] ?? 0
      if (count > 0) counts!.byRow[caller.row] = count - 1
      return count > 0
    }
  })
