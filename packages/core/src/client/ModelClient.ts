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
import type * as Scope from "effect/Scope"
import * as BatchProvider from "../batch/BatchProvider.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import type * as Pricing from "../price/Pricing.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as Aside from "./Aside.ts"
import type * as Attempt from "./Attempt.ts"
import * as AttemptEnds from "./AttemptEnds.ts"
import * as CallContext from "./CallContext.ts"
import * as CallRecording from "./CallRecording.ts"
import * as EmbeddingParts from "./EmbeddingParts.ts"
import { handle, refuse } from "./Handlers.ts"
import * as LayerAnnotations from "./LayerAnnotations.ts"
import * as LayerEvent from "./LayerEvent.ts"
import * as LayerFault from "./LayerFault.ts"
import type * as PlanStop from "./PlanStop.ts"
import * as ProviderCall from "./ProviderCall.ts"
import * as RunHooks from "./RunHooks.ts"
import type { Resolve, Send, SendCompletion, SendDecision, SendEmbedding } from "./Send.ts"
import type { LayerInfo, Service } from "./Service.ts"
import * as Simulation from "./Simulation.ts"

export { handle, type Handlers } from "./Handlers.ts"
export {
  decides,
  endpointOf,
  hasProviders,
  inTier,
  leftOut,
  promptCacheOf,
  providerOf,
  tierAsked
} from "./StackProviders.ts"
export type { Resolve, Send, SendCompletion, SendDecision, SendEmbedding } from "./Send.ts"
export type { LayerInfo, Service } from "./Service.ts"

/** The client of the stack in context. */
export class ModelClient extends Context.Service<ModelClient, Service>()("@pipe/core/ModelClient") {}

/** Sends a request to the stack in context. */
export const send = <R extends ModelRequest.ModelRequest>(
  request: R
): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError, ModelClient> =>
  Effect.flatMap(ModelClient, (client) => client.send(request))

/**
 * Sends the requests of a layer's own: a guardrail's question, a translation of the prompt. They have nothing of the step's
 * call but its run, row and budget: no check of answers, no text that varies, no quality. The ledger, the report and a plan (by
 * `LayerAnnotations.Asks`) show them under the purpose: `reply / guardrail`.
 *
 * **Example** (a guardrail)
 *
 * ```ts
 * import { ModelClient, ModelRequest, ModelResponse } from "@pipe/core"
 * import { Effect } from "effect"
 * import { AiError } from "effect/ai"
 *
 * const question = (text: string) =>
 *   ModelRequest.completion({ messages: [{ role: "user", content: `Is this text harmful? Reply yes or no.\n\n${text}` }] })
 *
 * const harmful = new AiError.ContentPolicyError({ description: "the guardrail rejects the text" })
 *
 * export const guardrail = ModelClient.completionMiddleware(
 *   (send) => (request) =>
 *     Effect.flatMap(ModelClient.aside("guardrail", send)(question(ModelRequest.text(request))), (verdict) =>
 *       ModelResponse.text(verdict).startsWith("yes")
 *         ? Effect.fail(AiError.make({ module: "guardrail", method: "send", reason: harmful }))
 *         : send(request)
 *     ),
 *   { name: "Guardrail" }
 * )
 * ```
 */
export const aside = <S extends Send | SendCompletion | SendEmbedding>(purpose: string, send: S): S =>
  Aside.make(purpose, send as Send) as S

const over = (info: LayerInfo, next: Service): Omit<Service, "send" | "resolve"> => ({
  layers: [info, ...(next.layers ?? [])],
  ...(next.batch === undefined ? undefined : { batch: next.batch }),
  ...stopsOver(info, next),
  ...(next.isEdge === true && LayerAnnotations.get(info, LayerAnnotations.Paces)
    ? { isEdge: true as const }
    : undefined)
})

