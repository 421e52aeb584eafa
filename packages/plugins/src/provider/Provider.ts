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
import * as Nearest from "@pipe/core/internal/Nearest"
import * as ModelClient from "@pipe/core/ModelClient"
import * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import type * as Pricing from "@pipe/core/Pricing"
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
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
  // An option that is nearly one of these is a misspelt one.
  const isMisspelt = own.some(([option]) => Nearest.of(option, common) !== undefined)
  const names = isMisspelt ? [...common] : [...common, ...own.map(([option]) => option)]
  Connection.check(`${definition.module ?? name}.layer`, options, names)
  const { completion, embedding, headers } = definition
  // A hash: an option or a header may be a secret.
  const answers = [
    options.model,
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
      return make(connection, transport, { ...definition, answers }, options)
    })
  )
}

/** Makes a provider over a connection, for layers that choose the transport or the name themselves. */
export const make = (
  connection: Connection.Connection,
  transport: Reply.Transport,
  api: Api,
  { model, stream = false }: Pick<Connection.Options, "model" | "stream">
): ModelClient.Service => {
  const { batch, batchProvider, completion, embedding, models, name } = api
  const { isRedirectable, isSet, keySource, module, place } = connection
  const sender =
    <R extends ModelRequest.ModelRequest, A extends ModelResponse.ResponseTo<R>>(
      operation: Operation.Operation<R, A> | undefined,
      kind: string
    ) =>
    (request: R): Effect.Effect<A, AiError.AiError> =>
      operation === undefined
        ? refuse(module, `${name} has no ${kind}: use another provider for them`)
        : request.model === undefined
          ? refuse(module, `no model is named: give one to ${module}.layer({ model }), to the step, or to a Router`)
          : Operation.send(operation, connection, transport, request, {
              asked: { provider: name, model: request.model, request },
              stream
            })
  const send = ModelClient.handle({
    Completion: sender(completion, "completions"),
    Embedding: sender(embedding, "embeddings API")
  })
  const batches =
    batchProvider?.(connection) ?? (batch === undefined ? undefined : BatchApi.make(connection, api, batch(connection)))
  const code = [...(completion?.code ?? []), ...(embedding?.code ?? [])]
  return ModelClient.provider({
    name,
    isRedirected: isRedirectable,
    resolve: (request, call) => {
      const named =
        request.model === undefined && model !== undefined ? ModelRequest.withModel(request, model) : request
      return api.resolve === undefined ? named : api.resolve(named, call)
    },
    send,
    ...(code.length === 0 ? undefined : { code }),
    answers: api.answers ?? model,
    endpoint: place,
    ...(embedding?.limits === undefined ? undefined : { embeddings: embedding.limits }),
    ...(batches === undefined ? undefined : { batch: batches }),
    account: connection.account.id,
    credentials: { name: keySource, isSet },
    ...(models === undefined ? undefined : { check: ModelList.check(connection, models) }),
    ...(api.prices === undefined ? undefined : { prices: api.prices }),
    ...(api.promptCache === undefined ? undefined : { promptCache: api.promptCache })
  })
}

const refuse = (module: string, description: string): Effect.Effect<never, AiError.AiError> =>
  Effect.fail(AiError.make({ module, method: "send", reason: new AiError.InvalidRequestError({ description }) }))
