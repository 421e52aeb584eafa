/**
 * Runs the rows of a flow without a call: what it would send is counted, and placeholders answer.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as ModelClient from "../client/ModelClient.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import * as Simulation from "../client/Simulation.ts"
import * as SafeText from "../encoding/SafeText.ts"
import type * as Flow from "../flow/Flow.ts"
import * as FlowGraph from "../flow/FlowGraph.ts"
import * as Node from "../flow/Node.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as Pricing from "../price/Pricing.ts"
import * as DomainStreams from "../run/DomainStreams.ts"
import * as FlowContext from "../run/FlowContext.ts"
import * as Journal from "../run/Journal.ts"
import * as RunEvent from "../run/RunEvent.ts"
import type * as FailedRow from "../run/FailedRow.ts"
import type * as RunOptions from "../run/RunOptions.ts"
import * as RunState from "../run/RunState.ts"
import * as Store from "../store/Store.ts"
import * as PlanClient from "./PlanClient.ts"
import type * as PlanCount from "./PlanCount.ts"
import type * as PlanLimits from "./PlanLimits.ts"
import type * as PlanRows from "./PlanRows.ts"
import * as PlanSteps from "./PlanSteps.ts"

/** The options of a plan, and of a check. */
export interface Options extends Pick<RunOptions.RunOptions, "limit" | "concurrency" | "parameters" | "cache"> {
  /** Whether requests go in batches, overriding the flow's own stack. */
  readonly batch?: boolean
}

/** A row that has failed. */
export interface Failure {
  readonly node: string
  readonly position: string
  readonly message: string
}

/** The failed rows of a node: their number, and the first of them. */
export interface Failures {
  count: number
  readonly first: Array<Failure>
  /** Those that failed before a call. */
  readonly uncalled: { count: number; readonly first: Array<Failure> }
}

/** The failed rows of a node that are kept. */
const SHOWN = 20

/** The state of a planned run: failed rows are counted but not written. */
const stateOf = (flow: Flow.Any, at: number, parameters: ReadonlyMap<string, unknown>, callers: PlanClient.Callers) => {
  const failures = new Map<string, Failures>()
  const append = ({ message, node, position, row }: FailedRow.FailedRow) =>
    Effect.sync(() => {
      const known = failures.get(node) ?? { count: 0, first: [], uncalled: { count: 0, first: [] } }
      failures.set(node, known)
      for (const kind of callers.get(node)?.has(row) === true ? [known] : [known, known.uncalled])
        if (kind.count++ < SHOWN) kind.first.push({ node, position, message })
    })
  const state = RunState.make({
    flow,
    run: { name: "plan", tries: 1 },
    parameters,
    isPlan: true,
    at,
    errors: {
      path: undefined,
      count: () => Array.from(failures.values()).reduce((sum, { count }) => sum + count, 0),
      append,
      allWell: Effect.void,
      rewrite: () => Effect.void,
      restart: Effect.void
    },
    prices: NO_PRICES,
    broken: () => undefined,
    left: () => undefined,
    options: {}
  })
  return { state, failures }
}

/** The summary of a plan's run is not read: the plan names its prices. */
const NO_PRICES = { name: "", date: "" }

