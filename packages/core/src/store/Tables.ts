/**
 * The tables of a store and their columns, as its database has them.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as Database from "./Database.ts"

/** The tables that hold what users keep, those that others refer to first. */
export const names = [
  "runs",
  "plans",
  "steps",
  "probes",
  "cache",
  "results",
  "failures",
  "calls",
  "attempts",
  "answers",
  "exchanges",
  "outputs",
  "batches",
  "batch_lines",
  "vectors",
  "reuse_entries",
  "reuse_lookups",
  "packs",
  "pack_groups",
  "pack_members",
  "routes",
  "labels",
  "aside"
] as const

/** The tables of the processes that use a server. */
export const ofServer = [
  "leases",
  "lanes",
  "flights",
  "jobs",
  "chunks",
  "replies",
  "accounts",
  "grants",
  "buckets",
  "workers"
] as const

export interface Column {
  readonly name: string
  readonly kind: "integer" | "text" | "real" | "bytes"
}

const kindOf = (type: string): Column["kind"] =>
  /int/i.test(type) ? "integer" : /double|real|float/i.test(type) ? "real" : /blob|bytea/i.test(type) ? "bytes" : "text"

/** The columns of a table. */
export const columns = (
  database: Database.Service,
  table: string
): Effect.Effect<ReadonlyArray<Column>, SqlError.SqlError> =>
  Effect.map(
    database.dialect === "pg"
      ? database.query(
          "SELECT column_name AS name, data_type AS type FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = ? ORDER BY ordinal_position",
          [table]
        )
      : database.query(`SELECT name, type FROM pragma_table_info('${table}')`),
    (rows) => rows.map((row) => ({ name: String(row["name"]), kind: kindOf(String(row["type"])) }))
  )

/** Reads a column so that no digit of a large integer is lost. */
export const read = ({ kind, name }: Column): string => (kind === "integer" ? `CAST(${name} AS TEXT) AS ${name}` : name)

/** A placeholder for a value that `read` has returned. */
export const mark = ({ kind }: Column, dialect: Database.Service["dialect"]): string =>
  kind !== "integer" ? "?" : dialect === "pg" ? "CAST(CAST(? AS TEXT) AS BIGINT)" : "CAST(? AS INTEGER)"
