/**
 * A worker: joins the runs of a flow that have workers, and computes their rows until it has to end.
 *
 * @internal
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as SqlError from "effect/sql/SqlError"
import type * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import type * as Budget from "../ledger/Budget.ts"
import * as FailedRow from "../run/FailedRow.ts"
import type * as RunOptions from "../run/RunOptions.ts"
import type * as RunRepo from "../run/RunRepo.ts"
import * as RunRows from "../run/RunRows.ts"
import * as RunSession from "../run/RunSession.ts"
import * as Lease from "../store/Lease.ts"
import * as Store from "../store/Store.ts"
import * as WorkCode from "./WorkCode.ts"
import * as WorkerList from "./WorkerList.ts"
import * as WorkLoop from "./WorkLoop.ts"
import * as WorkQueue from "./WorkQueue.ts"

/** The options of a worker. All are optional. */
export interface WorkOptions extends Pick<RunOptions.RunOptions, "concurrency" | "drain" | "grace"> {
  /** Works on this run alone, by name, and ends with it. Default: on all runs of the flow, until `drain` ends. */
  readonly run?: string
  /** Receives what the worker does, in words. */
  readonly onNotice?: (text: string) => Effect.Effect<void>
}

/** How often a worker looks for a run, and how often it says what it does, in milliseconds. */
const POLL = 500
const SAY = 2_000

/** How long the list of workers is waited for when a worker leaves, in milliseconds. */
const LAST_WAIT = 1_000

/** What the parts of a worker share. */
interface Worker {
  readonly flow: Flow.Any
  readonly options: WorkOptions
  readonly store: Store.Service
  readonly queue: WorkQueue.WorkQueue
  readonly list: WorkerList.WorkerList
  readonly notice: (text: string) => Effect.Effect<void>
  /** Its state, for others. */
  rows: number
  run: number | undefined
  readonly refused: Map<number, string>
  /** Attempts of runs that it cannot work on. */
  readonly done: Set<string>
}

/** Works until `drain` ends. Returns the number of rows that it computed. */
export const work = Effect.fnUntraced(function* (flow: Flow.Any, options: WorkOptions) {
  const store = yield* Store.Store
  const { server } = store.database
  if (server === undefined)
    return yield* new Node.FlowError({
      message: `a worker needs a store that it shares with the run, and ${store.name} is of this machine: name one on PostgreSQL`
    })
  const queue = WorkQueue.make(store.database, server)
  const list = WorkerList.make(store.database, server)
  const notice = options.onNotice ?? (() => Effect.void)
  const worker: Worker = {
    flow,
    options,
    store,
    queue,
    list,
    notice,
    rows: 0,
    run: undefined,
    refused: new Map(),
    done: new Set()
  }
  if (options.run !== undefined)
    yield* Effect.mapError(store.runs.find(options.run), (error) =>
      error._tag === "RunError" ? new Node.FlowError({ message: error.message }) : Store.unusable(store.name, error)
    )
  yield* unusable(store, say(worker))
  yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeoutOption(Effect.interruptible(list.leave), LAST_WAIT)))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(SAY), Effect.ignore(say(worker)))))
  const ending = Deferred.makeUnsafe<void>()
  if (options.drain !== undefined)
    yield* Effect.forkScoped(Effect.andThen(options.drain, Deferred.succeed(ending, undefined)))
  const serve = Effect.gen(function* () {
    while (!Deferred.isDoneUnsafe(ending)) {
      for (const job of yield* unusable(store, queue.jobs(flow.name))) {
        const isServed = yield* serveJob(worker, job)
        if (isServed || !(yield* unusable(store, server.lease.isLost))) continue
        return yield* Store.unusable(
          store.name,
          "this worker was silent for more than ten seconds, and others have its work: start it again"
        )
      }
      if (options.run !== undefined && (yield* isOver(store, options.run))) return
      yield* Effect.raceFirst(Effect.sleep(POLL), Deferred.await(ending))
    }
  })
  yield* serve
  return worker.rows
})

