/**
 * A stack of layers, in the order in which a request passes them: the first layer sees it first, and the last is the
 * provider.
 *
 * **Details** Every layer is built fresh, so the same layer can be used twice. A stack without a provider at its bottom
 * does not compile where a `Layer<ModelClient>` is expected. A stack in which a layer is where it cannot work (a cache
 * under a retry, batches over a layer that changes requests, two retries) does not start: the message names both layers
 * and the way out.
 *
 * **Example** (from top to bottom)
 *
 * ```ts
 * import { Cache, Ledger, Retry, Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const stack = Stack.make(
 *   Ledger.layer,
 *   Cache.layer(),
 *   Retry.layer(),
 *   OpenAi.layer({ model: "gpt-4o-mini" })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Cache from "../cache/Cache.ts"
import type * as CacheStore from "../cache/CacheStore.ts"
import * as PromptCache from "../cache/PromptCache.ts"
import * as Ledger from "../ledger/Ledger.ts"
import type * as Pricing from "../price/Pricing.ts"
import * as RateLimit from "../resilience/RateLimit.ts"
import * as Retry from "../resilience/Retry.ts"
import * as ServiceTier from "../resilience/ServiceTier.ts"
import * as LayerOrder from "./LayerOrder.ts"
import * as ModelClient from "./ModelClient.ts"

type Any = Layer.Layer<ModelClient.ModelClient, unknown, unknown>
type Init<L extends ReadonlyArray<Any>> = L extends readonly [...infer I extends ReadonlyArray<Any>, Any] ? I : []
type Last<L extends ReadonlyArray<Any>> = L extends readonly [...ReadonlyArray<Any>, infer Z extends Any] ? Z : never

/**
 * The layers of a stack are in an order in which one of them cannot work. Nothing was sent.
 *
 * **Remedy** Move the layer as the message says. `docs/reference/layers.md` has the usual order.
 */
export class StackError extends Schema.TaggedError<StackError>()("StackError", {
  message: Schema.String
}) {}

/** Composes layers into one. Requirements of the bottom layer stay visible in the type. */
export const make = <const L extends readonly [Any, ...Array<Any>]>(
  ...layers: L
): Layer.Layer<
  ModelClient.ModelClient,
  Layer.Error<L[number]>,
  Exclude<Layer.Services<Init<L>[number]>, ModelClient.ModelClient> | Layer.Services<Last<L>>
> =>
  Layer.effect(ModelClient.ModelClient, Effect.flatMap(ModelClient.ModelClient, checked)).pipe(
    Layer.provide(
      layers.map((layer): Any => Layer.fresh(layer)).reduceRight((below, above) => Layer.provide(above, below))
    )
    // oxlint-disable-next-line typescript/no-explicit-any -- a fold over a tuple of layers has no type of its own
  ) as any

/** A stack in a wrong order would lose money or data silently: it does not start. */
const checked = (client: ModelClient.Service): Effect.Effect<ModelClient.Service> => {
  const problem = LayerOrder.problem(client.layers)
  return problem === undefined ? Effect.succeed(client) : Effect.die(new StackError({ message: problem }))
}

const isDuration = (cache: Duration.Input | Cache.Options | undefined): cache is Duration.Input =>
  typeof cache !== "object" || Duration.isDuration(cache) || Array.isArray(cache)
    ? cache !== undefined
    : !("timeToLive" in cache || "namespace" in cache) && Object.keys(cache).length > 0

/** The options of `Stack.recommended`. */
export interface RecommendedOptions<E, R> {
  /** The bottom of the stack, such as `OpenAi.layer({ model })` or `Router.providers`. */
  readonly provider: Layer.Layer<ModelClient.ModelClient, E, R>
  /** How long an answer is kept, or the options of `Cache.layer`. `false`: no answer is kept. Default: unlimited. */
  readonly cache?: Duration.Input | Cache.Options | false
  /** Chooses the model: `Router.layer`, or a layer of your own. Default: none. */
  readonly router?: Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient>
  /** Default: 6 attempts and 2 re-asks. */
  readonly retry?: Retry.Options
  /** Requests per minute and model. Default: learned from the provider's headers. */
  readonly requestsPerMinute?: number
  /** Tokens per minute and model. Default: learned from the provider's headers. */
  readonly tokensPerMinute?: number
  /** Arranges requests so that the provider's prompt cache is used. Default: false. */
  readonly promptCache?: boolean
  /** A cheaper service tier for single calls: `{ use: "flex" }`. Default: the ordinary one. */
  readonly serviceTier?: ServiceTier.Options
}

/**
 * The layers that most flows want, in their order: ledger, exact cache, router, retry, prompt cache, service tier, rate limit, provider.
 *
 * **Example** (a stack in one call)
 *
 * ```ts
 * import { Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const stack = Stack.recommended({
 *   provider: OpenAi.layer({ model: "gpt-4o-mini" }),
 *   cache: "30 days",
 *   requestsPerMinute: 500
 * })
 * ```
 */
export const recommended = <E, R>(
  options: RecommendedOptions<E, R>
): Layer.Layer<ModelClient.ModelClient, E, R | Pricing.Pricing | CacheStore.CacheStore> => {
  const {
    cache,
    promptCache = false,
    provider,
    requestsPerMinute,
    retry,
    router,
    serviceTier,
    tokensPerMinute
  } = options
  const layers: ReadonlyArray<Any> = [
    ...(cache === false ? [] : [Cache.layer(isDuration(cache) ? { timeToLive: cache } : cache)]),
    ...(router === undefined ? [] : [router]),
    Retry.layer(retry),
    ...(promptCache ? [PromptCache.layer()] : []),
    ...(serviceTier === undefined ? [] : [ServiceTier.layer(serviceTier)]),
    RateLimit.layer({
      ...(requestsPerMinute === undefined ? undefined : { requestsPerMinute }),
      ...(tokensPerMinute === undefined ? undefined : { tokensPerMinute })
    }),
    provider
  ]
  return make(Ledger.layer, ...layers) as Layer.Layer<
    ModelClient.ModelClient,
    E,
    R | Pricing.Pricing | CacheStore.CacheStore
  >
}
