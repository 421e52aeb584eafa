/**
 * The workers of a server: who is there, and what each does.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as Database from "../store/Database.ts"
import * as Lease from "../store/Lease.ts"

/** A process that takes chunks. */
export interface WorkerRecord {
  readonly lease: number
  readonly host: string
  readonly pid: number
  readonly flow: string
  /** Its state, as JSON. */
  readonly state: string
  readonly joinedAt: number
  readonly chunks: number
}

/** A worker for display. */
export const nameOf = ({ host, pid }: Pick<WorkerRecord, "host" | "pid">): string => `${host} (process ${pid})`

export interface WorkerList {
  /** Lists this process as a worker, with its state. */
  readonly join: (flow: string, state: string) => Effect.Effect<void, SqlError.SqlError>
  readonly leave: Effect.Effect<void, SqlError.SqlError>
  /** The workers with a lease. */
  readonly all: Effect.Effect<ReadonlyArray<WorkerRecord>, SqlError.SqlError>
}

/** The workers of a store on a server. */
export const make = (
  database: Database.Service,
  { lease, repeatable }: NonNullable<Database.Service["server"]>
): WorkerList => ({
  join: (flow, state) =>
    Effect.flatMap(lease.begin, (mine) =>
      Effect.asVoid(
        database.query(
          `INSERT INTO workers (lease, flow, state, joined_at) VALUES (?, ?, ?, ${Lease.NOW})
          ON CONFLICT (lease) DO UPDATE SET state = excluded.state`,
          [mine, flow, state]
        )
      )
    ),
  leave: Effect.suspend(() =>
    Effect.asVoid(database.query("DELETE FROM workers WHERE lease = ?", [lease.current() ?? null]))
  ),
  all: Effect.map(
    repeatable(
      `SELECT workers.*, leases.host, leases.pid, (SELECT count(*) FROM chunks WHERE chunks.lease = workers.lease) AS chunks
      FROM workers JOIN leases ON leases.id = workers.lease WHERE ${Lease.lasts("workers.lease")} ORDER BY joined_at, lease`
    ),
    (rows) =>
      rows.map((row) => ({
        lease: Number(row["lease"]),
        host: String(row["host"]),
        pid: Number(row["pid"]),
        flow: String(row["flow"]),
        state: String(row["state"]),
        joinedAt: Number(row["joined_at"]),
        chunks: Number(row["chunks"])
      }))
  )
})
