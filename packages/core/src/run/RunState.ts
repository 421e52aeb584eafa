/**
 * What a run knows of itself while it goes on: counts, books, waits, and whether it has to stop.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as LayerEvent from "../client/LayerEvent.ts"
import type * as Suspension from "../client/Suspension.ts"
import type * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import type * as CascadeHooks from "../routing/CascadeHooks.ts"
import type * as Duration from "effect/Duration"
import type * as Batch from "../batch/Batch.ts"
import type * as Budget from "../ledger/Budget.ts"
import * as RunTotals from "../ledger/RunTotals.ts"
import * as Money from "../price/Money.ts"
import type * as RowSample from "../routing/tune/RowSample.ts"
import type * as FailedRow from "./FailedRow.ts"
import * as RowProgram from "./RowProgram.ts"
import * as RunEvent from "./RunEvent.ts"
import type * as RunRepo from "./RunRepo.ts"
import * as Waits from "./Waits.ts"

/** How a run goes; all of it may be left out. */
export interface Options {
  /** Goes on with an unfinished run, by its name: its rows and its books are its own. Default: a new run. */
  readonly resume?: string
  /**
   * With `resume`: only rows without a result are run. Where a step was edited since, the others keep what it gave in that run.
   * Default: `false`, an edited step runs for all rows.
   */
  readonly retry?: boolean
  /** What the store remembers of how the run was begun: the flow's file, and the command's options. */
  readonly record?: RunRepo.Options
  /** Equal for runs that write the same outputs: one of them may run at a time. Default: any number may. */
  readonly identity?: string
  /** When this ends no further row is begun; rows under way have `grace` to end, and are cut then. */
  readonly drain?: Effect.Effect<void>
  /** Default: 8 seconds. */
  readonly grace?: Duration.Input
  /** Says why a row is not reused from earlier work, with events `RowMissing`. */
  readonly explain?: boolean
  /** Has requests sent in batches, over what the flow's own stack says; `"off"`: asks all at once. */
  readonly batch?: Batch.Options | "off"
  /** Ends when batches are on their way (`waiting`): going on with the run collects them. Default: waits for them. */
  readonly detach?: boolean
  /** Most that the run may spend, over the flow's own budget. */
  readonly budget?: Budget.Limits
  /** Reads at most so many rows of each source; those that are only looked up, by the second side of a join, are read whole. */
  readonly limit?: number
  /** Takes these rows of each source alone; those that are only looked up are read whole. */
  readonly sample?: RowSample.RowSample
  /** Has a cascade ask every model for every row, and receives how each fared; nothing is reused from earlier work. */
  readonly trials?: (trial: CascadeHooks.Trial) => void
  /** Replaces outputs also by less than what a whole, real run has left there. Default: `false`, which refuses to. */
  readonly overwrite?: boolean
  /** `false`: the outputs are neither opened nor written. Default: `true`. */
  readonly outputs?: boolean
  /** Rows at once, instead of the flow's own number. */
  readonly concurrency?: number
  /** Values of the flow's parameters by name; checked against their schemas. */
  readonly parameters?: { readonly [name: string]: unknown }
  /** `false`: the exact cache is neither read nor written, and nothing of other runs is reused. */
  readonly cache?: boolean
  /** Receives the events of the run as they happen; the run waits for it. */
  readonly observe?: (event: RunEvent.RunEvent) => Effect.Effect<void>
  /** Whether `observe` wants an event for every row. Default: `false`. */
  readonly rowEvents?: boolean
  /** File for the failed rows; `false`: they are in the store and in the events alone. Default: `<flow>.errors.jsonl`. */
  readonly errorsFile?: string | false
}

export interface Reading {
  readonly size: number | undefined
  offset: number
  ended: boolean
}

