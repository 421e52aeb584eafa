/**
 * The context in which the steps of a flow run: the models of its stack, the author's services, the parameter values.
 *
 * @internal
 */
import * as DecisionModel from "effect/ai/DecisionModel"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as Closure from "../closure/Closure.ts"
import * as LayerCode from "../closure/LayerCode.ts"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Batch from "../batch/Batch.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as RunHooks from "../client/RunHooks.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import * as Simulation from "../client/Simulation.ts"
import * as Stack from "../client/Stack.ts"
import * as Suspension from "../client/Suspension.ts"
import * as ToDecisionModel from "../client/ToDecisionModel.ts"
import * as ToEmbeddingModel from "../client/ToEmbeddingModel.ts"
import * as ToLanguageModel from "../client/ToLanguageModel.ts"
import * as CallInterceptor from "../client/CallInterceptor.ts"
import type * as Flow from "../flow/Flow.ts"
import * as Node from "../flow/Node.ts"
import * as Parameter from "../flow/Parameter.ts"
import * as StepKey from "../flow/StepKey.ts"
import * as Ledger from "../ledger/Ledger.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as SafeText from "../encoding/SafeText.ts"
import * as StoredValue from "../encoding/StoredValue.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as Pricing from "../price/Pricing.ts"
import * as JudgeNeeds from "../routing/JudgeNeeds.ts"
import * as Store from "../store/Store.ts"

/** Builds the models of the flow's stack and the author's services, in the scope of the run. */
export const services = Effect.fnUntraced(function* (
  flow: Flow.Any,
  options: {
    /** Wraps the stack. */
    readonly over?: (client: ModelClient.Service) => ModelClient.Service
    /** Sends requests in batches, when the stack itself does not configure them. */
    readonly batch?: Batch.Options | "off" | undefined
    /** The stack is only read: nothing is sent. */
    readonly isPlan?: boolean
    /** The key of each step, for calibrations. */
    readonly steps?: (step: string) => string | undefined
    /** Identifies functions, for layers that keep answers. */
    readonly closures?: Closure.Closures
    /** The simulation that answers. Default: the host's, if any. */
    readonly simulation?: Simulation.Simulation | undefined
  } = {}
) {
  const { batch, closures, isPlan, over = (client: ModelClient.Service) => client, steps = () => undefined } = options
  const simulation = options.simulation ?? (yield* Simulation.Simulation)
  const context = Context.add(yield* Effect.context<Flow.Host | Scope.Scope>(), Simulation.Simulation, simulation)
  const own = yield* Layer.build(flow.services)
  const base = Context.merge(context, own)
  if (flow.stack === undefined) {
    const isReal = [LanguageModel.LanguageModel, EmbeddingModel.EmbeddingModel, ModelClient.ModelClient].some((model) =>
      own.mapUnsafe.has(model.key)
    )
    if (isPlan === true && isReal)
      return yield* new Node.FlowError({
        message:
          "the flow's `services` contain a model, which would be called without a plan: provide it in the stack, with FromLanguageModel.layer"
      })
    return simulation !== undefined && isReal
      ? yield* notSimulated(
          "the flow's `services` contain a model: provide it in the stack, with FromLanguageModel.layer"
        )
      : { client: undefined, context: base, layers: [] }
  }
  const built = typeof batch === "object" ? withBatch(flow.stack, batch) : buildStack(flow.stack)
  const stack = yield* built.pipe(
    RunHooks.provide({ batch, isPlan, stepKey: steps }),
    Effect.provideService(Closure.Current, closures),
    Effect.provideService(Simulation.Simulation, simulation)
  )
  if (simulation !== undefined && !ModelClient.hasProviders(stack.layers)) {
    return yield* notSimulated(
      "the flow's stack ends in a ModelClient that is not a provider: make it with ModelClient.provider"
    )
  }
  for (const { name, prices } of LayerAnnotations.providers(stack.layers)) {
    if (prices !== undefined) yield* Context.get(context, Pricing.Pricing).declare(name, prices)
  }
  const unfit = unfitJudge(flow, stack.layers)
  if (unfit !== undefined) return yield* new Node.FlowError({ message: unfit })
  const top = over(ModelClient.simulated(stack, simulation))
  // Every call is recorded, whether or not the stack has a ledger.
  const recorded = { ...top, send: Ledger.recording(Context.get(context, Pricing.Pricing))(top.send) }
  const client = Suspension.held(CallInterceptor.over(recorded))
  return {
    client,
    layers: client.layers ?? [],
    context: base.pipe(
      Context.add(ModelClient.ModelClient, client),
      Context.add(LanguageModel.LanguageModel, yield* ToLanguageModel.make(client)),
      Context.add(DecisionModel.DecisionModel, yield* ToDecisionModel.make(client)),
      Context.add(
        EmbeddingModel.EmbeddingModel,
        yield* ToEmbeddingModel.make(client, Context.get(context, Pricing.Pricing))
      )
    )
  }
})

