/**
 * The work of a run that several processes do, on the server of its store: jobs, chunks of rows, replies, and the
 * processes that take them. A chunk belongs to the lease of its worker; when the lease ends, another worker takes the
 * chunk.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as BudgetAccount from "../ledger/BudgetAccount.ts"
import * as Database from "../store/Database.ts"
import * as Lease from "../store/Lease.ts"

/** A run with workers. */
export interface Job {
  readonly run: number
  readonly attempt: number
  readonly flow: string
  /** The code, parameters and options of the run, as JSON. */
  readonly content: string
}

/** Rows to compute. */
export interface Chunk {
  readonly id: number
  readonly content: string
  /** How often it was taken, this time included. */
  readonly attempts: number
}

export interface Reply {
  readonly chunk: number
  readonly content: string
}

/** Chunks of a run that no worker has taken. */
export interface Depth {
  readonly flow: string
  /** The name of the run. */
  readonly run: string
  readonly waiting: number
}

export interface WorkQueue {
  readonly depths: Effect.Effect<ReadonlyArray<Depth>, SqlError.SqlError>
  /** Announces a job with what is left of its budget, and drops what an earlier attempt of the run left. */
  readonly post: (job: Job, budget: ReadonlyArray<BudgetAccount.Rest>) => Effect.Effect<void, SqlError.SqlError>
  /** Drops a job with its chunks and replies: its workers send nothing more. */
  readonly close: (run: number) => Effect.Effect<void, SqlError.SqlError>
  readonly offer: (run: number, attempt: number, content: string) => Effect.Effect<number, SqlError.SqlError>
  /** Drops chunks that are no longer needed. */
  readonly drop: (chunks: ReadonlyArray<number>) => Effect.Effect<void, SqlError.SqlError>
  /** The chunks that are neither in the queue nor answered. */
  readonly missing: (chunks: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<number>, SqlError.SqlError>
  /** Takes the replies that have arrived. */
  readonly replies: (run: number) => Effect.Effect<ReadonlyArray<Reply>, SqlError.SqlError>
  readonly jobs: (flow: string) => Effect.Effect<ReadonlyArray<Job>, SqlError.SqlError>
  /** Takes a chunk of an attempt of a run; `undefined` when none is free. */
  readonly take: (run: number, attempt: number) => Effect.Effect<Chunk | undefined, SqlError.SqlError>
  /** Replies to a chunk, unless another worker has it by now. */
  readonly reply: (run: number, chunk: number, content: string) => Effect.Effect<void, SqlError.SqlError>
  /** Gives a chunk back: another worker takes it, and the attempt does not count. */
  readonly giveBack: (chunk: number) => Effect.Effect<void, SqlError.SqlError>
}

const toJob = (row: Database.DatabaseRow): Job => ({
  run: Number(row["run"]),
  attempt: Number(row["attempt"]),
  flow: String(row["flow"]),
  content: String(row["content"])
})

const FREE = `run = ? AND attempt = ? AND (lease IS NULL OR NOT ${Lease.lasts("chunks.lease")})`

const forgetting = (run: number): ReadonlyArray<Database.Statement> =>
  ["jobs", "chunks", "replies", "accounts", "grants"].map((table) => ({
    sql: `DELETE FROM ${table} WHERE run = ?`,
    params: [run]
  }))

type Server = NonNullable<Database.Service["server"]>

/** What a worker does with the queue. */
const ofWorker = (
  database: Database.Service,
  { lease, repeatable }: Server
): Pick<WorkQueue, "jobs" | "take" | "reply" | "giveBack"> => ({
  jobs: (flow) =>
    Effect.map(repeatable("SELECT run, attempt, flow, content FROM jobs WHERE flow = ? ORDER BY run", [flow]), (rows) =>
      rows.map(toJob)
    ),
  take: (run, attempt) =>
    Effect.gen(function* () {
      const mine = yield* lease.begin
      const [free] = yield* repeatable(`SELECT lease FROM chunks WHERE ${FREE} ORDER BY id LIMIT 1`, [run, attempt])
      if (free === undefined) return undefined
      const before = Database.toNumber(free["lease"])
      // The process that had it may only be frozen.
      if (before !== undefined && before !== mine)
        yield* database.transaction(
          Lease.ending(`SELECT id FROM leases WHERE id = ? AND (is_over = 1 OR ${Lease.LAPSED})`, [before])
        )
      const [row] = yield* database.query(
        `UPDATE chunks SET lease = ?, attempts = attempts + 1 WHERE id = (
          SELECT id FROM chunks WHERE ${FREE} ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, content, attempts`,
        [mine, run, attempt]
      )
      return row === undefined
        ? undefined
        : { id: Number(row["id"]), content: String(row["content"]), attempts: Number(row["attempts"]) }
    }),
  reply: (run, chunk, content) =>
    Effect.asVoid(
      database.transaction([
        {
          sql: `INSERT INTO replies (chunk, run, content) SELECT id, CAST(? AS BIGINT), CAST(? AS TEXT) FROM chunks
            WHERE id = ? AND lease = ? ON CONFLICT DO NOTHING`,
          params: [run, content, chunk, lease.current() ?? null]
        },
        { sql: "DELETE FROM chunks WHERE id = ? AND lease = ?", params: [chunk, lease.current() ?? null] }
      ])
    ),
  giveBack: (chunk) =>
    Effect.asVoid(
      database.query("UPDATE chunks SET lease = NULL, attempts = attempts - 1 WHERE id = ? AND lease = ?", [
        chunk,
        lease.current() ?? null
      ])
    )
})

/** The queue of a store on a server. */
export const make = (database: Database.Service, server: Server): WorkQueue => {
  const { repeatable } = server
  const query = (sql: string, params: ReadonlyArray<unknown>) => Effect.asVoid(database.query(sql, params))
  return {
    post: ({ attempt, content, flow, run }, budget) =>
      Effect.asVoid(
        database.transaction([
          ...forgetting(run),
          ...budget.map(({ money, name, tokens }) => ({
            sql: "INSERT INTO accounts (run, attempt, name, money, tokens) VALUES (?, ?, ?, ?, ?)",
            params: [run, attempt, name, money ?? null, tokens ?? null]
          })),
          {
            sql: "INSERT INTO jobs (run, attempt, flow, content) VALUES (?, ?, ?, ?)",
            params: [run, attempt, flow, content]
          }
        ])
      ),
    close: (run) => Effect.asVoid(database.transaction(forgetting(run))),
    offer: (run, attempt, content) =>
      Effect.map(
        database.query("INSERT INTO chunks (run, attempt, content, attempts) VALUES (?, ?, ?, 0) RETURNING id", [
          run,
          attempt,
          content
        ]),
        ([row]) => Number(row!["id"])
      ),
    drop: (chunks) =>
      chunks.length === 0
        ? Effect.void
        : query(`DELETE FROM chunks WHERE id IN (${chunks.map(() => "?").join(", ")})`, chunks),
    missing: (chunks) => {
      const marks = chunks.map(() => "?").join(", ")
      return Effect.map(
        repeatable(
          `SELECT id FROM chunks WHERE id IN (${marks}) UNION SELECT chunk FROM replies WHERE chunk IN (${marks})`,
          [...chunks, ...chunks]
        ),
        (rows) => {
          const there = new Set(rows.map((row) => Number(row["id"])))
          return chunks.filter((chunk) => !there.has(chunk))
        }
      )
    },
    replies: (run) =>
      Effect.flatMap(repeatable("SELECT 1 AS one FROM replies WHERE run = ? LIMIT 1", [run]), (some) =>
        some.length === 0
          ? Effect.succeed([])
          : Effect.map(database.query("DELETE FROM replies WHERE run = ? RETURNING chunk, content", [run]), (rows) =>
              rows.map((row) => ({ chunk: Number(row["chunk"]), content: String(row["content"]) }))
            )
      ),
    depths: Effect.map(
      repeatable(
        `SELECT jobs.flow, runs.name, (SELECT count(*) FROM chunks WHERE chunks.run = jobs.run AND chunks.lease IS NULL) AS waiting
        FROM jobs JOIN runs ON runs.id = jobs.run ORDER BY jobs.run`
      ),
      (rows) =>
        rows.map((row) => ({ flow: String(row["flow"]), run: String(row["name"]), waiting: Number(row["waiting"]) }))
    ),
    ...ofWorker(database, server)
  }
}
