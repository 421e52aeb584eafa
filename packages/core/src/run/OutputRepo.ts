/**
 * The files that runs have written, by flow and number of rows, so that a run never replaces more with less.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as Database from "../store/Database.ts"
import type * as Writer from "../store/Writer.ts"

/** A file as a run left it. */
export interface WrittenFile {
  /** Absolute, with all links followed. */
  readonly path: string
  readonly flow: string
  /** The name of the run. */
  readonly run: string
  /** The rows in the file. */
  readonly rows: number
  /** The rows read from the source with the most of them. */
  readonly read: number
  /** Whether all rows of the sources were read. */
  readonly isWhole: boolean
  readonly isSimulated: boolean
  /**
   * Its size in bytes and its modification time (milliseconds since 1970): a file that differs is no longer the run's.
   */
  readonly size: number
  readonly modified: number
}

export interface OutputRepo {
  /** What a run left at a path. */
  readonly find: (path: string) => Effect.Effect<WrittenFile | undefined, SqlError.SqlError>
  readonly save: (output: WrittenFile) => void
}

export const make = (database: Database.Service, writer: Writer.Writer): OutputRepo => ({
  find: (path) =>
    Effect.map(database.query("SELECT * FROM outputs WHERE path = ? ORDER BY id DESC LIMIT 1", [path]), ([row]) =>
      row === undefined
        ? undefined
        : {
            path,
            flow: String(row["flow"]),
            run: String(row["run"]),
            rows: Number(row["row_count"]),
            read: Number(row["read_count"]),
            isWhole: Number(row["whole"]) === 1,
            isSimulated: Number(row["simulated"]) === 1,
            size: Number(row["size"]),
            modified: Number(row["modified"])
          }
    ),
  save: ({ flow, isSimulated, isWhole, modified, path, read, rows, run, size }) => {
    writer.execute("DELETE FROM outputs WHERE path = ?", [path])
    writer.execute(
      "INSERT INTO outputs (path, flow, run, row_count, read_count, whole, simulated, size, modified) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
      [path, flow, run, rows, read, isWhole ? 1 : 0, isSimulated ? 1 : 0, size, modified]
    )
  }
})
