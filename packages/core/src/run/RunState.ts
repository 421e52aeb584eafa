/**
 * The state of a run in progress: counts, ledger, waits, and whether it has to stop.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as LayerEvent from "../client/LayerEvent.ts"
import type * as Suspension from "../client/Suspension.ts"
import type * as Flow from "../flow/Flow.ts"
import type * as Node from "../flow/Node.ts"
import * as RunTotals from "../ledger/RunTotals.ts"
import type * as PriceTable from "../price/PriceTable.ts"
import type * as Money from "../price/Money.ts"
import type * as FailedRow from "./FailedRow.ts"
import * as NodeCounts from "./NodeCounts.ts"
import * as Row from "./Row.ts"
import type * as RowHooks from "./RowHooks.ts"
import type * as RunEvent from "./RunEvent.ts"
import type * as RunOptions from "./RunOptions.ts"
import type * as RunRepo from "./RunRepo.ts"
import * as RowCosts from "./RowCosts.ts"
import * as RunSummary from "./RunSummary.ts"
import * as WaitingFor from "./WaitingFor.ts"

export interface RunState extends RowHooks.RowHooks {
  readonly totals: RunTotals.RunTotals
  /** How far each source has been read, in the unit of its size. */
  readonly readings: Map<Node.Any, NodeCounts.SourceProgress>
  readonly onLayerEvent: (notice: LayerEvent.LayerEvent) => void
  readonly emit: (event: RunEvent.RunEvent) => Effect.Effect<void>
  /** Why no further row is started; `undefined` while the run continues. */
  readonly stopped: () => RowHooks.Stop | undefined
  /** A row that its source could not read. */
  readonly onBadRow: (
    source: Node.Any,
    row: Row.Row,
    bad: { readonly position: string; readonly problem: string; readonly raw: string }
  ) => Effect.Effect<void>
  /** A row that failed outside a step: an author's function threw, or an output has no form for it. */
  readonly onDefect: (
    place: Pick<Node.Any, "name" | "domain">,
    row: Row.Row,
    input: unknown,
    defect: unknown
  ) => Effect.Effect<void>
  readonly onRows: (source: Node.Any, rows: ReadonlyArray<Row.Row>) => Effect.Effect<void>
  readonly started: () => RunEvent.RunEvent
  readonly progress: (at: number) => typeof RunEvent.Progress.Type
  readonly finished: (end: RunSummary.End) => RunEvent.RunFinished
  /** Allows rows to be suspended, and replayed when answers are there. */
  readonly useReplays: (statuses: () => ReadonlyArray<Suspension.SuspensionStatus>) => void
  /** Starts a replay: the counts of rows start again. */
  readonly beginReplay: (last: boolean) => Effect.Effect<void>
  /** The rows suspended in this replay. */
  readonly suspendedRows: () => number
  /** Revokes a stop, because there is work to do first. */
  readonly unstop: () => void
  /** Ends when the run has to stop. */
  readonly stopping: Effect.Effect<void>
  /** A source has given all its rows. */
  readonly onSourceEnd: (source: Node.Any) => void
  /** Sets the journals of the steps. */
  readonly useJournals: (journals: RowHooks.RowHooks["journalOf"]) => void
  /** A worker has computed values of a node. */
  readonly addMade: NodeCounts.NodeCounts["addMade"]
  /** A value of a node was kept, or cannot be kept. */
  readonly onKept: (node: Node.Any, isKept: boolean) => void
  /** The nodes with a value that could not be kept. */
  readonly unkept: ReadonlySet<string>
  /** The results of a node that all processes of this attempt have stored. */
  readonly setMade: (node: string, results: number, samples: number) => void
  /** The workers of the run; `undefined` without. */
  team: RunSummary.RunTeam | undefined
  /** A row has failed in a worker. */
  readonly failElsewhere: (node: string, row: number, position: string, failure: FailedRow.Described) => void
  /** Emits progress until interrupted. */
  readonly ticker: Effect.Effect<never>
}

const TICK = "200 millis"

