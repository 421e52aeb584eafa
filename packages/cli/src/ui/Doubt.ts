/** Why an answer is in doubt: its probability, an audit that disagrees, a check that failed, a row that failed. */
import * as Database from "@pipe/core/Database"
import * as Effect from "effect/Effect"
import type * as Kept from "./Kept.ts"
import type * as Located from "./Located.ts"
import * as Problem from "./Problem.ts"

/** Why an answer is in doubt, the strongest reason first. */
export interface Doubt {
  /** From 0, none, to 1. */
  readonly size: number
  readonly reasons: ReadonlyArray<string>
}

/** What is known of rows besides their answers. */
export interface Evidence {
  /** The agreement of an audit with the strong model, by step and row. */
  readonly audits: ReadonlyMap<string, number>
  readonly failures: ReadonlyMap<string, string>
  /** Rows whose cheaper answers were not good enough. */
  readonly strong: ReadonlySet<string>
}

/** Reads what is known of the rows of a run. */
export const evidenceOf = Effect.fnUntraced(function* ({ run, store }: Located.Located) {
  const [routes, failures] = yield* Problem.dead(
    Effect.all([
      store.database.query(
        "SELECT step, row_index, is_strong, agreement FROM routes WHERE run = ? ORDER BY id LIMIT 200000",
        [run.id]
      ),
      store.database.query("SELECT node, row_index, message FROM failures WHERE run = ? ORDER BY id LIMIT 50000", [
        run.id
      ])
    ])
  )
  const keyOf = (step: unknown, row: unknown): string => `${String(step)}\n${String(row)}`
  return {
    audits: new Map(
      routes.flatMap((row) => {
        const agreement = Database.toNumber(row["agreement"])
        return agreement === undefined ? [] : [[keyOf(row["step"], row["row_index"]), agreement] as const]
      })
    ),
    strong: new Set(
      routes.flatMap((row) => (Number(row["is_strong"]) === 1 ? [keyOf(row["step"], row["row_index"])] : []))
    ),
    failures: new Map(failures.map((row) => [keyOf(row["node"], row["row_index"]), String(row["message"])] as const))
  } satisfies Evidence
})

const percent = (share: number): string => `${Math.round(share * 1_000) / 10} %`

/** Why an answer is in doubt, by all that is known of its row. */
export const of = (key: string, row: Kept.KeptRow, { audits, failures, strong }: Evidence): Doubt => {
  const found: Array<readonly [size: number, reason: string]> = []
  const failure = failures.get(key)
  if (failure !== undefined) found.push([1, `the row failed: ${failure.slice(0, 200)}`])
  const audit = audits.get(key)
  if (audit !== undefined && audit < 1) found.push([1 - audit * 0.5, "an audit by the strong model disagrees"])
  if (row.refused > 0) found.push([0.6, "an answer to it was not accepted"])
  if (strong.has(key)) found.push([0.4, "the cheaper model's answer was not good enough"])
  if (row.certainty !== null && row.certainty < 1) found.push([1 - row.certainty, `${percent(row.certainty)} certain`])
  found.sort(([a], [b]) => b - a)
  return { size: found[0]?.[0] ?? 0, reasons: found.map(([, reason]) => reason) }
}
