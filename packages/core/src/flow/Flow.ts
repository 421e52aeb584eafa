/**
 * Flows: typed graphs of steps over rows, with the stack that their model calls go through.
 *
 * **Details** A node names its inputs by reference: value types flow along the edges, errors and services add up, and a
 * service that the stack does not provide is a compile error. Each node belongs to the rows of a source, an expansion,
 * groups or a join. A step can read any nodes of its own rows and of the rows above them.
 *
 * **Example** (one step over some rows)
 *
 * ```ts
 * import { Flow, Ledger, Sink, Source, Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 * import { Effect } from "effect"
 * import { LanguageModel } from "effect/ai"
 *
 * const words = Source.fromIterable("words", ["bee", "hive"])
 *
 * const german = Flow.step("german", { word: words }, ({ word }) =>
 *   LanguageModel.generateText({ prompt: `Translate to German: ${word}` }).pipe(Effect.map((r) => r.text))
 * )
 *
 * export default Flow.make("translate", {
 *   outputs: [Sink.jsonl("german.jsonl", { word: words, german })],
 *   stack: Stack.make(Ledger.layer, OpenAi.layer({ model: "gpt-4o-mini" }))
 * })
 * ```
 *
 * @since 0.1.0
 */
import type * as DecisionModel from "effect/ai/DecisionModel"
import type * as EmbeddingModel from "effect/ai/EmbeddingModel"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Digest from "effect/crypto/Digest"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as CacheStore from "../cache/CacheStore.ts"
import type * as ModelClient from "../client/ModelClient.ts"
import type * as ModelSettings from "../client/ModelSettings.ts"
import * as OptionNames from "../client/OptionNames.ts"
import type * as Simulation from "../client/Simulation.ts"
import type * as Budget from "../ledger/Budget.ts"
import type * as Pricing from "../price/Pricing.ts"
import type * as Store from "../store/Store.ts"
import * as CallOptions from "./CallOptions.ts"
import * as FlowGraph from "./FlowGraph.ts"
import * as Node from "./Node.ts"
import * as Parameter from "./Parameter.ts"
import * as Sink from "./Sink.ts"
import type * as Source from "./Source.ts"

const TypeId = "~@pipe/core/Flow" as const

/** What every host of flows provides besides the stack: files, prices and the store. */
export type Host = Source.Platform | Pricing.Pricing | Store.Store | CacheStore.CacheStore | Digest.Digest

/** What a flow's stack provides to its steps. */
export type Models =
  | LanguageModel.LanguageModel
  | EmbeddingModel.EmbeddingModel
  | DecisionModel.DecisionModel
  | ModelClient.ModelClient

/** A complete flow, ready to run. `E` is what its nodes and its stack can fail with. */
export interface Flow<out E = unknown> {
  readonly [TypeId]: { readonly _E: () => E }
  readonly name: string
  readonly outputs: ReadonlyArray<Sink.Any>
  readonly graph: FlowGraph.FlowGraph
  readonly stack: Layer.Layer<ModelClient.ModelClient, unknown, Host> | undefined
  readonly services: Layer.Layer<unknown, unknown, Host>
  /** Those that it lists, and those that its nodes, sources and outputs read. */
  readonly parameters: ReadonlyArray<Parameter.Any>
  /** The names of parameters whose values are part of the key of every step. */
  readonly keyed: ReadonlySet<string>
  readonly prices: Pricing.Overrides
  readonly settings: ModelSettings.ModelSettings
  /** Includes the budgets of its steps. */
  readonly budget: Budget.Options
  /** Rows processed concurrently. */
  readonly concurrency: number
  /** Failed rows with which a run still succeeds. */
  readonly allowFailedRows: number
  /** Failed rows after which a run stops. */
  readonly stopAfterFailedRows: number
  /** The flow's own answers for simulated runs. */
  readonly simulate: Simulation.Answers | undefined
}

/** A flow of any type. */
export type Any = Flow<unknown>

/** Tests whether a value is a flow, including one made by another copy of this package. */
export const isFlow = (u: unknown): u is Any => typeof u === "object" && u !== null && TypeId in u

/** The options of `Flow.make`. */
export interface Options<
  Outputs extends ReadonlyArray<Sink.Any>,
  StackError,
  StackServices,
  Services,
  ServicesError,
  ServicesNeeds
