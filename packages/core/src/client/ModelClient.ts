/**
 * The service through which every model request goes, and the constructors of layers.
 *
 * A layer is a function from `send` to `send`. Because there is only one operation, no request bypasses a layer, and a
 * new kind of request passes through every existing one. `resolve` sends nothing: it returns the request as it will
 * reach the provider (with the model that a router chooses and the defaults that a provider fills in), so a cache keys
 * by the real request wherever it is in the stack.
 *
 * **Example** (a complete plugin)
 *
 * ```ts
 * import { ModelClient, Usage } from "@pipe/core"
 * import { Effect, Metric } from "effect"
 *
 * const tokens = Metric.counter("tokens")
 *
 * export const meter = ModelClient.middleware((send) => (request) =>
 *   send(request).pipe(
 *     Effect.tap((response) => Metric.update(tokens, response.usage ? Usage.totalTokens(response.usage) : 0))
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as BatchProvider from "../batch/BatchProvider.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import type { ModelRequest } from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import type { ResponseTo } from "../model/ModelResponse.ts"
import * as Attempt from "./Attempt.ts"
import * as Caller from "./Caller.ts"
import * as EmbeddingParts from "./EmbeddingParts.ts"
import * as ProviderCall from "./ProviderCall.ts"
import * as Reask from "./Reask.ts"
import type { Resolve, Send } from "./Send.ts"
import * as Simulation from "./Simulation.ts"

export type { Resolve, Send } from "./Send.ts"

/** What a layer declares about itself, for readers of the stack such as plans and result keys. */
export interface LayerInfo {
  readonly name: string
  /**
   * The part of the layer that changes answers, as JSON: a result made with another value is not reused. It adds to the
   * code of an author's own layer and everything that code captures. `false` declares that the layer does not change
   * answers (a logger, for example), so nothing of it counts.
   */
  readonly answers?: unknown
  /** The function that makes up the layer. The constructors set it. */
  readonly code?: Function
  /**
   * Set on the bottom of the stack. The values that its code captures do not count; `answers` declares those that do.
   */
  readonly isProvider?: true
  /**
   * The address it sends to, when it is not the provider's own: another server may answer differently for the same
   * model.
   */
  readonly endpoint?: string | undefined
  /** Set when a simulator replaces it. */
  readonly isSimulated?: true
  /**
   * Set when `resolve` shows everything the layer does to a request and answers pass unchanged (a router). A cache
   * above can then key by it. `mapRequest` sets it.
   */
  readonly isShown?: true
  /** The rate limits it enforces, per minute. */
  readonly limits?: { readonly requestsPerMinute?: number | undefined; readonly tokensPerMinute?: number | undefined }
  /** How long it reuses an answer, in milliseconds. */
  readonly timeToLive?: number
  /** The namespace of the cache it reads. */
  readonly namespace?: string
  /** The model that would be called without it, when it chooses one. */
  readonly baseline?: string
  /**
   * Set when the layer only decides when calls are sent. Requests that are not sent as single calls, such as batches,
   * bypass it.
   */
  readonly paces?: true
  /** The models it calls one after the other, the strong one last. See `Cascade`. */
  readonly cascade?: Cascade | undefined
  /** The service tier it requests, and the steps it applies to, when not all. */
  readonly service?: { readonly tier: string; readonly steps?: ReadonlyArray<string> | undefined } | undefined
}

/** Describes a cascade for plans and for tuning. */
export interface Cascade {
  /** The name used in place of a model's name. */
  readonly name: string
  readonly models: ReadonlyArray<string>
  /** The part of each judge that changes its verdict. */
  readonly judges: ReadonlyArray<{ readonly name: string; readonly key: string }>
  /** The routing file; `undefined` for a cascade with manual rules. */
  readonly file: string | undefined
  /** The content of the file; `undefined` when it does not exist. */
  readonly routing: unknown
  /** The requests it makes for a request of a step, in order, the strong model last. */
  readonly requests: (request: ModelRequest, step: string) => ReadonlyArray<CascadeRequest>
}

/** One of the requests that a cascade makes for a request. */
export interface CascadeRequest {
  readonly request: ModelRequest
  /** The share of the step's requests it is made for. */
  readonly share: number
  /** Only a run shows how many requests earlier models leave over, so all are counted. */
  readonly isMost: boolean
}

/** Tests whether a stack has a layer with this name. */
export const hasLayer = (layers: ReadonlyArray<LayerInfo> = [], name: string): boolean =>
  layers.some((layer) => layer.name === name)

/**
 * The name of the `LayerInfo` that precedes each of several providers. Its `answers` is the prefix of their model
 * names.
 */
export const PROVIDERS = "providers"

/** The provider that answers for a model: the last one, or the one whose prefix matches the model's name. */
export const providerOf = (layers: ReadonlyArray<LayerInfo> = [], model: string): string =>
  providerIn(layers, model)?.name ?? ""

