/**
 * What a run would cost, before a cent is spent: counted on the real rows, through the flow's own steps and stack.
 *
 * **Details** Rows are read and steps are run, but nobody is asked. What earlier work or the cache can answer, they answer;
 * for every other call its input is counted, and a placeholder of the expected length goes on to the steps after it. The
 * length of answers comes from earlier runs of the flow; without any it is a guess, and the range is wide.
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
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as PromptCache from "../cache/PromptCache.ts"
import * as Endpoint from "../client/Endpoint.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import type * as Flow from "../flow/Flow.ts"
import type * as Node from "../flow/Node.ts"
import * as Parameter from "../flow/Parameter.ts"
import type * as LedgerRepo from "../ledger/LedgerRepo.ts"
import * as Money from "../price/Money.ts"
import * as Pricing from "../price/Pricing.ts"
import * as Domains from "../run/Domains.ts"
import * as FlowContext from "../run/FlowContext.ts"
import * as Journal from "../run/Journal.ts"
import type * as RunEvent from "../run/RunEvent.ts"
import * as RunState from "../run/RunState.ts"
import * as Store from "../store/Store.ts"
import * as PlanCost from "./PlanCost.ts"
import * as PlanCount from "./PlanCount.ts"
import type { Line, Plan, Range } from "./PlanSchema.ts"

export { fromJson, Line, Plan, Range, Strategy, toJson } from "./PlanSchema.ts"

export interface Options extends Pick<RunState.Options, "limit" | "concurrency" | "parameters" | "cache"> {
  /** Whether requests would go in batches, over what the flow's own stack says. */
  readonly batch?: boolean
}

/** The state of a run that is only planned: its failed rows are counted, and written nowhere. */
const stateOf = (flow: Flow.Any, at: number): { readonly state: RunState.RunState; readonly failed: () => number } => {
  let count = 0
  const append = () => Effect.sync(() => void count++)
  const state = RunState.make({
    flow,
    run: { name: "plan", tries: 1 },
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
  return { state, failed: () => count }
}

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
      const { failed, state } = stateOf(flow, at)
      const settings = yield* FlowContext.settings(flow)
      const counts = new Map<string, PlanCount.Counts>()
      let layers: ReadonlyArray<ModelClient.LayerInfo> = []
      const main = Effect.gen(function* () {
        const closures = yield* FlowContext.closures(flow)
        const { client, context } = yield* FlowContext.services(flow, {
          batch: "off",
          steps: FlowContext.stepKeys(flow, { settings, parameters, closures }),
          closures,
          over: (client) => {
            layers = client.layers ?? []
            return PlanCount.counting(client, {
              store,
              samples,
              at,
              counts,
              useCache: options.cache !== false,
              closures
            })
          }
        })
        const journal: Journal.Options = {
          store,
          flow: flow.name,
          run: 0,
          at,
          environment: FlowContext.environment(flow, { settings, parameters, layers, closures }),
          client,
          reuse: options.cache !== false,
          keep: false,
          retry: undefined
        }
        closures.close()
        state.useJournals((node) => Journal.forNode(node, journal))
        yield* Effect.provideContext(
          Domains.run(flow, state, { ...options, outputs: false }),
          context as Context.Context<unknown>
        )
      })
      const context = host.pipe(
        Context.add(Pricing.Pricing, pricing),
        Context.add(Parameter.Values, parameters),
        Context.add(ModelSettings.ModelSettings, settings),
        Context.add(Endpoint.Unasked, true)
      )
      yield* Effect.mapError(
        Effect.provideContext(main, context) as Effect.Effect<void, unknown, Scope.Scope>,
        (error) => error as Node.FlowError
      )
      const progress = state.progress(at)
      const reused = new Map(progress.nodes.map((node) => [node.name, node.reused]))
      return summarise({
        flow: flow.name,
        at,
        counts: [...counts.values()],
        reused,
        samples,
        pricing,
        layers,
        tierOf: tiers(layers, options.batch),
        rows: rowsOf(progress),
        unplanned: failed()
      })
    })
  )

type TierOf = (step: string) => string | undefined

/** The class of service that the requests of a step are asked in. */
const tiers = (layers: ReadonlyArray<ModelClient.LayerInfo>, batch: boolean | undefined): TierOf => {
  if (batch !== undefined) return () => (batch ? "batch" : undefined)
  const services = layers.flatMap(({ service }) => (service === undefined ? [] : [service]))
  return (step) => services.find(({ steps }) => steps === undefined || steps.includes(step))?.tier
}

const rowsOf = (progress: typeof RunEvent.Progress.Type): number =>
  progress.nodes.reduce((sum, node) => (node.kind === "Source" ? sum + node.done + node.failed : sum), 0)

interface Gathered {
  readonly flow: string
  readonly at: number
  readonly rows: number
  readonly counts: ReadonlyArray<PlanCount.Counts>
  readonly reused: ReadonlyMap<string, number>
  readonly samples: ReadonlyArray<LedgerRepo.OutputSample>
  readonly pricing: Pricing.Service
  readonly layers: ReadonlyArray<ModelClient.LayerInfo>
  readonly tierOf: TierOf
  readonly unplanned: number
}

