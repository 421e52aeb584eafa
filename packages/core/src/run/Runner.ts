/**
 * Runs a flow: streams the rows of every source through their steps to the outputs.
 *
 * **Details** Memory is bounded whatever the number of rows: a window of rows for each source, the state of groups, and
 * the second side of joins. Outputs are in the order of the source. Failed rows are kept, and the others go on.
 *
 * **Example** (running a flow from code)
 *
 * ```ts
 * import { Flow, Runner, Sink, Source } from "@pipe/core"
 * import { NodeHost } from "@pipe/plugins"
 * import { Effect } from "effect"
 *
 * const numbers = Source.fromIterable("numbers", [1, 2, 3])
 * const doubled = Flow.map("doubled", { n: numbers }, ({ n }) => n * 2)
 * const out: Array<number> = []
 *
 * const flow = Flow.make("double", {
 *   outputs: [Sink.forEach("collect", doubled, (n) => Effect.sync(() => out.push(n)))]
 * })
 *
 * await Effect.runPromise(Runner.run(flow).pipe(Effect.provide(NodeHost.layerMemory)))
 * out // => [2, 4, 6]
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Cache from "../cache/Cache.ts"
import * as Exchange from "../client/Exchange.ts"
import * as LayerEvent from "../client/LayerEvent.ts"
import * as Attempt from "../client/Attempt.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import * as Simulation from "../client/Simulation.ts"
import * as Suspension from "../client/Suspension.ts"
import type * as Closure from "../closure/Closure.ts"
import * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import * as Parameter from "../flow/Parameter.ts"
import * as Budget from "../ledger/Budget.ts"
import * as Ledger from "../ledger/Ledger.ts"
import type * as LedgerEntry from "../ledger/LedgerEntry.ts"
import * as LedgerRepo from "../ledger/LedgerRepo.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as Usage from "../model/Usage.ts"
import * as Pack from "../pack/Pack.ts"
import * as Money from "../price/Money.ts"
import * as Pricing from "../price/Pricing.ts"
import * as StrategyResults from "../report/StrategyResults.ts"
import * as CascadeHooks from "../routing/CascadeHooks.ts"
import * as Store from "../store/Store.ts"
import type * as Domains from "./Domains.ts"
import * as EarlierTry from "./EarlierTry.ts"
import * as ExchangeSample from "./ExchangeSample.ts"
import * as FailedRow from "./FailedRow.ts"
import * as FlowContext from "./FlowContext.ts"
import * as Journal from "./Journal.ts"
import * as Replay from "./Replay.ts"
import * as RunEvent from "./RunEvent.ts"
import * as RunFiles from "./RunFiles.ts"
import type * as RunRepo from "./RunRepo.ts"
import * as RunState from "./RunState.ts"

export type { Options } from "./RunState.ts"

/** A run that stopped before its end: its summary says why. What was finished is kept, and it can be gone on with. */
export class RunFailed extends Schema.TaggedError<RunFailed>()("RunFailed", {
  message: Schema.String,
  summary: RunEvent.RunFinished
}) {}

/** What keeps a run from starting. */
export type StartError = Node.FlowError | Pricing.PriceError | RunRepo.RunError | Budget.BudgetError | Store.StoreError

/**
 * Checks the numbers of a run, and compares its files before anything is opened or made: what it reads is there, and nothing that it writes is another of
 * them. `run` does it too; a program that opens a store for the run does it first.
 */
export const check = Effect.fnUntraced(function* (
  given: Flow.Any,
  options: Pick<RunState.Options, "parameters" | "limit" | "concurrency" | "errorsFile" | "record" | "outputs"> & {
    /** The SQLite file of the store, and others that nothing may replace. */
    readonly stores?: ReadonlyArray<string> | undefined
    /** Something beside the outputs is written to standard output, such as events. */
    readonly stdout?: boolean | undefined
  }
) {
  for (const name of ["limit", "concurrency"] as const) {
    const count = options[name]
    if (count !== undefined && !(Number.isSafeInteger(count) && count >= 1)) {
      return yield* new Node.FlowError({ message: `${name}: ${count} is not a whole number of 1 or more` })
    }
  }
  const { errorsFile, outputs, record, stdout, stores } = options
  const simulate = record?.simulate === true
  const flow = simulate ? Flow.simulated(given) : given
  const parameters = yield* FlowContext.decodeParameters(flow, options.parameters ?? {})
  return yield* RunFiles.check(flow, { parameters, errorsFile, stdout, stores, simulate, file: record?.file, outputs })
})

