/**
 * What the owner of a store does with it: sizes, old runs, damage, and the rights of those who use a server.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import { crc32 } from "node:zlib"
import * as Database from "./Database.ts"
import * as Lease from "./Lease.ts"
import * as Migrations from "./Migrations.ts"
import * as Owner from "./Owner.ts"
import * as Tables from "./Tables.ts"

export interface TableSize {
  readonly table: string
  readonly rows: number
  /** With its indexes; `undefined` where the database does not say. */
  readonly bytes: number | undefined
}

export interface Sizes {
  readonly version: number
  readonly bytes: number | undefined
  readonly tables: ReadonlyArray<TableSize>
  /** Processes that use the server now. */
  readonly processes: number | undefined
}

/** Rows and bytes by table. */
export const sizes = (database: Database.Service): Effect.Effect<Sizes, SqlError.SqlError> =>
  Effect.gen(function* () {
    const isServer = database.dialect === "pg"
    const tables = yield* Effect.forEach(Tables.names, (table) =>
      Effect.gen(function* () {
        const rows = yield* Database.count(database, table)
        const [size] = isServer
          ? yield* database.query(`SELECT pg_total_relation_size('${table}') AS n`)
          : yield* Effect.orElseSucceed(
              database.query("SELECT sum(pgsize) AS n FROM dbstat WHERE name = ? OR name LIKE ?", [
                table,
                `${table}\\_%`
              ]),
              () => []
            )
        return { table, rows, bytes: Database.toNumber(size?.["n"]) }
      })
    )
    const [whole] = isServer
      ? [{ n: tables.reduce((sum, { bytes = 0 }) => sum + bytes, 0) }]
      : yield* database.query("SELECT page_count * page_size AS n FROM pragma_page_count(), pragma_page_size()")
    const [processes] = isServer
      ? yield* database.query(`SELECT count(*) AS n FROM leases WHERE is_over = 0 AND NOT ${Lease.LAPSED}`)
      : []
    return {
      version: Migrations.latest,
      bytes: Database.toNumber(whole?.["n"]),
      tables,
      processes: Database.toNumber(processes?.["n"])
    }
  })

/** What is deleted with a run. */
const OF_RUNS = [
  "failures",
  "calls",
  "attempts",
  "answers",
  "exchanges",
  "routes",
  "packs",
  "pack_groups",
  "pack_members",
  "reuse_lookups"
]

export interface Pruned {
  readonly runs: number
}

/**
 * Deletes runs that ended before a time (milliseconds since 1970), with their ledger, failed rows and exchanges. Answers
 * and results stay: `pipe cache prune` deletes them. Runs with batches that wait stay too.
 */
export const prune = (database: Database.Service, before: number): Effect.Effect<Pruned, SqlError.SqlError> =>
  Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const old = (yield* database.query(
      `SELECT id, status, owner, heartbeat_at, lease${database.dialect === "pg" ? `, ${Lease.lasts("runs.lease")} AS is_leased` : ""}
      FROM runs WHERE started_at < ? AND status <> 'waiting'`,
      [before]
    ))
      // A process that was killed has not ended its run.
      .filter((row) => row["status"] !== "running" || !Owner.ofRun(row, now).isAlive)
      .map((row) => Number(row["id"]))
    // One run at a time: a transaction stays short.
    for (const run of old) {
      yield* database.transaction([
        ...OF_RUNS.map((table) => ({ sql: `DELETE FROM ${table} WHERE run = ?`, params: [run] })),
        { sql: "DELETE FROM batch_lines WHERE batch IN (SELECT id FROM batches WHERE run = ?)", params: [run] },
        { sql: "DELETE FROM batches WHERE run = ?", params: [run] },
        { sql: "DELETE FROM runs WHERE id = ?", params: [run] }
      ])
    }
    if (database.dialect === "pg") {
      // What processes of long ago have left.
      yield* database.transaction([
        {
          sql: `DELETE FROM flights WHERE lease NOT IN (SELECT id FROM leases WHERE is_over = 0 AND NOT ${Lease.LAPSED})`,
          params: []
        },
        {
          sql: `DELETE FROM workers WHERE lease NOT IN (SELECT id FROM leases WHERE is_over = 0 AND NOT ${Lease.LAPSED})`,
          params: []
        },
        ...["jobs", "chunks", "replies", "accounts", "grants"].map((table) => ({
          sql: `DELETE FROM ${table} WHERE run NOT IN (SELECT id FROM runs WHERE status = 'running')`,
          params: []
        })),
        {
          sql: `DELETE FROM leases WHERE expires_at < ${Lease.NOW} - 86400000 AND id NOT IN (SELECT lease FROM runs WHERE lease IS NOT NULL)`,
          params: []
        }
      ])
    } else {
      yield* database.query("VACUUM")
    }
    return { runs: old.length }
  })

/** What is wrong, in words; empty when nothing is. */
export const check = (database: Database.Service): Effect.Effect<ReadonlyArray<string>, SqlError.SqlError> =>
  Effect.gen(function* () {
    const found: Array<string> = []
    if (database.dialect === "sqlite") {
      for (const row of yield* database.query("PRAGMA integrity_check(20)")) {
        const text = String(row["integrity_check"])
        if (text !== "ok") found.push(text)
      }
    } else {
      const [settings] = yield* database.query(
        "SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS pages, pg_is_in_recovery() AS standby"
      )
      if (settings?.["fsync"] === "off") found.push("fsync is off: a crash of the machine can damage everything")
      if (settings?.["pages"] === "off") found.push("full_page_writes is off: a crash of the machine can damage pages")
      if (settings?.["standby"] === true) found.push("it is a standby, which cannot be written")
    }
    for (const table of ["cache", "results"]) {
      const damaged = yield* damagedRows(database, table)
      if (damaged > 0)
        found.push(
          `${damaged === 1 ? `1 entry of ${table} is` : `${damaged} entries of ${table} are`} damaged (checksums differ): such content is not used, but computed again`
        )
    }
    const aside = yield* Database.count(database, "aside")
    if (aside > 0) found.push(`${aside} rows could not be written and are in the table aside`)
    return found
  })

const PAGE = 1_000

const damagedRows = Effect.fnUntraced(function* (database: Database.Service, table: string) {
  let last = 0
  let damaged = 0
  while (true) {
    const rows = yield* database.query(
      `SELECT id, value, checksum FROM ${table} WHERE id > ? AND checksum IS NOT NULL ORDER BY id LIMIT ${PAGE}`,
      [last]
    )
    for (const row of rows) if (crc32(String(row["value"])) !== Number(row["checksum"])) damaged++
    if (rows.length < PAGE) return damaged
    last = Number(rows.at(-1)!["id"])
  }
})

/** The SQL that lets a role use a store on a server without owning it: to run flows, or to read alone. */
export const rights = (role: string, kind: "run" | "read"): string => {
  const name = `"${role.replaceAll('"', '""')}"`
  const tables = [...Tables.names, ...Tables.ofServer].join(", ")
  const all = [...Tables.names, ...Tables.ofServer, "effect_sql_migrations"].join(", ")
  return [
    `GRANT USAGE ON SCHEMA public TO ${name};`,
    `GRANT SELECT ON ${all} TO ${name};`,
    ...(kind === "read"
      ? []
      : [
          `GRANT INSERT, UPDATE, DELETE ON ${tables} TO ${name};`,
          `GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${name};`
        ])
  ].join("\n")
}
