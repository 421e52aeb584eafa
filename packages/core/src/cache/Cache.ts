/**
 * The exact cache: reuses the answer to a request that was sent before, with the same words and the same settings.
 *
 * **Details** The key is the `RequestKey` of the request as it will reach the provider, so a router or a default model
 * below is taken into account. Kept: complete answers that the caller accepts, under the model that gave them. Not
 * kept: errors, refusals, truncated and empty answers, and answers that do not fit the schema. Equal requests in flight
 * make one call; a failure is not kept. An unreadable entry is a miss and is replaced. When the store fails, the run
 * continues without it after one warning.
 *
 * It compares requests exactly. To reuse an answer for a question that only *means* the same, see `SemanticCache`; to
 * pay less for long common prefixes, see `PromptCache`.
 *
 * **Example** (answers that last a month, separate for each customer)
 *
 * ```ts
 * import { Cache } from "@pipe/core"
 *
 * export const cache = Cache.layer({ timeToLive: "30 days", namespace: "acme" })
 * ```
 *
 * @since 0.1.0
 */
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import type * as RowValues from "../client/RowValues.ts"
import * as Context from "effect/Context"
import type * as AiError from "effect/ai/AiError"
import * as OptionNames from "../client/OptionNames.ts"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as CallContext from "../client/CallContext.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ModelSettings from "../client/ModelSettings.ts"
import * as Closure from "../closure/Closure.ts"
import * as LayerCode from "../closure/LayerCode.ts"
import * as ContentHash from "../encoding/ContentHash.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as CacheStore from "./CacheStore.ts"
import * as CachedTexts from "./CachedTexts.ts"
import * as SingleFlight from "./SingleFlight.ts"

/** The options of `Cache.layer`. */
export interface Options {
  /** How long an answer can be reused. Default: unlimited; 0 keeps nothing. */
  readonly timeToLive?: Duration.Input
  /** Answers are shared within a namespace only, for example a tenant's. Default: none. */
  readonly namespace?: string
}

