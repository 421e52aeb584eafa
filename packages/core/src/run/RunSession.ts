/**
 * The state of a run from its start: its files, its record in the store, its ledger, and its options.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as SqlError from "effect/sql/SqlError"
import type * as Suspension from "../client/Suspension.ts"
import * as Simulation from "../client/Simulation.ts"
import * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import * as Budget from "../ledger/Budget.ts"
import type * as BudgetAccount from "../ledger/BudgetAccount.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as Money from "../price/Money.ts"
import * as Pricing from "../price/Pricing.ts"
import * as Store from "../store/Store.ts"
import * as SharedBudget from "../work/SharedBudget.ts"
import * as WorkQueue from "../work/WorkQueue.ts"
import * as EarlierTry from "./EarlierTry.ts"
import * as FailedRow from "./FailedRow.ts"
import * as FlowContext from "./FlowContext.ts"
import * as RunLedger from "./RunLedger.ts"
import * as RunEvent from "./RunEvent.ts"
import * as RunFiles from "./RunFiles.ts"
import type * as RunRepo from "./RunRepo.ts"
import type * as RunOptions from "./RunOptions.ts"
import * as RunSummary from "./RunSummary.ts"
import * as RunState from "./RunState.ts"

export interface RunSession {
  readonly flow: Flow.Any
  readonly options: RunOptions.RunOptions
  readonly simulation: Simulation.Simulation | undefined
  readonly host: Context.Context<Flow.Host>
  readonly parameters: ReadonlyMap<string, unknown>
  readonly store: Store.Service
  readonly pricing: Pricing.Service
  readonly budget: Budget.Budget | undefined
  /** Gives back what this process was granted of a shared budget and has not spent; with `ifIdle`, unless it is spending. */
  readonly giveBack: (when?: "ifIdle") => Effect.Effect<void>
  /** What was left of the budget when the run started or was resumed, for its workers. */
  readonly rest: ReadonlyArray<BudgetAccount.Rest>
  readonly expected: ExpectedUsage.ExpectedUsage
  readonly files: RunFiles.RunFiles
  readonly intent: RunFiles.Intent
  readonly run: RunRepo.StoredRun
  readonly at: number
  readonly errors: FailedRow.ErrorsFile
  readonly state: RunState.RunState
  readonly ledger: RunLedger.RunLedger
  /** The last failed row of earlier attempts: failures up to it are deleted when this attempt has completed. */
  readonly earlier: number
  /** The positions of rows that failed before, when only those are run. */
  readonly failedBefore: ReadonlySet<string> | undefined
  /** The summary of the previous attempt. */
  readonly before: RunEvent.RunFinished | undefined
  /** Layers that suspend rows until their answers are there. */
  readonly holders: Array<Suspension.Holder>
}

/**
 * Validates the numbers of a run, and compares its files before anything is opened or created: sources exist, and no
 * output is another file of the run.
 */
export const check = Effect.fnUntraced(function* (
  given: Flow.Any,
  options: Pick<
    RunOptions.RunOptions,
    "parameters" | "limit" | "concurrency" | "errorsFile" | "record" | "outputs" | "sources"
  > & {
    /** The SQLite file of the store, and other files that nothing may replace. */
    readonly stores?: ReadonlyArray<string> | undefined
    /** Whether something other than an output, such as events, is written to standard output. */
    readonly stdout?: boolean | undefined
  }
) {
  for (const name of ["limit", "concurrency"] as const) {
    const count = options[name]
    if (count !== undefined && !(Number.isSafeInteger(count) && count >= 1)) {
      return yield* new Node.FlowError({ message: `${name}: ${count} is not an integer of 1 or more` })
    }
  }
  const { errorsFile, outputs, record, sources = [], stdout, stores } = options
  const simulate = record?.simulate === true
  const flow = simulate ? Flow.simulated(given) : given
  const parameters = yield* FlowContext.decodeParameters(flow, options.parameters ?? {})
  const other = sources.find(({ source }) => !flow.graph.nodes.includes(source))
  if (other !== undefined) {
    return yield* new Node.FlowError({ message: `flow ${flow.name} does not read ${other.source.name}` })
  }
  return yield* RunFiles.check(flow, {
    parameters,
    errorsFile,
    stdout,
    stores,
    simulate,
    given: new Set(sources.map(({ source }) => source.name)),
    file: record?.file,
    outputs
  })
})

/** What a run has in common with its workers. */
const common = Effect.fnUntraced(function* (given: Flow.Any, options: RunOptions.RunOptions, simulate: boolean) {
  const flow = simulate ? Flow.simulated(given) : given
  const parameters = yield* FlowContext.decodeParameters(flow, options.parameters ?? {})
  const host = yield* Effect.context<Flow.Host>()
  const pricing = yield* Pricing.override(Context.get(host, Pricing.Pricing), flow.prices)
  return { flow, parameters, host, store: Context.get(host, Store.Store), pricing }
})