const notSimulated = (why: string) =>
  new Node.FlowError({
    message: `--simulate cannot replace all models of this flow, so nothing was called: ${why}`
  })

const buildStack = (stack: NonNullable<Flow.Any["stack"]>) =>
  Effect.map(Layer.build(stack), (built) => Context.get(built, ModelClient.ModelClient)).pipe(
    Effect.mapError((error: unknown) =>
      error instanceof Config.ConfigError
        ? new Node.FlowError({
            message: `a setting that the stack needs is missing or wrong: ${SafeText.line(Store.messageOf(error))}. Set it in the environment, or in a .env file in the working directory`
          })
        : error
    ),
    // The types reject this, but a flow may not have been type-checked.
    Effect.catchDefect((defect) =>
      defect instanceof Stack.StackError
        ? Effect.fail(new Node.FlowError({ message: defect.message }))
        : defect instanceof Error && defect.message.includes(ModelClient.ModelClient.key)
          ? Effect.fail(
              new Node.FlowError({
                message: "the flow's stack ends without a provider: add one at the end, such as OpenAi.layer({ model })"
              })
            )
          : Effect.die(defect)
    )
  )

/** Inserts batches between the provider and the layers above, unless the stack has them. */
const withBatch = Effect.fnUntraced(function* (stack: NonNullable<Flow.Any["stack"]>, batch: Batch.Options) {
  const place: { edge?: ModelClient.Service; send?: ModelClient.Send } = {}
  // Layers above see whether requests go in batches from here.
  const info: ModelClient.LayerInfo = {
    name: "batches",
    get annotations() {
      const tier = { tier: "batch", steps: batch.steps }
      return place.send === undefined ? Context.empty() : Context.make(LayerAnnotations.ServiceTier, tier)
    }
  }
  const client = yield* RunHooks.provide({
    edge: ({ isEdge: _, ...edge }) => {
      place.edge = edge
      return { ...edge, layers: [info, ...(edge.layers ?? [])], send: (request) => (place.send ?? edge.send)(request) }
    }
  })(buildStack(stack))
  if (LayerAnnotations.batches(client.layers)) return client
  if (place.edge === undefined)
    return yield* Batch.make(ModelClient.simulated(client, yield* Simulation.Simulation), batch)
  place.send = (yield* Batch.make(place.edge, batch)).send
  return client
})

/** Describes a judge that cannot work on a model of its cascade, as a step calls it. */
const unfitJudge = (flow: Flow.Any, layers: ReadonlyArray<ModelClient.LayerInfo> = []): string | undefined => {
  for (const node of flow.graph.nodes) {
    const byRow = Node.callsOf(node)
    if (!Node.canCall(node) || byRow.model !== undefined || byRow.settings !== undefined) continue
    const own = "policy" in node.kind ? Node.settingsOf(node.kind.policy) : undefined
    const settings = ModelSettings.merge(flow.settings, own ?? {})
    // A call that names its model does not go through a cascade.
    const problem = settings.model === undefined ? JudgeNeeds.problem(layers, node.name, settings) : undefined
    if (problem !== undefined) return problem
  }
  return undefined
}

