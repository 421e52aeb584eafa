/**
 * Runs the rows of a run through its steps until they are done, the run has to stop, or it is drained.
 *
 * @internal
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as CallContext from "../client/CallContext.ts"
import * as RunHooks from "../client/RunHooks.ts"
import * as SharedState from "../client/SharedState.ts"
import type * as ModelClient from "../client/ModelClient.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import * as Simulation from "../client/Simulation.ts"
import type * as Closure from "../closure/Closure.ts"
import type * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import * as Parameter from "../flow/Parameter.ts"
import type * as StepKey from "../flow/StepKey.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as Pricing from "../price/Pricing.ts"
import * as Lease from "../store/Lease.ts"
import * as Coordinator from "../work/Coordinator.ts"
import * as SharedLimiter from "../work/SharedLimiter.ts"
import * as WorkCode from "../work/WorkCode.ts"
import * as WorkerList from "../work/WorkerList.ts"
import * as WorkQueue from "../work/WorkQueue.ts"
import type * as DomainStreams from "./DomainStreams.ts"
import * as EarlierTry from "./EarlierTry.ts"
import * as ExchangeSample from "./ExchangeSample.ts"
import * as FlowContext from "./FlowContext.ts"
import * as Journal from "./Journal.ts"
import * as Replay from "./Replay.ts"
import type * as RunEnd from "./RunEnd.ts"
import * as RunFiles from "./RunFiles.ts"
import * as RunSession from "./RunSession.ts"

/** The stack and the journals of a run. */
export interface Prepared {
  readonly session: RunSession.RunSession
  readonly layers: ReadonlyArray<ModelClient.LayerInfo>
  readonly environment: StepKey.StepKeyEnvironment
}

/** Runs the rows of a run, or those that a worker takes. */
export type Rows = (prepared: Prepared) => Effect.Effect<ReadonlyArray<DomainStreams.WrittenOutput>, unknown, unknown>

/** Runs all rows of a run. */
export const run = Effect.fnUntraced(function* (session: RunSession.RunSession, rows: Rows = allRows) {
  const { run, state, store } = session
  const settings = yield* FlowContext.settings(session.flow)
  const exchanges = ExchangeSample.make(store.exchanges, run.id)
  let layers: ReadonlyArray<ModelClient.LayerInfo> = []
  const main = Effect.gen(function* () {
    const made = yield* steps(session, settings, rows)
    layers = made.layers
    return yield* made.rows
  })
  const heartbeat = Effect.forever(Effect.andThen(Effect.sleep("5 seconds"), store.runs.heartbeat(run)))
  const context = contextOf(session, settings, exchanges)
  const exit = yield* Effect.exit(
    Effect.raceFirst(
      Effect.raceFirst(Effect.provideContext(main, context), Effect.raceFirst(state.ticker, heartbeat)),
      Effect.as(drained(session), [])
    ) as Effect.Effect<ReadonlyArray<DomainStreams.WrittenOutput>, unknown, Scope.Scope>
  )
  const outcome: RunEnd.RunOutcome = { exit, layers }
  return { outcome, exchanges }
})

/** The context of the layers and steps of a run. */
const contextOf = (
  {
    ledger: recorder,
    budget,
    expected,
    flow,
    holders,
    host,
    options,
    parameters,
    pricing,
    run,
    state,
    store
  }: RunSession.RunSession,
  settings: ModelSettings.ModelSettings,
  exchanges: ExchangeSample.ExchangeSample
) =>
  host.pipe(
    Context.add(Pricing.Pricing, pricing),
    Context.add(Parameter.Values, parameters),
    Context.add(ModelSettings.ModelSettings, settings),
    Context.add(ExpectedUsage.ExpectedUsage, expected),
    Context.add(SharedState.Shared, SharedState.of(store)),
    Context.add(
      SharedState.Limiters,
      options.workers === true && store.database.server !== undefined
        ? SharedLimiter.make(store.database, store.database.server)
        : undefined
    ),
    Context.add(RunHooks.RunHooks, {
      ...RunHooks.none,
      standIn: Context.get(host, RunHooks.RunHooks).standIn,
      inside: Context.get(host, RunHooks.RunHooks).inside,
      onEvent: state.onLayerEvent,
      attempts: budget === undefined ? [] : [budget.hook],
      onEntry: recorder.record,
      onCall: recorder.calls,
      // What is only kept in memory cannot be inspected later.
      onExchange: store.inMemory ? undefined : exchanges.observe,
      onTrial: options.trials,
      suspension: {
        id: run.id,
        flow: flow.name,
        startedAt: run.startedAt,
        scope: options.cache === false ? run.name : "",
        register: (holder) => void holders.push(holder),
        hold: (held) => budget?.hold(held) ?? (() => {}),
        count: recorder.count
      }
    }),
    Context.add(CallContext.CallContext, { ...CallContext.empty, cache: options.cache === false ? "off" : "on" }),
    Context.add(Simulation.Own, flow.simulate)
  )