const unusable = <A>(store: Store.Service, effect: Effect.Effect<A, SqlError.SqlError>) =>
  Effect.mapError(effect, (error) => Store.unusable(store.name, error))

/** Tells others what this worker does now. */
const say = (worker: Worker) =>
  Effect.suspend(() => {
    const { flow, list, refused, rows, run } = worker
    return list.join(
      flow.name,
      WorkCode.encodeState({
        rows,
        ...(run === undefined ? undefined : { run }),
        ...(refused.size === 0 ? undefined : { refused: Array.from(refused, ([run, why]) => ({ run, why })) })
      })
    )
  })

/** Whether the run of a worker that works on one alone has ended. */
const isOver = (store: Store.Service, name: string) =>
  Effect.match(store.runs.find(name), {
    onFailure: () => true,
    onSuccess: ({ status }) => status !== "running"
  })

/** Works on a run, if this worker has the same code. Tells whether it ended well. */
const serveJob = Effect.fnUntraced(function* (worker: Worker, job: WorkQueue.Job) {
  const { done, notice, options, store } = worker
  const attempt = `${job.run}/${job.attempt}`
  const content = Option.getOrUndefined(WorkCode.decodeJob(job.content))
  if (done.has(attempt) || content === undefined) return true
  const run = yield* unusable(store, store.runs.get(job.run))
  if (run?.status !== "running" || run.tries !== job.attempt || (options.run !== undefined && run.name !== options.run))
    return true
  const exit = yield* Effect.exit(Effect.scoped(rowsOf(worker, run, content)))
  worker.run = undefined
  if (Exit.isFailure(exit)) {
    const { error, message } = FailedRow.describe(exit.cause)
    // Other code and calls that all fail do not pass; anything else may.
    if (error === "FlowError") {
      done.add(attempt)
      worker.refused.set(run.id, message)
    }
    yield* notice(`run ${run.name}: ${message}`)
  }
  yield* Effect.ignore(say(worker))
  return Exit.isSuccess(exit)
})

const rowsOf = Effect.fnUntraced(function* (worker: Worker, run: RunRepo.StoredRun, content: WorkCode.JobContent) {
  const { flow, notice, options, queue, store } = worker
  const failures = new Map<string, ReadonlyArray<FailedRow.FailedRow>>()
  const session = yield* RunSession.join(
    flow,
    {
      workers: true,
      parameters: content.parameters,
      cache: content.cache,
      ...(options.concurrency === undefined ? undefined : { concurrency: options.concurrency }),
      ...(options.drain === undefined ? undefined : { drain: options.drain }),
      ...(options.grace === undefined ? undefined : { grace: options.grace })
    },
    run,
    (row) => {
      const key = WorkLoop.keyOf(row)
      failures.set(key, [...(failures.get(key) ?? []), row])
    },
    content.budget as Budget.Options | undefined
  )
  yield* Effect.addFinalizer(() => session.giveBack())
  const { exchanges, outcome } = yield* RunRows.run(session, ({ environment }) =>
    Effect.gen(function* () {
      const other = WorkCode.difference(WorkCode.of(session.flow, environment, session.pricing.table), content.code)
      if (other !== undefined) return yield* new Node.FlowError({ message: `other code: ${other}` })
      worker.run = run.id
      yield* say(worker)
      yield* notice(`works on run ${run.name}`)
      return yield* WorkLoop.run(session.flow, session.state, {
        queue,
        name: WorkerList.nameOf(Lease.here()),
        run: run.id,
        attempt: run.tries,
        concurrency: options.concurrency ?? flow.concurrency,
        failures,
        unkept: session.state.unkept,
        commit: store.commit,
        isOpen: Effect.map(store.runs.get(run.id), (now) => now?.status === "running" && now.tries === run.tries),
        // Others may spend what this worker does not need. Its rows may wait for a call of another process.
        onLook: session.giveBack("ifIdle"),
        onRows: (count) => void (worker.rows += count)
      })
    })
  )
  exchanges.end()
  const stop = session.state.stopped()
  if (stop?.isOfProcess === true) return yield* new Node.FlowError({ message: stop.message })
  return yield* outcome.exit
})
