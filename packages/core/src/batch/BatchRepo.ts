/**
 * Batches in the store: recorded before anything is sent, with the requests of each batch by the key of their content,
 * and their results.
 *
 * **Details** A line is completed once, no matter which process reads the results or how often: its answer and the entry of its
 * attempt are one transaction, which only changes a line that still waits.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as SqlError from "effect/sql/SqlError"
import type * as LedgerEntry from "../ledger/LedgerEntry.ts"
import * as LedgerRepo from "../ledger/LedgerRepo.ts"
import type * as Money from "../price/Money.ts"
import * as Database from "../store/Database.ts"
import * as Lease from "../store/Lease.ts"
import * as Owner from "../store/Owner.ts"
import * as BatchLine from "./BatchLine.ts"
import * as BatchLines from "./BatchLines.ts"

/**
 * - `ready`: its file is on disk, and possibly at the provider (`uploaded`)
 * - `creating`: it may or may not have been created
 * - `sent`: it is at the provider
 * - `collected`: its results are in the store
 * - `rejected`: the provider did none of it
 * - `gone`: the provider does not know it
 */
export type BatchState = "ready" | "creating" | "sent" | "collected" | "rejected" | "gone"

export interface StoredBatch {
  readonly id: number
  /** Our own name. The ids of its requests begin with it. */
  readonly name: string
  /** The run that its requests are recorded for; `undefined` for none. */
  readonly run: number | undefined
  readonly runName: string | undefined
  readonly provider: string
  readonly account: string
  readonly endpoint: string
  readonly model: string
  readonly state: BatchState
  readonly file: string
  readonly uploaded: string | undefined
  /** The provider's id. */
  readonly remote: string | undefined
  readonly requests: number
  readonly bytes: number
  /** The counted tokens of its requests. */
  readonly tokens: number
  /** Its expected cost. */
  readonly expected: Money.Money
  /** The reservation of the run's budget for it. */
  readonly held: { readonly money: Money.Money; readonly tokens: number }
  readonly cost: Money.Money
  readonly answered: number
  readonly failed: number
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly sentAt: number | undefined
  readonly endedAt: number | undefined
  readonly message: string | undefined
}

/** Tests whether a batch is not sent yet. */
export const isUnsent = ({ state }: Pick<StoredBatch, "state">): boolean => state === "ready" || state === "creating"

/** The result of a line. */
export interface LineResult {
  readonly number: number
  readonly state: Exclude<BatchLine.LineState, "waiting">
  readonly value: string | undefined
  readonly attempt: LedgerEntry.AttemptEntry | undefined
}

type Changes = Partial<
  Pick<StoredBatch, "state" | "uploaded" | "remote" | "answered" | "failed" | "sentAt" | "endedAt" | "message">
>

