/**
 * What a layer says that it does, by typed keys. Plans, the runner, tuning, result keys and reports ask whether *a* layer
 * does a thing, never for its name: a cache, router or limiter of your own counts like a built-in one.
 *
 * **Example** (a router of your own, with the model that it replaces)
 *
 * ```ts
 * import { LayerAnnotations, ModelClient, ModelRequest } from "@pipe/core"
 * import { Context } from "effect"
 *
 * export const byTenant = ModelClient.mapRequest(
 *   (request, { values }) => ModelRequest.withModel(request, values["row"]?.plan === "pro" ? "gpt-4o" : "gpt-4o-mini"),
 *   { name: "ByTenant", annotations: Context.make(LayerAnnotations.Routes, { baseline: "gpt-4o" }) }
 * )
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { ModelRequest, Settings } from "../model/ModelRequest.ts"
import type * as Pricing from "../price/Pricing.ts"
import type * as PromptCacheMinimum from "../price/PromptCacheMinimum.ts"
import * as RequestKey from "../model/RequestKey.ts"
import type { CallContext } from "./CallContext.ts"
import type * as PlanStop from "./PlanStop.ts"
import type * as RowValues from "./RowValues.ts"
import type { LayerInfo } from "./Service.ts"

/** What a cache says of itself. */
export interface Cached extends PlanStop.Cached {}

/** The layer answers equal requests without a call. */
export const Cached = Context.Reference<Cached | undefined>("@pipe/core/LayerAnnotations/Cached", {
  defaultValue: () => undefined
})

/** The layer shares answers within this namespace only. Results of other namespaces are not reused. */
export const Namespace = Context.Reference<string | undefined>("@pipe/core/LayerAnnotations/Namespace", {
  defaultValue: () => undefined
})

/** The layer chooses the model of a request. `resolve` shows its choice. */
export interface Routes {
  /** The model that would be called without it. Savings are measured against it. */
  readonly baseline: string
}

/** The layer chooses the model of a request. */
export const Routes = Context.Reference<Routes | undefined>("@pipe/core/LayerAnnotations/Routes", {
  defaultValue: () => undefined
})

/** One of the requests that a cascade makes for a request. */
export interface CascadeRequest extends PlanStop.CascadeRequest {}

/** What a judge needs to work. */
export interface JudgeNeeds {
  /** Settings of the requests to the cheaper models. */
  readonly settings?: ReadonlyArray<keyof Settings>
  /** The model that answers decisions with probabilities. */
  readonly decisionsOf?: string
}

/** Describes a cascade for plans and for tuning. */
export interface Cascades {
  /** The name used in place of a model's name. */
  readonly name: string
  readonly models: ReadonlyArray<string>
  /** The part of each judge that changes its verdict. */
  readonly judges: ReadonlyArray<{
    readonly name: string
    readonly key: string
    /** What a model must take for the judge to work. */
    readonly needs?: JudgeNeeds | undefined
  }>
  /** The routing file; `undefined` for a cascade with manual rules. */
  readonly file: string | undefined
  /** The content of the file; `undefined` when it does not exist. */
  readonly routing: unknown
  /** The requests it makes for a request of a step, in order, the strong model last. */
  readonly requests: (request: ModelRequest, step: string) => ReadonlyArray<CascadeRequest>
}

/** The layer calls several models one after the other, the strong one last. */
export const Cascades = Context.Reference<Cascades | undefined>("@pipe/core/LayerAnnotations/Cascades", {
  defaultValue: () => undefined
})

/** The rate limits that a layer enforces, per minute, for each model or each key. */
export interface RateLimited {
  readonly requestsPerMinute?: number | undefined
  readonly tokensPerMinute?: number | undefined
  /** Limits each key by itself, over all models. Default: each model. */
  readonly by?: ((call: CallContext) => string) | undefined
}

/** The layer enforces rate limits. A plan computes the shortest duration with them. */
export const RateLimited = Context.Reference<RateLimited | undefined>("@pipe/core/LayerAnnotations/RateLimited", {
  defaultValue: () => undefined
})

/**
 * The layer only decides when calls are sent. Requests that are not sent as single calls, such as those of batches,
 * bypass it, and it does not change answers.
 */
export const Paces = Context.Reference<boolean>("@pipe/core/LayerAnnotations/Paces", { defaultValue: () => false })

/** The service tier that a layer requests. */
export interface ServiceTier {
  readonly tier: string
  /** The steps that it applies to. Default: all. */
  readonly steps?: ReadonlyArray<string> | undefined
  /** The models that have the tier. Default: all. */
  readonly models?: ((model: string) => boolean) | undefined
}

/** The layer requests a service tier, such as `batch` or `flex`. */
export const ServiceTier = Context.Reference<ServiceTier | undefined>("@pipe/core/LayerAnnotations/ServiceTier", {
  defaultValue: () => undefined
})

