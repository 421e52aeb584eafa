/**
 * Model and settings for all calls below a point: of a flow, of a step, or of any effect.
 *
 * `effect/ai` has no settings in its calls, since they are the business of the provider. Here they are one reference: a
 * flow and a step set it by their `model` and `settings` options, and code can do so around any effect.
 *
 * **Example** (one call of a step with its own temperature)
 *
 * ```ts
 * import { ModelSettings } from "@pipe/core"
 * import { LanguageModel } from "effect/ai"
 *
 * export const titles = LanguageModel.generateText({ prompt: "Three titles for a book about bees" }).pipe(
 *   ModelSettings.provide({ model: "gpt-4o", temperature: 1 })
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as ModelRequest from "../model/ModelRequest.ts"

export interface ModelSettings extends ModelRequest.Settings {
  /** The model to ask. */
  readonly model?: string
  /** Options for one provider only, as its API names them: `{ openai: { service_tier: "flex" } }`. */
  readonly providerOptions?: { readonly [provider: string]: Schema.Json }
  /** Number of the sample, from 0: set by the runner for steps with `samples`. */
  readonly sample?: number
  /**
   * What becomes of an answer that is not whole: cut at its output limit, or empty. `"fail"` (the default): the call fails, and nothing
   * of it is kept; `"keep"`: it counts as any other.
   */
  readonly truncated?: "fail" | "keep"
  /** Dimensions of embeddings, for models that can shorten them. */
  readonly dimensions?: number
}

/** The settings of the present fiber. */
export const ModelSettings = Context.Reference<ModelSettings>("@pipe/core/ModelSettings", {
  defaultValue: (): ModelSettings => ({})
})

/** Those of `inner` over those of `outer`; provider options are merged provider by provider. */
export const merge = (outer: ModelSettings, inner: ModelSettings): ModelSettings => ({
  ...outer,
  ...inner,
  ...(outer.providerOptions !== undefined && inner.providerOptions !== undefined
    ? { providerOptions: { ...outer.providerOptions, ...inner.providerOptions } }
    : undefined)
})

/** Runs an effect with settings over those around it. */
export const provide =
  (settings: ModelSettings) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.updateService(self, ModelSettings, (outer) => merge(outer, settings))