export interface BatchRepo {
  /** Records the batch with all its lines, before anything is sent. */
  readonly create: (
    batch: Pick<
      StoredBatch,
      | "name"
      | "run"
      | "provider"
      | "account"
      | "endpoint"
      | "model"
      | "file"
      | "requests"
      | "bytes"
      | "tokens"
      | "expected"
      | "held"
      | "createdAt"
    >,
    lines: ReadonlyArray<BatchLine.Sent>
  ) => Effect.Effect<StoredBatch, SqlError.SqlError>
  /**
   * Claims the sending of a batch from a process that is gone. Returns the current batch, and whether only this process
   * may send it.
   */
  readonly claim: (
    id: number
  ) => Effect.Effect<{ readonly batch: StoredBatch | undefined; readonly isMine: boolean }, SqlError.SqlError>
  /** Ends when the change is on disk. */
  readonly update: (id: number, changes: Changes) => Effect.Effect<void, SqlError.SqlError>
  /** The answered line of a key, or the newest. */
  readonly find: (key: string) => Effect.Effect<BatchLine.BatchLine | undefined, SqlError.SqlError>
  readonly lines: (batch: number) => Effect.Effect<ReadonlyArray<BatchLine.BatchLine>, SqlError.SqlError>
  /** How many results to store at a time. */
  readonly group: number
  /** Stores results in one transaction. Returns the numbers of the lines that were still waiting. */
  readonly take: (
    batch: StoredBatch,
    taken: ReadonlyArray<LineResult>,
    token: string
  ) => Effect.Effect<ReadonlySet<number>, SqlError.SqlError>
  /** Replaces the answer of a line by a failure. */
  readonly fail: (line: BatchLine.BatchLine, value: string) => Effect.Effect<void, SqlError.SqlError>
  /** Adds to the cost of a batch. */
  readonly addUp: (id: number, cost: Money.Money) => Effect.Effect<void, SqlError.SqlError>
  /**
   * Releases all lines that still wait, to be sent again; `uncounted` does not count this batch. Returns how many there
   * were.
   */
  readonly release: (batch: number, tries: "counted" | "uncounted") => Effect.Effect<number, SqlError.SqlError>
  /** Keeps an answer that came from a single call, for a row that is replayed. */
  readonly keep: (
    run: number,
    line: BatchLine.New & { readonly value: string }
  ) => Effect.Effect<void, SqlError.SqlError>
  /** The batches of a run without results. */
  readonly open: (run: number | undefined) => Effect.Effect<ReadonlyArray<StoredBatch>, SqlError.SqlError>
  readonly get: (id: number) => Effect.Effect<StoredBatch | undefined, SqlError.SqlError>
  /** The provider's ids of known batches. */
  readonly remotes: (provider: string, since: number) => Effect.Effect<ReadonlySet<string>, SqlError.SqlError>
  /** Finds batches by our name or the provider's, or by a prefix of either. */
  readonly named: (name: string) => Effect.Effect<ReadonlyArray<StoredBatch>, SqlError.SqlError>
  readonly list: (limit: number) => Effect.Effect<ReadonlyArray<StoredBatch>, SqlError.SqlError>
  /**
   * Requests of a run that are at a provider, or whose answers no row has received yet: sending them again would pay
   * twice.
   */
  readonly pending: (run: number) => Effect.Effect<number, SqlError.SqlError>
  /** The provider does not know a batch: its requests are sent again. */
  readonly forget: (id: number, at: number) => Effect.Effect<void, SqlError.SqlError>
  /** A run has ended: its failed lines are sent again when it is resumed. When it is done, its lines are deleted. */
  readonly endRun: (run: number, isDone: boolean) => Effect.Effect<void, SqlError.SqlError>
}

const SELECT = `SELECT batches.id, batches.name, batches.run, runs.name AS run_name, batches.provider, batches.account, batches.endpoint,
  batches.model, batches.state, batches.file, batches.uploaded, batches.remote, batches.requests, batches.bytes, batches.tokens,
  CAST(batches.expected AS TEXT) AS expected, CAST(batches.held_money AS TEXT) AS held_money, batches.held_tokens, CAST(batches.cost AS TEXT) AS cost, batches.answered, batches.failed,
  batches.created_at, batches.sent_at, batches.ended_at, batches.message
  FROM batches LEFT JOIN runs ON runs.id = batches.run`

const OPEN = "batches.state IN ('ready', 'creating', 'sent')"

const columns = {
  state: "state",
  uploaded: "uploaded",
  remote: "remote",
  answered: "answered",
  failed: "failed",
  sentAt: "sent_at",
  endedAt: "ended_at",
  message: "message"
} as const

const states: ReadonlySet<unknown> = new Set<BatchState>(["ready", "creating", "sent", "collected", "rejected", "gone"])

/** A damaged state is inferred from the remote id, so that nothing is sent again for it. */
const stateOf = (row: Database.DatabaseRow): BatchState => {
  if (states.has(row["state"])) return row["state"] as BatchState
  return row["remote"] === null ? "creating" : "sent"
}

