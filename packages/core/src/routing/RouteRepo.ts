/**
 * The routed requests of cascades: which model answered, and how far audited answers agree with the strong model's.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import * as Database from "../store/Database.ts"
import type * as Writer from "../store/Writer.ts"

/** A routed request. */
export interface RoutedRequest {
  readonly step: string
  /** The index of the row, from 0. */
  readonly row: number
  /** The content key of the request: a row that is replayed counts once. */
  readonly key: string
  /** The model whose answer was accepted, or would have been without an audit. */
  readonly model: string
  readonly isStrong: boolean
  /** Another model answered instead of the strong one (a fallback). */
  readonly isSubstituted: boolean
  /** From 0 to 1, when the strong model was called for an audit; `undefined` otherwise. */
  readonly agreement: number | undefined
}

/** The requests of a step in a run. */
export interface RouteSums {
  readonly step: string
  readonly requests: number
  /** Those that needed the strong model's answer. */
  readonly strong: number
  /** Of those, the ones that another model answered. */
  readonly substituted: number
  /** The audited ones among the rest. */
  readonly agreements: ReadonlyArray<number>
}

export interface RouteRepo {
  readonly record: (run: number, routed: RoutedRequest) => void
  readonly sums: (run: number) => Effect.Effect<ReadonlyArray<RouteSums>, SqlError.SqlError>
}

const table: Writer.WriterTable = {
  name: "routes",
  columns: ["run", "step", "row_index", "key", "model", "is_strong", "substituted", "agreement"]
}

/** Counts each request of a run once. */
const ONCE =
  "SELECT step, key, min(id) AS id, max(is_strong) AS is_strong, max(substituted) AS substituted, max(agreement) AS agreement FROM routes WHERE run = ? GROUP BY step, row_index, key"

export const make = (database: Database.Service, writer: Writer.Writer): RouteRepo => ({
  record: (run, { agreement, isStrong, isSubstituted, key, model, row, step }) =>
    writer.append(table, [run, step, row, key, model, isStrong ? 1 : 0, isSubstituted ? 1 : 0, agreement ?? null]),
  sums: (run) =>
    Effect.gen(function* () {
      const counts = yield* database.query(
        `SELECT step, count(*) AS requests, sum(is_strong) AS strong, sum(substituted) AS substituted FROM (${ONCE}) AS once GROUP BY step ORDER BY min(id)`,
        [run]
      )
      const audited = yield* database.query(
        `SELECT step, agreement FROM (${ONCE}) AS once WHERE agreement IS NOT NULL ORDER BY key`,
        [run]
      )
      return counts.map((row): RouteSums => ({
        step: String(row["step"]),
        requests: Database.toNumber(row["requests"]) ?? 0,
        strong: Database.toNumber(row["strong"]) ?? 0,
        substituted: Database.toNumber(row["substituted"]) ?? 0,
        agreements: audited.filter(({ step }) => step === row["step"]).map(({ agreement }) => Number(agreement))
      }))
    })
})
