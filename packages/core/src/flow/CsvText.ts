/**
 * Rows as the records of a CSV file.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as Csv from "effect/encoding/Csv"
import * as Stream from "effect/Stream"
import * as JsonForm from "../encoding/JsonForm.ts"
import * as TextLine from "../encoding/TextLine.ts"
import * as CsvRecords from "../file/CsvRecords.ts"

/** The options of a CSV file. */
export interface Options {
  /** Default: a comma. */
  readonly delimiter?: string
  /** Default: all fields of all rows, in the order in which they come. */
  readonly columns?: ReadonlyArray<string>
  /**
   * Writes an apostrophe before text that begins like a formula (`=`, `+`, `-`, `@`), so that a spreadsheet does not
   * run it (owasp.org/www-community/attacks/CSV_Injection). Default: `false`, and text is written as it is.
   */
  readonly escapeFormulas?: boolean
}

/** A row as its cells by column. */
export type Cells = Record<string, string>

/** The most levels of nested records that become columns. */
const DEPTH = 64
const MOST_COLUMNS = 10_000

const FORMULA = /^[=+\-@\t\r]/

const cellOf = (form: unknown, escapeFormulas: boolean): string => {
  if (form === undefined || form === null) return ""
  if (typeof form !== "string") return JSON.stringify(form)
  return escapeFormulas && FORMULA.test(form) ? `'${form}` : form
}

/** The cells of a row: nested records become columns joined by dots, lists become JSON. */
export const cellsOf = (row: unknown, { escapeFormulas = false }: Options): Cells => {
  const out: Cells = Object.create(null) as Cells
  const add = (form: unknown, prefix: string, left: number): void => {
    if (form === null || typeof form !== "object" || Array.isArray(form)) {
      out[prefix === "" ? "value" : prefix] = cellOf(form, escapeFormulas)
      return
    }
    if (left === 0) throw new Error(`it is nested more than ${DEPTH} levels deep, or contains itself`)
    for (const [name, field] of Object.entries(form)) add(field, prefix === "" ? name : `${prefix}.${name}`, left - 1)
    if (Object.keys(out).length > MOST_COLUMNS) throw new Error(`it has more than ${MOST_COLUMNS} fields`)
  }
  add(JsonForm.of(row), "", DEPTH)
  return out
}

/** Writes records as they come. A column that only later rows have is added: the file is then written once more. */
export interface Writer {
  readonly write: (rows: ReadonlyArray<Cells>) => Effect.Effect<string, { readonly message: string }>
  /** Writes the file with the columns of all rows; `undefined` when it has them. */
  readonly completed: () => (<E>(bytes: Stream.Stream<Uint8Array, E>) => Stream.Stream<string, unknown>) | undefined
  /** A column of a row that is left out. */
  readonly extra: () => string | undefined
}

export const make = (options: Options): Writer => {
  let columns: Array<string> | undefined = options.columns === undefined ? undefined : [...options.columns]
  const known = new Set(columns)
  let written = 0
  let extra: string | undefined
  /** Rows without a field, before the first that has one: the file has no columns yet. */
  let empty: Array<Cells> = []
  const format = {
    newline: "\n",
    ...(options.delimiter === undefined ? undefined : { delimiter: options.delimiter })
  } as const
  const encoded = (rows: Stream.Stream<Cells, unknown>, headers: boolean, columns: ReadonlyArray<string>) =>
    Stream.pipeThroughChannel(rows, Csv.encodeString({ columns, headers, ...format }))
  return {
    extra: () => extra,
    write: (rows) => {
      columns ??= []
      for (const name of rows.flatMap(Object.keys)) {
        if (known.has(name)) continue
        if (options.columns !== undefined) extra ??= name
        else {
          known.add(name)
          columns.push(name)
        }
      }
      if (columns.length === 0) {
        empty.push(...rows)
        return Effect.succeed("")
      }
      const headers = written === 0
      written = headers ? columns.length : written
      const all = [...empty, ...rows]
      empty = []
      return Stream.mkString(encoded(Stream.fromIterable(all), headers, [...columns])) as Effect.Effect<
        string,
        { readonly message: string }
      >
    },
    completed: () => {
      const all = columns
      if (all === undefined || written === 0 || all.length === written) return undefined
      return (bytes) => {
        let isHeader = true
        const records = CsvRecords.read(bytes, {
          delimiter: options.delimiter ?? ",",
          quote: true,
          maxRecordSize: TextLine.maxBytes
        })
        const rows = Stream.flatMap(records, ({ cells }) => {
          if (isHeader) {
            isHeader = false
            return Stream.empty
          }
          return Stream.succeed(Object.fromEntries(all.map((name, at) => [name, cells[at] ?? ""])) as Cells)
        })
        return encoded(rows, true, all)
      }
    }
  }
}