> {
  readonly outputs: Outputs
  /** The layers under every model call, from top to bottom. See `Stack.make`. */
  readonly stack?: Layer.Layer<ModelClient.ModelClient, StackError, StackServices>
  /** Your own services that steps need. */
  readonly services?: Layer.Layer<Services, ServicesError, ServicesNeeds>
  /** Values that the command line accepts, checks and lists in its help. */
  readonly parameters?: ReadonlyArray<Parameter.Any>
  /** Prices of models that no price table has, or that differ for you: USD per million tokens. */
  readonly prices?: Pricing.Overrides
  /** Model and settings of all calls, unless a step overrides them. */
  readonly settings?: ModelSettings.ModelSettings
  /**
   * The most that a run may spend, in total and per model. When no further call fits, the run stops and can be resumed.
   */
  readonly budget?: Omit<Budget.Options, "steps">
  /** Rows processed concurrently. Default: 16. */
  readonly concurrency?: number
  /** The number of failed rows up to which the run still counts as done (exit code 0). Default: 0. */
  readonly allowFailedRows?: number
  /** Stops the run when more rows than this have failed. Default: no limit. */
  readonly stopAfterFailedRows?: number
  /**
   * The flow's own answers for simulated runs (`pipe run --simulate`). Where it gives none, the simulator generates
   * one.
   */
  readonly simulate?: Simulation.Answers
}

const OPTIONS: ReadonlySet<keyof Options<never, never, never, never, never, never>> = new Set([
  "outputs",
  "stack",
  "services",
  "parameters",
  "prices",
  "settings",
  "budget",
  "concurrency",
  "allowFailedRows",
  "stopAfterFailedRows",
  "simulate"
])

/** The parameters that the outputs depend on through their paths, and through what their nodes read. */
const parametersOf = (outputs: ReadonlyArray<Sink.Any>) => {
  const places = new Set<Parameter.Any>()
  const inputs = new Set<Parameter.Any>()
  const named = (path: unknown): void => {
    for (const parameter of Parameter.within(path)) places.add(parameter)
  }
  const read = (all: Node.Inputs): void => {
    for (const input of Object.values(all)) if (Parameter.isParameter(input)) inputs.add(input)
  }
  for (const { kind } of FlowGraph.nodesOf(outputs)) {
    if (kind._tag === "Source") kind.paths.forEach(named)
    if ("inputs" in kind) read(kind.inputs)
  }
  for (const { folder, inputs: all, path } of outputs) {
    named(path)
    named(folder)
    read(all)
  }
  return { places, inputs }
}

/** All parameters of a flow, and those whose values are part of every key. Throws a `FlowError` when two share a name. */
const withParameters = (
  flow: string,
  outputs: ReadonlyArray<Sink.Any>,
  listed: ReadonlyArray<Parameter.Any>
): Pick<Flow, "parameters" | "keyed"> => {
  const { inputs, places } = parametersOf(outputs)
  const parameters = [...new Set([...listed, ...places, ...inputs])]
  const byName = new Map<string, Parameter.Any>()
  for (const parameter of parameters) {
    const { name } = parameter.parameter
    if (byName.has(name))
      throw new Node.FlowError({ message: `flow ${flow} has two parameters named ${name}: give each a unique name` })
    byName.set(name, parameter)
  }
  return {
    parameters,
    // A path says where rows are, and not what they are; an input is part of the key of what reads it.
    keyed: new Set(listed.filter((one) => !places.has(one)).map(({ parameter }) => parameter.name))
  }
}

const withBudget = (graph: FlowGraph.FlowGraph, budget: Budget.Options = {}): Pick<Flow, "graph" | "budget"> => {
  const steps = graph.nodes.flatMap((node): ReadonlyArray<readonly [string, Budget.BudgetLimits]> =>
    "policy" in node.kind && node.kind.policy.budget !== undefined ? [[node.name, node.kind.policy.budget]] : []
  )
  return { graph, budget: steps.length === 0 ? budget : { ...budget, steps: Object.fromEntries(steps) } }
}

type SinkServices<S> = S extends Sink.Sink<unknown, infer R> ? R : never
type SinkErrors<S> = S extends Sink.Sink<infer E, unknown> ? E : never