const toBatch = (row: Database.DatabaseRow): StoredBatch => ({
  id: Number(row["id"]),
  name: String(row["name"]),
  run: Database.toNumber(row["run"]),
  runName: Database.toText(row["run_name"]),
  provider: String(row["provider"]),
  account: String(row["account"]),
  endpoint: String(row["endpoint"]),
  model: String(row["model"]),
  state: stateOf(row),
  file: String(row["file"]),
  uploaded: Database.toText(row["uploaded"]),
  remote: Database.toText(row["remote"]),
  requests: Number(row["requests"]),
  bytes: Number(row["bytes"]),
  tokens: Number(row["tokens"]),
  expected: Database.toBigInt(row["expected"]) ?? 0n,
  held: { money: Database.toBigInt(row["held_money"]) ?? 0n, tokens: Number(row["held_tokens"]) },
  cost: Database.toBigInt(row["cost"]) ?? 0n,
  answered: Number(row["answered"]),
  failed: Number(row["failed"]),
  createdAt: Number(row["created_at"]),
  sentAt: Database.toNumber(row["sent_at"]),
  endedAt: Database.toNumber(row["ended_at"]),
  message: Database.toText(row["message"])
})

/** The batch number used for answers of a run that came from single calls. */
const elsewhere = (run: number): number => -run

const select = (database: Database.Service, where: string, params: ReadonlyArray<unknown>) =>
  Effect.map(database.query(`${SELECT} ${where}`, params), (rows) => rows.map(toBatch))

const get = (database: Database.Service, id: number) =>
  Effect.map(select(database, "WHERE batches.id = ?", [id]), (batches) => batches[0])

/** The lease of this process; `undefined` on SQLite. */
const leaseOf = (database: Database.Service) => database.server?.lease.begin ?? Effect.undefined

/** Lines are looked up by keys in no order: on SQLite, 16 MB of their index stay in memory. */
const KEEP_PAGES = "PRAGMA cache_size = -16000"

const create =
  (database: Database.Service, known: BatchLines.BatchLines): BatchRepo["create"] =>
  (batch, lines) =>
    Effect.gen(function* () {
      known.added(lines)
      if (database.dialect === "sqlite") yield* database.query(KEEP_PAGES)
      const [row] = yield* database.query(
        `INSERT INTO batches (name, run, provider, account, endpoint, model, state, owner, claimed_at, file, requests, bytes, tokens,
        expected, held_money, held_tokens, cost, answered, failed, created_at, lease)
        VALUES (?, ?, ?, ?, ?, ?, 'writing', ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?) RETURNING id`,
        [
          batch.name,
          batch.run ?? null,
          batch.provider,
          batch.account,
          batch.endpoint,
          batch.model,
          JSON.stringify(yield* Owner.current),
          batch.createdAt,
          batch.file,
          batch.requests,
          batch.bytes,
          batch.tokens,
          batch.expected,
          batch.held.money,
          batch.held.tokens,
          batch.createdAt,
          (yield* leaseOf(database)) ?? null
        ]
      )
      const id = Number(row!["id"])
      yield* database.transaction([
        ...BatchLine.insert(
          lines.map(({ key, limited, most, row, step, tries }, number) => [
            id,
            number,
            key,
            step,
            row,
            tries,
            "waiting",
            null,
            limited ? 1 : 0,
            most.input,
            most.output,
            most.cost ?? null
          ])
        ),
        { sql: "UPDATE batches SET state = 'ready' WHERE id = ?", params: [id] }
      ])
      return (yield* get(database, id))!
    })

