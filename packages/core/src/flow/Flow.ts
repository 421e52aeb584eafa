/**
 * Flows: typed graphs of steps over rows, with the stack that their calls go through.
 *
 * **Details** A node names its inputs by reference, so the types of values flow along the edges, errors and services
 * gather, and what the stack does not provide is a compile error. Every node belongs to the rows of a source, of an
 * expansion, of groups, or of a join; a step may read any nodes of its own rows and of the rows above.
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
import * as Node from "./Node.ts"
import * as Parameter from "./Parameter.ts"
import * as Sink from "./Sink.ts"
import type * as Source from "./Source.ts"
import type * as Varying from "./Varying.ts"

const TypeId = "~@pipe/core/Flow" as const

/** What every host of flows gives them beside their stack: files, prices, the store. */
export type Host = Source.Platform | Pricing.Pricing | Store.Store | CacheStore.CacheStore | Digest.Digest

/** What a flow's stack gives its steps. */
export type Models = LanguageModel.LanguageModel | EmbeddingModel.EmbeddingModel | ModelClient.ModelClient

/** A whole flow, ready to be run. `E` is what its nodes and its stack may fail with. */
export interface Flow<out E = unknown> {
  readonly [TypeId]: { readonly _E: () => E }
  readonly name: string
  readonly outputs: ReadonlyArray<Sink.Any>
  readonly graph: FlowGraph.FlowGraph
  readonly stack: Layer.Layer<ModelClient.ModelClient, unknown, Host> | undefined
  readonly services: Layer.Layer<unknown, unknown, Host>
  readonly parameters: ReadonlyArray<Parameter.Any>
  /** Parameters that say where a file is, and nothing of what is done. */
  readonly places: ReadonlySet<string>
  readonly prices: Pricing.Overrides
  readonly settings: ModelSettings.ModelSettings
  /** With those of its steps. */
  readonly budget: Budget.Options
  readonly concurrency: number
  readonly allowFailedRows: number
  readonly stopAfterFailedRows: number
  /** Answers of its own for simulated runs. */
  readonly simulate: Simulation.Answers | undefined
}

export type Any = Flow<unknown>

/** Whether a value is a flow, also one that another copy of this package made. */
export const isFlow = (u: unknown): u is Any => typeof u === "object" && u !== null && TypeId in u

export interface Options<
  Outputs extends ReadonlyArray<Sink.Any>,
  StackError,
  StackServices,
  Services,
  ServicesError,
  ServicesNeeds