/** Services that nothing provides: an editor shows them as the type of a property that cannot be given. */
type Missing<R> = [R] extends [never] ? unknown : { readonly "this flow needs services that nothing provides": R }

/** What the steps need beyond the host, the models of the stack and the author's services. */
type Unprovided<Outputs extends ReadonlyArray<Sink.Any>, Provided> = Exclude<
  SinkServices<Outputs[number]>,
  Host | Scope.Scope | Provided
>

const make_ = <
  const Outputs extends ReadonlyArray<Sink.Any>,
  StackError = never,
  StackServices = never,
  Services = never,
  ServicesError = never,
  ServicesNeeds = never,
  Stacked = never
>(
  name: string,
  options: Options<Outputs, StackError, StackServices, Services, ServicesError, ServicesNeeds> & {
    readonly stack?: Stacked
  } & Missing<
      | Unprovided<Outputs, Services | ([Stacked] extends [never] ? never : Models)>
      | Exclude<StackServices | ServicesNeeds, Host>
    >
): Flow<SinkErrors<Outputs[number]> | StackError | ServicesError> => {
  OptionNames.check(`flow ${name}`, options, OPTIONS)
  CallOptions.checkBudget(`the budget of flow ${name}`, options.budget)
  CallOptions.checkCalls(`flow ${name}`, options)
  OptionNames.checkNumbers(`flow ${name}`, options, {
    allowFailedRows: OptionNames.FROM_0,
    stopAfterFailedRows: OptionNames.FROM_0
  })
  if (!Array.isArray(options.outputs)) {
    throw new Node.FlowError({ message: `flow ${name} has no outputs: add sinks, outputs: [Sink.jsonl(…)]` })
  }
  return {
    [TypeId]: { _E: () => undefined as never },
    name,
    outputs: options.outputs,
    ...withBudget(FlowGraph.make(name, options.outputs), options.budget),
    stack: options.stack as Flow["stack"],
    services: (options.services ?? Layer.empty) as Flow["services"],
    ...withParameters(name, options.outputs, options.parameters ?? []),
    prices: options.prices ?? {},
    settings: options.settings ?? {},
    concurrency: options.concurrency ?? 16,
    allowFailedRows: options.allowFailedRows ?? 0,
    stopAfterFailedRows: options.stopAfterFailedRows ?? Number.POSITIVE_INFINITY,
    simulate: options.simulate
  }
}

/** The flow with separate outputs, for a simulated run. */
export const simulated = <E>(flow: Flow<E>): Flow<E> => ({ ...flow, outputs: flow.outputs.map(Sink.simulated) })

/**
 * The flow with other outputs: the nodes that they read, over the same stack.
 *
 * @internal
 */
export const withOutputs = <E>(flow: Flow<E>, outputs: ReadonlyArray<Sink.Any>): Flow<E> => ({
  ...flow,
  outputs,
  graph: FlowGraph.make(flow.name, outputs)
})

export {
  /**
   * Makes a flow from its outputs: every node that they read, directly or through others, is part of it.
   *
   * **Gotchas** Throws a `FlowError` when two nodes share a name.
   */
  make_ as make
}

/** Turns one row into many, in order. Nodes that read them can also read the nodes of the original row. */
export const expand = <In extends Node.Inputs, B, E = never, R = never>(
  name: string,
  inputs: In,
  run: (values: Node.Values<In>) => Iterable<B> | Effect.Effect<Iterable<B>, E, R>,
  policy: Node.NodePolicy = {}
): Node.Node<B, E | Node.InputsError<In>, R | Node.InputsServices<In>> => {
  CallOptions.checkPolicy(`expand ${name}`, policy)
  return Node.make(
    name,
    { _tag: "Expand", inputs, run, policy },
    { root: name, parent: Node.commonDomain(`expand ${name}`, inputs) }
  )
}

export { cost, type Cost } from "./FlowCost.ts"
export { type Decided, decide, type DecideOptions, type Question } from "./FlowDecide.ts"
export { embed, type EmbedOptions } from "./FlowEmbed.ts"
export { filter, where, type FilterOptions } from "./FlowFilter.ts"
export { distinct, group, type GroupOptions, reduce } from "./FlowGroup.ts"
export { join, type Near, nearest } from "./FlowJoin.ts"
export { map, step, type StepOptions, type StepQuality } from "./FlowStep.ts"
