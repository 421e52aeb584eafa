/**
 * Estimates the cost of a run before anything is spent: counted on the real rows, through the flow's own steps and
 * stack.
 *
 * **Details** Rows are read and steps run, but no provider is called. Earlier results and cached answers are reused;
 * for every other call the input is counted, and a placeholder of the expected length is passed to later steps. Answer
 * lengths come from earlier runs of the flow; without any they are guessed, and the range is wide.
 *
 * **Example** (the cost of a flow, from code)
 *
 * ```ts
 * import { Flow, Money, Plan, Sink, Source } from "@pipe/core"
 * import { NodeHost } from "@pipe/plugins"
 * import { Effect } from "effect"
 *
 * const words = Source.fromIterable("words", ["bee"])
 * const flow = Flow.make("plan-me", { outputs: [Sink.jsonl("out.jsonl", { word: words })] })
 *
 * const plan = await Effect.runPromise(Plan.make(flow).pipe(Effect.provide(NodeHost.layerMemory)))
 * Money.format(plan.cost.expected) // => "$0.00"
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as ModelClient from "../client/ModelClient.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import * as Simulation from "../client/Simulation.ts"
import type * as Flow from "../flow/Flow.ts"
import * as FlowGraph from "../flow/FlowGraph.ts"
import * as Node from "../flow/Node.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as Money from "../price/Money.ts"
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
import type * as PlanCost from "./PlanCost.ts"
import type * as PlanCount from "./PlanCount.ts"
import * as PlanLimits from "./PlanLimits.ts"
import * as PlanRows from "./PlanRows.ts"
import * as PlanSteps from "./PlanSteps.ts"
import type { Plan, Range } from "./PlanSchema.ts"
import * as PlanStrategies from "./PlanStrategies.ts"

export { fromJson, PlanLine, Plan, Range, Strategy, toJson } from "./PlanSchema.ts"

/** The options of `Plan.make`. */
export interface Options extends Pick<RunOptions.RunOptions, "limit" | "concurrency" | "parameters" | "cache"> {
  /** Whether requests go in batches, overriding the flow's own stack. */
  readonly batch?: boolean
}

/** Rows that could not be planned: their number, and what was wrong with the first. */
interface Unplanned {
  readonly count: number
  readonly first: string
}

/** The state of a planned run: failed rows are counted but not written. */
const stateOf = (
  flow: Flow.Any,
  at: number,
  parameters: ReadonlyMap<string, unknown>
): { readonly state: RunState.RunState; readonly failed: () => Unplanned } => {
  let [count, first] = [0, ""]
  const append = ({ message, node, position }: FailedRow.FailedRow) =>
    Effect.sync(() => {
      if (count++ === 0) first = `${position}: ${node}: ${message}`
    })
  const state = RunState.make({
    flow,
    run: { name: "plan", tries: 1 },
    parameters,
    at,
    errors: {
      path: undefined,
      count: () => count,
      append,
      allWell: Effect.void,
      rewrite: () => Effect.void,
      restart: Effect.void
    },
    broken: () => undefined,
    left: () => undefined,
    options: {}
  })
  return { state, failed: () => ({ count, first }) }
}

/**
 * Builds the stack of a flow to be read, as a plan does, and returns its layers: nothing is sent, and no key is needed.
 * Empty for a flow without a stack.
 */
export const layers = (
  flow: Flow.Any
): Effect.Effect<ReadonlyArray<ModelClient.LayerInfo>, Node.FlowError, Flow.Host | Scope.Scope> =>
  Effect.mapBoth(FlowContext.services(flow, { isPlan: true }), {
    onFailure: (error) =>
      error instanceof Node.FlowError
        ? error
        : new Node.FlowError({
            message: AiError.isAiError(error) ? ModelFailure.message(error) : Store.messageOf(error)
          }),
    onSuccess: ({ layers }) => layers
  })

