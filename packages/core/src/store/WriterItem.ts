/**
 * What a writer writes: rows, deletions, statements.
 *
 * @internal
 */
import type * as Statement from "./Statement.ts"

/** A table for appended rows. Its `id` counts up. */
export interface WriterTable {
  readonly name: string
  readonly columns: ReadonlyArray<string>
  /** A condition in SQL for new rows `r` that a server refuses: then none of their group is written. */
  readonly refused?: string
  /**
   * Receives committed rows, in the order in which they were appended, with their ids on SQLite; `undefined` for a row
   * that was set aside.
   */
  readonly committed?: (ids: ReadonlyArray<number | undefined>, rows: ReadonlyArray<ReadonlyArray<unknown>>) => void
}

/** A row to delete, found by these columns. Those of one group share statements. */
export interface Removal {
  readonly table: string
  readonly columns: ReadonlyArray<string>
  readonly key: ReadonlyArray<unknown>
}

/** A row with what it replaces, a row to delete, or a statement. */
export type Item =
  | {
      readonly table: WriterTable
      readonly row: ReadonlyArray<unknown>
      readonly removes: Removal | undefined
      /** Runs when the row is committed to its table. */
      readonly committed: (() => void) | undefined
    }
  | { readonly table: undefined; readonly removes: Removal; readonly statement: undefined }
  | { readonly table: undefined; readonly removes: undefined; readonly statement: Statement.Statement }

/** What goes with a row. */
export interface With {
  /** A row that is deleted in the same transaction. */
  readonly removes?: Removal
  /** Runs when the row is committed to its table. */
  readonly committed?: () => void
}

/** Items by what is done with them. */
export interface Sorted {
  readonly rows: ReadonlyMap<WriterTable, ReadonlyArray<ReadonlyArray<unknown>>>
  readonly removals: ReadonlyArray<Removal>
  readonly statements: ReadonlyArray<Statement.Statement>
}

/** Sorts the items of a group: rows by table, deletions, and the statements that run after both. */
export const sort = (items: ReadonlyArray<Item>): Sorted => {
  const rows = new Map<WriterTable, Array<ReadonlyArray<unknown>>>()
  const removals: Array<Removal> = []
  const statements: Array<Statement.Statement> = []
  for (const item of items) {
    if (item.removes !== undefined) removals.push(item.removes)
    if (item.table === undefined) {
      if (item.statement !== undefined) statements.push(item.statement)
      continue
    }
    const own = rows.get(item.table)
    if (own === undefined) rows.set(item.table, [item.row])
    else own.push(item.row)
  }
  return { rows, removals, statements }
}
