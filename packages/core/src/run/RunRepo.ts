/**
 * Runs in the store: created, claimed by one process at a time, ended, listed.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as SqlError from "effect/sql/SqlError"
import * as Database from "../store/Database.ts"
import * as Lease from "../store/Lease.ts"
import * as Owner from "../store/Owner.ts"
import type * as Writer from "../store/Writer.ts"

/**
 * `interrupted` is also the status of a run whose process is gone. `waiting`: it was detached while batches are at the
 * provider.
 */
export const RunStatus = Schema.Literals(["running", "done", "failed", "interrupted", "budget", "waiting"])

export type RunStatus = typeof RunStatus.Type

/** Options a run was started with; needed to resume it. */
export const Options = Schema.Struct({
  /** The flow's file, if it has one. */
  file: Schema.optionalKey(Schema.String),
  /** The same from the root of its project: another machine has it there. */
  projectFile: Schema.optionalKey(Schema.String),
  /** Parameters, encoded by their schemas. */
  parameters: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json)),
  limit: Schema.optionalKey(Schema.Int),
  concurrency: Schema.optionalKey(Schema.Int),
  cache: Schema.optionalKey(Schema.Boolean),
  simulate: Schema.optionalKey(Schema.Boolean),
  /** The seed of its simulated answers. */
  simulateSeed: Schema.optionalKey(Schema.String),
  budget: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Its workers: a number on its machine, or `any`. */
  workers: Schema.optionalKey(Schema.String),
  /**
   * Whether requests go in batches, overriding the flow's own stack, and the deadline in milliseconds from the start.
   */
  batch: Schema.optionalKey(Schema.Boolean),
  deadline: Schema.optionalKey(Schema.Finite),
  errorsFile: Schema.optionalKey(Schema.String),
  /** Set when it called every model for a sample of the rows, to tune a routing. */
  tuning: Schema.optionalKey(Schema.Boolean)
})

export interface Options extends Schema.Schema.Type<typeof Options> {}

export interface StoredRun {
  readonly id: number
  readonly name: string
  readonly flow: string
  readonly options: Options
  /** The flow's nodes, as in the event `RunStarted`. */
  readonly graph: Schema.Json
  readonly status: RunStatus
  readonly owner: Owner.Owner
  /** The lease of its owner, on a server. */
  readonly lease?: number
  /** Its process is gone without a word. */
  readonly isAbandoned: boolean
  /** The number of attempts: starts and resumes. */
  readonly tries: number
  /** Milliseconds since 1970. */
  readonly startedAt: number
  readonly endedAt?: number
  /** The summary (`RunEvent.RunFinished`, encoded) of its last attempt. */
  readonly summary?: Schema.Json
  /** The plan (`Plan.Plan`, encoded) made before it. */
  readonly plan?: Schema.Json
}

/**
 * The run cannot be started or resumed:
 *
 * - `busy`: another process runs it
 * - `unknown`: no run has this name
 * - `done`: it is complete
 *
 * **Remedy** List runs with `pipe runs`. Wait for the other process or stop it with Ctrl-C; run the flow again for new rows.
 */
export class RunError extends Schema.TaggedError<RunError>()("RunError", {
  kind: Schema.Literals(["busy", "unknown", "done"]),
  run: Schema.String,
  message: Schema.String
}) {}