/** The stops of a layer, and of those below it. */
const stopsOver = (info: LayerInfo, next: Service): Pick<Service, "stops"> => {
  const cached = LayerAnnotations.get(info, LayerAnnotations.Cached)
  const asks = LayerAnnotations.get(info, LayerAnnotations.Asks)
  const cascade = LayerAnnotations.get(info, LayerAnnotations.Cascades)
  if (cached === undefined && asks === undefined && cascade === undefined)
    return next.stops === undefined ? {} : { stops: next.stops }
  const apartOf = LayerAnnotations.apartBy(next.layers)
  const isChanged = LayerAnnotations.changesAnswers(next.layers)
  const keyOf: (...asked: Parameters<PlanStop.StopsOf>) => string = (request, call) =>
    [
      RequestKey.content(next.resolve(request, call)),
      apartOf(call.values),
      isChanged ? RequestKey.content(request) : ""
    ].join("\n")
  return {
    stops: (request, call) => {
      const stops: Array<PlanStop.PlanStop> = []
      if (cached !== undefined) stops.push({ _tag: "Cache", cached, request, key: keyOf(request, call) })
      if (asks !== undefined) stops.push({ _tag: "Asides", asked: asks(request, call), next })
      const requests =
        cascade !== undefined && (request.model === undefined || request.model === cascade.name)
          ? cascade.requests(request, call.step)
          : []
      if (requests.length > 0) return [...stops, { _tag: "Cascade", requests, next }]
      return [...stops, ...(next.stops?.(request, call) ?? [])]
    }
  }
}

/** The stops below a layer that changes requests. */
const stopsOf = (next: Service, f: Resolve): Pick<Service, "stops"> => {
  const { stops } = next
  return stops === undefined ? {} : { stops: (request, call) => stops(f(request, call), call) }
}

/** The client below a layer. */
const below = (info: LayerInfo): Effect.Effect<Service, never, ModelClient> =>
  Effect.flatMap(ModelClient, (provider) =>
    Effect.withFiberSucceed((fiber) => {
      const next = simulated(provider, fiber.getRef(Simulation.Simulation))
      return next.isEdge === true && !LayerAnnotations.get(info, LayerAnnotations.Paces)
        ? (fiber.getRef(RunHooks.RunHooks).edge?.(next) ?? next)
        : next
    })
  )

/** Marks a stack with the simulation that answers, so its answers are not reused in another one. */
export const simulated = (client: Service, simulation: Simulation.Simulation | undefined): Service =>
  simulation === undefined || LayerAnnotations.has(client.layers, LayerAnnotations.Simulated)
    ? client
    : {
        ...client,
        ...(client.batch === undefined
          ? undefined
          : {
              batch: BatchProvider.replace(client.batch, (batch) =>
                batch.isRedirected === true ? batch : Simulation.noted(simulation.batch(batch.name))
              )
            }),
        layers: [
          {
            name: "simulation",
            answers: simulation.identity,
            annotations: Context.make(LayerAnnotations.Simulated, simulation.identity)
          },
          ...(client.layers ?? [])
        ]
      }

/** What a layer declares, with its code. */
const infoOf = (f: Function, info: LayerInfo = { name: f.name === "" ? "middleware" : f.name }): LayerInfo => ({
  ...info,
  code: f
})

/** A layer's info with more annotations. */
const annotated = (info: LayerInfo, more: Context.Context<never> | undefined): LayerInfo =>
  more === undefined
    ? info
    : { ...info, annotations: info.annotations === undefined ? more : Context.merge(info.annotations, more) }

/** Makes a layer from a function over `send`. */
export const middleware = (f: (send: Send) => Send, said?: LayerInfo): Layer.Layer<ModelClient, never, ModelClient> => {
  return layerOf((next) => Effect.sync(() => ({ send: f(next.send), resolve: next.resolve })), infoOf(f, said))
}

/**
 * Makes a layer for completions. Embeddings pass unchanged.
 *
 * **Example** (answers in capitals)
 *
 * ```ts
 * import { ModelClient, ModelResponse } from "@pipe/core"
 * import { Effect } from "effect"
 *
 * export const capitals = ModelClient.completionMiddleware(
 *   (send) => (request) =>
 *     Effect.map(send(request), (response) => ModelResponse.mapText(response, (text) => text.toUpperCase())),
 *   { name: "Capitals" }
 * )
 * ```
 */
