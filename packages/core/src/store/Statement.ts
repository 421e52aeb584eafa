/**
 * SQL statements, the rows that they return, and how they are sent.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"

/** A row as the database returns it. Large integers may be text. */
export type DatabaseRow = { readonly [column: string]: unknown }

/** An SQL statement with its values. */
export interface Statement {
  readonly sql: string
  readonly params: ReadonlyArray<unknown>
  /** Whether it inserts rows on SQLite: it then returns one row, with the `id` of the last one. */
  readonly isInsert?: boolean
}

/** Sends a statement. */
export type Query = (
  sql: string,
  params?: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<DatabaseRow>, SqlError.SqlError>

/** Executes all statements or none, and returns the rows of each. */
export type Transaction = (
  statements: ReadonlyArray<Statement>
) => Effect.Effect<ReadonlyArray<ReadonlyArray<DatabaseRow>>, SqlError.SqlError>