export interface RunStateInit {
  readonly flow: Flow.Any
  readonly run: Pick<RunRepo.StoredRun, "name" | "tries">
  readonly parameters: ReadonlyMap<string, unknown>
  /** Nothing but the failure of a source ends it. */
  readonly isPlan?: boolean
  readonly at: number
  /** The table of the public prices. */
  readonly prices: PriceTable.Named
  readonly errors: FailedRow.ErrorsFile
  /** Why nothing more can be stored; `undefined` when everything works. */
  readonly broken: () => string | undefined
  /** What is left of the budget. */
  readonly left: () => Money.Money | undefined
  readonly options: Pick<RunOptions.RunOptions, "limit" | "observe" | "rowEvents" | "explain">
  /** Receives rows that were skipped because they failed. */
  readonly dropped?: (row: FailedRow.FailedRow) => void
  /** Deletes the stored failed rows of this run. */
  readonly clearFailures?: Effect.Effect<void>
}

/** What several parts of the state share. */
interface Shared extends RunStateInit {
  readonly counts: NodeCounts.NodeCounts
  readonly stopping: Stopping
  readonly replays: Replays
  /** The rows of this replay. */
  readonly rows: { read: number; failed: number; dropped: number }
  readonly emit: RunState["emit"]
}

/** The number of replays, and the rows suspended in the current one. */
interface Replays {
  count: number
  isLast: boolean
  suspendedRows: number
  suspended: RowHooks.Suspended | undefined
  statuses: (() => ReadonlyArray<Suspension.SuspensionStatus>) | undefined
}

export const make = (init: RunStateInit): RunState => {
  const { flow, options } = init
  const counts = NodeCounts.make(flow, options.limit)
  const replays: Replays = { count: 0, isLast: true, suspendedRows: 0, suspended: undefined, statuses: undefined }
  const rows = { read: 0, failed: 0, dropped: 0 }
  const emit: RunState["emit"] = options.observe ?? (() => Effect.void)
  const shared: Shared = { ...init, counts, stopping: makeStopping(init.isPlan === true), replays, rows, emit }
  const totals = RunTotals.make()
  const waits = WaitingFor.make()
  const summary: RunSummary.RunSummaryParts = {
    ...init,
    startedAt: init.at,
    counts,
    totals,
    waits,
    rows,
    batches: () => replays.statuses?.(),
    team: () => state.team
  }
  const costs = RowCosts.make(flow, () => replays.suspended !== undefined)
  const kept = new Map<string, number>()
  const unkept = new Set<string>()
  const elsewhere = new Map<string, FailedRow.Described>()
  let journalOf: RowHooks.RowHooks["journalOf"] = () => undefined
  const state: RunState = {
    id: init.run.name,
    parameters: init.parameters,
    team: undefined,
    statsOf: counts.statsOf,
    totals,
    costs,
    readings: counts.readings,
    emit,
    ...shared.stopping,
    get suspended() {
      return replays.suspended
    },
    ...replaying(shared),
    ...failing(shared),
    onRows: onRows(shared),
    onMissing: options.explain === true ? onMissing(shared) : undefined,
    onDropped: (row) => {
      rows.dropped++
      init.dropped?.(row)
    },
    journalOf: (node) => journalOf(node),
    useJournals: (journals) => {
      journalOf = journals
    },
    elsewhere,
    failElsewhere: (node, row, position, failure) => void elsewhere.set(`${node}\n${row}\n${position}`, failure),
    addMade: counts.addMade,
    setMade: (node, results, samples) => counts.setMade(node, Math.floor((results - (kept.get(node) ?? 0)) / samples)),
    unkept,
    onKept: (node, isKept) => {
      if (isKept) kept.set(node.name, (kept.get(node.name) ?? 0) + 1)
      else unkept.add(node.name)
    },
    onLayerEvent: (event) => (event._tag === "Loop" ? counts.countLoop(event) : waits.note(event)),
    started: () => RunSummary.started(summary),
    progress: (at) => RunSummary.progress(summary, at),
    finished: (end) => RunSummary.finished(summary, end),
    ticker:
      options.observe === undefined
        ? Effect.never
        : Effect.forever(
            Effect.andThen(
              Effect.sleep(TICK),
              Effect.flatMap(Clock.currentTimeMillis, (at) => emit(RunSummary.progress(summary, at)))
            )
          )
  }
  return state
}

type Stopping = Pick<RunState, "stop" | "stopped" | "unstop" | "stopping">

const makeStopping = (isPlan: boolean): Stopping => {
  let stopped: RowHooks.Stop | undefined
  let stopping: Deferred.Deferred<void> = Deferred.makeUnsafe()
  return {
    stopped: () => stopped,
    stop: (why) => {
      if (isPlan && why.isOfSource !== true) return
      stopped ??= why
      Deferred.doneUnsafe(stopping, Effect.void)
    },
    unstop: () => {
      stopped = undefined
      stopping = Deferred.makeUnsafe()
    },
    stopping: Effect.suspend(() => Deferred.await(stopping))
  }
}

