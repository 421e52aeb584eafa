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
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as ModelClient from "../client/ModelClient.ts"
import type * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as BudgetAccount from "../ledger/BudgetAccount.ts"
import * as Money from "../price/Money.ts"
import * as PriceTable from "../price/PriceTable.ts"
import * as Pricing from "../price/Pricing.ts"
import * as FlowContext from "../run/FlowContext.ts"
import * as Store from "../store/Store.ts"
import type * as PlanCost from "./PlanCost.ts"
import * as PlanLimits from "./PlanLimits.ts"
import * as PlanCheck from "./PlanCheck.ts"
import * as PlanRows from "./PlanRows.ts"
import * as PlanRun from "./PlanRun.ts"
import * as PlanSteps from "./PlanSteps.ts"
import type { Plan, Range } from "./PlanSchema.ts"
import * as PlanStrategies from "./PlanStrategies.ts"

export { Check, CheckedRequest, CheckedRow, isSound, toJson as checkToJson } from "./PlanCheck.ts"
export { fromJson, PlanLine, Plan, Range, Strategy, toJson } from "./PlanSchema.ts"

/** The options of `Plan.make`. */
export interface Options extends PlanRun.Options {}

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
  Effect.map(PlanRun.gather(flow, options), summarise)

/** What was wrong with the first row that failed. */
const problemOf = ([failures]: ReadonlyArray<PlanRun.Failures>): Pick<Plan, "problem"> | undefined => {
  const first = failures?.first[0]
  if (first === undefined) return undefined
  const { message, node, position } = first
  const prefix = `${position}: `
  const said = message.startsWith(prefix) ? message.slice(prefix.length) : message
  return { problem: `${position}: ${node}: ${said}` }
}

/** The options of `Plan.check`. */
export interface CheckOptions extends Options {
  /** The budget of the run, overriding the flow's own. */
  readonly budget?: BudgetAccount.BudgetLimits
}

/**
 * Finds what would keep a run from starting, and the rows that would fail, without a call: all rows are read, keys,
 * packages and prices are looked for, and the first request of each step is made.
 *
 * **When to use** Before a long run, and in CI. `Runner.check` compares the files of a run.
 *
 * **Example** (a flow that can run)
 *
 * ```ts
 * import { Flow, Plan, Sink, Source } from "@pipe/core"
 * import { NodeHost } from "@pipe/plugins"
 * import { Effect, Schema } from "effect"
 *
 * const Review = Schema.Struct({ id: Schema.String })
 * const review = Source.jsonl("reviews", { path: "reviews.jsonl", schema: Review })
 * const flow = Flow.make("check-me", { outputs: [Sink.jsonl("out.jsonl", { review })] })
 *
 * const check = await Effect.runPromise(Plan.check(flow).pipe(Effect.provide(NodeHost.layerMemory)))
 * check.failed // => 0
 * check.problems // => []
 * ```
 */
export const check = <E>(
  flow: Flow.Flow<E>,
  options: CheckOptions = {}
): Effect.Effect<PlanCheck.Check, Node.FlowError | Pricing.PriceError | Store.StoreError, Flow.Host> =>
  Effect.gen(function* () {
    const gathered = yield* PlanRun.gather(flow, options)
    const problem = yield* PlanRun.obstacle(flow, options)
    return PlanCheck.make(gathered, summarise(gathered), {
      problems: problem === undefined ? [] : [problem],
      budget: options.budget ?? flow.budget
    })
  })

const summarise = (gathered: PlanRun.Gathered): Plan => {
  const { at, counts, flow, layers, nodes, pricing } = gathered
  const failures = [...gathered.failures.values()]
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
    ...PlanStrategies.notes(planned, layers, gathered.tierOf),
    ...PlanRows.notes(
      counts.filter(({ calls }) => calls > 0).map((one) => ({ step: one.step, ...rowsOf(one) })),
      unreached
    ),
    ...Array.from(unpriced, ([model, provider]) =>
      model === ""
        ? "no model is named for some calls, and the run would refuse them: give one to the provider, to the step, or to a Router"
        : `no price is known for ${model}: its calls are not in the cost. ${Pricing.advice(pricing, { at, model, provider })}`
    ),
    ...overBudget(flow, cost)
  ]
  return {
    flow: flow.name,
    at,
    version: gathered.version,
    rows,
    lines,
    cost,
    ...(lines.some(({ calls }) => calls > 0) ? { prices: PriceTable.nameOf(pricing.table) } : undefined),
    unpriced: [...unpriced.keys()],
    ...(milliseconds === undefined ? undefined : { milliseconds }),
    strategies: PlanStrategies.strategies(planned, layers, cost.expected, priceOf),
    unplanned: failures.reduce((sum, { count }) => sum + count, 0),
    ...problemOf(failures),
    ...(unreached.length === 0 ? undefined : { unreached }),
    ...(notes.length === 0 ? undefined : { notes })
  }
}

/** Says that the flow's budget is less than what is expected. */
const overBudget = ({ budget }: Flow.Any, { expected }: Plan["cost"]): ReadonlyArray<string> => {
  const most = budget.usd === undefined ? undefined : Option.getOrUndefined(Money.fromUsd(String(budget.usd)))
  return most === undefined || expected <= most
    ? []
    : [
        `the flow's budget of ${Money.format(most)} is less than the expected ${Money.format(expected)}: the run ${budget.onExceeded === "warn" ? "warns" : "stops"} when it is spent`
      ]
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