export const completionMiddleware = (
  f: (send: SendCompletion) => SendCompletion,
  said?: LayerInfo
): Layer.Layer<ModelClient, never, ModelClient> =>
  layerOf(
    (next) =>
      Effect.sync(() => ({
        send: handle({ Completion: f(next.send), Embedding: next.send, Decision: next.send }),
        resolve: next.resolve
      })),
    infoOf(f, said)
  )

/** Makes a layer for embeddings. Completions pass unchanged. */
export const embeddingMiddleware = (
  f: (send: SendEmbedding) => SendEmbedding,
  said?: LayerInfo
): Layer.Layer<ModelClient, never, ModelClient> =>
  layerOf(
    (next) =>
      Effect.sync(() => ({
        send: handle({ Completion: next.send, Embedding: f(next.send), Decision: next.send }),
        resolve: next.resolve
      })),
    infoOf(f, said)
  )

/** A function over `send`, and what else a layer replaces. */
export interface Made extends Pick<Service, "send" | "resolve"> {
  /** What the layer does, when that is known only once it is built: the `peek` of a cache, for example. */
  readonly annotations?: Context.Context<never>
  /**
   * What a request passes from here down, where it differs from the layers below.
   *
   * @internal
   */
  readonly stops?: PlanStop.StopsOf
}

/**
 * Makes a layer that needs services or state of its own. A plan does not build it: files and servers may be opened here.
 */
export const middlewareEffect = <E, R>(
  f: (next: Service) => Effect.Effect<Send, E, R>,
  said?: LayerInfo
): Layer.Layer<ModelClient, E, ModelClient | Exclude<R, Scope.Scope>> => {
  const info = infoOf(f, said)
  return layerOf(
    (next) =>
      Effect.flatMap(RunHooks.RunHooks, ({ isPlan }) =>
        Effect.map(isPlan === true ? Effect.succeed(next.send) : f(next), (made: Send | Made) =>
          // The types reject an object, but a flow may not have been type-checked.
          typeof made === "function" ? { send: made, resolve: next.resolve } : resolving(next, made, info)
        )
      ),
    info
  )
}

/** A layer of an author with a `resolve` of its own may change answers too, unless it says that `resolve` shows all. */
const resolving = (next: Service, made: Made, info: LayerInfo): Made =>
  made.resolve === next.resolve || LayerAnnotations.get(info, LayerAnnotations.IsShown)
    ? made
    : { ...made, annotations: Context.add(made.annotations ?? Context.empty(), LayerAnnotations.Resolves, true) }

/**
 * Makes a layer that replaces `resolve` too, or that knows its annotations only once it is built. A plan builds it, to
 * ask it: open nothing here but what `resolve` and the annotations need.
 *
 * **Example** (a cache in memory, which a plan reads)
 *
 * ```ts
 * import { CallContext, LayerAnnotations, ModelClient, ModelRequest, ModelResponse, RequestKey } from "@pipe/core"
 * import { Context, Effect } from "effect"
 *
 * export const memory = ModelClient.middlewareService(
 *   (next) =>
 *     Effect.sync(() => {
 *       const kept = new Map<string, ModelResponse.ModelResponse>()
 *       const keyOf = (request: ModelRequest.ModelRequest, call: CallContext.CallContext) =>
 *         RequestKey.content(next.resolve(request, call))
 *       return {
 *         resolve: next.resolve,
 *         send: <R extends ModelRequest.ModelRequest>(request: R) =>
 *           Effect.flatMap(CallContext.CallContext, (call) => {
 *             const key = keyOf(request, call)
 *             const known = ModelResponse.forRequest(request, kept.get(key))
 *             return known === undefined
 *               ? Effect.tap(next.send(request), (response) => Effect.sync(() => void kept.set(key, response)))
 *               : Effect.succeed(ModelResponse.again(known, "cache"))
 *           }),
 *         annotations: Context.make(LayerAnnotations.Cached, {
 *           peek: (request, call) => Effect.sync(() => kept.get(keyOf(request, call)))
 *         })
 *       }
 *     }),
 *   { name: "Memory", answers: false }
 * )
 * ```
 */
export const middlewareService = <E, R>(
  f: (next: Service) => Effect.Effect<Made, E, R>,
  said?: LayerInfo
): Layer.Layer<ModelClient, E, ModelClient | Exclude<R, Scope.Scope>> => {
  const info = infoOf(f, said)
  return layerOf((next) => Effect.map(f(next), (made) => resolving(next, made, info)), info)
}