/** Describes steps that enable something no layer of the stack does. */
export const unserved = (flow: Flow.Any, client: ModelClient.Service | undefined): ReadonlyArray<string> => {
  const missing = (key: Context.Reference<boolean>) => !LayerAnnotations.has(client?.layers, key)
  return flow.graph.nodes.flatMap((node) => {
    const { varying } = Node.callsOf(node)
    const layers = [
      ...(varying?.reuse !== undefined && missing(LayerAnnotations.ReusesMeaning)
        ? [["reuse", "SemanticCache.layer()"]]
        : []),
      ...(varying?.pack !== undefined && varying.pack.size !== 1 && missing(LayerAnnotations.Packs)
        ? [["pack", "Pack.layer()"]]
        : [])
    ]
    return layers.map(
      ([option, layer]) =>
        `step ${node.name} has \`${option}\`, but the flow's stack has no ${layer}: every row is sent alone`
    )
  })
}

/** Identifies the functions of a flow's nodes. It is closed when all keys are made. */
export const closures = (flow: Flow.Any): Effect.Effect<Closure.Closures> =>
  Closure.openFor(flow.graph.nodes.map(Node.siteOf))

const named = (unknown: ReadonlyMap<string, string>): string =>
  Array.from(unknown, ([name, what]) => (name === "it" ? what : `${name} (${what})`))
    .slice(0, 3)
    .join(", ")

/** Describes steps and layers whose results are not reused because their captured values cannot be compared. */
export const incomparable = (
  flow: Flow.Any,
  closures: Closure.Closures,
  layers: ReadonlyArray<ModelClient.LayerInfo>
): ReadonlyArray<string> => [
  ...(closures.textOf(flow.services) === undefined
    ? ["the flow's services cannot be compared: editing them runs nothing again. Change the `version` of steps instead"]
    : []),
  ...LayerCode.own(layers, closures).flatMap(({ layer, meaning }) =>
    meaning.unknown.size === 0 || layer.answers !== undefined
      ? []
      : [
          `layer ${layer.name}${meaning.at === undefined ? "" : ` (${meaning.at})`} captures ${named(meaning.unknown)}, which cannot be compared: no result is reused in other runs. Declare { answers: { … } }, which is compared instead, or { answers: false } if it does not change answers`
        ]
  ),
  ...flow.graph.nodes.flatMap((node) => {
    const { at, unknown } = StepKey.codeOf(node.kind, closures) ?? { unknown: new Map() }
    if (unknown.size === 0 || !("policy" in node.kind) || node.kind.policy.by !== undefined) return []
    return [
      `step ${node.name}${at === undefined ? "" : ` (${at})`} captures ${named(unknown)}, which cannot be compared: its results are not reused in other runs. Replace it in the key with { by: { … } }`
    ]
  })
]

/** The settings of the run, with the flow's own merged over them. */
export const settings = (flow: Flow.Any): Effect.Effect<ModelSettings.ModelSettings> =>
  Effect.withFiberSucceed((fiber) => ModelSettings.merge(fiber.getRef(ModelSettings.ModelSettings), flow.settings))

/** The values of the flow's parameters, for its steps and layers. */
export const parameters = (flow: Flow.Any, values: ReadonlyMap<string, unknown>) =>
  Context.make(Parameter.Values, values).pipe(
    Context.add(Parameter.Known, {
      names: new Set(flow.parameters.map(({ parameter }) => parameter.name)),
      keyed: flow.keyed,
      warned: new Set<string>()
    })
  )

/** A value as its schema has it in JSON. What has no form there is like no other value. */
const keyOfParameter = ({ parameter }: Parameter.Any, value: unknown): unknown =>
  Option.getOrElse(
    Schema.encodeUnknownOption(Schema.toCodecJson(parameter.schema))(value),
    () => StoredValue.canonical(value) ?? globalThis.crypto.randomUUID()
  )

/** The values that are part of the keys of all steps. A default counts as if it were not given. */
export const keyedParameters = (flow: Flow.Any, values: ReadonlyMap<string, unknown>): ReadonlyMap<string, unknown> => {
  const keyed = new Map<string, unknown>()
  for (const one of flow.parameters) {
    const { default: otherwise, name } = one.parameter
    if (!values.has(name) || !flow.keyed.has(name)) continue
    const key = keyOfParameter(one, values.get(name))
    const isDefault =
      Option.isSome(otherwise)
      && RequestKey.canonical(keyOfParameter(one, otherwise.value)) === RequestKey.canonical(key)
    if (!isDefault) keyed.set(name, key)
  }
  return keyed
}