/** The address that answers for a model; `""` for the provider's own. */
export const endpointOf = (layers: ReadonlyArray<LayerInfo> = [], model: string): string =>
  providerIn(layers, model)?.endpoint ?? ""

const providerIn = (layers: ReadonlyArray<LayerInfo>, model: string): LayerInfo | undefined => {
  const heads = layers.flatMap(({ name }, at) => (name === PROVIDERS ? [at] : []))
  const head = heads.findIndex((at) => model.startsWith(String(layers[at]!.answers)))
  const end = head < 0 ? undefined : heads[head + 1]
  return layers[(end ?? layers.length) - 1]
}

/** Tests whether a stack, and the stack of each of several providers, ends in a provider. */
export const hasProviders = (layers: ReadonlyArray<LayerInfo> = []): boolean => {
  const heads = layers.flatMap(({ name }, at) => (name === PROVIDERS ? [at] : []))
  return [...heads.slice(1), layers.length].every((end) => layers[end - 1]?.isProvider === true)
}

/** A client of models: what a layer wraps. */
export interface Service {
  readonly send: Send
  readonly resolve: Resolve
  /** The layers from here down. */
  readonly layers?: ReadonlyArray<LayerInfo>
  /** The batch APIs of the providers at the bottom, if any. */
  readonly batch?: BatchProvider.Choice
  /** Set when only layers that pace calls are above the provider. */
  readonly isEdge?: true
}

/** The client of the stack in context. */
export class ModelClient extends Context.Service<ModelClient, Service>()("@pipe/core/ModelClient") {}

/** Sends a request to the stack in context. */
export const send = <R extends ModelRequest>(request: R): Effect.Effect<ResponseTo<R>, AiError.AiError, ModelClient> =>
  Effect.flatMap(ModelClient, (client) => client.send(request))

const over = (info: LayerInfo, next: Service): Omit<Service, "send" | "resolve"> => ({
  layers: [info, ...(next.layers ?? [])],
  ...(next.batch === undefined ? undefined : { batch: next.batch }),
  ...(next.isEdge === true && info.paces === true ? { isEdge: true as const } : undefined)
})

/**
 * Receives the provider with the layers that pace calls to it, before any other layer is added, and can insert a layer
 * there: this is where requests leave for a batch API. The runner sets it while a stack is built.
 */
export const AtEdge = Context.Reference<((edge: Service) => Service) | undefined>("@pipe/core/ModelClient/AtEdge", {
  defaultValue: () => undefined
})

/** The client below a layer. */
const below = (info: LayerInfo): Effect.Effect<Service, never, ModelClient> =>
  Effect.flatMap(ModelClient, (provider) =>
    Effect.withFiberSucceed((fiber) => {
      const next = simulated(provider, fiber.getRef(Simulation.Simulation))
      return next.isEdge === true && info.paces !== true ? (fiber.getRef(AtEdge)?.(next) ?? next) : next
    })
  )

/** The name of the `LayerInfo` that identifies the simulation that answers. */
export const SIMULATION = "simulation"

/** Marks a stack with the simulation that answers, so its answers are not reused in another one. */
export const simulated = (client: Service, simulation: Simulation.Simulation | undefined): Service =>
  simulation === undefined || hasLayer(client.layers, SIMULATION)
    ? client
    : { ...client, layers: [{ name: SIMULATION, answers: simulation.identity }, ...(client.layers ?? [])] }

/** What a layer declares, with its code. */
const infoOf = (f: Function, info: LayerInfo = { name: f.name === "" ? "middleware" : f.name }): LayerInfo => ({
  ...info,
  code: f
})

/** Makes a layer from a function over `send`. */
export const middleware = (f: (send: Send) => Send, said?: LayerInfo): Layer.Layer<ModelClient, never, ModelClient> => {
  const info = infoOf(f, said)
  return Layer.effect(
    ModelClient,
    Effect.map(below(info), (next) => ({ send: f(next.send), resolve: next.resolve, ...over(info, next) }))
  )
}

/** Makes a layer that needs services or state of its own. It may replace `resolve` too. */
export const middlewareEffect = <E, R>(
  f: (next: Service) => Effect.Effect<Send | Service, E, R>,
  said?: LayerInfo
): Layer.Layer<ModelClient, E, ModelClient | Exclude<R, Scope.Scope>> => {
  const info = infoOf(f, said)
  return Layer.effect(
    ModelClient,
    Effect.flatMap(below(info), (next) =>
      Effect.map(f(next), (made) => ({
        ...(typeof made === "function" ? { send: made, resolve: next.resolve } : made),
        ...over(info, next)
      }))
    )
  )
}

/**
 * Makes a layer that only changes requests (another model, a setting, a system message), in `send` and `resolve` alike.
 */
