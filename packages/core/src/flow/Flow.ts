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
import type * as EmbeddingModel from "effect/ai/EmbeddingModel"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Digest from "effect/crypto/Digest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as AnswerCheck from "../answer/AnswerCheck.ts"
import type * as CacheStore from "../cache/CacheStore.ts"
import type * as ModelClient from "../client/ModelClient.ts"
import type * as ModelSettings from "../client/ModelSettings.ts"
import * as OptionNames from "../client/OptionNames.ts"
import type * as RowValues from "../client/RowValues.ts"
import type * as Simulation from "../client/Simulation.ts"
import type * as Budget from "../ledger/Budget.ts"
import type * as Pricing from "../price/Pricing.ts"
import type * as Features from "../routing/Features.ts"
import type * as Quality from "../routing/Quality.ts"
import type * as Store from "../store/Store.ts"
import * as FlowGraph from "./FlowGraph.ts"
import * as AuthorValue from "./AuthorValue.ts"
import * as Node from "./Node.ts"
import * as Parameter from "./Parameter.ts"
import * as Sink from "./Sink.ts"
import type * as Source from "./Source.ts"
import type * as Varying from "./Varying.ts"

const TypeId = "~@pipe/core/Flow" as const

/** What every host of flows provides besides the stack: files, prices and the store. */
export type Host = Source.Platform | Pricing.Pricing | Store.Store | CacheStore.CacheStore | Digest.Digest

/** What a flow's stack provides to its steps. */
export type Models = LanguageModel.LanguageModel | EmbeddingModel.EmbeddingModel | ModelClient.ModelClient

/** A complete flow, ready to run. `E` is what its nodes and its stack can fail with. */
export interface Flow<out E = unknown> {
  readonly [TypeId]: { readonly _E: () => E }
  readonly name: string
  readonly outputs: ReadonlyArray<Sink.Any>
  readonly graph: FlowGraph.FlowGraph
  readonly stack: Layer.Layer<ModelClient.ModelClient, unknown, Host> | undefined
  readonly services: Layer.Layer<unknown, unknown, Host>
  readonly parameters: ReadonlyArray<Parameter.Any>
  /** Parameters that only say where a file is, and do not change results. */
  readonly places: ReadonlySet<string>
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

const LIMITS: ReadonlyArray<keyof Budget.Options> = ["usd", "tokens", "onExceeded"]

const checkBudget = (what: string, budget: Budget.Options | undefined): void => {
  if (budget === undefined) return
  OptionNames.check(what, budget, [...LIMITS, "models", "steps"])
  for (const [model, limits] of Object.entries(budget.models ?? {}))
    OptionNames.check(`${what} for ${model}`, limits, LIMITS)
}

/** Throws for numbers with which no row could run or no call could be made. */
const checkCalls = (
  what: string,
  { concurrency, settings = {} }: Pick<Node.NodePolicy, "concurrency" | "settings">
): void => {
  OptionNames.checkNumbers(what, { concurrency }, { concurrency: OptionNames.COUNT })
  OptionNames.checkNumbers(`the settings of ${what}`, settings, {
    temperature: OptionNames.FROM_0,
    topP: OptionNames.SHARE,
    maxTokens: OptionNames.COUNT,
    dimensions: OptionNames.COUNT
  })
}

const placesOf = (outputs: ReadonlyArray<Sink.Any>): ReadonlySet<string> => {
  const places = new Set<string>()
  const add = (path: unknown): void => {
    if (Parameter.isParameter(path)) places.add(path.parameter.name)
  }
  const visit = (node: Node.Any): void => {
    if (node.kind._tag === "Source") add(node.kind.path)
    Node.inputsOf(node).forEach(visit)
  }
  for (const output of outputs) {
    add(output.path)
    Object.values(output.inputs).forEach(visit)
  }
  return places
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
  checkBudget(`the budget of flow ${name}`, options.budget)
  checkCalls(`flow ${name}`, options)
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
    parameters: options.parameters ?? [],
    places: placesOf(options.outputs),
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
  graph: FlowGraph.make(flow.name, outputs),
  places: placesOf(outputs)
})

export {
  /**
   * Makes a flow from its outputs: every node that they read, directly or through others, is part of it.
   *
   * **Gotchas** Throws a `FlowError` when two nodes share a name.
   */
  make_ as make
}