> {
  readonly outputs: Outputs
  /** The layers under every call of a model, from top to bottom; see `Stack.make`. */
  readonly stack?: Layer.Layer<ModelClient.ModelClient, StackError, StackServices>
  /** Services of the author's own that steps need. */
  readonly services?: Layer.Layer<Services, ServicesError, ServicesNeeds>
  /** Values that the command line asks for, shows and checks. */
  readonly parameters?: ReadonlyArray<Parameter.Any>
  /** Prices of models that no table knows, or that are others for you: USD per million tokens. */
  readonly prices?: Pricing.Overrides
  /** Model and settings of all calls, unless a step says otherwise. */
  readonly settings?: ModelSettings.ModelSettings
  /** Most that a run may spend, in all and for each model. When nothing more fits the run stops, to be gone on with. */
  readonly budget?: Omit<Budget.Options, "steps">
  /** Rows at once. Default: 16. */
  readonly concurrency?: number
  /** Failed rows with which the run still counts as done (exit code 0). Default: 0. */
  readonly allowFailedRows?: number
  /** Stops the run when more rows than this have failed. Default: it goes on. */
  readonly stopAfterFailedRows?: number
  /** Answers of the flow's own for simulated runs (`pipe run --simulate`); where it gives none, the simulator makes one up. */
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

/** Throws for numbers with which no row could be run, or no call be made. */
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

/** What nothing provides: shown in the author's editor as the type of a property that cannot be given. */
type Missing<R> = [R] extends [never] ? unknown : { readonly "this flow needs services that nothing provides": R }

/** What the steps need beyond the host, the models that a stack gives, and the author's services. */
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
    throw new Node.FlowError({ message: `flow ${name} has no outputs: list its sinks, outputs: [Sink.jsonl(…)]` })
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

/** The flow with outputs of their own for a simulated run. */
export const simulated = <E>(flow: Flow<E>): Flow<E> => ({ ...flow, outputs: flow.outputs.map(Sink.simulated) })

export {
  /**
   * A flow from its outputs: every node that they read, directly or through others, is part of it.
   *
   * **Gotchas** Fails at once, with a `FlowError`, when two nodes have one name.
   */
  make_ as make
}

/** Options of a step. */
export interface StepOptions<In extends Node.Inputs> extends Node.NodePolicy {
  /** Runs the step only for rows of which this holds; for the others its value is `undefined`. */
  readonly when?: (values: Node.Values<In>) => boolean
  /** Asks for so many answers a row; the value is the list of them. Each is a sample of its own, in the cache too. */
  readonly samples?: number
  /** The text that differs from row to row, as it stands in the prompt: what `reuse` compares and `pack` gathers. */
  readonly varies?: (values: Node.Values<In>) => string
  /** Answers may be reused for texts that mean the same, within an error rate. The stack needs `SemanticCache.layer`. */
  readonly reuse?: Varying.Reuse
  /** Several texts are asked in one prompt. The stack needs `Pack.layer`. */
  readonly pack?: Varying.Pack
  /**
   * What is wrong with an answer, in words for the model, which is then asked again with them (`Retry.layer({ reasks })`): a sentence,
   * several, or nothing (`true`, `undefined`). It reads the text of each answer of the step; that of `generateObject` is JSON that fits
   * its schema. What only the value decides belongs into the schema (`Schema.makeFilter`).
   */
  readonly check?: (answer: string, values: Node.Values<In>) => AnswerCheck.Issues
  /** What makes an answer good: by it `Cascade.layer` decides whether a cheaper model's may stand, and `pipe tune` measures. */
  readonly quality?: StepQuality<In>
}

/** What makes the answers of a step good. See `Quality`. */
export interface StepQuality<In extends Node.Inputs> extends Pick<Quality.Quality, "answer" | "score"> {
  /** Facts about the row that may tell how hard it is: numbers, words, yes or no. */
  readonly features?: (values: Node.Values<In>) => Features.Features
  /** Reads the text of a model's answer: whether it is good, how good from 0 to 1, or facts that a trained score weighs. */
  readonly check?: (answer: string, values: Node.Values<In>) => Quality.Verdict
  /** The right answer, in the form that `answer` gives; `undefined`: not known for the row, so the strong model's answer is the standard. */
  readonly label?: (values: Node.Values<In>) => unknown
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
    [varies === undefined && reuse !== undefined, "reuse says by `varies` which text may differ"],
    [varies === undefined && pack !== undefined, "pack says by `varies` which text may differ"],
    [
      reuse !== undefined && !(reuse.maxErrorRate > 0 && reuse.maxErrorRate < 1),
      "reuse has a `maxErrorRate` between 0 and 1"
    ],
    [!isShare(reuse?.audit), "reuse has an `audit` between 0 and 1"],
    [
      pack !== undefined
        && pack.size !== "auto"
        && !(Number.isInteger(pack.size) && pack.size >= 1 && pack.size <= 1_000),
      'pack has a `size` from 1 to 1,000, or "auto"'
    ],
    [!isShare(pack?.minAgreement), "pack has a `minAgreement` between 0 and 1"],
    [!isShare(pack?.audit), "pack has an `audit` between 0 and 1"]
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

/** Computes a value for each row from the values of other nodes. */
export const step = <In extends Node.Inputs, B, E, R, const O extends StepOptions<In> = {}>(
  name: string,
  inputs: In,
  run: (values: Node.Values<In>) => Effect.Effect<B, E, R>,
  options?: O & StepOptions<In>
): Node.Node<StepValue<B, O>, E | Node.InputsError<In>, R | Node.InputsServices<In>> => {
  const { check, pack, quality, reuse, samples, varies, when, ...policy }: StepOptions<In> = options ?? {}
  OptionNames.check(`step ${name}`, options ?? {}, STEP_OPTIONS)
  checkBudget(`the budget of step ${name}`, options?.budget)
  checkCalls(`step ${name}`, policy)
  OptionNames.checkNumbers(`step ${name}`, { samples }, { samples: OptionNames.COUNT })
  const varying = varyingOf(name, { varies, reuse, pack })
  return Node.make(
    name,
    { _tag: "Step", inputs, run, when, samples, varying, check, quality, computed: false, policy },
    Node.commonDomain(`step ${name}`, inputs)
  )
}

/** Computes a value for each row with a plain function, in every run anew. */
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
      run: (values: Node.Values<In>) => Effect.sync(() => f(values)),
      when: undefined,
      samples: undefined,
      varying: undefined,
      check: undefined,
      quality: undefined,
      computed: true,
      policy: {}
    },
    Node.commonDomain(`step ${name}`, inputs)
  )