/** Opens a run: claims it in the store or creates it, and loads what earlier attempts left. */
export const open = Effect.fnUntraced(function* (
  given: Flow.Any,
  options: RunOptions.RunOptions,
  simulation: Simulation.Simulation | undefined
) {
  const simulate = simulation !== undefined
  const { flow, host, parameters, pricing, store } = yield* common(given, options, simulate)
  const own = yield* budgetOf(flow, options, pricing)
  if (options.workers === true) yield* checkWorkers(store, options)
  const record = { ...options.record, ...(simulate ? { simulate } : undefined) }
  const files = yield* check(flow, { ...options, record, stores: store.file === undefined ? [] : [store.file] })
  const intent: RunFiles.Intent = { limit: options.limit, simulate, overwrite: options.overwrite === true }
  yield* RunFiles.protect(flow, files, store, intent)
  yield* apart(store, simulate)
  const run = yield* begin(flow, { ...options, record }, store)
  const { before, earlier, failedBefore } = yield* triesBefore(run, options, store)
  const isShared = options.workers === true && store.database.server !== undefined
  const shared = isShared ? yield* sharedBudget(store, limitsOf(flow, options), pricing, run) : undefined
  const budget = isShared ? shared?.budget : own
  let spentBefore = Money.zero
  const at = yield* Clock.currentTimeMillis
  yield* Pricing.sayOld(pricing, at)
  // A sample leaves the errors file of the last run as it is.
  const isSample = options.outputs === false && options.errorsFile === undefined
  const errors = yield* FailedRow.open(isSample ? undefined : files.errors, (row) =>
    store.rows.fail(run.id, FailedRow.toStored(row))
  )
  const state = RunState.make({
    flow,
    run,
    parameters,
    at,
    errors,
    prices: pricing.table,
    broken: store.failure,
    left: () => {
      const left = own?.left()
      return !isShared || left === undefined ? left : left - (state.totals.total().spent - spentBefore)
    },
    options,
    // A group of writes inserts rows before it runs statements, so deletions are committed first.
    clearFailures: Effect.suspend(() => {
      store.rows.clearFailures(run.id, earlier)
      return Effect.ignore(store.commit)
    })
  })
  const recorder = yield* RunLedger.open(run, store, state, { budget: own, isShared })
  spentBefore = state.totals.total().spent
  const expected = ExpectedUsage.make(Effect.orElseSucceed(store.ledger.outputs(flow.name), () => []))
  if (budget !== undefined) yield* expected.seeded
  const session: RunSession = {
    flow,
    options,
    simulation,
    host,
    parameters,
    store,
    pricing,
    budget,
    giveBack: shared?.giveBack ?? (() => Effect.void),
    rest: isShared ? yield* restOf(store, limitsOf(flow, options), pricing, run) : [],
    expected,
    files,
    intent,
    run,
    at,
    errors,
    state,
    ledger: recorder,
    earlier,
    failedBefore,
    before,
    holders: []
  }
  return session
})

/** Why batches and workers exclude each other. */
export const NO_BATCHES = "batches are sent by one process: run without workers, or online"

/** Refuses workers before a run is claimed or created. */
const checkWorkers = ({ database, name }: Store.Service, { batch, retry }: RunOptions.RunOptions) =>
  database.server === undefined
    ? new Node.FlowError({
        message: `workers need a store that they share, and ${name} is of this machine: name one on PostgreSQL`
      })
    : retry === true
      ? new Node.FlowError({ message: "a retry of failed rows runs without workers" })
      : batch !== undefined && batch !== "off"
        ? new Node.FlowError({ message: NO_BATCHES })
        : Effect.void

/** Opens a run of another process, to compute some of its rows. */
export const join = Effect.fnUntraced(function* (
  given: Flow.Any,
  options: RunOptions.RunOptions,
  run: RunRepo.StoredRun,
  /** Receives failed rows. */
  failed: (row: FailedRow.FailedRow) => void,
  limits: Budget.Options | undefined
) {
  const simulation = yield* Simulation.Simulation
  const { flow, host, parameters, pricing, store } = yield* common(given, options, simulation !== undefined)
  yield* apart(store, simulation !== undefined)
  // The run reads the sources, and their files may be on its machine alone.
  const sources = flow.graph.nodes.flatMap((source) =>
    source.kind._tag === "Source" ? [{ source, open: source.kind.open }] : []
  )
  const files = yield* check(flow, { ...options, sources, outputs: false, errorsFile: false })
  const at = yield* Clock.currentTimeMillis
  const errors = yield* FailedRow.open(undefined, failed)
  const state = RunState.make({
    flow,
    run,
    parameters,
    at,
    errors,
    prices: pricing.table,
    broken: store.failure,
    left: () => undefined,
    options,
    dropped: failed
  })
  const shared = yield* sharedBudget(store, limits, pricing, run)
  const session: RunSession = {
    flow,
    options,
    simulation,
    host,
    parameters,
    store,
    pricing,
    budget: shared?.budget,
    giveBack: shared?.giveBack ?? (() => Effect.void),
    rest: [],
    expected: ExpectedUsage.make(Effect.orElseSucceed(store.ledger.outputs(flow.name), () => [])),
    files,
    intent: { limit: undefined, simulate: simulation !== undefined, overwrite: false },
    run,
    at,
    errors,
    state,
    ledger: yield* RunLedger.open(run, store, state, { isShared: true, isWorker: true }),
    earlier: 0,
    failedBefore: undefined,
    before: undefined,
    holders: []
  }
  return session
})