/**
 * The constructor beneath all others. The layers of this package use it themselves: they say what changes answers.
 *
 * @internal
 */
export const layerOf = <E, R>(
  f: (next: Service) => Effect.Effect<Made, E, R>,
  info: LayerInfo
): Layer.Layer<ModelClient, E, ModelClient | Exclude<R, Scope.Scope>> =>
  Layer.effect(
    ModelClient,
    Effect.flatMap(below(info), (next) =>
      Effect.map(f(next), (made) => ({
        send: LayerFault.named(info.name, made.send),
        resolve: made.resolve,
        ...over(annotated(info, made.annotations), next),
        ...(made.stops === undefined ? undefined : { stops: made.stops })
      }))
    )
  )

/** A request as a layer changes it, and the way back. */
export interface Around<R extends ModelRequest.ModelRequest> {
  readonly request: R
  /** The answer for the request that arrived, from the answer to the changed one. */
  readonly restore: (response: ModelResponse.ResponseTo<R>) => ModelResponse.ResponseTo<R>
}

/**
 * Makes a layer that changes requests and changes their answers back, such as one that masks personal data. Caches above
 * it keep answers by the request that arrived; caches and plans below see the changed one.
 *
 * **Example** (names are masked, and restored in the answer)
 *
 * ```ts
 * import { ModelClient, ModelRequest, ModelResponse } from "@pipe/core"
 *
 * export const mask = ModelClient.around(
 *   (request) => ({
 *     request: ModelRequest.mapText(request, (text) => text.replaceAll("Anna", "[name]")),
 *     restore: (response) => ModelResponse.mapText(response, (text) => text.replaceAll("[name]", "Anna"))
 *   }),
 *   { name: "Mask" }
 * )
 * ```
 */
export const around = (
  f: <R extends ModelRequest.ModelRequest>(request: R, call: CallContext.CallContext) => Around<R>,
  said?: LayerInfo
): Layer.Layer<ModelClient, never, ModelClient> => {
  const info = annotated(infoOf(f, said), Context.make(LayerAnnotations.ChangesAnswers, true))
  const changed: Resolve = (request, call) => f(request, call).request
  return layerOf(
    (next) =>
      Effect.succeed({
        send: (request) =>
          Effect.flatMap(CallContext.CallContext, (call) => {
            const { request: sent, restore } = f(request, call)
            return Effect.map(next.send(sent), restore)
          }),
        resolve: (request, call) => next.resolve(changed(request, call), call),
        ...stopsOf(next, changed)
      }),
    info
  )
}

/**
 * Makes a layer that only changes requests (another model, a setting, a system message), in `send` and `resolve` alike.
 * With `LayerAnnotations.Routes`, the report shows what its choice of models saves.
 */
export const mapRequest = (f: Resolve, said?: LayerInfo): Layer.Layer<ModelClient, never, ModelClient> => {
  const info = annotated(infoOf(f, said), Context.make(LayerAnnotations.IsShown, true))
  const baselineModel = LayerAnnotations.get(info, LayerAnnotations.Routes)?.baseline
  return layerOf(
    (next) =>
      Effect.succeed({
        send: <R extends ModelRequest.ModelRequest>(request: R) =>
          Effect.withFiber<ModelResponse.ResponseTo<R>, AiError.AiError>((fiber) => {
            const mapped = f(request, fiber.getRef(CallContext.CallContext))
            const sent = next.send(mapped)
            return baselineModel === undefined || mapped.model === request.model
              ? sent
              : Effect.map(sent, (response) => ({ ...response, baselineModel }))
          }),
        resolve: (request, call) => next.resolve(f(request, call), call),
        ...stopsOf(next, f)
      }),
    info
  )
}