/** What the keys of the flow's steps depend on, besides the steps themselves. */
export const environment = (flow: Flow.Any, options: StepKey.StepKeyEnvironment): StepKey.StepKeyEnvironment => ({
  ...options,
  services: options.closures.textOf(flow.services),
  parameters: keyedParameters(flow, options.parameters)
})

/** The keys of the steps, whichever models answer. */
export const stepKeys = (
  flow: Flow.Any,
  options: Omit<StepKey.StepKeyEnvironment, "layers">
): ((step: string) => string | undefined) => {
  const own = environment(flow, { ...options, layers: [] })
  const keys = new Map(flow.graph.nodes.map((node) => [node.name, StepKey.withoutLayers(node, own)]))
  return (step) => keys.get(step)
}

/** Identifies what a flow computes: a plan of it is that of no other version. */
export const versionOf = (flow: Flow.Any, options: Omit<StepKey.StepKeyEnvironment, "layers">): string => {
  const keyOf = stepKeys(flow, options)
  return ContentHash.make(
    JSON.stringify(flow.graph.nodes.map((node) => [node.name, Node.kindOf(node), keyOf(node.name) ?? ""]))
  )
}

/** The simulation, including the flow's own answers. `otherwise` identifies answers of a function that cannot be compared. */
export const ownAnswers = (
  simulation: Simulation.Simulation | undefined,
  { simulate }: Flow.Any,
  closures: Closure.Closures,
  otherwise: string
): Simulation.Simulation | undefined =>
  simulation === undefined || simulate === undefined
    ? simulation
    : { ...simulation, identity: `${simulation.identity}\n${closures.textOf(simulate) ?? otherwise}` }

/** The version of a flow, as a run with these options computes it. */
export const withOptions = (
  version: string,
  { batch, cache }: { readonly cache?: boolean | undefined; readonly batch?: boolean | object | "off" | undefined }
): string => {
  const way = batch === undefined ? "" : batch === false || batch === "off" ? " in single calls" : " in batches"
  return `${version}${cache === false ? " without cache" : ""}${way}`
}

/** A value as its schema encodes it in JSON, or as it is in code. */
const decodeParameter = (schema: Parameter.Any["parameter"]["schema"], given: unknown) =>
  Effect.catch(Schema.decodeUnknownEffect(Schema.toCodecJson(schema))(given), (error) =>
    Schema.is(schema)(given)
      ? Effect.succeed(given)
      : Effect.catch(Schema.decodeUnknownEffect(schema as Schema.Codec<unknown>)(given), () => Effect.fail(error))
  )

/** Validates parameter values, and requires those without a default. */
export const decodeParameters = Effect.fnUntraced(function* (
  flow: Flow.Any,
  given: { readonly [name: string]: unknown }
) {
  const values = new Map<string, unknown>()
  for (const name of Object.keys(given)) {
    if (!flow.parameters.some(({ parameter }) => parameter.name === name)) {
      return yield* new Node.FlowError({
        message: `flow ${flow.name} has no parameter ${name}; it has ${
          flow.parameters.map(({ parameter }) => parameter.name).join(", ") || "none"
        }`
      })
    }
  }
  for (const { parameter } of flow.parameters) {
    const { name, schema } = parameter
    if (!(name in given)) {
      if (parameter.default._tag === "None") {
        return yield* new Node.FlowError({
          message: `flow ${flow.name} needs a value for its parameter ${name}: --${name}, or parameters: { ${name}: … }`
        })
      }
      continue
    }
    values.set(
      name,
      yield* Effect.mapError(
        decodeParameter(schema, given[name]),
        (error) => new Node.FlowError({ message: `parameter ${name}: ${error.message.replace(/\s*\n\s*/g, " ")}` })
      )
    )
  }
  return values
})
