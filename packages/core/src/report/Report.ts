/**
 * Everything that the store knows of a run, as data: its summary, its ledger, its failed rows, and the plan made
 * before. Every form of a report is made from it.
 *
 * **Example** (the reports of all runs of a store)
 *
 * ```ts
 * import { Report, Store } from "@pipe/core"
 * import { Effect } from "effect"
 *
 * export const reports = Effect.gen(function* () {
 *   const store = yield* Store.Store
 *   const runs = yield* store.runs.list(10)
 *   return yield* Effect.forEach(runs, (run) => Report.make(store, run))
 * }).pipe(Effect.provide(Store.layerMemory))
 *
 * await Effect.runPromise(reports) // => []
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import * as Plan from "../plan/Plan.ts"
import * as Money from "../price/Money.ts"
import * as RunEvent from "../run/RunEvent.ts"
import * as RunRepo from "../run/RunRepo.ts"
import type * as Store from "../store/Store.ts"

/** The money of a step and model in one interval of a run. */
export const Moment = Schema.Struct({
  /** The start of the interval, in milliseconds since 1970. */
  at: Schema.Finite,
  step: Schema.String,
  model: Schema.String,
  cost: Money.FromUsd,
  attempts: Schema.Int
})

/** What was recorded for a step and model. */
export const Spent = Schema.Struct({
  step: Schema.String,
  provider: Schema.String,
  model: Schema.String,
  /** The service tier. Absent for the standard one. */
  serviceTier: Schema.optionalKey(Schema.String),
  attempts: Schema.Int,
  failedAttempts: Schema.Int,
  unpriced: Schema.Int,
  cost: Money.FromUsd,
  estimatedCost: Money.FromUsd,
  tokens: Schema.Int
})

/** A failed row. Its input is JSON. */
export const Failure = Schema.Struct({
  source: Schema.String,
  row: Schema.Int,
  position: Schema.String,
  node: Schema.String,
  error: Schema.String,
  message: Schema.String,
  input: Schema.String
})

/** The last request of a step, and its answer. */
export const Sample = Schema.Struct({
  step: Schema.String,
  position: Schema.String,
  model: Schema.String,
  request: Schema.Json,
  answer: Schema.optionalKey(Schema.Json),
  error: Schema.optionalKey(Schema.String)
})

/** The samples of a step in a report. */
export const sampleLimit = 2

/** Everything known about a run. */
export const Report = Schema.Struct({
  run: Schema.String,
  /** No provider was called, and nothing was paid. */
  simulated: Schema.optionalKey(Schema.Literal(true)),
  flow: Schema.String,
  status: RunRepo.RunStatus,
  tries: Schema.Int,
  startedAt: Schema.Finite,
  endedAt: Schema.optionalKey(Schema.Finite),
  /** The store that the report was made from. */
  store: Schema.String,
  nodes: Schema.Array(Schema.Struct({ name: Schema.String, kind: Schema.String, inputs: Schema.Array(Schema.String) })),
  /** Absent when the process of the run was killed. `spent` has what it recorded. */
  summary: Schema.optionalKey(RunEvent.RunFinished),
  plan: Schema.optionalKey(Plan.Plan),
  spent: Schema.Array(Spent),
  timeline: Schema.Array(Moment),
  /** At most 200 of them. */
  failures: Schema.Array(Failure),
  /** At most two of each step. */
  samples: Schema.Array(Sample)
})

export interface Report extends Schema.Schema.Type<typeof Report> {}

/** The failed rows in a report. */
export const failureLimit = 200

const decodeNodes = Schema.decodeUnknownOption(Report.fields.nodes)

/** The nodes of a run's flow; empty when another version wrote them in a form that this one cannot read. */
export const nodesOf = ({ graph }: RunRepo.StoredRun): Report["nodes"] => Option.getOrElse(decodeNodes(graph), () => [])

/** The summary of a run's last attempt; `undefined` when its process was killed. */
export const summaryOf = ({ summary }: RunRepo.StoredRun): RunEvent.RunFinished | undefined =>
  summary === undefined ? undefined : Option.getOrUndefined(RunEvent.summaryFromJson(summary))

/** Whether a run got as far as to work. One that failed before has nothing to resume. */
export const hasStarted = (run: RunRepo.StoredRun): boolean => {
  const summary = run.status === "failed" ? summaryOf(run) : undefined
  return summary === undefined || RunEvent.hasWork(summary)
}

/** The plan made before a run. */
export const planOf = ({ plan }: RunRepo.StoredRun): Plan.Plan | undefined =>
  plan === undefined ? undefined : Option.getOrUndefined(Plan.fromJson(plan))

/** The report of a run. */
export const make = (store: Store.Service, run: RunRepo.StoredRun): Effect.Effect<Report, SqlError.SqlError> =>
  Effect.gen(function* () {
    const sums = yield* store.ledger.sums(run.id)
    const timeline = yield* store.ledger.timeline(run.id, 60)
    const failures = yield* Stream.runCollect(Stream.take(store.rows.failures(run.id), failureLimit))
    const summary = summaryOf(run)
    const plan = planOf(run)
    const samples = yield* Effect.forEach([...new Set(sums.map(({ step }) => step))], (step) =>
      store.exchanges.last(run.id, step, sampleLimit)
    )
    return {
      run: run.name,
      ...(run.options.simulate === true ? { simulated: true as const } : undefined),
      flow: run.flow,
      status: run.status,
      tries: run.tries,
      startedAt: run.startedAt,
      ...(run.endedAt === undefined ? undefined : { endedAt: run.endedAt }),
      store: store.name,
      nodes: nodesOf(run),
      ...(summary === undefined ? undefined : { summary }),
      ...(plan === undefined ? undefined : { plan }),
      spent: sums.map((sum) => ({
        step: sum.step,
        provider: sum.provider,
        model: sum.model,
        ...(sum.serviceTier === undefined ? undefined : { serviceTier: sum.serviceTier }),
        attempts: sum.attempts,
        failedAttempts: sum.failedAttempts,
        unpriced: sum.unpriced,
        cost: sum.spent,
        estimatedCost: sum.estimatedSpent,
        tokens: RunEvent.tokensOf(sum.usage).total
      })),
      timeline,
      failures: failures.map(({ details: _, ...failure }) => failure),
      samples: samples.flat().map(({ answer, error, model, position, request, step }) => ({
        step,
        position,
        model,
        request,
        ...(answer === undefined ? undefined : { answer }),
        ...(error === undefined ? undefined : { error })
      }))
    }
  })

const encode = Schema.encodeSync(Report)

/** Encodes a report as JSON. Amounts are exact decimal USD strings. */
export const toJson = (report: Report): Schema.Json => encode(report) as Schema.Json