export interface RunState extends RowProgram.Run {
  readonly tally: RunTotals.Tally
  /** How far each source has been read, in the unit of its size. */
  readonly readings: Map<Node.Any, Reading>
  readonly notice: (notice: LayerEvent.Notice) => void
  readonly emit: (event: RunEvent.RunEvent) => Effect.Effect<void>
  /** Why no further row is begun; `undefined` while the run goes on. */
  readonly stopped: () => RowProgram.Stop | undefined
  /** A row that its source could not read. */
  readonly onBadRow: (
    source: Node.Any,
    row: RowProgram.Row,
    bad: { readonly position: string; readonly problem: string; readonly raw: string }
  ) => Effect.Effect<void>
  /** A row that failed outside a step: a function of the author's threw, or an output has no form for it. */
  readonly onDefect: (
    place: Pick<Node.Any, "name" | "domain">,
    row: RowProgram.Row,
    input: unknown,
    defect: unknown
  ) => Effect.Effect<void>
  readonly onRows: (source: Node.Any, rows: ReadonlyArray<RowProgram.Row>) => Effect.Effect<void>
  readonly started: () => RunEvent.RunEvent
  readonly progress: (at: number) => typeof RunEvent.Progress.Type
  readonly finished: (end: {
    readonly at: number
    readonly stop: RowProgram.Stop | undefined
    readonly outputs: ReadonlyArray<{ readonly name: string; readonly rows: number }>
    /** What the store knows of answers that were reused by meaning, of packed prompts, and of routed requests. */
    readonly kept?: Pick<RunEvent.RunFinished, "reuse" | "packs" | "routes">
    readonly unkept?: boolean
  }) => RunEvent.RunFinished
  /** Lets rows be put down, to be gone through again when answers are there. */
  readonly usePasses: (standing: () => ReadonlyArray<Suspension.Standing>) => void
  /** Begins to go through all rows (anew): what was counted of them is counted again. */
  readonly beginPass: (last: boolean) => Effect.Effect<void>
  /** Rows of this pass that were put down. */
  readonly putDown: () => number
  /** Takes a stop back: there is something to be done before it. */
  readonly unstop: () => void
  /** Ends when the run is to stop. */
  readonly stopping: Effect.Effect<void>
  /** A source has given all its rows. */
  readonly onSourceEnd: (source: Node.Any) => void
  /** Gives the steps their journals. */
  readonly useJournals: (journals: RowProgram.Run["journalOf"]) => void
  /** Emits progress for ever. */
  readonly ticker: Effect.Effect<never>
}

const TICK = "200 millis"

