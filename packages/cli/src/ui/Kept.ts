/** The last stored answer to each row of a run's steps. */
import * as Database from "@pipe/core/Database"
import * as Effect from "effect/Effect"
import * as KeptAnswer from "./KeptAnswer.ts"
import * as LogTail from "./LogTail.ts"
import * as Problem from "./Problem.ts"
import type * as Located from "./Located.ts"

export interface KeptRow {
  /** The number of the exchange in the store. */
  readonly id: number
  readonly step: string
  readonly row: number
  readonly position: string
  readonly model: string
  /** The content of the step's inputs; `null` where it is not known. */
  readonly content: string | null
  readonly answer: string
  readonly certainty: number | null
  /** Attempts at the row whose answer was not accepted. */
  readonly refused: number
}

const CHUNK = 1_000

/** Follows the exchanges of a run. Samples after the first are left out. */
export interface Kept {
  readonly update: Effect.Effect<ReadonlyMap<string, KeptRow>, Problem.Problem>
}

/** Answers to a layer's own calls are not the step's. */
const isOwn = (step: string): boolean => step.includes(" / ")

export const make = ({ run, store }: Located.Located): Kept => {
  const rows = new Map<string, KeptRow>()
  const tail = LogTail.make({
    database: store.database,
    table: "exchanges",
    columns: "id, step, row_index, position, model, content, answer, error, sample",
    run: run.id,
    chunk: CHUNK
  })
  const chunk = Effect.gen(function* () {
    const found = yield* Problem.dead(tail.next)
    for (const row of found) {
      const step = String(row["step"])
      if (isOwn(step) || Number(row["sample"]) !== 0) continue
      const key = `${step}\n${String(row["row_index"])}`
      const before = rows.get(key)
      const answer = Database.toJson(row["answer"])
      if (answer === undefined) {
        if (before !== undefined) rows.set(key, { ...before, refused: before.refused + 1 })
        continue
      }
      // An earlier one that has become visible late.
      if (before !== undefined && before.id > Number(row["id"])) continue
      rows.set(key, {
        id: Number(row["id"]),
        step,
        row: Number(row["row_index"]),
        position: String(row["position"]),
        model: String(row["model"]),
        content: Database.toText(row["content"]) ?? null,
        answer: KeptAnswer.text(answer),
        certainty: KeptAnswer.certainty(answer) ?? null,
        refused: (before?.refused ?? 0) + (row["error"] === null || row["error"] === undefined ? 0 : 1)
      })
    }
    return found.length
  })
  return {
    update: Effect.gen(function* () {
      while ((yield* chunk) > 0) yield* Effect.yieldNow
      return rows
    })
  }
}