/** Builds the context of the steps, and the work of their rows. */
const steps = Effect.fnUntraced(function* (
  session: RunSession.RunSession,
  settings: ModelSettings.ModelSettings,
  rows: Rows
) {
  const { flow, options, parameters, run, simulation, state, store } = session
  const closures = yield* FlowContext.closures(flow)
  const { client, context, layers } = yield* FlowContext.services(flow, {
    batch: options.batch,
    steps: FlowContext.stepKeys(flow, { settings, parameters, closures }),
    closures,
    simulation: ownAnswers(simulation, flow, closures, run.name)
  })
  if (
    simulation === undefined
    && !store.inMemory
    && layers.some((layer) => LayerAnnotations.get(layer, LayerAnnotations.Provider)?.isSimulated === true)
  ) {
    return yield* new Node.FlowError({
      message: `the flow's stack has a simulator, whose answers must not mix with real ones in ${store.name}: remove it and run with --simulate`
    })
  }
  const { failedBefore } = session
  const journal: Journal.Options = {
    store,
    flow: flow.name,
    run: run.id,
    at: session.at,
    environment: FlowContext.environment(flow, { settings, parameters, layers, closures }),
    client,
    reuse: options.cache !== false,
    keep: true,
    workers: options.workers === true,
    retry: failedBefore === undefined ? undefined : (position) => failedBefore.has(position)
  }
  if (options.trials === undefined) state.useJournals((node) => Journal.forNode(node, journal))
  closures.close()
  const notReused = options.trials === undefined ? FlowContext.incomparable(flow, closures, layers) : []
  yield* Effect.forEach([...FlowContext.unserved(flow, client), ...notReused], (text) => Effect.logWarning(text), {
    discard: true
  })
  const work = rows({ session, layers, environment: journal.environment })
  return { layers, rows: Effect.provideContext(work, context as Context.Context<unknown>) }
})

/** Runs the rows of all sources, with the help of workers where the run has any. */
const allRows: Rows = ({ environment, layers, session }) =>
  Effect.gen(function* () {
    const { flow, holders, options, state } = session
    const isShared = options.workers === true
    const last = isShared ? yield* session.store.rows.lastResult : 0
    const coordinator = isShared ? yield* withWorkers(session, environment, layers) : undefined
    const work = Replay.run(flow, state, holders, {
      ...options,
      problemOf: problemOf(session),
      packs: LayerAnnotations.has(layers, LayerAnnotations.Packs),
      warm: coordinator?.warm
    })
    return yield* coordinator === undefined
      ? work
      : Effect.ensuring(
          work,
          Effect.all([coordinator.close, settled(session), restoreTotals(session), restoreMade(session, last)], {
            discard: true
          })
        )
  })