/** Answers equal requests from the `CacheStore` in context. */
export const layer = (
  options: Options = {}
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | CacheStore.CacheStore> => {
  OptionNames.check("Cache.layer", options, ["timeToLive", "namespace"])
  const timeToLive = Duration.fromInputUnsafe(options.timeToLive ?? Duration.infinity)
  return ModelClient.layerOf(
    (next) =>
      Effect.gen(function* () {
        const store = keepGoing(yield* CacheStore.CacheStore)
        const keyFor = keysOf(options.namespace, next.layers ?? [], yield* Closure.Current)
        const calls = SingleFlight.make<ModelResponse.ModelResponse, AiError.AiError>()
        const read = (key: string, asked: Asked) =>
          Effect.suspend(() =>
            Effect.mapEager(store.get(key, asked.clock.currentTimeMillisUnsafe()), (text) =>
              text === undefined ? undefined : recall(text, asked)
            )
          )

        const write = writer({ store, keyFor, timeToLive })

        const lookup = <R extends ModelRequest.ModelRequest>(
          key: string,
          request: R,
          resolved: R,
          asked: Asked
        ): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> => {
          const isShared = calls.has(key)
          const sent = Effect.flatMap(next.send(request), (response) => {
            const written = write(key, resolved, response, asked)
            return written === undefined ? Effect.succeed(response) : Effect.as(written, response)
          })
          const shared = calls.run(key, store.once(key, read(key, asked), sent)) as Effect.Effect<
            ModelResponse.ResponseTo<R>,
            AiError.AiError
          >
          return isShared
            ? Effect.map(shared, (response) => ModelResponse.again(structuredClone(response), "shared"))
            : shared
        }

        const several = severalBy({ keyFor, read, send: next.send, write })
        const send: ModelClient.Send = (request) =>
          Effect.withFiber((fiber) => {
            const asked = askedBy(request, fiber)
            const { call } = asked
            if (call.cache === "off") return next.send(request)
            const resolved = next.resolve(request, call)
            return isSeveral(request)
              ? several(request, resolved, asked)
              : lookup(keyFor(resolved, call.values, request), request, resolved, asked)
          })
        const peek = (
          request: ModelRequest.ModelRequest,
          call: CallContext.CallContext
        ): Effect.Effect<ModelResponse.ModelResponse | undefined> =>
          request._tag === "Embedding" && isSeveral(request)
            ? Effect.map(
                Effect.forEach(CachedTexts.each(request), (text) => peek(text, call)),
                CachedTexts.joined
              )
            : Effect.withFiber((fiber) =>
                read(keyFor(next.resolve(request, call), call.values, request), askedBy(request, fiber))
              )
        return {
          send,
          resolve: next.resolve,
          annotations: Context.make(LayerAnnotations.Cached, {
            ...(Duration.isFinite(timeToLive) ? { timeToLive: Duration.toMillis(timeToLive) } : undefined),
            peek
          }).pipe(
            Context.add(LayerAnnotations.Namespace, options.namespace),
            Context.add(LayerAnnotations.Order, ORDER)
          )
        }
      }),
    { name: "Cache" }
  )
}

/**
 * The keys of requests, for a cache of your own: the same that `layer` uses. Equal keys mean that the same request
 * reaches the same address through layers that do the same. `undefined` when the call must not be cached.
 *
 * To keep answers of the exact cache elsewhere, implement `CacheStore` instead.
 *
 * **Example** (a cache of a step's last answers)
 *
 * ```ts
 * import { Cache, CallContext, ModelClient, ModelResponse } from "@pipe/core"
 * import { Effect } from "effect"
 *
 * export const last = ModelClient.middlewareEffect(
 *   (next) =>
 *     Effect.map(Cache.keys(next), (keyOf): ModelClient.Send => {
 *       const kept = new Map<string, ModelResponse.ModelResponse>()
 *       return (request) =>
 *         Effect.flatMap(CallContext.CallContext, (call) => {
 *           const key = keyOf(request, call)
 *           const known = key === undefined ? undefined : ModelResponse.forRequest(request, kept.get(key))
 *           if (known !== undefined) return Effect.succeed(ModelResponse.again(known, "cache"))
 *           return Effect.tap(next.send(request), (response) =>
 *             Effect.sync(() => {
 *               if (key !== undefined && ModelResponse.isComplete(response)) kept.set(key, response)
 *             })
 *           )
 *         })
 *     }),
 *   { name: "Last", answers: false }
 * )
 * ```
 */
export const keys = (
  next: ModelClient.Service,
  options: Pick<Options, "namespace"> = {}
): Effect.Effect<(request: ModelRequest.ModelRequest, call: CallContext.CallContext) => string | undefined> =>
  Effect.map(Closure.Current, (closures) => {
    const keyFor = keysOf(options.namespace, next.layers ?? [], closures)
    return (request, call) =>
      call.cache === "off" ? undefined : keyFor(next.resolve(request, call), call.values, request)
  })

/** Keeps answers that came from a provider and that the caller accepts. */
const writer =
  ({
    keyFor,
    store,
    timeToLive
  }: {
    readonly store: ReturnType<typeof keepGoing>
    readonly keyFor: KeyFor
    readonly timeToLive: Duration.Duration
  }) =>
  (
    key: string,
    resolved: ModelRequest.ModelRequest,
    response: ModelResponse.ModelResponse,
    asked: Asked
  ): Effect.Effect<void> | undefined => {
    const { call, clock, request } = asked
    if (
      response.origin !== "provider"
      || !isTaken(resolved, response, asked)
      || !Duration.isPositive(timeToLive)
      || call.accept(response) !== undefined
    ) {
      return undefined
    }
    const now = clock.currentTimeMillisUnsafe()
    // When another model has answered below, its answer is stored under that model's key.
    const isOther = resolved.model !== undefined && response.requestedModel !== resolved.model
    return store.set({
      key: isOther ? keyFor(ModelRequest.withModel(resolved, response.requestedModel), call.values, request) : key,
      value: JSON.stringify({ ...response, paid: payerOf(call) }),
      model: response.model,
      createdAt: now,
      expiresAt: Duration.isFinite(timeToLive) ? now + Duration.toMillis(timeToLive) : undefined
    })
  }

/** A request as it arrived, and what its caller wants of the answer. */
interface Asked {
  readonly request: ModelRequest.ModelRequest
  readonly call: CallContext.CallContext
  readonly clock: Clock.Clock
  /** Whether an answer that is not complete is accepted. */
  readonly keepsAll: boolean
}

/** Read once: the work of a shared call outlives the fiber that began it. */
const askedBy = (request: ModelRequest.ModelRequest, fiber: Fiber.Fiber<unknown, unknown>): Asked => ({
  request,
  call: fiber.getRef(CallContext.CallContext),
  clock: fiber.getRef(Clock.Clock),
  keepsAll: fiber.getRef(ModelSettings.ModelSettings).truncated === "keep"
})

const ORDER: LayerAnnotations.Order = {
  above: [
    { key: LayerAnnotations.Retries, because: "every attempt would be looked up again, and rejected answers with it" }
  ]
}

/** A stored answer, if the caller accepts it. What this row has paid for itself is returned as it came. */
const recall = (text: string, asked: Asked): ModelResponse.ModelResponse | undefined => {
  const { call, request } = asked
  const kept = parse(text, answerTag[request._tag])
  if (kept === undefined || !isTaken(request, kept.response, asked)) return undefined
  if (call.accept(kept.response) !== undefined) return undefined
  return kept.paid !== undefined && kept.paid === payerOf(call)
    ? kept.response
    : ModelResponse.again(kept.response, "cache")
}

/**
 * Tests whether an answer is complete, or accepted as it is. A call of a tool that was not offered is not accepted.
 */
const isTaken = (
  request: ModelRequest.ModelRequest,
  response: ModelResponse.ModelResponse,
  { keepsAll }: Asked
): boolean =>
  response._tag !== "CompletionResponse" || request._tag !== "Completion"
    ? ModelResponse.isComplete(response)
    : (request.tools.length > 0 || response.parts.every((part) => part.type !== "tool-call"))
      && (ModelResponse.isComplete(response) || keepsAll)

const isSeveral = (request: ModelRequest.ModelRequest): boolean =>
  request._tag === "Embedding" && request.inputs.length > 1

/** Answers an embedding request text by text. */
const severalBy = (cache: {
  readonly keyFor: KeyFor
  readonly read: (key: string, asked: Asked) => Effect.Effect<ModelResponse.ModelResponse | undefined>
  readonly send: ModelClient.Send
  readonly write: ReturnType<typeof writer>
}): (<R extends ModelRequest.ModelRequest>(
  request: R,
  resolved: R,
  asked: Asked
) => Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError>) => {
  return (request, resolved, asked) => {
    const { values } = asked.call
    const of = (request: ModelRequest.Embedding) =>
      [cache.keyFor(request, values, request), { ...asked, request }] as const
    const texts: CachedTexts.Texts = {
      read: (request) => cache.read(...of(request)) as Effect.Effect<ModelResponse.EmbeddingResponse | undefined>,
      write: (request, response) => {
        const [key, asked] = of(request)
        return cache.write(key, request, response, asked) ?? Effect.void
      },
      send: cache.send
    }
    return CachedTexts.send(
      request as unknown as ModelRequest.Embedding,
      resolved as unknown as ModelRequest.Embedding,
      texts
    ) as never
  }
}

const answerTag = {
  Completion: "CompletionResponse",
  Embedding: "EmbeddingResponse",
  Decision: "DecisionResponse"
} as const

/** The key of a resolved request for a row with these values, and the request as it arrived. */
type KeyFor = (
  request: ModelRequest.ModelRequest,
  values: RowValues.Values,
  arrived: ModelRequest.ModelRequest
) => string

/**
 * The keys of requests: the request as sent, its address, and what layers below do to it invisibly (see
 * `LayerCode.hidden`). Where they change answers, the request as it arrived is part of the key: what was restored for
 * one request is not the answer to another that was sent alike.
 */
const keysOf = (
  namespace: string | undefined,
  layers: ReadonlyArray<ModelClient.LayerInfo>,
  closures: Parameters<typeof LayerCode.hidden>[1]
): KeyFor => {
  const hidden = LayerCode.hidden(layers, closures)
  const apartOf = LayerAnnotations.apartBy(layers)
  const isChanged = LayerAnnotations.changesAnswers(layers)
  return (request, values, arrived) => {
    const content = RequestKey.content(request, namespace)
    const endpoint = ModelClient.endpointOf(layers, request.model ?? "")
    const apart = apartOf(values)
    const below = endpoint === "" ? hidden : `${hidden}\n${endpoint}`
    const parts = [content, ...(below === "" ? [] : [below]), ...(apart === "" ? [] : [`apart ${apart}`])]
    if (isChanged && arrived._tag === "Completion") parts.push(`for ${RequestKey.content(arrived)}`)
    return ContentHash.make(parts.join("\n"))
  }
}

/**
 * The row and run that paid for an answer; empty outside a run. What a run has paid for a row itself is not a saving:
 * the row was suspended or stopped for other reasons.
 */
const payerOf = ({ row, run, step }: CallContext.Caller): string | undefined =>
  run === "" ? undefined : `${run}/${step}/${row}`

const parse = (
  text: string,
  expected: ModelResponse.ModelResponse["_tag"]
): { readonly response: ModelResponse.ModelResponse; readonly paid: string | undefined } | undefined => {
  const known = ModelResponse.decode(text)
  if (Option.isNone(known) || known.value._tag !== expected) return undefined
  const { paid, ...response } = known.value as ModelResponse.ModelResponse & { readonly paid?: string }
  return { response, paid }
}

/**
 * Stops using a store after its first failure, with one warning: answers are paid for again, but the run continues.
 */
const keepGoing = (store: CacheStore.CacheStore["Service"]) => {
  let broken = false
  const guard = <A>(use: () => Effect.Effect<A, CacheStore.CacheStoreError>, otherwise: A): Effect.Effect<A> =>
    broken
      ? Effect.succeed(otherwise)
      : Effect.catchEager(use(), (error) => {
          if (broken) return Effect.succeed(otherwise)
          broken = true
          return Effect.as(Effect.logWarning(`${error.message}; the run continues without the cache`), otherwise)
        })
  const { once } = store
  return {
    /** Processes that share the store send an equal request once. */
    once: <A, E>(key: string, read: Effect.Effect<A | undefined, E>, work: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      once === undefined || broken
        ? Effect.flatMap(read, (kept) => (kept === undefined ? work : Effect.succeed(kept)))
        : Effect.catchIf(once(key, read, work), isStoreError<E>, () => work),
    get: (key: string, now: number) => guard<string | undefined>(() => store.get(key, now), undefined),
    set: (entry: CacheStore.CacheEntry) => guard<void>(() => store.set(entry), undefined)
  }
}

const isStoreError = <E>(error: E | CacheStore.CacheStoreError): error is CacheStore.CacheStoreError =>
  error instanceof CacheStore.CacheStoreError