const claim =
  (database: Database.Service): BatchRepo["claim"] =>
  (id) =>
    Effect.gen(function* () {
      const isLeased = database.dialect === "pg" ? Lease.lasts("batches.lease") : "NULL"
      const [row] = yield* database.query(
        `SELECT owner, claimed_at, lease, ${isLeased} AS is_leased FROM batches WHERE id = ?`,
        [id]
      )
      if (row === undefined) return { batch: undefined, isMine: false }
      const now = yield* Clock.currentTimeMillis
      const me = yield* Owner.current
      const before = JSON.parse(String(row["owner"])) as Owner.Owner
      const lasts = row["lease"] === null ? undefined : row["is_leased"] === true
      if (!Owner.isSame(before, me) && Owner.isAlive(before, Number(row["claimed_at"]), now, lasts)) {
        return { batch: yield* get(database, id), isMine: false }
      }
      // Of two processes that have read the same owner, the one that changes it may send.
      const claimed = yield* database.query(
        "UPDATE batches SET owner = ?, claimed_at = ?, lease = ? WHERE id = ? AND owner = ? RETURNING id",
        [JSON.stringify(me), now, (yield* leaseOf(database)) ?? null, id, String(row["owner"])]
      )
      return { batch: yield* get(database, id), isMine: claimed.length === 1 }
    })

const update =
  (database: Database.Service): BatchRepo["update"] =>
  (id, changes) => {
    const names = Object.keys(changes) as Array<keyof Changes>
    return Effect.asVoid(
      database.query(`UPDATE batches SET ${names.map((name) => `${columns[name]} = ?`).join(", ")} WHERE id = ?`, [
        ...names.map((name) => changes[name] ?? null),
        id
      ])
    )
  }

/** An abandoned line is replaced by an answer, or recorded once when the answer is unusable. */
const takeLine = (also: string): string =>
  `UPDATE batch_lines SET state = ?, value = ?, collector = ? WHERE batch = ? AND number = ? AND (state = 'waiting'${also}) RETURNING number`

const TAKE = {
  answered: takeLine(" OR state = 'again'"),
  unusable: takeLine(" OR (state = 'again' AND collector IS NULL)"),
  other: takeLine("")
}

/** The attempt of a line that this process has taken. */
const TAKEN = LedgerRepo.attemptWhere(
  "EXISTS (SELECT 1 FROM batch_lines WHERE batch = ? AND number = ? AND collector = ?)"
)

/**
 * Results per transaction. Providers return them in no order: on SQLite, more of them in the order of their lines change fewer pages. A
 * server is sent two statements for each, one after the other.
 */
const GROUP = { sqlite: 2_048, pg: 256 }

const take =
  (database: Database.Service): BatchRepo["take"] =>
  ({ id, run }, taken, token) =>
    Effect.map(
      database.transaction(
        taken.flatMap(({ attempt, number, state, value }) => [
          {
            sql: state === "answered" ? TAKE.answered : attempt === undefined ? TAKE.other : TAKE.unusable,
            params: [state, value ?? null, token, id, number]
          },
          ...(attempt === undefined || run === undefined ? [] : [TAKEN(run, attempt, [id, number, token])])
        ])
      ),
      (results) => new Set(results.flatMap((rows) => rows.map((row) => Number(row["number"]))))
    )

const keep =
  (database: Database.Service, lines: BatchLines.BatchLines): BatchRepo["keep"] =>
  (run, { key, row, step, tries, value }) => {
    lines.added([{ key }])
    return Effect.asVoid(
      database.query(
        `INSERT INTO batch_lines (${BatchLine.columns.join(", ")})
      SELECT CAST(? AS BIGINT), coalesce(max(number), 0) + 1, CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS BIGINT), 'answered', CAST(? AS TEXT), 0, 0, 0, NULL
      FROM batch_lines WHERE batch = ?`,
        [elsewhere(run), key, step, row, tries, value, elsewhere(run)]
      )
    )
  }

const pending =
  (database: Database.Service): BatchRepo["pending"] =>
  (run) =>
    Effect.map(
      database.query(
        `SELECT count(*) AS n FROM batch_lines JOIN batches ON batches.id = batch_lines.batch WHERE batches.run = ?
        AND (batch_lines.state = 'answered' OR (batch_lines.state = 'waiting' AND batches.state IN ('creating', 'sent')))`,
        [run]
      ),
      ([row]) => Number(row?.["n"] ?? 0)
    )