/** Runs a flow to its end and returns the summary, also when rows failed. */
export const run = <E>(
  given: Flow.Flow<E>,
  options: RunState.Options = {}
): Effect.Effect<RunEvent.RunFinished, RunFailed | StartError, Flow.Host> =>
  Effect.scoped(
    Effect.gen(function* () {
      const simulation = yield* Simulation.Simulation
      const flow = simulation === undefined ? given : Flow.simulated(given)
      const parameters = yield* FlowContext.decodeParameters(flow, options.parameters ?? {})
      const host = yield* Effect.context<Flow.Host>()
      const store = Context.get(host, Store.Store)
      const pricing = yield* Pricing.override(Context.get(host, Pricing.Pricing), flow.prices)
      const budget = yield* budgetOf(flow, options, pricing)
      const simulate = simulation !== undefined
      const record = { ...options.record, ...(simulate ? { simulate } : undefined) }
      const files = yield* check(flow, { ...options, record, stores: store.file === undefined ? [] : [store.file] })
      const intent: RunFiles.Intent = { limit: options.limit, simulate, overwrite: options.overwrite === true }
      yield* RunFiles.protect(flow, files, store, intent)
      yield* apart(store, simulate)
      const begun = yield* begin(flow, { ...options, record }, store)
      // Those of earlier tries are forgotten when this one has come to its end.
      const earlier =
        begun.tries === 1
          ? 0
          : yield* Effect.mapError(store.rows.lastFailure(begun.id), (error) => Store.unusable(store.name, error))
      const failedBefore =
        options.retry === true
          ? yield* Effect.mapError(EarlierTry.failedPlaces(store, begun.id), (error) =>
              Store.unusable(store.name, error)
            )
          : undefined
      const before = begun.tries === 1 ? undefined : Option.getOrUndefined(RunEvent.summaryFromJson(begun.summary))
      const at = yield* Clock.currentTimeMillis
      // A sample leaves the errors file of the last run as it is.
      const isSample = options.outputs === false && options.errorsFile === undefined
      const errors = yield* FailedRow.open(isSample ? undefined : files.errors, (row) =>
        store.rows.fail(begun.id, FailedRow.toStored(row))
      )
      const state = RunState.make({
        flow,
        run: begun,
        at,
        errors,
        broken: store.failure,
        left: () => budget?.left(),
        options,
        // A group of writes has its rows before its statements: what is deleted must be gone before rows come.
        clearFailures: Effect.suspend(() => {
          store.rows.clearFailures(begun.id, earlier)
          return Effect.ignore(store.commit)
        })
      })
      const books = yield* openBooks(begun, store, state, budget)
      // Whatever happens to this fiber, the run does not stay behind as running.
      let ended = false
      yield* Effect.addFinalizer(() =>
        ended
          ? Effect.void
          : Effect.ignore(
              Effect.flatMap(Clock.currentTimeMillis, (at) => {
                const summary = state.finished({
                  at,
                  stop: { kind: "interrupted", message: "interrupted" },
                  outputs: []
                })
                return Effect.andThen(
                  store.runs.finish(begun, { status: "interrupted", at, summary: RunEvent.summaryToJson(summary) }),
                  state.emit(summary)
                )
              })
            )
      )
      const expected = ExpectedUsage.make(Effect.orElseSucceed(store.ledger.outputs(flow.name), () => []))
      if (budget !== undefined) yield* expected.seeded
      const exchanges = ExchangeSample.make(store.exchanges, begun.id)
      const settings = yield* FlowContext.settings(flow)
      const context = host.pipe(
        Context.add(Pricing.Pricing, pricing),
        Context.add(Parameter.Values, parameters),
        Context.add(ModelSettings.ModelSettings, settings),
        Context.add(Ledger.Book, books.record),
        Context.add(Ledger.Calls, books.calls),
        // What is kept in memory alone nobody can look at later.
        Context.add(Exchange.Observer, store.inMemory ? undefined : exchanges.observe),
        Context.add(Attempt.Guard, budget?.guard),
        Context.add(ExpectedUsage.ExpectedUsage, expected),
        Context.add(LayerEvent.Notice, state.notice),
        Context.add(Suspension.Run, {
          id: begun.id,
          flow: flow.name,
          startedAt: begun.startedAt,
          scope: options.cache === false ? begun.name : "",
          register: (holder) => void holders.push(holder),
          hold: (held) => budget?.hold(held) ?? (() => {}),
          count: books.count
        }),
        Context.add(Cache.Mode, options.cache === false ? ("off" as const) : ("on" as const)),
        Context.add(CascadeHooks.Trials, options.trials),
        Context.add(Simulation.Own, flow.simulate)
      )
      yield* state.emit(state.started())
      const holders: Array<Suspension.Holder> = []
      let layers: ReadonlyArray<ModelClient.LayerInfo> = []
      const main = Effect.gen(function* () {
        const closures = yield* FlowContext.closures(flow)
        const steps = FlowContext.stepKeys(flow, { settings, parameters, closures })
        const { client, context } = yield* FlowContext.services(flow, {
          batch: options.batch,
          steps,
          closures,
          simulation: ownAnswers(simulation, flow, closures, begun.name)
        })
        layers = client?.layers ?? []
        if (!simulate && !store.inMemory && layers.some(({ isSimulated }) => isSimulated === true)) {
          return yield* new Node.FlowError({
            message: `the flow's stack has a simulator, whose answers must not stand among real ones in ${store.name}: take it out and run with --simulate`
          })
        }
        const journal: Journal.Options = {
          store,
          flow: flow.name,
          run: begun.id,
          at,
          environment: FlowContext.environment(flow, { settings, parameters, layers, closures }),
          client,
          reuse: options.cache !== false,
          keep: true,
          retry: failedBefore === undefined ? undefined : (position) => failedBefore.has(position)
        }
        if (options.trials === undefined) state.useJournals((node) => Journal.forNode(node, journal))
        closures.close()
        const notReused = options.trials === undefined ? FlowContext.incomparable(flow, closures, layers) : []
        yield* Effect.forEach(
          [...FlowContext.unserved(flow, client), ...notReused],
          (text) => Effect.logWarning(text),
          { discard: true }
        )
        return yield* Effect.provideContext(
          Replay.run(flow, state, holders, {
            ...options,
            problemOf: (rowsOf) =>
              Effect.suspend(() => {
                const lost =
                  intent.overwrite || before === undefined ? undefined : EarlierTry.lostRows(flow, before, state)
                return lost === undefined
                  ? RunFiles.problemOf(flow, files, store, intent, rowsOf)
                  : Effect.succeed(lost)
              }),
            packs: ModelClient.hasLayer(client?.layers, Pack.NAME)
          }),
          context as Context.Context<unknown>
        )
      })
      const heartbeat = Effect.forever(Effect.andThen(Effect.sleep("5 seconds"), store.runs.heartbeat(begun)))
      const drain =
        options.drain === undefined
          ? Effect.never
          : Effect.andThen(
              options.drain,
              Effect.andThen(
                Effect.sync(() => state.stop({ kind: "interrupted", message: "interrupted" })),
                Effect.sleep(options.grace ?? "8 seconds")
              )
            )
      const exit = yield* Effect.exit(
        Effect.raceFirst(
          Effect.raceFirst(Effect.provideContext(main, context), Effect.raceFirst(state.ticker, heartbeat)),
          Effect.as(drain, [])
        ) as Effect.Effect<ReadonlyArray<Domains.Written>, unknown, Scope.Scope>
      )
      if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) && state.stopped() === undefined) {
        return yield* Effect.interrupt
      }
      const stop =
        state.stopped()
        ?? (Exit.isFailure(exit)
          ? { kind: "failed" as const, message: FailedRow.describe(exit.cause).message }
          : undefined)
      const kept = yield* StrategyResults.sums(store, begun.id, layers)
      yield* Effect.forEach(StrategyResults.broken(kept), (text) => Effect.logWarning(text), { discard: true })
      const finished = state.finished({
        at: yield* Clock.currentTimeMillis,
        stop,
        outputs: Exit.isSuccess(exit) ? exit.value.map(({ rows, sink }) => ({ name: sink.name, rows })) : [],
        kept,
        unkept: store.inMemory || store.failure() !== undefined
      })
      const summary = yield* withFailedRows(finished, store, begun.id, earlier)
      ended = true
      exchanges.end()
      if (earlier > 0) {
        store.rows.forgetFailures(begun.id, earlier, stop === undefined ? undefined : "again")
        // Those of the try before that were not reached again are still failed rows.
        if (stop !== undefined)
          yield* Effect.ignore(Effect.andThen(store.commit, errors.rewrite(store.rows.failures(begun.id))))
      }
      if (stop === undefined && Exit.isSuccess(exit)) {
        yield* errors.allWell
        const written = new Map(exit.value.map(({ rows, sink }) => [sink, rows]))
        yield* Effect.ignore(
          RunFiles.remember(
            files,
            store,
            {
              flow: flow.name,
              name: begun.name,
              read: EarlierTry.readOf(flow, summary),
              rowsOf: (sink) => written.get(sink)
            },
            intent
          )
        )
      }
      if (holders.length > 0 && summary.status !== "waiting") {
        yield* Effect.ignore(store.batches.endRun(begun.id, summary.status === "done"))
      }
      const written = yield* Effect.result(
        store.runs.finish(begun, {
          status: summary.status,
          at: summary.at,
          // What an earlier try has read is still to be given again.
          summary: RunEvent.summaryToJson(
            stop !== undefined
              && before !== undefined
              && EarlierTry.readOf(flow, summary) < EarlierTry.readOf(flow, before)
              ? { ...summary, rows: before.rows, nodes: before.nodes }
              : summary
          )
        })
      )
      if (written._tag === "Failure") {
        yield* Effect.logWarning(
          `${store.name} cannot be written (${Store.messageOf(written.failure)}): what came last of this run is not kept`
        )
      }
      yield* state.emit(state.progress(summary.at))
      yield* state.emit(summary)
      return stop === undefined ? summary : yield* new RunFailed({ message: stop.message, summary })
    })
  )