export interface RunRepo {
  /** Creates a run. Fails while another live process works on the same one. */
  readonly create: (run: {
    readonly flow: string
    /** Equal for runs that write the same outputs; `undefined` when any number may run at once. */
    readonly identity: string | undefined
    readonly options: Options
    readonly graph: Schema.Json
  }) => Effect.Effect<StoredRun, RunError | SqlError.SqlError>
  /** Claims a run to resume it. Fails while a live process works on it. */
  readonly claim: (run: StoredRun) => Effect.Effect<StoredRun, RunError | SqlError.SqlError>
  readonly heartbeat: (run: StoredRun) => Effect.Effect<void>
  readonly finish: (
    run: StoredRun,
    end: {
      readonly status: RunStatus
      readonly at: number
      readonly summary: Schema.Json
    }
  ) => Effect.Effect<void, SqlError.SqlError>
  /** Finds a run by name or unambiguous prefix; `undefined` finds the last one. */
  readonly find: (name: string | undefined) => Effect.Effect<StoredRun, RunError | SqlError.SqlError>
  /** A run by its number. */
  readonly get: (id: number) => Effect.Effect<StoredRun | undefined, SqlError.SqlError>
  /** The last run of an identity. */
  readonly latest: (identity: string) => Effect.Effect<StoredRun | undefined, SqlError.SqlError>
  /** Stores the plan of an identity. The next run of it is compared with the plan. */
  readonly savePlan: (identity: string, plan: Schema.Json) => Effect.Effect<void, SqlError.SqlError>
  /** The plan of a run was made of another version of its flow. */
  readonly forgetPlan: (run: StoredRun) => void
  /** The given runs that no live process works on. */
  readonly idle: (ids: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<StoredRun>, SqlError.SqlError>
  /** Whether the runs of this store are simulated; `undefined` when it has none. */
  readonly isSimulated: Effect.Effect<boolean | undefined, SqlError.SqlError>
  /** The detached runs of a flow, the newest first. */
  readonly waiting: (flow: string) => Effect.Effect<ReadonlyArray<StoredRun>, SqlError.SqlError>
  /** Newest first. */
  readonly list: (limit: number) => Effect.Effect<ReadonlyArray<StoredRun>, SqlError.SqlError>
}

const decodeOptions = Schema.decodeUnknownOption(Options)

/** On a server, whether the lease of the owner lasts is part of the row. */
const all = ({ dialect }: Database.Service): string =>
  dialect === "pg" ? `SELECT runs.*, ${Lease.lasts("runs.lease")} AS is_leased FROM runs` : "SELECT * FROM runs"

const toRun = (row: Database.DatabaseRow, now: number): StoredRun => {
  const { isAlive, owner } = Owner.ofRun(row, now)
  const status = row["status"] as RunStatus
  const lease = Database.toNumber(row["lease"])
  const endedAt = Database.toNumber(row["ended_at"])
  const summary = Database.toJson(row["summary"])
  const plan = Database.toJson(row["plan"])
  const isAbandoned = status === "running" && !isAlive
  return {
    id: Number(row["id"]),
    name: String(row["name"]),
    flow: String(row["flow"]),
    options: Option.getOrElse(decodeOptions(Database.toJson(row["options"])), (): Options => ({})),
    graph: (Database.toJson(row["graph"]) as Schema.Json | undefined) ?? [],
    status: isAbandoned ? "interrupted" : status,
    isAbandoned,
    owner,
    ...(lease === undefined ? undefined : { lease }),
    tries: Number(row["tries"]),
    startedAt: Number(row["started_at"]),
    ...(endedAt === undefined ? undefined : { endedAt }),
    ...(summary === undefined ? undefined : { summary: summary as Schema.Json }),
    ...(plan === undefined ? undefined : { plan: plan as Schema.Json })
  }
}

const query = (database: Database.Service, sql: string, params: ReadonlyArray<unknown>) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.map(database.query(sql, params), (rows) => rows.map((row) => toRun(row, now)))
  )

const latest = (database: Database.Service, identity: string) =>
  Effect.map(
    query(database, `${all(database)} WHERE identity = ? ORDER BY id DESC LIMIT 1`, [identity]),
    (runs) => runs[0]
  )

const busy = (run: StoredRun): RunError =>
  new RunError({
    kind: "busy",
    run: run.name,
    message: `run ${run.name} of ${run.flow} is active already (process ${run.owner.pid} on ${run.owner.host}): wait for it, or stop it with Ctrl-C there`
  })

const find = (database: Database.Service, name?: string): Effect.Effect<StoredRun, RunError | SqlError.SqlError> =>
  Effect.flatMap(
    name === undefined || name === "last"
      ? query(database, `${all(database)} ORDER BY id DESC LIMIT 1`, [])
      : query(database, `${all(database)} WHERE name = ? OR name LIKE ? ORDER BY name = ? DESC, id DESC LIMIT 2`, [
          name,
          `${name}%`,
          name
        ]),
    (runs) =>
      runs.length === 1 || (runs.length > 1 && runs[0]!.name === name)
        ? Effect.succeed(runs[0]!)
        : Effect.fail(
            new RunError({
              kind: "unknown",
              run: name ?? "",
              message:
                runs.length > 1
                  ? `more than one run starts with ${name}: ${runs.map((run) => run.name).join(", ")}, …`
                  : name === undefined || name === "last"
                    ? `${database.name} has no runs yet: start one with pipe run <flow>`
                    : `${database.name} has no run ${name}: pipe runs lists them`
            })
          )
  )

const planOf = (database: Database.Service, identity: string) =>
  Effect.map(database.query("SELECT plan FROM plans WHERE identity = ?", [identity]), (rows) =>
    Database.toText(rows[0]?.["plan"])
  )

/** Ends what a process that is gone had: a late write of it is refused. */
const takeFrom = (database: Database.Service, run: StoredRun) =>
  !run.isAbandoned || run.lease === undefined || run.lease === database.server?.lease.current()
    ? Effect.void
    : Effect.asVoid(database.transaction(Lease.ending("SELECT id FROM leases WHERE id = ?", [run.lease])))