/** Options of a step. */
export interface StepOptions<In extends Node.Inputs, A = string> extends Omit<Node.NodePolicy, "model" | "settings"> {
  /** The model of this step's calls, or a function of the row that returns it. A router leaves it as it is. */
  readonly model?: string | ((values: Node.Values<In>) => string | undefined)
  /** The settings of this step's calls, or a function of the row that returns them. */
  readonly settings?: ModelSettings.ModelSettings | ((values: Node.Values<In>) => ModelSettings.ModelSettings)
  /** Runs the step only for rows for which this returns true. For the others its value is `undefined`. */
  readonly when?: (values: Node.Values<In>) => boolean
  /** Requests this many answers per row; the value is their list. Each sample is cached separately. */
  readonly samples?: number
  /**
   * The text that differs from row to row, exactly as it appears in the prompt: `reuse` compares it, and `pack` groups
   * it.
   */
  readonly varies?: (values: Node.Values<In>) => string
  /** Reuses answers for texts that mean the same, within an error rate. The stack needs `SemanticCache.layer`. */
  readonly reuse?: Varying.Reuse
  /** Sends several texts in one prompt. The stack needs `Pack.layer`. */
  readonly pack?: Varying.Pack
  /**
   * Returns what is wrong with an answer, in words for the model: one sentence or several. `Retry.layer({ reasks })`
   * sends the request again with them. `true` or `undefined` accepts the answer.
   *
   * It reads the text of each answer; for `generateObject` that is JSON which fits the schema. A rule about the value
   * alone belongs in the schema (`Schema.makeFilter`).
   */
  readonly check?: (answer: string, values: Node.Values<In>) => AnswerCheck.Issues
  /**
   * Defines a good answer. `Cascade.layer` uses it to decide whether a cheaper model's answer is accepted, and `pipe
   * tune` to measure quality.
   */
  readonly quality?: StepQuality<In, A>
}

/** Defines a good answer of a step. `A` is what `answer` returns: the text itself without it. See `Quality`. */
export interface StepQuality<In extends Node.Inputs, A = string> {
  /**
   * Extracts what counts when two answers are compared. Default: the whole answer; JSON is compared regardless of key
   * order.
   */
  readonly answer?: (text: string) => A
  /**
   * How good an answer is compared with the correct one, or with the strong model's, from 0 to 1. Default: 1 when they
   * are equal, otherwise 0.
   */
  readonly score?: (answer: NoInfer<A>, reference: NoInfer<A>) => number | boolean
  /** Facts about the row that may tell how hard it is: numbers, words, booleans. */
  readonly features?: (values: Node.Values<In>) => Features.Features
  /**
   * Reads the text of an answer and returns whether it is good, how good it is from 0 to 1, or facts for a trained
   * score.
   */
  readonly check?: (answer: string, values: Node.Values<In>) => Quality.Verdict
  /**
   * The correct answer, in the form that `answer` returns. `undefined` when it is not known for the row: the strong
   * model's answer is then the reference.
   */
  readonly label?: (values: Node.Values<In>) => NoInfer<A> | undefined
}

type StepValue<B, O> =
  | (O extends { readonly samples: number } ? ReadonlyArray<B> : B)
  | (O extends { readonly when: (...args: never) => boolean } ? undefined : never)

const varyingOf = (
  name: string,
  {
    pack,
    reuse,
    varies
  }: {
    readonly varies: ((values: RowValues.Erased) => string) | undefined
    readonly reuse: Varying.Reuse | undefined
    readonly pack: Varying.Pack | undefined
  }
): Node.Varies | undefined => {
  const isShare = (share: number | undefined): boolean => share === undefined || (share >= 0 && share <= 1)
  const problems: ReadonlyArray<readonly [isWrong: boolean, problem: string]> = [
    [varies === undefined && reuse !== undefined, "reuse needs `varies`, the text that may differ"],
    [varies === undefined && pack !== undefined, "pack needs `varies`, the text that may differ"],
    [
      reuse !== undefined && !(reuse.maxErrorRate > 0 && reuse.maxErrorRate < 1),
      "reuse needs a `maxErrorRate` between 0 and 1"
    ],
    [!isShare(reuse?.audit), "reuse needs an `audit` between 0 and 1"],
    [
      pack !== undefined
        && pack.size !== "auto"
        && !(Number.isInteger(pack.size) && pack.size >= 1 && pack.size <= 1_000),
      'pack needs a `size` from 1 to 1,000, or "auto"'
    ],
    [!isShare(pack?.minAgreement), "pack needs a `minAgreement` between 0 and 1"],
    [!isShare(pack?.audit), "pack needs an `audit` between 0 and 1"]
  ]
  const found = problems.find(([isWrong]) => isWrong)
  if (found !== undefined) throw new Node.FlowError({ message: `step ${name}: a step with ${found[1]}` })
  return varies === undefined ? undefined : { text: varies, reuse, pack }
}