/** Real and simulated runs have stores of their own: no answer of one is found by the other. */
const apart = Effect.fnUntraced(function* (store: Store.Service, simulate: boolean) {
  if (store.inMemory) return
  const isSimulated = yield* Effect.mapError(store.runs.isSimulated, (error) => Store.unusable(store.name, error))
  if (isSimulated === undefined || isSimulated === simulate) return
  return yield* new Node.FlowError({
    message: simulate
      ? `${store.name} holds real runs, and simulated ones have a store of their own: leave --store out, or name another`
      : `${store.name} holds simulated runs, whose answers a real run must not find: leave --store out, or name another`
  })
})

/** The simulation with the flow's own answers as a part of it. */
const ownAnswers = (
  simulation: Simulation.Simulation | undefined,
  { simulate }: Flow.Any,
  closures: Closure.Closures,
  run: string
): Simulation.Simulation | undefined =>
  simulation === undefined || simulate === undefined
    ? simulation
    : { ...simulation, identity: `${simulation.identity}\n${closures.textOf(simulate) ?? run}` }

const begin = Effect.fnUntraced(function* (flow: Flow.Any, options: RunState.Options, store: Store.Service) {
  const claimed =
    options.resume === undefined
      ? store.runs.create({
          flow: flow.name,
          identity: options.identity,
          options: options.record ?? {},
          graph: RunState.graphOf(flow)
        })
      : Effect.flatMap(store.runs.find(options.resume), (run) => store.runs.claim(run))
  return yield* Effect.mapError(claimed, (error) =>
    error._tag === "RunError" ? error : Store.unusable(store.name, error)
  )
})

