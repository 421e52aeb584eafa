/**
 * Makes a provider from a description of its API. The kit does the rest: the key and the address, the connection pool,
 * streams, compressed and broken bodies, time limits, refusals as failures, rate limits from headers, and the redaction of
 * keys.
 *
 * **Example** (a complete provider)
 *
 * ```ts
 * import { ModelRequest } from "@pipe/core"
 * import { type Connection, Operation, Provider } from "@pipe/plugins/provider"
 * import { Schema } from "effect"
 *
 * export const layer = (options: Connection.Options = {}) =>
 *   Provider.layer(
 *     {
 *       name: "nimbus",
 *       baseUrl: "https://api.nimbus.example",
 *       completion: Operation.completion({
 *         path: "/v1/answer",
 *         accepts: ["maxTokens"],
 *         body: (request, model) => ({ model, prompt: ModelRequest.text(request), limit: request.settings.maxTokens }),
 *         answer: Schema.Struct({ text: Schema.String, tokens: Schema.Struct({ in: Schema.Int, out: Schema.Int }) }),
 *         read: ({ text, tokens }) => ({ text, usage: { input: tokens.in, output: tokens.out } })
 *       }),
 *       prices: { "nimbus-1": { input: 2, output: 10 } }
 *     },
 *     options
 *   )
 * ```
 *
 * @since 0.1.0
 */
import type * as BatchProvider from "@pipe/core/BatchProvider"
import type * as LayerAnnotations from "@pipe/core/LayerAnnotations"
import * as ChatModel from "@pipe/core/internal/ChatModel"
import * as ModelFacts from "@pipe/core/internal/ModelFacts"
import * as DecisionByCompletion from "@pipe/core/internal/DecisionByCompletion"
import * as Nearest from "@pipe/core/internal/Nearest"
import * as ModelClient from "@pipe/core/ModelClient"
import * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import * as Pricing from "@pipe/core/Pricing"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as BatchApi from "./BatchApi.ts"
import * as Connection from "./Connection.ts"
import * as Identity from "./Identity.ts"
import * as ModelList from "./ModelList.ts"
import * as Operation from "./Operation.ts"
import type * as Reply from "./Reply.ts"

/** What a provider answers, and what is known about it. */
export interface Api {
  /** The provider's name in price tables, in lower case: `nimbus`. */
  readonly name: string
  readonly completion?: Operation.CompletionOperation | undefined
  readonly embedding?: Operation.EmbeddingOperation | undefined
  /** Default: completions answer decisions, without probabilities. */
  readonly decision?: Operation.DecisionOperation | undefined
  /** The batch API. Its requests have the bodies of single calls, and its answers are read like theirs. */
  readonly batch?: ((connection: Connection.Connection) => BatchApi.BatchApi) | undefined
  /** A batch API whose requests or answers differ from single calls, in place of `batch`. */
  readonly batchProvider?: ((connection: Connection.Connection) => BatchProvider.BatchProvider) | undefined
  /** The path of a list of models, with which `pipe doctor` tests the key for free. */
  readonly models?: string | undefined
  /** Prices by model, in USD per million tokens. A flow's own `prices` come first. */
  readonly prices?: Pricing.Overrides | undefined
  /** How the provider caches the beginnings of prompts. Default: known for public providers by name, otherwise none. */
  readonly promptCache?: LayerAnnotations.Provider["promptCache"]
  /** Options that change answers and are not part of the request, as JSON. Default: the layer's model. */
  readonly answers?: unknown
  /** Changes a request before it is keyed and sent, beside the default model. */
  readonly resolve?: ModelClient.Resolve | undefined
  /** Settings that the API does not take in a request, beside those that its model is known to refuse, and the reason. */
  readonly leavesOut?:
    | ((
        request: ModelRequest.Completion
      ) => { readonly settings: ReadonlyArray<keyof ModelRequest.Settings>; readonly because: string } | undefined)
    | undefined
  /** How its service tiers are requested. Default: it has none. */
  readonly serviceTiers?: LayerAnnotations.ServiceTiers | undefined
}

