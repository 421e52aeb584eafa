/**
 * Runs the rows of a run through its steps until they are done, the run has to stop, or it is drained.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as CallContext from "../client/CallContext.ts"
import * as RunHooks from "../client/RunHooks.ts"
import * as SharedState from "../client/SharedState.ts"
import type * as ModelClient from "../client/ModelClient.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import * as Simulation from "../client/Simulation.ts"
import * as Node from "../flow/Node.ts"
import type * as StepKey from "../flow/StepKey.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as Pricing from "../price/Pricing.ts"
import * as SharedLimiter from "../work/SharedLimiter.ts"
import type * as DomainStreams from "./DomainStreams.ts"
import * as EarlierTry from "./EarlierTry.ts"
import * as ExchangeSample from "./ExchangeSample.ts"
import * as FlowContext from "./FlowContext.ts"
import * as Journal from "./Journal.ts"
import * as ReadAhead from "./ReadAhead.ts"
import * as Reviewed from "../review/Reviewed.ts"
import * as Replay from "./Replay.ts"
import type * as RunEnd from "./RunEnd.ts"
import * as RunFiles from "./RunFiles.ts"
import type * as RunSession from "./RunSession.ts"
import * as RunWorkers from "./RunWorkers.ts"

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
  const parameters = FlowContext.keyedParameters(session.flow, session.parameters)
  const exchanges = ExchangeSample.make(store.exchanges, run.id, parameters)
  const reviewed =
    session.options.trials === undefined ? undefined : yield* Reviewed.of(store.labels, session.flow.name, parameters)
  let layers: ReadonlyArray<ModelClient.LayerInfo> = []
  const main = Effect.gen(function* () {
    const made = yield* steps(session, settings, rows)
    layers = made.layers
    return yield* made.rows
  })
  const heartbeat = Effect.forever(Effect.andThen(Effect.sleep("5 seconds"), store.runs.heartbeat(run)))
  const context = contextOf(session, settings, exchanges, reviewed)
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
  exchanges: ExchangeSample.ExchangeSample,
  reviewed: RunHooks.RunHooks["reviewed"]
) =>
  host.pipe(
    Context.add(Pricing.Pricing, pricing),
    Context.merge(FlowContext.parameters(flow, parameters)),
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
      onUnsent: recorder.unsent,
      // What is only kept in memory cannot be inspected later.
      onExchange: store.inMemory ? undefined : exchanges.observe,
      onTrial: options.trials,
      reviewed,
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
    simulation: FlowContext.ownAnswers(simulation, flow, closures, run.name)
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
    costs: state.costs,
    ...(options.workers === true ? { onKept: state.onKept } : undefined),
    retry: failedBefore === undefined ? undefined : (position) => failedBefore.has(position)
  }
  const version = FlowContext.withOptions(FlowContext.versionOf(flow, { settings, parameters, closures }), options)
  if (run.plan !== undefined && versionOfPlan(run.plan) !== version) store.runs.forgetPlan(run)
  if (options.trials === undefined) state.useJournals((node) => Journal.forNode(node, journal))
  closures.close()
  const notReused = options.trials === undefined ? FlowContext.incomparable(flow, closures, layers) : []
  yield* Effect.forEach([...FlowContext.unserved(flow, client), ...notReused], (text) => Effect.logWarning(text), {
    discard: true
  })
  const work = rows({ session, layers, environment: journal.environment })
  return { layers, rows: Effect.provideContext(work, context as Context.Context<unknown>) }
})

const versionOfPlan = (plan: Schema.Json): unknown =>
  Predicate.hasProperty(plan, "version") ? plan.version : undefined

/** Runs the rows of all sources, with the help of workers where the run has any. */
const allRows: Rows = ({ environment, layers, session }) =>
  Effect.gen(function* () {
    const { flow, holders, options, state } = session
    const workers = options.workers === true ? yield* RunWorkers.start(session, environment, layers) : undefined
    const work = Replay.run(flow, state, holders, {
      ...options,
      problemOf: problemOf(session),
      packs: LayerAnnotations.has(layers, LayerAnnotations.Packs),
      isAside: options.rowEvents !== true && (options.outputs === false || RunFiles.areAside(flow, session.files)),
      warm: workers?.warm
    })
    const all = ReadAhead.before(flow, state, options, work)
    return yield* workers === undefined ? all : Effect.ensuring(all, workers.end)
  })

/** Why the outputs must not replace what is there: they are less than it, or than the previous attempt read. */
const problemOf =
  ({ before, files, flow, intent, state, store }: RunSession.RunSession) =>
  (rowsOf: Parameters<typeof RunFiles.problemOf>[4]) =>
    Effect.suspend(() => {
      const lost = intent.overwrite || before === undefined ? undefined : EarlierTry.lostRows(flow, before, state)
      return lost === undefined ? RunFiles.problemOf(flow, files, store, intent, rowsOf) : Effect.succeed(lost)
    })

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
