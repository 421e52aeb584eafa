/**
 * The table of packed prompts: the results of each size.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import * as Database from "../store/Database.ts"
import type * as Writer from "../store/Writer.ts"

/** A packed prompt: the number of its texts, of usable answers, and of answers compared with a single one. */
export interface Packed {
  readonly size: number
  readonly answered: number
  readonly compared: number
  readonly agreed: number
}

export interface PackSums extends Packed {
  readonly step: string
  readonly packs: number
}

export interface PackRepo {
  readonly record: (
    from: { readonly run: number; readonly flow: string; readonly step: string },
    scope: string,
    packed: Packed
  ) => void
  /** The results of each size in a scope. */
  readonly ofScope: (scope: string) => Effect.Effect<ReadonlyArray<Packed>, SqlError.SqlError>
  /** The packed prompts of a run, by step. */
  readonly sums: (run: number) => Effect.Effect<ReadonlyArray<PackSums>, SqlError.SqlError>
}

const packTable: Writer.WriterTable = {
  name: "packs",
  columns: ["run", "flow", "step", "scope", "size", "answered", "compared", "agreed"]
}

const toPacked = (row: Database.DatabaseRow): Packed => ({
  size: Database.total(row["size"]),
  answered: Database.total(row["answered"]),
  compared: Database.total(row["compared"]),
  agreed: Database.total(row["agreed"])
})

const ofScope =
  (database: Database.Service): PackRepo["ofScope"] =>
  (scope) =>
    Effect.map(
      database.query(
        "SELECT size, sum(answered) AS answered, sum(compared) AS compared, sum(agreed) AS agreed FROM packs WHERE scope = ? GROUP BY size ORDER BY size",
        [scope]
      ),
      (rows) => rows.map(toPacked)
    )

const sums =
  (database: Database.Service): PackRepo["sums"] =>
  (run) =>
    Effect.map(
      database.query(
        `SELECT step, count(*) AS packs, sum(size) AS size, sum(answered) AS answered, sum(compared) AS compared, sum(agreed) AS agreed
        FROM packs WHERE run = ? AND size > 1 GROUP BY step ORDER BY min(id)`,
        [run]
      ),
      (rows) =>
        rows.map((row): PackSums => ({
          step: String(row["step"]),
          packs: Database.total(row["packs"]),
          ...toPacked(row)
        }))
    )

export const make = (database: Database.Service, writer: Writer.Writer): PackRepo => ({
  record: ({ flow, run, step }, scope, { agreed, answered, compared, size }) =>
    writer.append(packTable, [run, flow, step, scope, size, answered, compared, agreed]),
  ofScope: ofScope(database),
  sums: sums(database)
})