/** A provider: its API, and where it is. */
export interface Definition extends Api, Omit<Connection.Address, "module" | "environment"> {
  /** The name in errors. Default: the provider's name. */
  readonly module?: string
  /** The environment variables of key and address. Default: by the name, `NIMBUS_API_KEY` and `NIMBUS_BASE_URL`. */
  readonly environment?: Connection.Address["environment"]
}

/**
 * Makes the layer of a provider. Options beside those of every provider belong to the definition, which the author makes
 * from them: they count as options that change answers.
 */
export const layer = <O extends Connection.Options>(
  definition: Definition,
  options: O
): Layer.Layer<ModelClient.ModelClient, AiError.AiError> => {
  const { name } = definition
  const prefix = name.toUpperCase().replaceAll(/[^A-Z0-9]+/g, "_")
  const environment = definition.environment ?? { apiKey: `${prefix}_API_KEY`, baseUrl: `${prefix}_BASE_URL` }
  const common = new Set<string>(Connection.optionNames)
  const own = Object.entries(options).filter(([option]) => !common.has(option))
  // An API that sends whole answers has no `stream`.
  if (definition.completion?.streamed === undefined) common.delete("stream")
  if (definition.embedding === undefined) common.delete("embeddings")
  // An option that is nearly one of these is a misspelt one.
  const isMisspelt = own.some(([option]) => Nearest.of(option, common) !== undefined)
  const names = isMisspelt ? [...common] : [...common, ...own.map(([option]) => option)]
  Connection.check(`${definition.module ?? name}.layer`, options, names)
  const { completion, embedding, headers } = definition
  // A hash: an option or a header may be a secret.
  const answers = [
    ...modelsOf(options),
    Identity.of([definition.answers, Object.fromEntries(own), headers, completion?.answers, embedding?.answers])
  ]
  return Layer.effect(
    ModelClient.ModelClient,
    Effect.gen(function* () {
      const connection = yield* Connection.make(
        { ...definition, module: definition.module ?? name, environment },
        options
      )
      const transport = yield* Connection.pool(connection)
      const pricing = Option.getOrUndefined(yield* Effect.serviceOption(Pricing.Pricing))
      return make(connection, transport, { ...definition, answers }, { ...options, pricing })
    })
  )
}

/** The models of a layer, as part of its identity. */
export const modelsOf = ({ embeddings, model }: Models): ReadonlyArray<string | undefined> =>
  embeddings === undefined ? [model] : [model, embeddings]

type Models = Pick<Connection.Options, "model" | "embeddings">

/** What a layer does beside its API. */
export interface MakeOptions extends Models, Pick<Connection.Options, "stream"> {
  /** Tells models that answer in text from those that make vectors. Without it, a named model is taken as it is. */
  readonly pricing?: Pricing.Service | undefined
}

/** The model of a request that names none, or of an embedding that names a model which makes no vectors. */
const withModel =
  ({ embeddings, model, pricing }: MakeOptions) =>
  <R extends ModelRequest.ModelRequest>(request: R): R => {
    const own = request._tag === "Embedding" ? (embeddings ?? model) : model
    if (own === undefined || own === request.model) return request
    const isNamed =
      request.model !== undefined
      && (request._tag !== "Embedding"
        || embeddings === undefined
        || pricing === undefined
        || !ChatModel.isChat(pricing, request.model, Date.now()))
    return isNamed ? request : ModelRequest.withModel(request, own)
  }