/** Runs the rows of a flow, and gathers what they would send. */
export const gather = (
  flow: Flow.Any,
  options: Options
): Effect.Effect<Gathered, Node.FlowError | Pricing.PriceError | Store.StoreError, Flow.Host> =>
  Effect.scoped(
    Effect.gen(function* () {
      const parameters = yield* FlowContext.decodeParameters(flow, options.parameters ?? {})
      const host = yield* Effect.context<Flow.Host>()
      const store = Context.get(host, Store.Store)
      const pricing = yield* Pricing.override(Context.get(host, Pricing.Pricing), flow.prices)
      const at = yield* Clock.currentTimeMillis
      yield* Pricing.sayOld(pricing, at)
      const samples = yield* Effect.mapError(store.ledger.outputs(flow.name), (error) =>
        Store.unusable(store.name, error)
      )
      const expected = ExpectedUsage.make(Effect.succeed(samples))
      yield* expected.seeded
      const callers: PlanClient.Callers = new Map()
      const { failures, state } = stateOf(flow, at, parameters, callers)
      const settings = yield* FlowContext.settings(flow)
      const counts = new Map<string, PlanCount.PlanCounts>()
      const keyed: PlanLimits.Keyed = new Map()
      const useCache = options.cache !== false
      const before = yield* Effect.orElseSucceed(lastOf(store, flow.name), () => undefined)
      const main = Effect.gen(function* () {
        const closures = yield* FlowContext.closures(flow)
        const version = FlowContext.versionOf(flow, { settings, parameters, closures })
        const counting = PlanClient.make({ store, expected, at, counts, useCache, closures, keyed, callers })
        const { client, context, layers } = yield* FlowContext.services(flow, {
          batch: options.batch === false ? "off" : undefined,
          isPlan: true,
          simulation: FlowContext.ownAnswers(yield* Simulation.Simulation, flow, closures, "plan"),
          steps: FlowContext.stepKeys(flow, { settings, parameters, closures }),
          closures,
          over: counting
        })
        const journal: Journal.Options = {
          store,
          flow: flow.name,
          run: 0,
          at,
          environment: FlowContext.environment(flow, { settings, parameters, layers, closures }),
          client,
          reuse: useCache,
          keep: false,
          retry: undefined
        }
        closures.close()
        state.useJournals((node) => Journal.forNode(node, journal))
        yield* Effect.provideContext(
          DomainStreams.run(flow, state, { ...options, outputs: false }),
          context as Context.Context<unknown>
        )
        const stopped = state.stopped()
        if (stopped !== undefined) return yield* new Node.FlowError({ message: stopped.message })
        return { layers, version, unserved: FlowContext.unserved(flow, client) }
      })
      const context = contextOf(flow, host, { parameters, pricing, settings })
      const { layers, unserved, version } = yield* Effect.mapError(
        Effect.provideContext(main, context) as Effect.Effect<PlannedFlow, unknown, Scope.Scope>,
        (error) => error as Node.FlowError
      )
      return {
        flow,
        at,
        version: FlowContext.withOptions(version, options),
        unserved,
        counts: FlowGraph.inOrder(flow.graph, [...counts.values()]),
        nodes: state.progress(at).nodes,
        expected,
        pricing,
        layers,
        tierOf: PlanSteps.tiers(layers, options.batch),
        before,
        keyed,
        failures
      }
    })
  )

/** The context of the layers and steps of a plan. */
const contextOf = (
  flow: Flow.Any,
  host: Context.Context<Flow.Host>,
  of: {
    readonly parameters: ReadonlyMap<string, unknown>
    readonly pricing: Pricing.Service
    readonly settings: ModelSettings.ModelSettings
  }
) =>
  host.pipe(
    Context.add(Pricing.Pricing, of.pricing),
    Context.merge(FlowContext.parameters(flow, of.parameters)),
    Context.add(ModelSettings.ModelSettings, of.settings)
  )

/** Builds the models of a flow as a run does, and says what keeps it from starting; `undefined` for nothing. */
export const obstacle = (
  flow: Flow.Any,
  options: Options
): Effect.Effect<string | undefined, Node.FlowError | Pricing.PriceError, Flow.Host> =>
  Effect.scoped(
    Effect.gen(function* () {
      const parameters = yield* FlowContext.decodeParameters(flow, options.parameters ?? {})
      const host = yield* Effect.context<Flow.Host>()
      const pricing = yield* Pricing.override(Context.get(host, Pricing.Pricing), flow.prices)
      const settings = yield* FlowContext.settings(flow)
      const closures = yield* FlowContext.closures(flow)
      const built = FlowContext.services(flow, {
        batch: options.batch === false ? "off" : undefined,
        steps: FlowContext.stepKeys(flow, { settings, parameters, closures }),
        closures
      })
      const context = Context.merge(
        yield* Effect.context<Scope.Scope>(),
        contextOf(flow, host, { parameters, pricing, settings })
      )
      const exit = yield* Effect.exit(
        Effect.provideContext(built as Effect.Effect<unknown, unknown, Scope.Scope>, context)
      )
      closures.close()
      return Exit.isSuccess(exit) ? undefined : wordsOf(Cause.squash(exit.cause))
    })
  )

const wordsOf = (error: unknown): string =>
  SafeText.line(AiError.isAiError(error) ? ModelFailure.message(error) : Store.messageOf(error))

/** The summary of the last run of a flow that read rows. */
const lastOf = (store: Store.Service, flow: string) =>
  Effect.map(store.runs.list(100), (runs) => {
    for (const run of runs) {
      const summary =
        run.flow === flow && run.summary !== undefined
          ? Option.getOrUndefined(RunEvent.summaryFromJson(run.summary))
          : undefined
      if (summary !== undefined && summary.rows.read > 0) return summary
    }
    return undefined
  })

/** What is known of a flow when its rows have been planned. */
interface PlannedFlow {
  readonly unserved: ReadonlyArray<string>
  readonly layers: ReadonlyArray<ModelClient.LayerInfo>
  readonly version: string
}

/** What a plan has gathered while it ran the rows. */
export interface Gathered extends Omit<PlanSteps.CountedPlan, "rowsOf">, PlanRows.Known, PlannedFlow {
  readonly keyed: PlanLimits.Keyed
  /** The rows that failed, by node. */
  readonly failures: ReadonlyMap<string, Failures>
}
