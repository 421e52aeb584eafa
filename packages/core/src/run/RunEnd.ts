/**
 * The end of a run: its summary, in the store and for observers, and what is kept and deleted with it.
 *
 * @internal
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as ModelClient from "../client/ModelClient.ts"
import * as StrategyResults from "../report/StrategyResults.ts"
import * as Store from "../store/Store.ts"
import type * as DomainStreams from "./DomainStreams.ts"
import * as EarlierTry from "./EarlierTry.ts"
import * as FailedRow from "./FailedRow.ts"
import type * as RowHooks from "./RowHooks.ts"
import * as RunEvent from "./RunEvent.ts"
import * as RunFiles from "./RunFiles.ts"
import type { RunSession } from "./RunSession.ts"

/** The result of a run: what it wrote, or why it ended. */
export interface RunOutcome {
  readonly exit: Exit.Exit<ReadonlyArray<DomainStreams.WrittenOutput>, unknown>
  readonly layers: ReadonlyArray<ModelClient.LayerInfo>
}

/** Marks a run whose fiber is interrupted, so it is not left as running. */
export const cut = ({ run, state, store }: RunSession): Effect.Effect<void> =>
  Effect.ignore(
    Effect.flatMap(Clock.currentTimeMillis, (at) => {
      const summary = state.finished({ at, stop: { kind: "interrupted", message: "interrupted" }, outputs: [] })
      const finish = store.runs.finish(run, { status: "interrupted", at, summary: RunEvent.summaryToJson(summary) })
      // Without the server, the lease of this process says that the run was interrupted.
      const finished = store.isAway() ? Effect.timeoutOption(Effect.interruptible(finish), LAST_WAIT) : finish
      return Effect.andThen(Effect.ignore(finished), state.emit(summary))
    })
  )

/** How long an interrupted run waits for a server that is away, in milliseconds. */
const LAST_WAIT = 2_000

/** Why a run stopped early; `undefined` when it did not. */
export const stopOf = (session: RunSession, { exit }: RunOutcome): RowHooks.Stop | undefined =>
  session.state.stopped()
  ?? (Exit.isFailure(exit)
    ? { kind: "failed", message: FailedRow.describe(exit.cause as Cause.Cause<unknown>).message }
    : undefined)

/** The summary of a run that has ended. */
export const summaryOf = Effect.fnUntraced(function* (
  session: RunSession,
  { exit, layers }: RunOutcome,
  stop: RowHooks.Stop | undefined
) {
  const { earlier, run, state, store } = session
  const kept = yield* StrategyResults.sums(store, run.id, layers)
  yield* Effect.forEach(StrategyResults.broken(kept), (text) => Effect.logWarning(text), { discard: true })
  const summary = state.finished({
    at: yield* Clock.currentTimeMillis,
    stop,
    outputs: Exit.isSuccess(exit) ? exit.value.map(({ name, rows }) => ({ name, rows })) : [],
    kept,
    unkept: store.inMemory || store.failure() !== undefined
  })
  return yield* withFailedRows(summary, store, run.id, earlier)
})

/** Stores what a run leaves: its outputs, its failed rows, its batches and its summary. */
export const keep = Effect.fnUntraced(function* (
  session: RunSession,
  { exit }: RunOutcome,
  stop: RowHooks.Stop | undefined,
  summary: RunEvent.RunFinished
) {
  const { errors, holders, run, store } = session
  yield* keepFailures(session, stop)
  if (stop === undefined && Exit.isSuccess(exit)) {
    yield* errors.allWell
    yield* keepOutputs(session, exit.value, summary)
  }
  if (holders.length > 0 && summary.status !== "waiting") {
    yield* Effect.ignore(store.batches.endRun(run.id, summary.status === "done"))
    if (summary.status === "done") yield* Effect.ignore(store.packs.endRun(run.id))
  }
  const written = yield* Effect.result(
    store.runs.finish(run, {
      status: summary.status,
      at: summary.at,
      summary: RunEvent.summaryToJson(withRowsOf(session, summary, stop))
    })
  )
  if (written._tag === "Failure") {
    yield* Effect.logWarning(
      `${store.name} cannot be written (${Store.messageOf(written.failure)}): the last part of this run is not stored`
    )
  }
})

/** Deletes failed rows of earlier attempts. Rows that a stopped run has not reached again stay failed. */
const keepFailures = Effect.fnUntraced(function* (
  { earlier, errors, run, store }: RunSession,
  stop: RowHooks.Stop | undefined
) {
  if (earlier === 0) return
  store.rows.forgetFailures(run.id, earlier, stop === undefined ? undefined : "again")
  if (stop !== undefined) {
    yield* Effect.ignore(Effect.andThen(store.commit, errors.rewrite(store.rows.failures(run.id))))
  }
})

const keepOutputs = (
  { files, flow, intent, run, store }: RunSession,
  all: ReadonlyArray<DomainStreams.WrittenOutput>,
  summary: RunEvent.RunFinished
) => {
  const written = new Map(all.map(({ rows, sink }) => [sink, rows]))
  const read = EarlierTry.readOf(flow, summary)
  return Effect.ignore(
    RunFiles.remember(
      files,
      store,
      { flow: flow.name, name: run.name, read, rowsOf: (sink) => written.get(sink) },
      intent
    )
  )
}

/** Rows that an earlier attempt has read are still expected from one that stopped earlier. */
const withRowsOf = (
  { before, flow }: RunSession,
  summary: RunEvent.RunFinished,
  stop: RowHooks.Stop | undefined
): RunEvent.RunFinished =>
  stop !== undefined && before !== undefined && EarlierTry.readOf(flow, summary) < EarlierTry.readOf(flow, before)
    ? { ...summary, rows: before.rows, nodes: before.nodes }
    : summary

/** Adds the cost of failed rows, when the store knows it. */
const withFailedRows = (
  summary: RunEvent.RunFinished,
  store: Store.Service,
  run: number,
  earlier: number
): Effect.Effect<RunEvent.RunFinished> =>
  summary.rows.failed === 0
    ? Effect.succeed(summary)
    : Effect.andThen(store.commit, store.ledger.failedRows(run, earlier)).pipe(
        Effect.map((failedRowsCost) => ({ ...summary, calls: { ...summary.calls, failedRowsCost } })),
        Effect.orElseSucceed(() => summary)
      )