const forget =
  (database: Database.Service): BatchRepo["forget"] =>
  (id, at) =>
    Effect.asVoid(
      database.transaction([
        {
          sql: "UPDATE batch_lines SET state = 'again', tries = tries - 1 WHERE batch = ? AND state = 'waiting'",
          params: [id]
        },
        {
          sql: "UPDATE batches SET state = 'rejected', ended_at = ?, message = 'given up' WHERE id = ?",
          params: [at, id]
        }
      ])
    )

const endRun =
  (database: Database.Service, lines: BatchLines.BatchLines): BatchRepo["endRun"] =>
  (run, isDone) => {
    lines.changed()
    return isDone
      ? Effect.asVoid(
          database.transaction([
            {
              // A batch that has not ended may still answer, and bill, what was abandoned.
              sql: "DELETE FROM batch_lines WHERE state <> 'waiting' AND batch IN (SELECT id FROM batches WHERE run = ? AND state <> 'sent')",
              params: [run]
            },
            { sql: "DELETE FROM batch_lines WHERE batch = ?", params: [elsewhere(run)] }
          ])
        )
      : Effect.asVoid(
          database.query(
            "UPDATE batch_lines SET state = 'again' WHERE state = 'failed' AND batch IN (SELECT id FROM batches WHERE run = ?)",
            [run]
          )
        )
  }

const remotes =
  (database: Database.Service): BatchRepo["remotes"] =>
  (provider, since) =>
    Effect.map(
      database.query("SELECT remote FROM batches WHERE provider = ? AND remote IS NOT NULL AND created_at >= ?", [
        provider,
        since
      ]),
      (rows) => new Set(rows.map((row) => String(row["remote"])))
    )

export const make = (database: Database.Service): BatchRepo => {
  const lines = BatchLines.make(database)
  return {
    create: create(database, lines),
    claim: claim(database),
    update: update(database),
    find: lines.find,
    lines: (batch) =>
      Effect.map(
        database.query(`SELECT ${BatchLine.select}, NULL AS value FROM batch_lines WHERE batch = ? ORDER BY number`, [
          batch
        ]),
        (rows) => rows.map(BatchLine.fromRow)
      ),
    group: GROUP[database.dialect],
    take: take(database),
    fail: ({ batch, number }, value) => {
      lines.changed()
      return Effect.asVoid(
        database.query("UPDATE batch_lines SET state = 'failed', value = ? WHERE batch = ? AND number = ?", [
          value,
          batch,
          number
        ])
      )
    },
    addUp: (id, cost) => Effect.asVoid(database.query("UPDATE batches SET cost = cost + ? WHERE id = ?", [cost, id])),
    release: (batch, tries) =>
      Effect.map(
        database.query(
          `UPDATE batch_lines SET state = 'again'${tries === "counted" ? "" : ", tries = tries - 1"} WHERE batch = ? AND state = 'waiting' RETURNING number`,
          [batch]
        ),
        (rows) => rows.length
      ),
    keep: keep(database, lines),
    open: (run) =>
      run === undefined
        ? select(database, `WHERE ${OPEN} ORDER BY batches.id`, [])
        : select(database, `WHERE ${OPEN} AND batches.run = ? ORDER BY batches.id`, [run]),
    get: (id) => get(database, id),
    remotes: remotes(database),
    named: (name) =>
      select(database, "WHERE batches.name LIKE ? OR batches.remote LIKE ? ORDER BY batches.id", [
        `${name}%`,
        `${name}%`
      ]),
    list: (limit) => select(database, "WHERE batches.state <> 'writing' ORDER BY batches.id DESC LIMIT ?", [limit]),
    pending: pending(database),
    forget: forget(database),
    endRun: endRun(database, lines)
  }
}