/** The service tier that a stack requests for a step's calls of a model; `undefined` when it requests none. */
export const tierOf = (layers: ReadonlyArray<LayerInfo> = [], step: string, model: string): string | undefined => {
  for (const layer of layers) {
    const { models, steps, tier } = get(layer, ServiceTier) ?? {}
    const applies = (steps === undefined || steps.includes(step)) && (models === undefined || models(model))
    if (tier !== undefined && applies) return tier
  }
  return undefined
}

/** Tests whether a stack sends requests in batches. */
export const batches = (layers: ReadonlyArray<LayerInfo> = []): boolean =>
  layers.some((layer) => get(layer, ServiceTier)?.tier === "batch")

/**
 * `resolve` shows everything that the layer does to a request, and answers pass unchanged. A cache above can then key by
 * it. `ModelClient.mapRequest` sets it.
 */
export const IsShown = Context.Reference<boolean>("@pipe/core/LayerAnnotations/IsShown", { defaultValue: () => false })

/** The layer reuses answers to texts that mean the same (a step's `reuse`). */
export const ReusesMeaning = Context.Reference<boolean>("@pipe/core/LayerAnnotations/ReusesMeaning", {
  defaultValue: () => false
})

/** The layer sends several texts in one prompt (a step's `pack`). */
export const Packs = Context.Reference<boolean>("@pipe/core/LayerAnnotations/Packs", { defaultValue: () => false })

/** The layer arranges requests so that the provider's prompt cache is used. */
export const UsesPromptCache = Context.Reference<boolean>("@pipe/core/LayerAnnotations/UsesPromptCache", {
  defaultValue: () => false
})

/** A request that a layer makes of its own (`ModelClient.aside`). */
export interface Asked extends PlanStop.Asked {}

/** The requests that the layer makes of its own for a request, for plans. */
export const Asks = Context.Reference<((request: ModelRequest, call: CallContext) => ReadonlyArray<Asked>) | undefined>(
  "@pipe/core/LayerAnnotations/Asks",
  { defaultValue: () => undefined }
)

/** The layer sends a request again when it fails. */
export const Retries = Context.Reference<boolean>("@pipe/core/LayerAnnotations/Retries", { defaultValue: () => false })

/** The layer returns other answers than it receives, such as one that restores masked text. */
export const ChangesAnswers = Context.Reference<boolean>("@pipe/core/LayerAnnotations/ChangesAnswers", {
  defaultValue: () => false
})

/**
 * The layer has a `resolve` of its own, and may change answers too.
 *
 * @internal
 */
export const Resolves = Context.Reference<boolean>("@pipe/core/LayerAnnotations/Resolves", {
  defaultValue: () => false
})

/**
 * Tests whether equal requests, as they reach the provider, may have different answers here: a layer restores what it
 * has masked, for example. A cache then also compares the requests that arrive.
 */
export const changesAnswers = (layers: ReadonlyArray<LayerInfo> = []): boolean =>
  has(layers, ChangesAnswers) || has(layers, Resolves)

/** A layer that must be below or above another one, and the reason in words for the author. */
export interface Neighbour {
  /** What the layers do. */
  readonly key: Context.Reference<boolean>
  readonly because: string
}

/** Where a layer must be in a stack. A stack in another order does not run. */
export interface Order {
  /** Why a request may pass only one such layer. Layers are alike when they have the same name. */
  readonly once?: string
  /** The layers that must be below this one. */
  readonly above?: ReadonlyArray<Neighbour>
  /** The layers that must be above this one. */
  readonly below?: ReadonlyArray<Neighbour>
  /**
   * Why only layers that pace calls, or that `resolve` shows, may be below: requests can leave the stack at this layer.
   */
  readonly leaves?: string
}

/** Where the layer must be in a stack. */
export const Order = Context.Reference<Order>("@pipe/core/LayerAnnotations/Order", { defaultValue: () => ({}) })

/** The bottom of a stack. */
export interface Provider {
  /** The address it sends to, when it is not the provider's own: another server may answer differently. */
  readonly endpoint?: string | undefined
  /** A simulator replaces it. */
  readonly isSimulated?: boolean
  /** Its functions describe an API: what they capture are constants and arguments, not clients. */
  readonly isDescribed?: boolean
  /** The options that change answers and that requests do not show, as JSON. */
  readonly answers?: unknown
  /** Identifies the account whose limits its calls count against, without revealing the key. */
  readonly account?: string | undefined
  /** The name of the setting that holds its key, such as `OPENAI_API_KEY`, and whether it is set. */
  readonly credentials?: { readonly name: string; readonly isSet: boolean } | undefined
  /** Tests for free whether calls would be accepted. Returns what it found in words; `pipe doctor` runs it. */
  readonly check?: Effect.Effect<string, AiError.AiError> | undefined
  /** Prices of its models, in USD per million tokens. A flow's own `prices` come first. */
  readonly prices?: Pricing.Overrides | undefined
  /** How it caches the beginning of a prompt to a model; `undefined` for a model without such a cache. */
  readonly promptCache?: ((model: string) => PromptCacheRule | undefined) | undefined
  /** How its service tiers are requested. Default: it has none. */
  readonly serviceTiers?: ServiceTiers | undefined
  /** Whether a model of it answers decisions with probabilities. Default: not known. */
  readonly decides?: ((model: string) => boolean) | undefined
  /** What it leaves out of a request because its model refuses it, in sentences. */
  readonly leftOut?: ((request: ModelRequest) => ReadonlyArray<string>) | undefined
}