/** What earlier attempts of the run left. */
const triesBefore = Effect.fnUntraced(function* (
  run: RunRepo.StoredRun,
  options: RunOptions.RunOptions,
  store: Store.Service
) {
  const unusable = Effect.mapError((error: SqlError.SqlError) => Store.unusable(store.name, error))
  return {
    earlier: run.tries === 1 ? 0 : yield* unusable(store.rows.lastFailure(run.id)),
    failedBefore: options.retry === true ? yield* unusable(EarlierTry.failedPlaces(store, run.id)) : undefined,
    before: run.tries === 1 ? undefined : Option.getOrUndefined(RunEvent.summaryFromJson(run.summary))
  }
})

/** Real and simulated runs have separate stores, so no answer of one is found by the other. */
const apart = Effect.fnUntraced(function* (store: Store.Service, simulate: boolean) {
  if (store.inMemory) return
  const isSimulated = yield* Effect.mapError(store.runs.isSimulated, (error) => Store.unusable(store.name, error))
  if (isSimulated === undefined || isSimulated === simulate) return
  return yield* new Node.FlowError({
    message: simulate
      ? `${store.name} holds real runs, and simulated runs have a separate store: omit --store, or name another`
      : `${store.name} holds simulated runs, whose answers a real run must not find: omit --store, or name another`
  })
})

const begin = Effect.fnUntraced(function* (flow: Flow.Any, options: RunOptions.RunOptions, store: Store.Service) {
  const claimed =
    options.resume === undefined
      ? store.runs.create({
          flow: flow.name,
          identity: options.identity,
          options: options.record ?? {},
          graph: RunSummary.graphOf(flow)
        })
      : Effect.flatMap(store.runs.find(options.resume), (run) => store.runs.claim(run))
  return yield* Effect.mapError(claimed, (error) =>
    error._tag === "RunError" ? error : Store.unusable(store.name, error)
  )
})

/** The limits of a run; `undefined` without any. */
export const limitsOf = (flow: Flow.Any, options: RunOptions.RunOptions): Budget.Options | undefined => {
  const limits = { ...flow.budget, ...options.budget }
  return Object.keys(limits).length === 0 ? undefined : limits
}

export const makeBudget = (
  limits: Budget.Options | undefined,
  pricing: Pricing.Service,
  grants?: BudgetAccount.Grants
) =>
  limits === undefined
    ? Effect.undefined
    : Effect.try({
        try: () => Budget.make(limits, pricing, grants),
        catch: (error) => error as Budget.BudgetError
      })

const budgetOf = (flow: Flow.Any, options: RunOptions.RunOptions, pricing: Pricing.Service) =>
  makeBudget(limitsOf(flow, options), pricing)

/** What is left of a budget for the processes of a run, also when those of an earlier attempt still have calls in flight. */
const restOf = Effect.fnUntraced(function* (
  store: Store.Service,
  limits: Budget.Options | undefined,
  pricing: Pricing.Service,
  { id, tries }: RunRepo.StoredRun
) {
  const budget = yield* makeBudget(limits, pricing)
  if (budget === undefined) return []
  const { server } = store.database
  const spent =
    tries === 1 || server === undefined
      ? []
      : yield* Effect.mapError(
          Effect.andThen(WorkQueue.make(store.database, server).close(id), store.ledger.committed(id)),
          (error) => Store.unusable(store.name, error)
        )
  for (const { model, money, step, tokens } of spent) budget.spend(step, model, money, tokens)
  return budget.rest()
})

/** A budget of which this process spends what it is granted. */
const sharedBudget = (
  { database }: Store.Service,
  limits: Budget.Options | undefined,
  pricing: Pricing.Service,
  { id, tries }: RunRepo.StoredRun
) => {
  const grants = SharedBudget.grants(database, { run: id, attempt: tries })
  return Effect.map(makeBudget(limits, pricing, grants), (budget) =>
    budget === undefined
      ? undefined
      : {
          budget,
          giveBack: (when?: "ifIdle") =>
            Effect.suspend(() =>
              when === undefined || budget.isIdle() ? grants.giveBack(budget.release) : Effect.void
            )
        }
  )
}
