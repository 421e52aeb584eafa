/**
 * The providers of a stack: which one answers for a model, and what it says about it.
 *
 * @internal
 */
import type * as ModelRequest from "../model/ModelRequest.ts"
import * as PromptCacheMinimum from "../price/PromptCacheMinimum.ts"
import * as LayerAnnotations from "./LayerAnnotations.ts"
import type { LayerInfo } from "./Service.ts"

/** The provider that answers for a model: the last one, or the one whose prefix matches the model's name. */
export const providerOf = (layers: ReadonlyArray<LayerInfo> = [], model: string): string =>
  providerIn(layers, model)?.name ?? ""

/** The address that answers for a model; `""` for the provider's own. */
export const endpointOf = (layers: ReadonlyArray<LayerInfo> = [], model: string): string => {
  const provider = providerIn(layers, model)
  return (provider && LayerAnnotations.get(provider, LayerAnnotations.Provider)?.endpoint) ?? ""
}

/** How the provider that answers for a model caches the beginning of a prompt; `undefined` when no cache is known. */
export const promptCacheOf = (
  layers: ReadonlyArray<LayerInfo> = [],
  model: string
): LayerAnnotations.PromptCacheRule | undefined => {
  const provider = providerIn(layers, model)
  const own = provider && LayerAnnotations.get(provider, LayerAnnotations.Provider)?.promptCache
  return own === undefined ? PromptCacheMinimum.ruleOf(provider?.name ?? "", model) : own(model)
}

const tiersOf = (layers: ReadonlyArray<LayerInfo>, model: string): LayerAnnotations.ServiceTiers | undefined => {
  const provider = providerIn(layers, model)
  return provider && LayerAnnotations.get(provider, LayerAnnotations.Provider)?.serviceTiers
}

/** The provider options that request a service tier for a model; `undefined` when its provider does not have it. */
export const inTier = (
  layers: ReadonlyArray<LayerInfo> = [],
  model: string,
  tier: string
): ReturnType<LayerAnnotations.ServiceTiers["options"]> => tiersOf(layers, model)?.options(tier, model)

/** The service tier that a request asks for, as its provider reads it; `undefined` when it names none. */
export const tierAsked = (
  layers: ReadonlyArray<LayerInfo> = [],
  request: ModelRequest.ModelRequest
): string | undefined => tiersOf(layers, request.model ?? "")?.of(request)

/** Whether a model answers decisions with probabilities; `undefined` when that is not known. */
export const decides = (layers: ReadonlyArray<LayerInfo> = [], model: string): boolean | undefined => {
  const provider = providerIn(layers, model)
  return provider && LayerAnnotations.get(provider, LayerAnnotations.Provider)?.decides?.(model)
}

/** What the provider of a request's model leaves out of it, in sentences. */
export const leftOut = (
  layers: ReadonlyArray<LayerInfo> = [],
  request: ModelRequest.ModelRequest
): ReadonlyArray<string> => {
  const provider = providerIn(layers, request.model ?? "")
  return (provider && LayerAnnotations.get(provider, LayerAnnotations.Provider)?.leftOut?.(request)) ?? []
}

/** The providers of a stack with several, each with the beginning of its models' names. */
interface Providers {
  readonly prefixes: ReadonlyArray<readonly [prefix: string, provider: LayerInfo | undefined]>
  readonly last: LayerInfo | undefined
}

const known = new WeakMap<ReadonlyArray<LayerInfo>, Providers>()

/** Calls ask for their provider several times: the layers of a stack are read once. */
const providersOf = (layers: ReadonlyArray<LayerInfo>): Providers => {
  let made = known.get(layers)
  if (made === undefined) {
    const heads = LayerAnnotations.headsOf(layers)
    made = {
      prefixes: heads.map((at, index) => [
        LayerAnnotations.get(layers[at]!, LayerAnnotations.ModelPrefix)!,
        layers[(heads[index + 1] ?? layers.length) - 1]
      ]),
      last: layers.at(-1)
    }
    known.set(layers, made)
  }
  return made
}

const providerIn = (layers: ReadonlyArray<LayerInfo>, model: string): LayerInfo | undefined => {
  const { last, prefixes } = providersOf(layers)
  const own = prefixes.find(([prefix]) => model.startsWith(prefix))
  return own === undefined ? last : own[1]
}

/** Tests whether a stack, and the stack of each of several providers, ends in a provider. */
export const hasProviders = (layers: ReadonlyArray<LayerInfo> = []): boolean =>
  [...LayerAnnotations.headsOf(layers).slice(1), layers.length].every((end) => {
    const last = layers[end - 1]
    return last !== undefined && LayerAnnotations.get(last, LayerAnnotations.Provider) !== undefined
  })