export const mapRequest = (f: Resolve, said?: LayerInfo): Layer.Layer<ModelClient, never, ModelClient> => {
  const info: LayerInfo = { ...infoOf(f, said), isShown: true }
  return Layer.effect(
    ModelClient,
    Effect.map(below(info), (next) => ({
      send: (request) => next.send(f(request)),
      resolve: (request) => next.resolve(f(request)),
      ...over(info, next)
    }))
  )
}

/**
 * The caller's check of answers. It returns what is wrong, or `undefined`. `Retry` sends the request again with those
 * words, and `Cache` does not keep an answer that fails. The bridge to `effect/ai` sets it for structured output.
 */
export const Accept = Context.Reference<Accept>("@pipe/core/ModelClient/Accept", {
  defaultValue: () => () => undefined
})

export interface Accept {
  (response: ModelResponse.ModelResponse): string | undefined
  /** The schema that decodes the answer, when it is an object. */
  readonly schema?: Schema.Top
}

/**
 * Makes the bottom of a stack from a function that calls the provider. Each call is recorded as one attempt, however it
 * ends; refusals become failures after they are recorded.
 */
export const provider = (options: {
  /** The provider's name in price tables. */
  readonly name: string
  /** Fills in defaults, such as the model. */
  readonly resolve?: Resolve
  readonly send: Send
  /**
   * The options that change answers, as JSON. For an author's own provider the code of `send` counts as well, with that
   * of the functions it names; values that it captures (clients, keys, counters) do not. With `false` only the name
   * counts.
   */
  readonly answers?: unknown
  /**
   * The address it sends to, when it is not the provider's own. Results and answers from another address are not
   * reused.
   */
  readonly endpoint?: string | undefined
  readonly batch?: BatchProvider.BatchProvider
  /** The most that one embedding request may hold. A larger request is sent in parts, each an attempt of its own. */
  readonly embeddings?: EmbeddingParts.EmbeddingLimits
  /**
   * Set when the provider takes its address from `Endpoint.Overrides`. In a simulated run it then sends to the
   * simulator; any other provider is replaced.
   */
  readonly isRedirected?: boolean
}): Service => {
  const resolve: Resolve = options.resolve ?? ((request) => request)
  const attempt = ProviderCall.make(options.send)
  // A simulator around this stack only. The simulator of a whole run is in the context of its calls.
  const built = Fiber.getCurrent()?.getRef(Simulation.Simulation)
  const simulate = ProviderCall.make((request) =>
    Effect.flatMap(Simulation.Simulation, (around) => {
      const simulation = around ?? built!
      return Effect.flatMap(simulation.note(request), (noted) =>
        options.isRedirected === true ? options.send(noted) : simulation.answer(options.name, noted)
      )
    })
  )
  const { answers, batch, embeddings, endpoint, name } = options
  return {
    resolve,
    layers: [
      {
        name,
        isProvider: true,
        ...(endpoint === undefined ? undefined : { endpoint }),
        ...(answers === false ? { answers: [name] } : { answers: [name, answers], code: options.send }),
        ...(built === undefined ? undefined : { isSimulated: true })
      }
    ],
    isEdge: true,
    ...(batch === undefined ? undefined : { batch: BatchProvider.only(noted(batch)) }),
    send: (asked) =>
      Effect.withFiber((fiber) => {
        const clock = fiber.getRef(Clock.Clock)
        const meter = fiber.getRef(Attempt.Meter)
        const guard = fiber.getRef(Attempt.Guard)
        const isReask = fiber.getRef(Reask.Reask)
        const { step } = fiber.getRef(Caller.Caller)
        const expected = fiber.getRef(ExpectedUsage.ExpectedUsage)
        const ask = (fiber.getRef(Simulation.Simulation) ?? built) === undefined ? attempt : simulate
        const one = <R extends ModelRequest>(request: R) =>
          ask(
            {
              request,
              provider: options.name,
              startedAt: clock.currentTimeMillisUnsafe(),
              ...(isReask ? { isReask } : undefined)
            },
            { clock, meter, guard, step, expected }
          )
        const request = resolve(asked)
        return request._tag === "Embedding"
          ? (EmbeddingParts.send(request, embeddings, (part) =>
              Effect.flatMap(one(part), (response) => EmbeddingParts.checked(part, response))
            ) as ReturnType<typeof one<typeof asked>>)
          : one(request)
      })
  }
}

/** In a simulated run, the lines of a batch carry the numbers of their rows. */
const noted = (batch: BatchProvider.BatchProvider): BatchProvider.BatchProvider => ({
  ...batch,
  encode: (customId, request) =>
    Effect.flatMap(Simulation.Simulation, (simulation) =>
      simulation === undefined
        ? batch.encode(customId, request)
        : Effect.flatMap(simulation.note(request), (marked) => batch.encode(customId, marked))
    )
})
