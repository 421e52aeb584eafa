/** Rows as a Parquet file, a row group for each page: money is an exact decimal of USD, and times are timestamps. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { ColumnSource, ParquetWriter } from "hyparquet-writer"
import * as RowTable from "./RowTable.ts"
import * as Text from "./Text.ts"

type Element = ConstructorParameters<typeof ParquetWriter>[0]["schema"][number]

/** How a column is written. */
const elementOf = (name: RowTable.Column): Element => {
  const base = { name, repetition_type: "OPTIONAL" } as const
  // Picodollars are digits of USD: DECIMAL(18, 12).
  if (RowTable.isMoney(name)) return { ...base, type: "INT64", converted_type: "DECIMAL", precision: 18, scale: 12 }
  if (name === "at") return { ...base, type: "INT64", converted_type: "TIMESTAMP_MILLIS" }
  if (name === "certainty") return { ...base, type: "DOUBLE" }
  return RowTable.isNumber(name) ? { ...base, type: "INT64" } : { ...base, type: "BYTE_ARRAY", converted_type: "UTF8" }
}

const cell = (row: RowTable.IndexedRow, name: RowTable.Column): unknown => {
  const value = row[name]
  if (value === null || name === "certainty") return value
  if (RowTable.isNumber(name)) return BigInt(value)
  return Text.safe(String(value))
}

/** Writes pages of rows. What was written is not kept. */
export const file = (
  pages: Stream.Stream<ReadonlyArray<RowTable.IndexedRow>>,
  columns: ReadonlyArray<RowTable.Column>
): Stream.Stream<Uint8Array> =>
  Stream.unwrap(
    Effect.promise(async () => {
      const { ByteWriter, ParquetWriter } = await import("hyparquet-writer")
      const bytes = new ByteWriter()
      const schema = [{ name: "root", num_children: columns.length }, ...columns.map(elementOf)]
      const writer = new ParquetWriter({ writer: bytes, schema, createdBy: "pipe" })
      /** What was written since it was called last. */
      const written = (): Uint8Array => {
        const chunk = new Uint8Array(bytes.buffer, 0, bytes.index).slice()
        bytes.index = 0
        return chunk
      }
      const groups = Stream.map(pages, (rows) => {
        if (rows.length > 0)
          void writer.write({
            columnData: columns.map(
              (name) =>
                ({ name, data: rows.map((row) => cell(row, name)) }) satisfies Pick<ColumnSource, "name" | "data">
            ),
            rowGroupSize: rows.length
          })
        return written()
      })
      const end = Stream.sync(() => {
        void writer.finish()
        return written()
      })
      return Stream.concat(groups, end)
    })
  )
