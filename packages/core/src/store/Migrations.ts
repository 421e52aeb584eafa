/**
 * The tables of the store, by version. A migration that has been released is never changed; a new one is added.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as SqlClient from "effect/sql/SqlClient"

const sql = (text: string) => SqlClient.SqlClient.use((client) => client.unsafe(text))

/** By number and name, in the order in which they run. */
export const migrations = {
  // The key is the first half of a SHA-256, and the rows lie in the order in which they were written: a write costs a
  // third of what it does in a table that is clustered on the hash.
  "0001_cache": Effect.andThen(
    sql(`CREATE TABLE cache (
      id INTEGER PRIMARY KEY,
      key TEXT NOT NULL,
      value TEXT NOT NULL,
      model TEXT NOT NULL,
      created_at INTEGER NOT NULL,
      expires_at INTEGER
    )`),
    sql("CREATE UNIQUE INDEX cache_key ON cache (key)")
  )
}

/** The newest version that this code knows. */
export const latest = Object.keys(migrations).length