/** Lets through the rows of which a condition holds; what reads the filter runs for those alone. */
export const filter = <In extends Node.Inputs, E = never, R = never>(
  name: string,
  inputs: In,
  keep: (values: Node.Values<In>) => boolean | Effect.Effect<boolean, E, R>,
  policy: Node.NodePolicy = {}
): Node.Node<Node.Values<In>, E | Node.InputsError<In>, R | Node.InputsServices<In>> =>
  Node.make(name, { _tag: "Filter", inputs, keep, policy }, Node.commonDomain(`filter ${name}`, inputs))

/** One row becomes many, in their order. What reads them may read the nodes of the row they came from too. */
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

/**
 * Many rows become one, or one a group: a fold in the order of the rows, whose state is all that is kept in memory.
 *
 * `by` gives the group of a row; groups come out in the order of their first rows, and `finish`, which may call a model,
 * turns a group's state into its value.
 */
export const reduce = <In extends Node.Inputs, S, B = S, E = never, R = never>(
  name: string,
  inputs: In,
  options: {
    readonly by?: (values: Node.Values<In>) => string
    readonly initial: () => S
    readonly step: (state: S, values: Node.Values<In>) => S
    readonly finish?: (state: S, key: string) => Effect.Effect<B, E, R>
  } & Node.NodePolicy
): Node.Node<B, E | Node.InputsError<In>, R | Node.InputsServices<In>> => {
  Node.commonDomain(`reduce ${name}`, inputs)
  const { by, finish, initial, step, ...policy } = options
  return Node.make(
    name,
    { _tag: "Reduce", inputs, by, initial, step, finish: finish ?? Effect.succeed, meaning: finish, policy },
    undefined
  )
}

/** One value for each group of rows, made of all of them (or of the first `take`). */
export const group = <In extends Node.Inputs, B, E, R>(
  name: string,
  inputs: In,
  options: {
    readonly by: (values: Node.Values<In>) => string
    /** Rows of a group that are kept for `run`. Default: all. */
    readonly take?: number
  } & Node.NodePolicy,
  run: (group: {
    readonly key: string
    readonly rows: ReadonlyArray<Node.Values<In>>
    /** Rows of the group, those beyond `take` included. */
    readonly count: number
  }) => Effect.Effect<B, E, R>
): Node.Node<B, E | Node.InputsError<In>, R | Node.InputsServices<In>> => {
  const { by, take = Number.POSITIVE_INFINITY, ...policy } = options
  interface State {
    readonly rows: Array<Node.Values<In>>
    count: number
  }
  Node.commonDomain(`group ${name}`, inputs)
  return Node.make(
    name,
    {
      _tag: "Reduce",
      inputs,
      by,
      initial: (): State => ({ rows: [], count: 0 }),
      step: (state: State, values: Node.Values<In>) => {
        state.count++
        if (state.rows.length < take) state.rows.push(values)
        return state
      },
      finish: (state: State, key) => run({ key, ...state }),
      meaning: run,
      policy
    },
    undefined
  )
}

/**
 * Brings the rows of two nodes together by key: for each row of the first, each row of the second with an equal key.
 *
 * **Details** Rows come in the order of the first node. The second is held in memory. With `type: "left"` a row without a
 * partner comes once, with `undefined` for the second.
 */
export const join = <
  L extends string,
  A extends Node.Any,
  M extends string,
  B extends Node.Any,
  const T extends "inner" | "left" = "inner"
>(
  name: string,
  left: { readonly [K in L]: A },
  right: { readonly [K in M]: B },
  options: {
    readonly on: readonly [(value: Node.Value<A>) => string | number, (value: Node.Value<B>) => string | number]
    readonly type?: T
  }
): Node.Node<
  { readonly [K in L]: Node.Value<A> } & { readonly [K in M]: Node.Value<B> | ("left" extends T ? undefined : never) },
  Node.Error<A> | Node.Error<B>,
  Node.Services<A> | Node.Services<B>
> => {
  const [leftName, rightName] = [Object.keys(left)[0]!, Object.keys(right)[0]!]
  return Node.make(
    name,
    {
      _tag: "Join",
      inputs: { ...left, ...right },
      on: { [leftName]: options.on[0], [rightName]: options.on[1] },
      type: options.type ?? "inner"
    },
    undefined
  )
}