export const make = (init: {
  readonly flow: Flow.Any
  readonly run: Pick<RunRepo.Run, "name" | "tries">
  readonly at: number
  readonly errors: FailedRow.ErrorsFile
  /** Why nothing more can be kept; `undefined` while all is well. */
  readonly broken: () => string | undefined
  /** What is left of the budget. */
  readonly left: () => Money.Money | undefined
  readonly options: Pick<Options, "limit" | "observe" | "rowEvents" | "explain">
  /** Forgets the failed rows that are kept of this run. */
  readonly clearFailures?: Effect.Effect<void>
}): RunState => {
  const { at: startedAt, broken, errors, flow, options, run } = init
  const id = run.name
  const { nodes } = flow.graph
  const freshStats = () => new Map<Node.Any, RowProgram.NodeStats>(nodes.map((node) => [node, RowProgram.noStats()]))
  let stats = freshStats()
  // An expansion makes its list in a row of the domain above: that is counted apart from the rows that come of it.
  const above = new Map<string, RowProgram.NodeStats>()
  const tally = RunTotals.make()
  const readings = new Map<Node.Any, Reading>()
  let stopped: RowProgram.Stop | undefined
  let stopping: Deferred.Deferred<void> = Deferred.makeUnsafe()
  const stop = (why: RowProgram.Stop): void => {
    stopped ??= why
    Deferred.doneUnsafe(stopping, Effect.void)
  }
  const fail = (message: string): void => stop({ kind: "failed", message })
  let standing: (() => ReadonlyArray<Suspension.Standing>) | undefined
  let parked: RowProgram.Parked | undefined
  let putDown = 0
  let passes = 0
  let isLastPass = true
  /** Rows of each source, and values of each node that were made, in the passes before. */
  const rowsBefore = new Map<Node.Any, number>()
  const madeBefore = new Map<string, number>()
  const told = new Set<string>()
  let journalOf: RowProgram.Run["journalOf"] = () => undefined
  let failedRows = 0
  let dropped = 0
  let read = 0
  const waits = Waits.make()

  const emit: RunState["emit"] = options.observe ?? (() => Effect.void)

  const onFailed: RunState["onFailed"] = (row) => {
    failedRows++
    if (failedRows > flow.stopAfterFailedRows) {
      fail(
        `${failedRows} rows failed, more than the ${flow.stopAfterFailedRows} that the flow allows (stopAfterFailedRows)`
      )
    }
    const { error, message, node, position, source } = row
    const place = `${node}\n${position}`
    if (parked !== undefined && told.has(place)) return errors.append(row)
    if (parked !== undefined) told.add(place)
    return Effect.andThen(
      errors.append(row),
      emit({ _tag: "RowFailed", run: id, source, row: row.row, position, node, error, message })
    )
  }

  const progressOf = (node: Node.Any): RunEvent.NodeProgress => {
    const { done, failed, reused, running, skipped } = stats.get(node)!
    const lists = above.get(node.name)
    const total = totalOf(node)
    return {
      name: node.name,
      kind: Node.kindOf(node),
      running: running + (lists?.running ?? 0),
      done,
      // What was made in an earlier pass is found again in this one.
      reused: Math.max(0, reused + (lists?.reused ?? 0) - (madeBefore.get(node.name) ?? 0)),
      failed: failed + (lists?.failed ?? 0),
      skipped: skipped + (lists?.skipped ?? 0),
      ...(total === undefined ? undefined : { total })
    }
  }

  /** Rows in all of a node whose rows are a source's, from the share of the source that was read. */
  const totalOf = (node: Node.Any): number | undefined => {
    if (node.domain.parent !== undefined) return undefined
    const source = nodes.find((other) => other.name === node.domain.root)!
    if (source.kind._tag !== "Source") return undefined
    const { done, failed } = stats.get(source)!
    const rows = done + failed
    const reading = readings.get(source)
    if (reading === undefined || rows === 0) return undefined
    if (reading.ended) return rows
    if (reading.size === undefined || reading.offset === 0) return undefined
    const total = Math.max(rows, Math.round((rows * reading.size) / reading.offset))
    return options.limit === undefined || !flow.graph.driving.has(source) ? total : Math.min(total, options.limit)
  }

  const progress = (at: number): typeof RunEvent.Progress.Type => {
    const sums = tally.total()
    const left = init.left()
    return {
      _tag: "Progress",
      run: id,
      milliseconds: at - startedAt,
      nodes: nodes.map(progressOf),
      spent: sums.spent,
      saved: RunTotals.saved(sums),
      ...(left === undefined ? undefined : { left }),
      answers: sums.answers,
      ...waits.standing(at),
      ...(standing === undefined ? undefined : { batches: sumOf(standing()) })
    }
  }

  return {
    id,
    statsOf: (node) => {
      const own = stats.get(node)
      if (own !== undefined) return own
      let lists = above.get(node.name)
      if (lists === undefined) above.set(node.name, (lists = RowProgram.noStats()))
      return lists
    },
    tally,
    readings,
    emit,
    stopped: () => stopped,
    stop,
    unstop: () => {
      stopped = undefined
      stopping = Deferred.makeUnsafe()
    },
    stopping: Effect.suspend(() => Deferred.await(stopping)),
    get parked() {
      return parked
    },
    putDown: () => putDown,
    usePasses: (get) => {
      standing = get
      parked = { onParked: () => void putDown++, booked: new Map(), failures: new Map() }
    },
    beginPass: (last) =>
      Effect.suspend(() => {
        isLastPass = last
        if (passes++ === 0) return Effect.void
        for (const node of nodes) {
          const made = stats.get(node)!.made + (above.get(node.name)?.made ?? 0)
          madeBefore.set(node.name, (madeBefore.get(node.name) ?? 0) + made)
        }
        stats = freshStats()
        above.clear()
        readings.clear()
        failedRows = dropped = read = putDown = 0
        return Effect.andThen(errors.restart, init.clearFailures ?? Effect.void)
      }),
    onSourceEnd: (source) => {
      const { done, failed } = stats.get(source)!
      const before = rowsBefore.get(source)
      if (before !== undefined && done + failed < before) {
        fail(
          `source ${source.name} gave ${before} rows, and then ${done + failed}: while rows wait for batches it is read more than once, so it must give the same again (a file, an array; not a generator)`
        )
      }
      rowsBefore.set(source, done + failed)
    },
    journalOf: (node) => journalOf(node),
    useJournals: (journals) => {
      journalOf = journals
    },
    onMissing:
      options.explain !== true
        ? undefined
        : (node, row, journal, missing) =>
            passes > 1
              ? Effect.void
              : Effect.flatMap(journal.why(missing), (reason) =>
                  emit({ _tag: "RowMissing", run: id, node: node.name, row: row.index, position: row.position, reason })
                ),
    onFailed,
    onDropped: () => {
      dropped++
    },
    onBadRow: (source, row, { position, problem, raw }) => {
      const onError = source.kind._tag === "Source" ? source.kind.onError : "keep"
      row.values.fill(RowProgram.absent)
      stats.get(source)!.failed++
      if (onError === "fail") fail(`${position}: ${problem}`)
      if (onError === "skip") {
        dropped++
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
      // A row that two outputs cannot hold has failed once.
      if (row.failed) return Effect.void
      // An output has no counts.
      const own = stats.get(place as Node.Any)
      if (own !== undefined) own.failed++
      row.failed = true
      return onFailed({
        source: place.domain.root,
        row: row.index,
        position: row.position,
        node: place.name,
        error: "Error",
        message: defect instanceof Error ? defect.message : String(defect),
        input
      })
    },
    onRows: (source, rows) => {
      if (source.kind._tag === "Source") read += rows.length
      const failure = broken()
      if (failure !== undefined) fail(failure)
      return options.rowEvents === true && isLastPass
        ? Effect.forEach(
            rows,
            (row) =>
              emit({
                _tag: "RowDone",
                run: id,
                source: source.name,
                row: row.index,
                status: row.failed ? "failed" : "ok"
              }),
            { discard: true }
          )
        : Effect.void
    },
    notice: waits.note,
    started: () => ({
      _tag: "RunStarted",
      run: id,
      flow: flow.name,
      at: startedAt,
      try: run.tries,
      nodes: graphOf(flow)
    }),
    progress,
    finished: ({ at, kept, outputs, stop, unkept }) => {
      const sums = tally.total()
      const batches = standing === undefined ? undefined : sumOf(standing())
      return {
        _tag: "RunFinished",
        run: id,
        flow: flow.name,
        status: stop === undefined ? "done" : stop.kind,
        ...(stop === undefined ? undefined : { failure: stop.message }),
        at,
        milliseconds: at - startedAt,
        try: run.tries,
        rows: { read, failed: failedRows, dropped },
        nodes: nodes.map(progressOf),
        calls: {
          answers: sums.answers,
          attempts: sums.attempts,
          failedAttempts: sums.failedAttempts,
          failedCost: sums.failedSpent,
          ...(sums.reaskSpent === Money.zero ? undefined : { reaskCost: sums.reaskSpent })
        },
        ...moneyOf(sums),
        steps: tally.lines().map((line) => ({
          step: line.step,
          provider: line.provider,
          model: line.model,
          ...(line.serviceTier === undefined ? undefined : { serviceTier: line.serviceTier }),
          answers: line.answers,
          attempts: line.attempts,
          failedAttempts: line.failedAttempts,
          ...moneyOf(line)
        })),
        outputs,
        ...(errors.count() === 0 || errors.path === undefined ? undefined : { errorsFile: errors.path }),
        ...(unkept === true ? { unkept } : undefined),
        waited: waits.standing(at).waited,
        ...kept,
        ...(batches === undefined || batches.open === 0 ? undefined : { batches })
      }
    },
    ticker:
      options.observe === undefined
        ? Effect.never
        : Effect.forever(
            Effect.andThen(
              Effect.sleep(TICK),
              Effect.flatMap(Clock.currentTimeMillis, (at) => emit(progress(at)))
            )
          )
  }
}

/** Several layers' batches together. */
const sumOf = (all: ReadonlyArray<Suspension.Standing>): RunEvent.BatchStanding => {
  const sum = (f: (one: Suspension.Standing) => number) => all.reduce((total, one) => total + f(one), 0)
  const sent = all.flatMap(({ sentAt }) => (sentAt === undefined ? [] : [sentAt]))
  return {
    open: sum(({ batches }) => batches),
    queued: sum(({ queued }) => queued),
    running: sum(({ running }) => running),
    back: sum(({ back }) => back),
    failed: sum(({ failed }) => failed),
    ...(sent.length === 0 ? undefined : { sentAt: Math.min(...sent) }),
    expected: Money.sum(all.map(({ expected }) => expected))
  }
}

/** The nodes of a flow as data. */
export const graphOf = (flow: Flow.Any) =>
  flow.graph.nodes.map((node) => ({
    name: node.name,
    kind: Node.kindOf(node),
    inputs: Node.inputsOf(node).map((input) => input.name)
  }))

const moneyOf = (sums: RunTotals.Sums) => ({
  tokens: RunEvent.tokensOf(sums.usage),
  cost: sums.spent,
  ...(sums.fees === Money.zero ? undefined : { fees: sums.fees }),
  unpriced: sums.unpriced,
  estimatedCost: sums.estimatedSpent,
  estimatedCalls: sums.estimated,
  baseline: RunTotals.baseline(sums),
  savings: sums.savings
})