const create =
  (database: Database.Service): RunRepo["create"] =>
  (run) =>
    Effect.gen(function* () {
      const last = run.identity === undefined ? undefined : yield* latest(database, run.identity)
      if (last?.status === "running") return yield* busy(last)
      const at = yield* Clock.currentTimeMillis
      const owner = yield* Owner.current
      const lease = yield* database.server?.lease.begin ?? Effect.undefined
      const name = `${new Date(at).toISOString().replace(/\D/g, "").slice(0, 14)}-${(yield* Random.nextIntBetween(
        0,
        36 ** 4
      ))
        .toString(36)
        .padStart(4, "0")}`
      const identity = run.identity ?? name
      if (last?.status === "interrupted") {
        yield* takeFrom(database, last)
        yield* database.query(
          "UPDATE runs SET status = 'interrupted' WHERE id = ? AND owner = ? AND status = 'running'",
          [last.id, JSON.stringify(last.owner)]
        )
      }
      // Of several processes, one has the running run of an identity.
      yield* database.query(
        `INSERT INTO runs (name, flow, identity, options, graph, status, owner, heartbeat_at, tries, started_at, plan, lease)
        VALUES (?, ?, ?, ?, ?, 'running', ?, ?, 1, ?, ?, ?) ON CONFLICT DO NOTHING`,
        [
          name,
          run.flow,
          identity,
          JSON.stringify(run.options),
          JSON.stringify(run.graph),
          JSON.stringify(owner),
          at,
          at,
          (run.identity === undefined ? undefined : yield* planOf(database, run.identity)) ?? null,
          lease ?? null
        ]
      )
      const [made] = yield* query(database, `${all(database)} WHERE name = ?`, [name])
      if (made !== undefined) {
        // It is the plan of this run, and not of a later one.
        if (run.identity !== undefined) yield* database.query("DELETE FROM plans WHERE identity = ?", [identity])
        return made
      }
      return yield* busy((yield* latest(database, identity)) ?? (yield* find(database, undefined)))
    })

const claim =
  (database: Database.Service): RunRepo["claim"] =>
  (run) =>
    Effect.gen(function* () {
      if (run.status === "running") return yield* busy(run)
      const at = yield* Clock.currentTimeMillis
      const owner = yield* Owner.current
      const lease = yield* database.server?.lease.begin ?? Effect.undefined
      const before = JSON.stringify(run.owner)
      yield* takeFrom(database, run)
      // Of two processes that have read the same owner, the one that changes it continues; the other fails. So does one
      // that finds another run of the same flow active.
      yield* database.query(
        `UPDATE runs SET status = 'running', owner = ?, heartbeat_at = ?, tries = tries + 1, ended_at = NULL, lease = ?
        WHERE id = ? AND owner = ? AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.identity = runs.identity AND o.status = 'running' AND o.id <> runs.id)`,
        [JSON.stringify(owner), at, lease ?? null, run.id, before]
      )
      const now = yield* find(database, run.name)
      if (now.owner.claim === owner.claim) return now
      const active = now.status === "running" ? now : yield* activeOf(database, run)
      return yield* busy(active ?? now)
    })

/** The running run with the identity of another one. */
const activeOf = (database: Database.Service, run: StoredRun) =>
  Effect.map(
    query(
      database,
      `${all(database)} WHERE status = 'running' AND identity = (SELECT o.identity FROM runs o WHERE o.id = ?)`,
      [run.id]
    ),
    (runs) => runs[0]
  )

const idle =
  (database: Database.Service): RunRepo["idle"] =>
  (ids) =>
    ids.length === 0
      ? Effect.succeed([])
      : Effect.map(query(database, `${all(database)} WHERE id IN (${ids.map(() => "?").join(", ")})`, ids), (runs) =>
          runs.filter(({ status }) => status !== "running")
        )

export const make = (database: Database.Service, writer: Writer.Writer): RunRepo => {
  return {
    find: (name) => find(database, name),
    get: (id) => Effect.map(query(database, `${all(database)} WHERE id = ?`, [id]), ([run]) => run),
    latest: (identity) => latest(database, identity),
    savePlan: (identity, plan) =>
      Effect.asVoid(
        database.query(
          "INSERT INTO plans (identity, plan) VALUES (?, ?) ON CONFLICT (identity) DO UPDATE SET plan = excluded.plan",
          [identity, JSON.stringify(plan)]
        )
      ),
    forgetPlan: (run) => writer.execute("UPDATE runs SET plan = NULL WHERE id = ?", [run.id]),
    idle: idle(database),
    isSimulated: Effect.map(query(database, `${all(database)} ORDER BY id LIMIT 1`, []), ([first]) =>
      first === undefined ? undefined : first.options.simulate === true
    ),
    list: (limit) => query(database, `${all(database)} ORDER BY id DESC LIMIT ?`, [limit]),
    waiting: (flow) =>
      query(database, `${all(database)} WHERE status = 'waiting' AND flow = ? ORDER BY id DESC`, [flow]),
    create: create(database),
    claim: claim(database),
    // A lease is renewed for all runs of a process.
    heartbeat: (run) =>
      database.server !== undefined
        ? Effect.void
        : Effect.map(Clock.currentTimeMillis, (at) => {
            writer.execute("UPDATE runs SET heartbeat_at = ? WHERE id = ?", [at, run.id])
          }),
    finish: (run, { at, status, summary }) => {
      writer.execute("UPDATE runs SET status = ?, ended_at = ?, summary = ? WHERE id = ?", [
        status,
        at,
        JSON.stringify(summary),
        run.id
      ])
      return writer.commit
    }
  }
}
