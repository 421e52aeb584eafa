/** Tables that render as text for a terminal and as HTML for a page. */
import stringWidth from "string-width"
import { escape } from "./Html.ts"

type Row = ReadonlyArray<string>

export interface Table {
  readonly header: Row
  readonly rows: ReadonlyArray<Row>
  /** The number of first columns that are left-aligned; the others are right-aligned. Default: 1. */
  readonly left?: number
}

/**
 * Pads a cell to the width of its column in a terminal, where a Chinese character takes two columns and a combining
 * accent none.
 */
const padded = (cell: string, width: number, isLeft: boolean): string => {
  const space = " ".repeat(Math.max(0, width - stringWidth(cell)))
  return isLeft ? `${cell}${space}` : `${space}${cell}`
}

/** Lines of text, each column as wide as its widest cell. `ruled` adds a line under the header. */
export const lines = (
  { header, left = 1, rows }: Table,
  options: { readonly ruled?: boolean; readonly indent?: string } = {}
): ReadonlyArray<string> => {
  const { indent = "", ruled = false } = options
  const all = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...all.map((row) => stringWidth(row[column]!))))
  const line = (row: Row) =>
    `${indent}${row.map((cell, column) => padded(cell, widths[column]!, column < left)).join("  ")}`.trimEnd()
  const rule = `${indent}${widths.map((width) => "─".repeat(width)).join("  ")}`
  return [line(header), ...(ruled ? [rule] : []), ...rows.map(line)]
}

/** Label and value pairs, one per line. */
export const pairs = (rows: ReadonlyArray<Row>, indent: string): ReadonlyArray<string> =>
  lines({ header: ["", ""], rows }, { indent }).slice(1)

/** HTML. Cells are text. */
export const html = ({ header, left = 1, rows }: Table): string => {
  const cells = (tag: "th" | "td") => (row: Row) =>
    `<tr>${row.map((cell, column) => `<${tag}${column < left ? "" : ' class="number"'}>${escape(cell)}</${tag}>`).join("")}</tr>`
  return `<div class="scroll"><table><thead>${cells("th")(header)}</thead><tbody>${rows.map(cells("td")).join("")}</tbody></table></div>`
}
