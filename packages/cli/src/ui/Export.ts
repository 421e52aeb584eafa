/** The rows that a table shows, all of them, as CSV, JSON lines or Parquet. */
import * as Money from "@pipe/core/Money"
import * as Csv from "effect/encoding/Csv"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as ExportParquet from "./ExportParquet.ts"
import * as Text from "./Text.ts"
import type * as RowIndex from "./RowIndex.ts"
import * as RowTable from "./RowTable.ts"

/** The media type of each format. */
export const types = {
  csv: "text/csv; charset=utf-8",
  jsonl: "application/jsonl; charset=utf-8",
  parquet: "application/vnd.apache.parquet"
} as const

export type Format = keyof typeof types

const PAGE = 2_000

/** A cell: money in USD, and `null` for what is not known. */
const cell = (row: RowTable.IndexedRow, column: RowTable.Column): string | number | null => {
  const value = row[column]
  if (value === null) return null
  if (RowTable.isMoney(column)) return Money.toUsd(BigInt(value))
  return column === "at" ? new Date(Number(value)).toISOString() : value
}

/** The rows of a query, from its first to its last. */
const pagesOf = (
  index: Pick<RowIndex.RowIndex, "rows">,
  query: RowTable.Query
): Stream.Stream<ReadonlyArray<RowTable.IndexedRow>> =>
  Stream.paginate(0, (from: number) =>
    Effect.sync(() => {
      const page = index.rows({ ...query, from, count: PAGE })
      return [[page], page.length === PAGE ? Option.some(from + PAGE) : Option.none<number>()] as const
    }).pipe(Effect.tap(() => Effect.yieldNow))
  )

/** The file of a query's rows. */
export const file = (
  index: Pick<RowIndex.RowIndex, "rows">,
  query: RowTable.Query,
  columns: ReadonlyArray<RowTable.Column>,
  format: Format
): Stream.Stream<Uint8Array, Csv.CsvError> => {
  const pages = pagesOf(index, query)
  if (format === "parquet") return ExportParquet.file(pages, columns)
  const rows = Stream.flattenIterable(pages)
  if (format === "jsonl")
    return Stream.encodeText(
      Stream.map(
        rows,
        (row) => `${Text.json(Object.fromEntries(columns.map((column) => [column, cell(row, column)])))}\n`
      )
    )
  const records = Stream.map(rows, (row) =>
    Object.fromEntries(columns.map((column) => [column, Text.safe(String(cell(row, column) ?? ""))]))
  )
  return Stream.encodeText(
    Stream.pipeThroughChannel(records, Csv.encodeString({ columns, headers: true, newline: "\n" }))
  )
}
