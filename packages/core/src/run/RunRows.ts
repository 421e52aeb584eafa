/**
 * Runs the rows of a run through its steps until they are done, the run has to stop, or it is drained.
 *
 * @internal
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
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
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as Pricing from "../price/Pricing.ts"
import type * as DomainStreams from "./DomainStreams.ts"
import * as EarlierTry from "./EarlierTry.ts"
import * as ExchangeSample from "./ExchangeSample.ts"
import * as FlowContext from "./FlowContext.ts"
import * as Journal from "./Journal.ts"
import * as Replay from "./Replay.ts"
import type * as RunEnd from "./RunEnd.ts"
import * as RunFiles from "./RunFiles.ts"
import type { RunSession } from "./RunSession.ts"

/** Runs all rows of a run. */
export const run = Effect.fnUntraced(function* (session: RunSession) {
  const { run, state, store } = session
  const settings = yield* FlowContext.settings(session.flow)
  const exchanges = ExchangeSample.make(store.exchanges, run.id)
  let layers: ReadonlyArray<ModelClient.LayerInfo> = []
  const main = Effect.gen(function* () {
    const made = yield* steps(session, settings)
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
  }: RunSession,
  settings: ModelSettings.ModelSettings,
  exchanges: ExchangeSample.ExchangeSample
) =>
  host.pipe(
    Context.add(Pricing.Pricing, pricing),
    Context.add(Parameter.Values, parameters),
    Context.add(ModelSettings.ModelSettings, settings),
    Context.add(ExpectedUsage.ExpectedUsage, expected),
    Context.add(SharedState.Shared, SharedState.of(store)),
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
const steps = Effect.fnUntraced(function* (session: RunSession, settings: ModelSettings.ModelSettings) {
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
    retry: failedBefore === undefined ? undefined : (position) => failedBefore.has(position)
  }
  if (options.trials === undefined) state.useJournals((node) => Journal.forNode(node, journal))
  closures.close()
  const notReused = options.trials === undefined ? FlowContext.incomparable(flow, closures, layers) : []
  yield* Effect.forEach([...FlowContext.unserved(flow, client), ...notReused], (text) => Effect.logWarning(text), {
    discard: true
  })
  const rows = Replay.run(flow, state, session.holders, {
    ...options,
    problemOf: problemOf(session),
    packs: LayerAnnotations.has(layers, LayerAnnotations.Packs)
  })
  return { layers, rows: Effect.provideContext(rows, context as Context.Context<unknown>) }
})

/** Why the outputs must not replace what is there: they are less than it, or than the previous attempt read. */
const problemOf =
  ({ before, files, flow, intent, state, store }: RunSession) =>
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
const drained = ({ options, state }: RunSession): Effect.Effect<void> =>
  options.drain === undefined
    ? Effect.never
    : Effect.andThen(
        options.drain,
        Effect.andThen(
          Effect.sync(() => state.stop({ kind: "interrupted", message: "interrupted" })),
          Effect.sleep(options.grace ?? "8 seconds")
        )
      )