/**
 * Makes a layer that runs a hook around each attempt below it: retries, re-asks, fallbacks, the calls of other layers, and
 * requests of batches. See `Attempt`. An effect that `onEnd` returns runs soon after; the end of the run waits for it.
 *
 * **Example** (a log in a file)
 *
 * ```ts
 * import { ModelClient } from "@pipe/core"
 * import { Effect, FileSystem } from "effect"
 *
 * export const log = (path: string) =>
 *   ModelClient.onAttempt(
 *     ({ provider }) =>
 *       Effect.succeed({
 *         onEnd: ({ billed }) =>
 *           Effect.flatMap(FileSystem.FileSystem, (fs) =>
 *             fs.writeFileString(path, `${provider}: billed ${billed}\n`, { flag: "a" })
 *           )
 *       }),
 *     { name: "Log", answers: false }
 *   )
 * ```
 */
export const onAttempt = <E = never, R = never>(
  hook: Attempt.Watch<E, R>,
  said?: LayerInfo
): Layer.Layer<ModelClient, never, ModelClient | R> => {
  const info = infoOf(hook, said)
  return layerOf(
    (next) =>
      Effect.map(AttemptEnds.make<E, R>(info.name), (later) => {
        const around = RunHooks.withAttempts(later(hook))
        return { send: (request) => around(next.send(request)), resolve: next.resolve }
      }),
    info
  )
}

/** The options of `provider`. */
export interface ProviderOptions {
  /** The provider's name in price tables. */
  readonly name: string
  /** Fills in defaults, such as the model. */
  readonly resolve?: Resolve
  /** Returns why a request cannot be sent, in words. It is then no call: nothing is reserved or recorded. */
  readonly refuse?: (request: ModelRequest.ModelRequest) => string | undefined
  /** Answers completions. Without it, and without `send`, they are refused. */
  readonly completion?: SendCompletion
  /** Answers embeddings. Without it, and without `send`, they are refused. */
  readonly embedding?: SendEmbedding
  /** Answers decisions. Without it, `completion` answers them, without probabilities. */
  readonly decision?: SendDecision
  /** Answers requests of any kind, in place of `completion`, `embedding` and `decision`. */
  readonly send?: Send
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
  /**
   * Identifies the account whose limits its calls count against, without revealing the key: runs of one process share the
   * limits of an account. Default: one account.
   */
  readonly account?: string
  /** The name of the setting that holds its key, such as `OPENAI_API_KEY`, and whether it is set. */
  readonly credentials?: { readonly name: string; readonly isSet: boolean }
  /** Prices of its models, in USD per million tokens. A flow's own `prices` come first. */
  readonly prices?: Pricing.Overrides
  /** How it caches the beginning of a prompt. Default: known for public providers by name, otherwise none. */
  readonly promptCache?: LayerAnnotations.Provider["promptCache"]
  /** How its service tiers are requested. Default: it has none. */
  readonly serviceTiers?: LayerAnnotations.ServiceTiers
  /** Whether a model answers decisions with probabilities. Default: not known. */
  readonly decides?: (model: string) => boolean
  /** What `resolve` leaves out of a request because its model refuses it, in sentences. Each is a warning once. */
  readonly leftOut?: (request: ModelRequest.ModelRequest) => ReadonlyArray<string>
  /** The functions that make up the provider, when `send` does not name them. */
  readonly code?: ReadonlyArray<Function>
  /**
   * Tests for free whether calls would be accepted, by a list of models for example. Returns what it found in words;
   * `pipe doctor flow.ts` runs it.
   */
  readonly check?: Effect.Effect<string, AiError.AiError>
}

const providerInfo = (
  options: ProviderOptions,
  code: NonNullable<LayerInfo["code"]>,
  isSimulated: boolean
): LayerInfo => {
  const { account, answers, check, credentials, decides, endpoint, leftOut, name, prices, promptCache, serviceTiers } =
    options
  return {
    name,
    ...(answers === false ? { answers: [name] } : { answers: [name, answers], code }),
    annotations: Context.make(LayerAnnotations.Provider, {
      endpoint,
      isSimulated,
      isDescribed: options.code !== undefined,
      // The providers of this package show theirs in requests.
      answers: options.isRedirected === true ? undefined : answers,
      account,
      credentials,
      check,
      prices,
      promptCache,
      serviceTiers,
      decides,
      leftOut
    })
  }
}

/**
 * Makes the bottom of a stack from a function that calls the provider. Each call is recorded as one attempt, however it
 * ends; refusals become failures after they are recorded.
 */