/** Announces the run to workers. */
const withWorkers = Effect.fnUntraced(function* (
  session: RunSession.RunSession,
  environment: StepKey.StepKeyEnvironment,
  layers: ReadonlyArray<ModelClient.LayerInfo>
) {
  const { flow, holders, options, rest, run, state, store } = session
  const { server } = store.database
  const limits = RunSession.limitsOf(flow, options)
  const refuse = (message: string) => new Node.FlowError({ message })
  // Checked before the run was claimed.
  if (server === undefined) return undefined
  if (layers.some(({ name }) => name === "Budget"))
    return yield* refuse(
      "Budget.layer counts the calls of one process: give the flow its `budget` instead, which workers share"
    )
  if (holders.length > 0) return yield* refuse("batches are sent by one process: run without workers, or online")
  const team = { present: 0, shares: new Map() }
  state.team = team
  const coordinator = yield* Coordinator.make({
    queue: WorkQueue.make(store.database, server),
    list: WorkerList.make(store.database, server),
    run: { id: run.id, name: run.name, tries: run.tries, flow: flow.name },
    team,
    emit: state.emit,
    job: {
      code: WorkCode.of(flow, environment),
      parameters: yield* Effect.try({
        try: () => JSON.parse(JSON.stringify(options.parameters ?? {})) as WorkCode.JobContent["parameters"],
        catch: () => refuse("parameters of a run with workers must be plain data")
      }),
      ...(limits === undefined ? undefined : { budget: JSON.parse(JSON.stringify(limits)) as Schema.Json }),
      cache: options.cache !== false
    },
    budget: rest,
    giveBack: session.giveBack("ifIdle"),
    isJournaled: (node) => state.journalOf(node) !== undefined,
    onFailure: state.failElsewhere,
    onMade: state.addMade,
    stop: state.stop
  })
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.flatMap(Effect.timed(restoreTotals(session)), ([took]) =>
        // A large ledger is added up less often.
        Effect.sleep(Duration.max(TOTALS, Duration.times(took, 20)))
      )
    )
  )
  return coordinator
})

/** How often the totals of a run with workers are read from the store. */
const TOTALS = Duration.seconds(2)

/** Records the calls of workers that have died, whose leases lapse within seconds. */
const settled = ({ run, state, store }: RunSession.RunSession): Effect.Effect<void> =>
  Effect.gen(function* () {
    yield* store.commit
    const until = (yield* Clock.currentTimeMillis) + Lease.DURATION + SETTLING
    while (state.stopped()?.kind !== "interrupted") {
      yield* store.ledger.settle(run.id)
      const isOpen = (yield* store.ledger.unsettled).includes(run.id)
      if (!isOpen || (yield* Clock.currentTimeMillis) > until) return
      yield* Effect.sleep(SETTLING / 10)
    }
  }).pipe(Effect.interruptible, Effect.ignore)

/** How much longer than a lease calls are waited for, in milliseconds. */
const SETTLING = 2_000

/** The ledger of all processes of the run. */
const restoreTotals = ({ run, state, store }: RunSession.RunSession): Effect.Effect<void> =>
  Effect.ignore(
    Effect.map(Effect.andThen(store.commit, store.ledger.sums(run.id)), (sums) => {
      state.totals.clear()
      for (const sum of sums) state.totals.restore(sum)
    })
  )

/** Counts what all processes have computed: results of a worker that died are not reused when they are found. */
const restoreMade = ({ flow, run, state, store }: RunSession.RunSession, last: number): Effect.Effect<void> =>
  Effect.ignore(
    Effect.map(store.rows.madeSince(run.id, last), (made) => {
      for (const node of flow.graph.nodes) {
        const results = made.get(node.name)
        if (results === undefined) continue
        const samples = node.kind._tag === "Step" ? (node.kind.samples ?? 1) : 1
        state.setMade(node.name, Math.floor(results / samples))
      }
    })
  )

/** Why the outputs must not replace what is there: they are less than it, or than the previous attempt read. */
const problemOf =
  ({ before, files, flow, intent, state, store }: RunSession.RunSession) =>
  (rowsOf: Parameters<typeof RunFiles.problemOf>[4]) =>
    Effect.suspend(() => {
      const lost = intent.overwrite || before === undefined ? undefined : EarlierTry.lostRows(flow, before, state)
      return lost === undefined ? RunFiles.problemOf(flow, files, store, intent, rowsOf) : Effect.succeed(lost)
    })

/** The simulation, including the flow's own answers. */
const ownAnswers = (
  simulation: Simulation.Simulation | undefined,
  { simulate }: Flow.Any,
  closures: Closure.Closures,
  run: string
): Simulation.Simulation | undefined =>
  simulation === undefined || simulate === undefined
    ? simulation
    : { ...simulation, identity: `${simulation.identity}\n${closures.textOf(simulate) ?? run}` }

/** Ends when the grace period of a stopping run is over. */
const drained = ({ options, state }: RunSession.RunSession): Effect.Effect<void> =>
  options.drain === undefined
    ? Effect.never
    : Effect.andThen(
        options.drain,
        Effect.andThen(
          Effect.sync(() => state.stop({ kind: "interrupted", message: "interrupted" })),
          Effect.sleep(options.grace ?? "8 seconds")
        )
      )