/** How the service tiers of a provider are requested. */
export interface ServiceTiers {
  /** The provider options that request a tier for a model; `undefined` when the model does not have it. */
  readonly options: (
    tier: string,
    model: string
  ) => { readonly [provider: string]: { readonly [option: string]: Schema.Json } } | undefined
  /** The tier that a request asks for, `"default"` for the ordinary one; `undefined` when it names none. */
  readonly of: (request: ModelRequest) => string | undefined
}

/** How a provider caches the beginning of a prompt, and charges it less when it occurs again. */
export interface PromptCacheRule extends PromptCacheMinimum.PromptCacheMinimum {}

/** The layer is the bottom of a stack. `ModelClient.provider` sets it. */
export const Provider = Context.Reference<Provider | undefined>("@pipe/core/LayerAnnotations/Provider", {
  defaultValue: () => undefined
})

/** A provider of a stack, with the name of its layer. */
export interface NamedProvider extends Provider {
  readonly name: string
}

/** The layers below, down to the next provider, answer for models with this prefix. `Router.providers` sets it. */
export const ModelPrefix = Context.Reference<string | undefined>("@pipe/core/LayerAnnotations/ModelPrefix", {
  defaultValue: () => undefined
})

/**
 * The identity of the simulation that answers. Its answers are not reused in another one.
 *
 * @internal
 */
export const Simulated = Context.Reference<string | undefined>("@pipe/core/LayerAnnotations/Simulated", {
  defaultValue: () => undefined
})

/**
 * What keeps rows apart: rows with other values share no prompt, no cached answer and no answer reused by meaning. For a
 * layer that acts by a tenant's key, limit or mask.
 */
export const Apart = Context.Reference<((values: RowValues.Values) => unknown) | undefined>(
  "@pipe/core/LayerAnnotations/Apart",
  { defaultValue: () => undefined }
)

/** Returns what keeps a row apart from others, as text; empty when nothing does. Reads the layers once. */
export const apartBy = (layers: ReadonlyArray<LayerInfo> = []): ((values: RowValues.Values) => string) => {
  const parts = layers.flatMap((layer) => get(layer, Apart) ?? [])
  return parts.length === 0 ? () => "" : (values) => RequestKey.canonical(parts.map((of) => of(values) ?? null))
}

const nothing = Context.empty()

/** What a layer says under a key. */
export const get = <A>({ annotations = nothing }: LayerInfo, key: Context.Reference<A>): A =>
  Context.get(annotations, key)

/** Tests whether a layer says something under a key. */
const says = <A>(layer: LayerInfo, key: Context.Reference<A>): boolean => {
  const said: unknown = get(layer, key)
  return said !== undefined && said !== false
}

/** Where the first layer is that says something under a key; -1 when there is none. */
export const indexOf = <A>(layers: ReadonlyArray<LayerInfo>, key: Context.Reference<A>): number =>
  layers.findIndex((layer) => says(layer, key))

/** What the first layer says that says anything under a key, from the top. */
export const find = <A>(layers: ReadonlyArray<LayerInfo> = [], key: Context.Reference<A>): A | undefined => {
  const layer = layers[indexOf(layers, key)]
  return layer === undefined ? undefined : get(layer, key)
}

/** Tests whether any layer says something under a key. */
export const has = <A>(layers: ReadonlyArray<LayerInfo> = [], key: Context.Reference<A>): boolean =>
  indexOf(layers, key) >= 0

/** The providers of a stack. */
export const providers = (layers: ReadonlyArray<LayerInfo> = []): ReadonlyArray<NamedProvider> =>
  layers.flatMap((layer) => {
    const provider = get(layer, Provider)
    return provider === undefined ? [] : [{ ...provider, name: layer.name }]
  })

/**
 * Where the layers of each of several providers begin.
 *
 * @internal
 */
export const headsOf = (layers: ReadonlyArray<LayerInfo>): ReadonlyArray<number> =>
  layers.flatMap((layer, at) => (says(layer, ModelPrefix) ? [at] : []))