export const provider = (options: ProviderOptions): Service => {
  const resolve: Resolve = options.resolve ?? ((request) => request)
  const send =
    options.send ?? handle({ Completion: options.completion, Embedding: options.embedding, Decision: options.decision })
  const own = options.code ?? (options.send === undefined ? functionsOf(options) : options.send)
  const attempt = ProviderCall.make(send)
  // A simulator around this stack only. The simulator of a whole run is in the context of its calls.
  const built = Fiber.getCurrent()?.getRef(Simulation.Simulation)
  const simulated: Send = (request) =>
    Effect.flatMap(Simulation.Simulation, (around) => {
      const simulation = around ?? built!
      return Effect.flatMap(simulation.note(request), (noted) =>
        options.isRedirected === true ? send(noted) : simulation.answer(options.name, noted)
      )
    })
  const simulate = ProviderCall.make(simulated)
  /** What makes an attempt: the provider, a simulator or a test. */
  const asker = ({ inside, standIn }: RunHooks.RunHooks, isSimulated: boolean): typeof attempt => {
    if (standIn === undefined && inside === undefined) return isSimulated ? simulate : attempt
    const base =
      standIn === undefined || standIn.spares === options.name
        ? isSimulated
          ? simulated
          : send
        : standIn.send(options.name)
    return ProviderCall.make(inside === undefined ? base : inside(options.name, base))
  }
  const { batch, embeddings, name } = options
  const warn = LayerEvent.once()
  return {
    resolve,
    layers: [providerInfo(options, own, built !== undefined)],
    isEdge: true,
    ...(batch === undefined
      ? undefined
      : { batch: BatchProvider.only({ ...Simulation.noted(batch), isRedirected: options.isRedirected === true }) }),
    send: LayerFault.named(name, (asked) =>
      Effect.withFiber((fiber) => {
        const clock = fiber.getRef(Clock.Clock)
        const runHooks = fiber.getRef(RunHooks.RunHooks)
        const call = fiber.getRef(CallContext.CallContext)
        const { isReask, step } = call
        const expected = fiber.getRef(ExpectedUsage.ExpectedUsage)
        const isSimulated = (fiber.getRef(Simulation.Simulation) ?? built) !== undefined
        const ask = asker(runHooks, isSimulated)
        const environment = { clock, hooks: attemptHooksOf(runHooks, fiber), step, expected }
        const one = <R extends ModelRequest.ModelRequest>(request: R) => {
          const serviceTier = options.serviceTiers?.of(request)
          return ask(
            {
              request,
              provider: options.name,
              startedAt: clock.currentTimeMillisUnsafe(),
              ...(serviceTier === undefined ? undefined : { serviceTier }),
              ...(isReask ? { isReask } : undefined),
              ...(isSimulated ? { isSimulated } : undefined)
            },
            environment
          )
        }
        const request = resolve(asked, call)
        const refused = options.refuse?.(request)
        if (refused !== undefined) return refuse(name, refused)
        const sent =
          request._tag === "Embedding"
            ? (EmbeddingParts.send(request, embeddings, (part) =>
                Effect.flatMap(one(part), (response) => EmbeddingParts.checked(part, response))
              ) as ReturnType<typeof one<typeof asked>>)
            : one(request)
        const words = request === asked ? [] : (options.leftOut?.(asked) ?? [])
        return words.length === 0
          ? sent
          : Effect.andThen(
              Effect.forEach(words, (text) => warn(text), { discard: true }),
              sent
            )
      })
    )
  }
}

/** The hooks around each attempt of a call: the ledger's own comes last. */
const attemptHooksOf = (
  { attempts }: RunHooks.RunHooks,
  fiber: Fiber.Fiber<unknown, unknown>
): ReadonlyArray<Attempt.AttemptHook> => {
  const recording = fiber.getRef(CallRecording.CallRecording)
  return recording === undefined ? attempts : attempts.length === 0 ? [recording.hook] : [...attempts, recording.hook]
}

const functionsOf = ({ completion, decision, embedding }: ProviderOptions): ReadonlyArray<Function> =>
  [completion, embedding, decision].filter((f) => f !== undefined)
