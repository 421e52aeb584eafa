/**
 * One small service through which every request to a model goes, and the constructors of layers over it.
 *
 * A layer is a function from `send` to `send`. With a single operation no request can slip past a layer, and a new kind
 * of request goes through every layer that exists. Beside it stands `resolve`, which sends nothing: it says what a request
 * would become on its way down (which model a router would choose, which default a provider would fill in), so that
 * a cache keys by the request that is really sent, wherever it stands in the stack.
 *
 * **Example** (a whole plugin)
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

/** What a layer says of itself, for those who look at a stack and not through it: a plan, the key of a result. */
export interface LayerInfo {
  readonly name: string
  /**
   * What of the layer changes answers, as JSON: a result that was made with another is not reused. Beside it counts the code of a
   * layer of the author's own, with all that it captures. `false`: it leaves answers as they are (a log), and nothing of it counts.
   */
  readonly answers?: unknown
  /** The function that the layer is; the constructors set it. */
  readonly code?: Function
  /** The bottom of the stack: of its code, the values that it captures do not count; its `answers` say what of them does. */
  readonly isProvider?: true
  /** Where it sends requests, where that is not the provider's own address: another server of the same model answers otherwise. */
  readonly endpoint?: string | undefined
  /** A simulator stands in its place. */
  readonly isSimulated?: true
  /** `resolve` shows all that it does to a request, and it leaves answers as they are (a router): a cache above keys by that; `mapRequest` sets it. */
  readonly isShown?: true
  /** Limits that it keeps, by the minute. */
  readonly limits?: { readonly requestsPerMinute?: number | undefined; readonly tokensPerMinute?: number | undefined }
  /** How long it lets an answer be used again, in milliseconds. */
  readonly timeToLive?: number
  /** The part of the cache in which it looks. */
  readonly namespace?: string
  /** The model that would be asked without it, where it chooses one. */
  readonly baseline?: string
  /** It only decides when calls are made: what is sent in another way than by single calls goes past it. */
  readonly paces?: true
  /** The models that it asks one after the other, the strong one last; what else is known of them stands with `Cascade`. */
  readonly cascade?: Cascade | undefined
  /** The class of service that it has requests asked in, and for which steps where not for all. */
  readonly service?: { readonly tier: string; readonly steps?: ReadonlyArray<string> | undefined } | undefined
}

/** How a cascade stands, for a plan and for tuning. */
export interface Cascade {
  /** In the place of a model's name. */
  readonly name: string
  readonly models: ReadonlyArray<string>
  /** What of each judge changes what it says. */
  readonly judges: ReadonlyArray<{ readonly name: string; readonly key: string }>
  /** The file of its routing; `undefined`: it goes by hand. */
  readonly file: string | undefined
  /** What stands in the file; `undefined`: it is not there. */
  readonly routing: unknown
  /** What it asks for a request of a step, in its order, the strong model last. */
  readonly requests: (request: ModelRequest, step: string) => ReadonlyArray<CascadeRequest>
}

/** One of the requests that a cascade makes of one. */
export interface CascadeRequest {
  readonly request: ModelRequest
  /** Of so many of the step's requests. */
  readonly share: number
  /** How many are left over by those before, only a run shows: all are counted. */
  readonly isMost: boolean
}

/** Whether a stack has a layer of a name. */
export const hasLayer = (layers: ReadonlyArray<LayerInfo> = [], name: string): boolean =>
  layers.some((layer) => layer.name === name)

/** The name of the `LayerInfo` that stands before each of several providers; its `answers` is the beginning of their models' names. */
export const PROVIDERS = "providers"

/** The provider that answers for a model, by what the layers say: the last, or the one of several that the model's name leads to. */
export const providerOf = (layers: ReadonlyArray<LayerInfo> = [], model: string): string =>
  providerIn(layers, model)?.name ?? ""

/** The address that answers for a model; "" for the provider's own. */
export const endpointOf = (layers: ReadonlyArray<LayerInfo> = [], model: string): string =>
  providerIn(layers, model)?.endpoint ?? ""

const providerIn = (layers: ReadonlyArray<LayerInfo>, model: string): LayerInfo | undefined => {
  const heads = layers.flatMap(({ name }, at) => (name === PROVIDERS ? [at] : []))
  const head = heads.findIndex((at) => model.startsWith(String(layers[at]!.answers)))
  const end = head < 0 ? undefined : heads[head + 1]
  return layers[(end ?? layers.length) - 1]
}

