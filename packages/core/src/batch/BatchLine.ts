/**
 * A line of a batch: one request, by the key of its content, and its result.
 *
 * @internal
 */
import type * as Money from "../price/Money.ts"
import * as Database from "../store/Database.ts"

/** `again`: it was not answered and may be sent again. */
export type LineState = "waiting" | "answered" | "failed" | "again"

export interface BatchLine {
  readonly batch: number
  readonly number: number
  readonly key: string
  readonly step: string
  readonly row: number
  /** The number of batches it was in, including this one. */
  readonly tries: number
  readonly state: LineState
  /** Whether its output limit was set by a budget and not by the caller. */
  readonly limited: boolean
  /** The most that the request can cost: recorded for an answer without usage. */
  readonly most: { readonly input: number; readonly output: number; readonly cost: Money.Money | undefined }
  /** The answer or the failure, as JSON. */
  readonly value: string | undefined
}

export type New = Pick<BatchLine, "key" | "step" | "row" | "tries">

/** A request of a batch that is about to be sent. */
export type Sent = New & Pick<BatchLine, "limited" | "most">

/** Decodes a line from its row. */
export const fromRow = (row: Database.DatabaseRow): BatchLine => ({
  batch: Number(row["batch"]),
  number: Number(row["number"]),
  key: String(row["key"]),
  step: String(row["step"]),
  row: Number(row["row_index"]),
  tries: Number(row["tries"]),
  state: row["state"] as LineState,
  limited: Number(row["limited"]) === 1,
  most: {
    input: Number(row["most_input"]),
    output: Number(row["most_output"]),
    cost: Database.toBigInt(row["most_cost"])
  },
  value: Database.toText(row["value"])
})

export const columns = [
  "batch",
  "number",
  "key",
  "step",
  "row_index",
  "tries",
  "state",
  "value",
  "limited",
  "most_input",
  "most_output",
  "most_cost"
]

/** All columns of a line except its value. */
export const select =
  "batch, number, key, step, row_index, tries, state, limited, most_input, most_output, CAST(most_cost AS TEXT) AS most_cost"

/** Lines per statement. */
const SIZES = [64, 1]

/** Statements that insert rows of `columns`. */
export const insert = (lines: ReadonlyArray<ReadonlyArray<unknown>>): Array<Database.Statement> => {
  const statements: Array<Database.Statement> = []
  let from = 0
  for (const size of SIZES) {
    const marks = Array.from({ length: size }, () => `(${columns.map(() => "?").join(", ")})`).join(", ")
    const sql = `INSERT INTO batch_lines (${columns.join(", ")}) VALUES ${marks}`
    for (; lines.length - from >= size; from += size) {
      statements.push({ sql, params: lines.slice(from, from + size).flat() })
    }
  }
  return statements
}