/** Plans a run of a flow. */
export const make = <E>(
  flow: Flow.Flow<E>,
  options: Options = {}
): Effect.Effect<Plan, Node.FlowError | Pricing.PriceError | Store.StoreError, Flow.Host> =>
  Effect.scoped(
    Effect.gen(function* () {
      const parameters = yield* FlowContext.decodeParameters(flow, options.parameters ?? {})
      const host = yield* Effect.context<Flow.Host>()
      const store = Context.get(host, Store.Store)
      const pricing = yield* Pricing.override(Context.get(host, Pricing.Pricing), flow.prices)
      const at = yield* Clock.currentTimeMillis
      const samples = yield* Effect.mapError(store.ledger.outputs(flow.name), (error) =>
        Store.unusable(store.name, error)
      )
      const expected = ExpectedUsage.make(Effect.succeed(samples))
      yield* expected.seeded
      const { failed, state } = stateOf(flow, at, parameters)
      const settings = yield* FlowContext.settings(flow)
      const counts = new Map<string, PlanCount.PlanCounts>()
      const keyed: PlanLimits.Keyed = new Map()
      const useCache = options.cache !== false
      const before = yield* Effect.orElseSucceed(lastOf(store, flow.name), () => undefined)
      const main = Effect.gen(function* () {
        const closures = yield* FlowContext.closures(flow)
        const version = FlowContext.versionOf(flow, { settings, parameters, closures })
        const counting = PlanClient.make({ store, expected, at, counts, useCache, closures, keyed })
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
        return { layers, version, unserved: FlowContext.unserved(flow, client) }
      })
      const context = host.pipe(
        Context.add(Pricing.Pricing, pricing),
        Context.merge(FlowContext.parameters(flow, parameters)),
        Context.add(ModelSettings.ModelSettings, settings)
      )
      const { layers, unserved, version } = yield* Effect.mapError(
        Effect.provideContext(main, context) as Effect.Effect<PlannedFlow, unknown, Scope.Scope>,
        (error) => error as Node.FlowError
      )
      return summarise({
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
        unplanned: failed()
      })
    })
  )

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
interface Gathered extends Omit<PlanSteps.CountedPlan, "rowsOf">, PlanRows.Known, PlannedFlow {
  readonly keyed: PlanLimits.Keyed
  readonly unplanned: Unplanned
}

const summarise = (gathered: Gathered): Plan => {
  const { at, counts, flow, layers, nodes, pricing, unplanned } = gathered
  const { of: rowsOf, unreached } = PlanRows.make(gathered)
  const reused = new Map(nodes.map((node) => [node.name, node.reused]))
  const rows = nodes.reduce((sum, node) => (node.kind === "Source" ? sum + node.done + node.failed : sum), 0)
  const priceOf = (model: string) => PlanSteps.priceOf(pricing, at, model)
  const planned = PlanSteps.plan({ ...gathered, rowsOf })
  const lines = PlanSteps.withReused(
    planned.map(({ line }) => line),
    reused
  )
  const total = (end: keyof Range) => Money.sum(lines.map(({ cost }) => cost?.[end] ?? Money.zero))
  const cost = { low: total("low"), expected: total("expected"), high: total("high") }
  const milliseconds = shortest(planned, layers, gathered.keyed)
  const unpriced = new Map(
    planned.flatMap(({ one, price }) =>
      price === undefined && one.calls > 0 ? [[one.model, one.provider] as const] : []
    )
  )
  const notes = [
    ...gathered.unserved,
    ...PlanStrategies.notes(planned),
    ...PlanRows.notes(
      counts.filter(({ calls }) => calls > 0).map((one) => ({ step: one.step, ...rowsOf(one) })),
      unreached
    ),
    ...Array.from(unpriced, ([model, provider]) =>
      model === ""
        ? "no model is named for some calls, and the run would refuse them: give one to the provider, to the step, or to a Router"
        : `no price is known for ${model}: its calls are not in the cost. ${Pricing.advice(pricing, { at, model, provider })}`
    )
  ]
  return {
    flow: flow.name,
    at,
    version: gathered.version,
    rows,
    lines,
    cost,
    unpriced: [...unpriced.keys()],
    ...(milliseconds === undefined ? undefined : { milliseconds }),
    strategies: PlanStrategies.strategies(planned, layers, cost.expected, priceOf),
    unplanned: unplanned.count,
    ...(unplanned.count === 0 ? undefined : { problem: unplanned.first }),
    ...(unreached.length === 0 ? undefined : { unreached }),
    ...(notes.length === 0 ? undefined : { notes })
  }
}

/** The duration of the calls at the known rate limits, separately for each model or key. */
const shortest = (
  planned: ReadonlyArray<PlanCost.Planned>,
  layers: ReadonlyArray<ModelClient.LayerInfo>,
  keyed: PlanLimits.Keyed
): number | undefined => {
  // Batches do not count against the limits of single calls.
  const single = planned.filter(({ line }) => line.serviceTier !== "batch")
  const models = [...Map.groupBy(single, ({ one }) => one.model).values()].map((same) => ({
    calls: same.reduce((sum, { line }) => sum + line.calls, 0),
    tokens: same.reduce((sum, { line, output }) => sum + line.inputTokens + output.expected, 0)
  }))
  return PlanLimits.shortest(layers, models, keyed)
}