const summarise = ({ at, counts, flow, layers, pricing, reused, rows, samples, tierOf, unplanned }: Gathered): Plan => {
  const priceOf = (model: string, provider?: string) =>
    Option.getOrUndefined(Option.orElse(pricing.lookup({ model, provider, at }), () => pricing.lookup({ model, at })))
  const planned = counts.map((one) => {
    const sample = PlanCount.sampleOf(samples, one.step, one.model)
    const cap = one.maxTokens > 0 ? one.maxTokens : undefined
    const each = one.isEmbedding
      ? { low: 0, expected: 0, high: 0 }
      : sample === undefined
        ? {
            low: PlanCount.GUESS.low,
            expected: Math.min(PlanCount.GUESS.expected, cap ?? PlanCount.GUESS.expected),
            high: cap ?? PlanCount.GUESS.high
          }
        : // The mean of the answers to come, with 95 % certainty from the mean of those that came, and never beyond a limit.
          {
            low: Math.max(0, sample.mean - 2 * spread(sample, one.calls)),
            expected: sample.mean,
            high: Math.min(cap ?? Number.POSITIVE_INFINITY, sample.mean + 2 * spread(sample, one.calls))
          }
    const output = {
      low: Math.round(each.low * one.calls),
      expected: Math.round(each.expected * one.calls),
      high: Math.round(each.high * one.calls)
    }
    const price = priceOf(one.model, one.provider)
    const serviceTier = tierOf(one.step)
    // What goes in batches goes by single requests.
    const answers = Math.ceil(one.calls - 1e-6)
    const [calls, input] =
      serviceTier === "batch" ? [answers, Math.round(one.alone)] : [PlanCount.callsOf(one), Math.round(one.input)]
    // A price of the author's own names no provider.
    const provider = price === undefined || price.provider === "" ? one.provider : price.provider
    const [low, expected, high] = (["low", "expected", "high"] as const).map((end) =>
      PlanCost.costOf(price, calls, input, output[end], { serviceTier, provider })
    )
    const prefix = PlanCost.prefixOf(one, price, provider)
    // With the layer that has the provider keep it, what is common is charged less; the high end is for when it is not found again.
    const off = serviceTier !== "batch" && ModelClient.hasLayer(layers, PromptCache.NAME) ? prefix.saved : Money.zero
    const line: Line = {
      step: one.step,
      provider,
      model: one.model,
      ...(serviceTier === undefined ? undefined : { serviceTier }),
      reused: 0,
      cached: one.cached,
      calls,
      inputTokens: input,
      outputTokens: output,
      learnedFrom: sample?.answers ?? 0,
      ...(low === undefined || expected === undefined || high === undefined
        ? undefined
        : { cost: { low: low - off, expected: expected - off, high } })
    }
    return { one, line, price, output, prefix, off }
  })
  // Rows that are reused belong to a step, not to one of its models: they stand in its first line.
  const named = new Set<string>()
  const lines = planned.map(({ line }) => {
    if (named.has(line.step)) return line
    named.add(line.step)
    return { ...line, reused: reused.get(line.step) ?? 0 }
  })
  for (const [step, taken] of reused) {
    if (taken === 0 || named.has(step)) continue
    const nothing = { low: 0, expected: 0, high: 0 }
    lines.push({
      step,
      provider: "",
      model: "",
      reused: taken,
      cached: 0,
      calls: 0,
      inputTokens: 0,
      outputTokens: nothing,
      learnedFrom: 0,
      cost: { low: Money.zero, expected: Money.zero, high: Money.zero }
    })
  }
  const total = (end: keyof Range) => Money.sum(lines.map(({ cost }) => cost?.[end] ?? Money.zero))
  const cost = { low: total("low"), expected: total("expected"), high: total("high") }
  const milliseconds = shortest(planned, layers)
  const unpriced = [
    ...new Map(
      planned.flatMap(
        ({ one, price }) =>
          (price === undefined && one.calls > 0 ? [[one.model, one.provider]] : []) as ReadonlyArray<
            readonly [string, string]
          >
      )
    )
  ]
  const notes = [
    ...PlanCost.notes(planned),
    ...unpriced.map(
      ([model, provider]) =>
        `no price is known for ${model}: its calls are not in the cost. ${Pricing.advice(pricing, { at, model, provider })}`
    )
  ]
  return {
    flow,
    at,
    rows,
    lines,
    cost,
    unpriced: unpriced.map(([model]) => model),
    ...(milliseconds === undefined ? undefined : { milliseconds }),
    strategies: PlanCost.strategies(planned, layers, cost.expected, priceOf),
    unplanned,
    ...(notes.length === 0 ? undefined : { notes })
  }
}

/** The uncertainty of a mean of `calls` answers, told from the answers of before. */
const spread = ({ answers, deviation, mean }: LedgerRepo.OutputSample, calls: number): number =>
  calls === 0 ? 0 : answers < 2 ? mean / 2 : deviation * Math.sqrt(1 / answers + 1 / calls)

/** How long the calls take at the limits that the stack knows, each model for itself. */
const shortest = (
  planned: ReadonlyArray<PlanCost.Planned>,
  layers: ReadonlyArray<ModelClient.LayerInfo>
): number | undefined => {
  const limits = layers.flatMap(({ limits }) => (limits === undefined ? [] : [limits]))
  if (
    limits.every(
      ({ requestsPerMinute, tokensPerMinute }) => requestsPerMinute === undefined && tokensPerMinute === undefined
    )
  )
    return undefined
  let longest = 0
  // Batches do not count against the limits of single calls.
  const single = planned.filter(({ line }) => line.serviceTier !== "batch")
  for (const same of Map.groupBy(single, ({ one }) => one.model).values()) {
    const calls = same.reduce((sum, { line }) => sum + line.calls, 0)
    const tokens = same.reduce((sum, { line, output }) => sum + line.inputTokens + output.expected, 0)
    for (const { requestsPerMinute, tokensPerMinute } of limits) {
      // The first minute's worth is there at once.
      const over = (amount: number, limit: number | undefined) =>
        limit === undefined ? 0 : Math.max(0, amount / limit - 1)
      longest = Math.max(longest, over(calls, requestsPerMinute), over(tokens, tokensPerMinute))
    }
  }
  return Math.round(longest * 60_000)
}