const budgetOf = (flow: Flow.Any, options: RunState.Options, pricing: Pricing.Service) => {
  const limits = { ...flow.budget, ...options.budget }
  return Object.keys(limits).length === 0
    ? Effect.undefined
    : Effect.try({
        try: () => Budget.make(limits, pricing),
        catch: (error) => error as Budget.BudgetError
      })
}

/** With what the rows that failed have cost, where the store can say it. */
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

/** The books of a run: those of its earlier tries, and what comes. */
const openBooks = Effect.fnUntraced(function* (
  run: RunRepo.Run,
  store: Store.Service,
  state: RunState.RunState,
  budget: Budget.Budget | undefined
) {
  const { ledger } = store
  const first = LedgerRepo.firstCall(run.tries)
  let number = first
  if (run.tries > 1) {
    const sums = yield* Effect.mapError(Effect.andThen(ledger.settle(run.id, first), ledger.sums(run.id)), (error) =>
      Store.unusable(store.name, error)
    )
    for (const sum of sums) state.tally.restore(sum)
    const spent =
      budget === undefined
        ? []
        : yield* Effect.mapError(ledger.spent(run.id), (error) => Store.unusable(store.name, error))
    for (const { model, money, step, tokens } of spent) budget!.spend(step, model, money, tokens)
  }
  return {
    record: (entry: Ledger.Entry): void => {
      state.tally.record(entry)
      ledger.append(run.id, entry)
    },
    /** An entry that stands in the store already; `isCharged`: the budget has it by itself. */
    count: (entry: Ledger.Entry, isCharged: boolean): void => {
      state.tally.record(entry)
      if (isCharged || entry._tag !== "Attempt") return
      const tokens = entry.usage === undefined ? 0 : Usage.totalTokens(entry.usage)
      budget?.spend(entry.caller.step, entry.requested ?? entry.model, entry.cost ?? Money.zero, tokens)
    },
    calls: store.inMemory
      ? undefined
      : (call: LedgerEntry.Call) => {
          const id = ++number
          return Effect.as(
            Effect.catch(ledger.begin(run.id, id, call), (error) => {
              state.stop({
                kind: "failed",
                message: `${store.name} cannot be written (${Store.messageOf(error)}): nothing more is sent, since its answer could not be kept. Fix that, and resume the run`
              })
              return Effect.interrupt
            }),
            id
          )
        }
  }
})