/** What an API does not take of a request, and the request without it. */
const fitting = ({ leavesOut }: Api) => {
  const lacked = (request: ModelRequest.Completion): ReadonlyArray<readonly [keyof ModelRequest.Settings, string]> => {
    const found = leavesOut?.(request)
    return found === undefined
      ? []
      : found.settings.flatMap((name) => (request.settings[name] === undefined ? [] : [[name, found.because] as const]))
  }
  return {
    fit: <R extends ModelRequest.ModelRequest>(request: R): R => {
      const taken = ModelFacts.fit(request)
      if (taken._tag !== "Completion") return taken
      return ModelRequest.leaveOut(
        taken,
        lacked(taken).map(([name]) => name)
      ) as typeof taken
    },
    leftOut: (request: ModelRequest.ModelRequest): ReadonlyArray<string> => [
      ...ModelFacts.leftOut(request),
      ...(request._tag === "Completion"
        ? lacked(ModelFacts.fit(request)).map(
            ([name, because]) => `${request.model} is called without ${name}: ${because}`
          )
        : [])
    ]
  }
}

/** Makes a provider over a connection, for layers that choose the transport or the name themselves. */
export const make = (
  connection: Connection.Connection,
  transport: Reply.Transport,
  api: Api,
  options: MakeOptions
): ModelClient.Service => {
  const { batch, batchProvider, completion, decision, embedding, models, name } = api
  const { isRedirectable, isSet, keySource, module, place } = connection
  const { stream = false } = options
  const named = withModel(options)
  const { fit, leftOut } = fitting(api)
  const sender =
    <R extends ModelRequest.ModelRequest, A extends ModelResponse.ResponseTo<R>>(
      operation: Operation.Operation<R, A> | undefined
    ) =>
    (request: R): Effect.Effect<A, AiError.AiError> =>
      // What an API does not answer is refused before.
      Operation.send(operation!, connection, transport, request, {
        asked: { provider: name, model: request.model!, request },
        stream
      })
  const Completion = sender(completion)
  const byCompletion = DecisionByCompletion.over(Completion)
  const send = ModelClient.handle({
    Completion,
    Embedding: sender(embedding),
    Decision: (request) =>
      decision?.takes(request.model!) === true ? sender(decision)(request) : byCompletion(request)
  })
  const batches =
    batchProvider?.(connection) ?? (batch === undefined ? undefined : BatchApi.make(connection, api, batch(connection)))
  const code = [completion, embedding, decision].flatMap((operation) => operation?.code ?? [])
  return ModelClient.provider({
    name,
    isRedirected: isRedirectable,
    resolve: (request, call) => {
      const own = fit(named(request))
      return api.resolve === undefined ? own : api.resolve(own, call)
    },
    leftOut: (request) => {
      const own = named(request)
      return fit(own) === own ? [] : leftOut(own)
    },
    decides: (model) => decision?.takes(model) === true,
    refuse: (request) => {
      const kind = request._tag === "Embedding" ? "embeddings" : "completions"
      const takesDecision = request._tag === "Decision" && decision?.takes(request.model ?? "") === true
      return (request._tag === "Embedding" ? embedding : takesDecision ? decision : completion) === undefined
        ? `${name} has no ${kind}${kind === "embeddings" ? " API" : ""}: use another provider for them`
        : request.model === undefined || request.model.trim() === ""
          ? `no model is named: give one to ${module}.layer({ ${kind === "embeddings" ? kind : "model"} }), to the step, or to a Router`
          : undefined
    },
    send,
    ...(code.length === 0 ? undefined : { code }),
    answers: api.answers ?? options.model,
    endpoint: place,
    ...(embedding?.limits === undefined ? undefined : { embeddings: embedding.limits }),
    ...(batches === undefined ? undefined : { batch: batches }),
    account: connection.account.id,
    credentials: { name: keySource, isSet },
    ...(models === undefined ? undefined : { check: ModelList.check(connection, models) }),
    ...(api.prices === undefined ? undefined : { prices: api.prices }),
    ...(api.promptCache === undefined ? undefined : { promptCache: api.promptCache }),
    ...(api.serviceTiers === undefined ? undefined : { serviceTiers: api.serviceTiers })
  })
}