const fail = ({ stopping }: Shared, message: string): void => stopping.stop({ kind: "failed", message })

/** Suspends rows that wait for batches, and replays all rows when answers are there. */
const replaying = (shared: Shared): Pick<RunState, "useReplays" | "beginReplay" | "suspendedRows" | "onSourceEnd"> => {
  const { counts, errors, replays, rows } = shared
  return {
    suspendedRows: () => replays.suspendedRows,
    useReplays: (statuses) => {
      replays.statuses = statuses
      replays.suspended = { onSuspended: () => void replays.suspendedRows++, recorded: new Map(), failures: new Map() }
    },
    beginReplay: (last) =>
      Effect.suspend(() => {
        replays.isLast = last
        if (replays.count++ === 0) return Effect.void
        counts.restart()
        rows.failed = rows.dropped = rows.read = replays.suspendedRows = 0
        return Effect.andThen(errors.restart, shared.clearFailures ?? Effect.void)
      }),
    onSourceEnd: (source) => {
      const problem = counts.endOf(source)
      if (problem !== undefined) fail(shared, problem)
    }
  }
}

/** Keeps failed rows, and stops the run when there are more than the flow allows. */
const failing = (shared: Shared): Pick<RunState, "onFailed" | "onBadRow" | "onDefect"> => {
  const { counts, emit, errors, flow, replays, rows, run } = shared
  const seen = new Set<string>()

  const onFailed: RunState["onFailed"] = (row) => {
    rows.failed++
    if (rows.failed > flow.stopAfterFailedRows) {
      fail(
        shared,
        `${rows.failed} rows failed, more than the ${flow.stopAfterFailedRows} that the flow allows (stopAfterFailedRows)`
      )
    }
    const { error, message, node, position, source } = row
    const place = `${node}\n${position}`
    if (replays.suspended !== undefined && seen.has(place)) return errors.append(row)
    if (replays.suspended !== undefined) seen.add(place)
    return Effect.andThen(
      errors.append(row),
      emit({ _tag: "RowFailed", run: run.name, source, row: row.row, position, node, error, message })
    )
  }

  return {
    onFailed,
    onBadRow: (source, row, { position, problem, raw }) => {
      const onError = source.kind._tag === "Source" ? source.kind.onError : "keep"
      row.values.fill(onError === "skip" ? Row.absent : Row.lost)
      counts.statsOf(source).failed++
      if (onError === "fail") fail(shared, `${position}: ${problem}`)
      if (onError === "skip") {
        rows.dropped++
        return Effect.void
      }
      row.failed = true
      return onFailed({
        source: source.name,
        row: row.index,
        position,
        node: source.name,
        error: "BadRow",
        message: `${position}: ${problem}`,
        input: raw
      })
    },
    onDefect: (place, row, input, defect) => {
      // A row that two outputs cannot represent has failed once.
      if (row.failed) return Effect.void
      counts.countDefect(place as Node.Any)
      row.failed = true
      return onFailed({
        source: place.domain.root,
        row: row.index,
        position: row.position,
        node: place.name,
        error: defect instanceof Error && "_tag" in defect ? String(defect._tag) : "Error",
        message: defect instanceof Error ? defect.message : String(defect),
        input
      })
    }
  }
}

const onRows = (shared: Shared): RunState["onRows"] => {
  const { broken, emit, options, replays, run } = shared
  return (source, rows) => {
    if (source.kind._tag === "Source") shared.rows.read += rows.length
    const failure = broken()
    if (failure !== undefined) fail(shared, failure)
    if (options.rowEvents !== true || !replays.isLast) return Effect.void
    return Effect.forEach(
      rows,
      (row) =>
        emit({
          _tag: "RowDone",
          run: run.name,
          source: source.name,
          row: row.index,
          status: row.failed ? "failed" : "ok"
        }),
      { discard: true }
    )
  }
}

/** Reports why a row is not reused, in the first replay only. */
const onMissing =
  ({ emit, replays, run }: Shared): NonNullable<RunState["onMissing"]> =>
  (node, row, journal, missing) =>
    replays.count > 1
      ? Effect.void
      : Effect.flatMap(journal.why(missing), (reason) =>
          emit({
            _tag: "RowMissing",
            run: run.name,
            node: node.name,
            row: row.index,
            position: row.position,
            reason
          })
        )
