/**
 * The tables of packed prompts: the results of each size, and the texts of prompts that go in batches.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as SqlError from "effect/sql/SqlError"
import type * as RowValues from "../client/RowValues.ts"
import * as StoredValue from "../encoding/StoredValue.ts"
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

/** A row of a group. */
export interface PackedRow {
  readonly row: number
  readonly position?: string | undefined
  readonly values: RowValues.Values
}

/** Texts that share a prompt, and their rows. */
export interface StoredGroup {
  readonly name: string
  readonly texts: ReadonlyArray<string>
  readonly rows: ReadonlyArray<PackedRow>
  /** The text that is also sent alone; `later` when that is decided with the answers. */
  readonly audit: number | "none" | "later"
}

export interface PackRepo {
  /** Keeps a group under the keys of its texts. Ends when it is on disk. A text that has a group keeps it. */
  readonly keepGroup: (
    run: number,
    group: StoredGroup,
    keys: ReadonlyArray<string>
  ) => Effect.Effect<void, SqlError.SqlError>
  /** The group of a text by its key, and the text's place in it. */
  readonly groupOf: (
    key: string
  ) => Effect.Effect<{ readonly group: StoredGroup; readonly at: number } | undefined, SqlError.SqlError>
  /** A run is done: its groups are deleted. */
  readonly endRun: (run: number) => Effect.Effect<void, SqlError.SqlError>
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

const keepGroup =
  (database: Database.Service): PackRepo["keepGroup"] =>
  (run, { audit, name, rows, texts }, keys) => {
    const encode = (valuesOf: (row: PackedRow) => RowValues.Values) =>
      StoredValue.encode({
        texts,
        rows: rows.map((row) => ({ row: row.row, position: row.position, values: valuesOf(row) })),
        audit
      })
    return Effect.asVoid(
      database.transaction([
        {
          sql: "INSERT INTO pack_groups (name, run, content) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
          // Without what cannot be stored, the layers below see the rows' numbers alone.
          params: [name, run, encode(({ values }) => values) ?? encode(() => ({}))!]
        },
        ...keys.map((key, at) => ({
          sql: "INSERT INTO pack_members (key, run, pack, place) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
          params: [key, run, name, at]
        }))
      ])
    )
  }

const groupOf =
  (database: Database.Service): PackRepo["groupOf"] =>
  (key) =>
    Effect.map(
      database.query(
        "SELECT g.name, g.content, m.place FROM pack_members m JOIN pack_groups g ON g.name = m.pack WHERE m.key = ?",
        [key]
      ),
      ([row]) => {
        const content =
          row === undefined ? undefined : Option.getOrUndefined(StoredValue.decode(String(row["content"])))
        // Damaged content is as good as none: the text is grouped again.
        return content === undefined || !isContent(content)
          ? undefined
          : { group: { ...content, name: String(row!["name"]) }, at: Number(row!["place"]) }
      }
    )

const isContent = Schema.is(
  Schema.Struct({
    texts: Schema.Array(Schema.String),
    rows: Schema.Array(
      Schema.Struct({
        row: Schema.Int,
        position: Schema.optional(Schema.String),
        values: Schema.Record(Schema.String, Schema.Any)
      })
    ),
    audit: Schema.Union([Schema.Int, Schema.Literals(["none", "later"])])
  })
)

const endRun =
  (database: Database.Service): PackRepo["endRun"] =>
  (run) =>
    Effect.asVoid(
      database.transaction([
        { sql: "DELETE FROM pack_members WHERE run = ?", params: [run] },
        { sql: "DELETE FROM pack_groups WHERE run = ?", params: [run] }
      ])
    )

export const make = (database: Database.Service, writer: Writer.Writer): PackRepo => ({
  record: ({ flow, run, step }, scope, { agreed, answered, compared, size }) =>
    writer.append(packTable, [run, flow, step, scope, size, answered, compared, agreed]),
  keepGroup: keepGroup(database),
  groupOf: groupOf(database),
  endRun: endRun(database),
  ofScope: ofScope(database),
  sums: sums(database)
})