const STEP_OPTIONS: ReadonlySet<string> = new Set([
  ...Node.POLICY,
  ...(["when", "samples", "varies", "reuse", "pack", "check", "quality"] satisfies ReadonlyArray<
    keyof StepOptions<Node.Inputs>
  >)
])

/**
 * Computes a value for each row from the values of other nodes, with an effect or a plain function. Results are kept in the store and reused by later runs.
 */
export const step = <
  In extends Node.Inputs,
  B,
  E = never,
  R = never,
  const O extends Pick<StepOptions<In>, "when" | "samples"> = {},
  A = string
>(
  name: string,
  inputs: In,
  run: (values: Node.Values<In>) => B | Effect.Effect<B, E, R>,
  options?: O & StepOptions<In, A>
): Node.Node<StepValue<B, O>, E | Node.InputsError<In>, R | Node.InputsServices<In>> => {
  const { check, model, pack, quality, reuse, samples, settings, varies, when, ...others }: StepOptions<In, A> =
    options ?? {}
  const policy: Node.NodePolicy = {
    ...others,
    ...(typeof model === "string" ? { model } : undefined),
    ...(typeof settings === "object" ? { settings } : undefined)
  }
  OptionNames.check(`step ${name}`, options ?? {}, STEP_OPTIONS)
  checkBudget(`the budget of step ${name}`, options?.budget)
  checkCalls(`step ${name}`, policy)
  OptionNames.checkNumbers(`step ${name}`, { samples }, { samples: OptionNames.COUNT })
  const varying = varyingOf(name, { varies, reuse, pack })
  return Node.make(
    name,
    {
      _tag: "Step",
      inputs,
      run,
      when,
      samples,
      model: typeof model === "function" ? model : undefined,
      settings: typeof settings === "function" ? settings : undefined,
      varying,
      check,
      quality,
      computed: false,
      policy
    },
    Node.commonDomain(`step ${name}`, inputs)
  )
}

/** Computes a value for each row with a plain function. The value is not kept: every run computes it again. */
export const map = <In extends Node.Inputs, B>(
  name: string,
  inputs: In,
  f: (values: Node.Values<In>) => B
): Node.Node<B, Node.InputsError<In>, Node.InputsServices<In>> =>
  Node.make(
    name,
    {
      _tag: "Step",
      inputs,
      run: (values: Node.Values<In>) =>
        Effect.sync(() => {
          const made = f(values)
          AuthorValue.refusePromise("the function of the step", made)
          return made
        }),
      when: undefined,
      samples: undefined,
      model: undefined,
      settings: undefined,
      varying: undefined,
      check: undefined,
      quality: undefined,
      computed: true,
      policy: {}
    },
    Node.commonDomain(`step ${name}`, inputs)
  )

/** Keeps the rows for which a condition holds. Nodes that read the filter run for those rows only. */
export const filter = <In extends Node.Inputs, E = never, R = never>(
  name: string,
  inputs: In,
  keep: (values: Node.Values<In>) => boolean | Effect.Effect<boolean, E, R>,
  policy: Node.NodePolicy = {}
): Node.Node<Node.Values<In>, E | Node.InputsError<In>, R | Node.InputsServices<In>> =>
  Node.make(name, { _tag: "Filter", inputs, keep, policy }, Node.commonDomain(`filter ${name}`, inputs))

/** Turns one row into many, in order. Nodes that read them can also read the nodes of the original row. */
export const expand = <In extends Node.Inputs, B, E = never, R = never>(
  name: string,
  inputs: In,
  run: (values: Node.Values<In>) => Iterable<B> | Effect.Effect<Iterable<B>, E, R>,
  policy: Node.NodePolicy = {}
): Node.Node<B, E | Node.InputsError<In>, R | Node.InputsServices<In>> =>
  Node.make(
    name,
    { _tag: "Expand", inputs, run, policy },
    { root: name, parent: Node.commonDomain(`expand ${name}`, inputs) }
  )

export { distinct, group, type GroupOptions, reduce } from "./FlowGroup.ts"
export { join } from "./FlowJoin.ts"
