/**
 * Calls that a killed process left behind. Each call is noted before it is sent: in the table `calls`, from which the
 * transaction that records the attempt removes the note, or in a file beside the store (`CallNotes`). So the notes of a
 * dead process are the calls it had in flight, each with the most that it can have cost. The next process that opens the
 * store records them as estimated attempts.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as CallContext from "../client/CallContext.ts"
import type * as Money from "../price/Money.ts"
import * as Database from "../store/Database.ts"
import * as Lease from "../store/Lease.ts"
import type * as Writer from "../store/Writer.ts"
import type * as CallNotes from "../store/CallNotes.ts"
import * as LedgerColumns from "./LedgerColumns.ts"

/** A call that is about to be sent. */
export interface OpenCall {
  readonly caller: CallContext.Caller
  readonly at: number
  readonly provider: string
  readonly model: string
  /** The most input tokens. */
  readonly inputTokens: number
  /** The most output tokens; a guess when no limit is sent. */
  readonly outputTokens: number
  /** The most picodollars; `undefined` when the price is unknown. */
  readonly cost: Money.Money | undefined
}

/** A call of a run that several processes share, and of one of its attempts. */
export interface CallOf {
  readonly run: number
  /** When it has ended, no more calls of it are noted. `undefined` for a run of one process. */
  readonly attempt: number | undefined
}

export interface InterruptedCalls {
  /** Notes a call before it is sent; ends when the note is on disk. */
  readonly begin: (of: CallOf, id: number, call: OpenCall) => Effect.Effect<void, SqlError.SqlError>
  /** Removes the note, with the next group of writes. */
  readonly end: (run: number, id: number) => void
  /**
   * Records the calls that a run noted but never ended, at their maximum possible cost, and removes the notes: the
   * process is gone, and nothing tells whether they were billed. `before` limits this to calls with lower numbers; on a
   * server, calls of other processes that have a lease stay.
   */
  readonly settle: (run: number, before?: number) => Effect.Effect<void, SqlError.SqlError>
  /** The calls of a run in flight, and when the oldest began. */
  readonly open: (
    run: number
  ) => Effect.Effect<{ readonly count: number; readonly oldest: number | undefined }, SqlError.SqlError>
  /** Runs with noted calls. */
  readonly unsettled: Effect.Effect<ReadonlyArray<number>, SqlError.SqlError>
}

/** Each noted call is recorded once, even when two processes settle at the same time. */
const settlement = (database: Database.Service, run: number, before: number): ReadonlyArray<Database.Statement> => {
  const params = [run, before]
  const from = (table: string, where = "") =>
    `INSERT INTO attempts (run, step, row_index, at, milliseconds, provider, model, ${LedgerColumns.tokenColumns.join(", ")}, cost, unknown, estimated, error, call)
      SELECT run, step, row_index, at, 0, provider, model, input_tokens, 0, 0, 0, output_tokens, 0, cost,
        CASE WHEN cost IS NULL THEN 'price' END, 1, 'the process ended while the call was in flight', id FROM ${table}${where}`
  // A server lets only one of two processes remove a row, and knows the leases of those that still call: a process whose
  // calls are settled records nothing more. SQLite has one writing transaction at a time.
  const mine = database.server?.lease.current() ?? 0
  return database.dialect === "pg"
    ? [
        ...Lease.ending(
          `SELECT calls.lease FROM calls WHERE calls.run = ? AND calls.lease <> ? AND NOT ${Lease.lasts("calls.lease")}`,
          [run, mine]
        ),
        {
          sql: `WITH gone AS (DELETE FROM calls WHERE run = ? AND (lease IS NULL OR lease = ? AND id < ?
            OR NOT EXISTS (SELECT 1 FROM leases WHERE leases.id = calls.lease AND leases.is_over = 0)) RETURNING *) ${from("gone")}`,
          params: [run, mine, before]
        }
      ]
    : [
        { sql: from("calls", " WHERE run = ? AND id < ? ORDER BY id"), params },
        { sql: "DELETE FROM calls WHERE run = ? AND id < ?", params }
      ]
}

/** A call as a row of its table. */
const noteRow = (
  { attempt, run }: CallOf,
  id: number,
  { at, caller, cost, inputTokens, model, outputTokens, provider }: OpenCall,
  lease: number | undefined
): CallNotes.Note => [
  run,
  id,
  caller.step,
  caller.row,
  at,
  provider,
  model,
  inputTokens,
  outputTokens,
  cost ?? null,
  lease ?? null,
  attempt ?? null
]

const begin =
  (
    database: Database.Service,
    writer: Writer.Writer,
    notes: CallNotes.CallNotes | undefined
  ): InterruptedCalls["begin"] =>
  (of, id, call) => {
    const row = noteRow(of, id, call, database.server?.lease.current())
    if (notes !== undefined) return notes.begin(of.run, id, row)
    writer.append(LedgerColumns.callTable, row)
    return writer.commit
  }

/** How many of the last attempts of a run may have a note still. */
const LAST = 20_000

const open = Effect.fnUntraced(function* (
  database: Database.Service,
  notes: CallNotes.CallNotes | undefined,
  run: number
) {
  const [found] = yield* database.query("SELECT count(*) AS n, min(at) AS oldest FROM calls WHERE run = ?", [run])
  const noted = notes?.all(run) ?? []
  const recorded =
    noted.length === 0
      ? []
      : yield* database.query(`SELECT call FROM attempts WHERE run = ? ORDER BY id DESC LIMIT ${LAST}`, [run])
  const ended = new Set(recorded.map(({ call }) => Number(call)))
  const times = noted.filter(([, call]) => !ended.has(Number(call))).map((note) => Number(note[4]))
  const oldest = Database.toNumber(found?.["oldest"])
  return {
    count: Database.total(found?.["n"]) + times.length,
    oldest: times.reduce<number | undefined>((least, at) => Math.min(least ?? at, at), oldest)
  }
})

export const make = (
  database: Database.Service,
  writer: Writer.Writer,
  notes?: CallNotes.CallNotes
): InterruptedCalls => ({
  begin: begin(database, writer, notes),
  end: (run, id) => (notes === undefined ? writer.remove(noteOf(run, id)) : notes.unsent(run, id)),
  settle: (run, before = Number.MAX_SAFE_INTEGER) =>
    Effect.map(database.transaction([...(notes?.move(run, before) ?? []), ...settlement(database, run, before)]), () =>
      notes?.moved(run, before)
    ),
  open: (run) => open(database, notes, run),
  unsettled: Effect.map(database.query("SELECT DISTINCT run FROM calls"), (rows) => [
    ...new Set([...rows.map((row) => Number(row["run"])), ...(notes?.runs() ?? [])])
  ])
})

/** The first call number of an attempt of a run: each process numbers its calls separately from earlier attempts. */
export const firstCall = (tries: number): number => tries * 2 ** 32

/** The note of a call. */
export const noteOf = (run: number, id: number): Writer.Removal => ({
  table: LedgerColumns.callTable.name,
  columns: ["run", "id"],
  key: [run, id]
})