/** Whether some layers, and those of each of several providers, end in a provider. */
export const hasProviders = (layers: ReadonlyArray<LayerInfo> = []): boolean => {
  const heads = layers.flatMap(({ name }, at) => (name === PROVIDERS ? [at] : []))
  return [...heads.slice(1), layers.length].every((end) => layers[end - 1]?.isProvider === true)
}

export interface Service {
  readonly send: Send
  readonly resolve: Resolve
  /** The layers from here down. */
  readonly layers?: ReadonlyArray<LayerInfo>
  /** The batch APIs of the providers at the bottom, where they have some. */
  readonly batch?: BatchProvider.Choice
  /** Nothing stands over the provider but layers that pace the calls to it. */
  readonly isEdge?: true
}

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
 * Sees the provider with all that paces the calls to it, before anything else is put over it, and may put something between:
 * there a flow's requests can leave for another way to be answered. The runner sets it while a stack is built.
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

/** The name of the `LayerInfo` that says which simulation answers. */
export const SIMULATION = "simulation"

/** A stack that says which simulation its answers are of: they are not reused in another. */
export const simulated = (client: Service, simulation: Simulation.Simulation | undefined): Service =>
  simulation === undefined || hasLayer(client.layers, SIMULATION)
    ? client
    : { ...client, layers: [{ name: SIMULATION, answers: simulation.identity }, ...(client.layers ?? [])] }

/** What is known of a layer: what it says, and its code. */
const infoOf = (f: Function, info: LayerInfo = { name: f.name === "" ? "middleware" : f.name }): LayerInfo => ({
  ...info,
  code: f
})

/** A layer from a function over `send`. */
export const middleware = (f: (send: Send) => Send, said?: LayerInfo): Layer.Layer<ModelClient, never, ModelClient> => {
  const info = infoOf(f, said)
  return Layer.effect(
    ModelClient,
    Effect.map(below(info), (next) => ({ send: f(next.send), resolve: next.resolve, ...over(info, next) }))
  )
}

/** A layer that needs services or state of its own; it may replace `resolve` too. */
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

/** A layer that only changes requests, in `send` and in `resolve` alike: another model, a setting, a system message. */
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
 * A check that the caller puts on answers, before they count as good: it returns what is wrong, or `undefined`. `Retry`
 * asks again with those words and `Cache` does not keep what fails. The bridge sets it for structured output.
 */
export const Accept = Context.Reference<Accept>("@pipe/core/ModelClient/Accept", {
  defaultValue: () => () => undefined
})

export interface Accept {
  (response: ModelResponse.ModelResponse): string | undefined
  /** What the answer is decoded by, where it is to be an object. */
  readonly schema?: Schema.Top
}

/**
 * The bottom of a stack from a function that asks the provider. Each call is booked as one attempt, whatever comes of it;
 * refusals become failures after they are booked.
 */
export const provider = (options: {
  /** The provider as price tables name it. */
  readonly name: string
  /** Fills in defaults, such as the model. */
  readonly resolve?: Resolve
  readonly send: Send
  /**
   * What of its options changes answers, as JSON. The code of an author's own `send` counts beside it, with that of the functions
   * that it names; the values that it captures (clients, keys, counters) do not. `false`: nothing of it counts but its name.
   */
  readonly answers?: unknown
  /** Where it sends requests, where that is not the provider's own address. Results and answers of another are not reused. */
  readonly endpoint?: string | undefined
  readonly batch?: BatchProvider.BatchProvider
  /** The most that one request for embeddings may hold: a larger one is sent in parts, each an attempt of its own. */
  readonly embeddings?: EmbeddingParts.EmbeddingLimits
  /** Its address is that of `Endpoint.Overrides` where that has one: in a simulated run it sends there. Any other is replaced. */
  readonly isRedirected?: boolean
}): Service => {
  const resolve: Resolve = options.resolve ?? ((request) => request)
  const attempt = ProviderCall.make(options.send)
  // A simulator around this stack alone; that of a whole run is in the context of its calls.
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

/** In a simulated run the lines of a batch carry the numbers of their rows. */
const noted = (batch: BatchProvider.BatchProvider): BatchProvider.BatchProvider => ({
  ...batch,
  encode: (customId, request) =>
    Effect.flatMap(Simulation.Simulation, (simulation) =>
      simulation === undefined
        ? batch.encode(customId, request)
        : Effect.flatMap(simulation.note(request), (marked) => batch.encode(customId, marked))
    )
})
