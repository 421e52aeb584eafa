/**
 * The model and settings of all calls below a point: of a flow, a step, or any effect.
 *
 * Calls of `effect/ai` have no settings, because they belong to the provider. Here they are one reference: a flow and a
 * step set it with `model` and `settings`, and code can set it around any effect.
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
  /** The model to call. */
  readonly model?: string
  /** Options for one provider, as its API names them: `{ openai: { service_tier: "flex" } }`. */
  readonly providerOptions?: { readonly [provider: string]: Schema.Json }
  /** The number of the sample, from 0. The runner sets it for steps with `samples`. */
  readonly sample?: number
  /**
   * What happens to an answer that is truncated or empty. `"fail"` (default): the call fails and nothing is kept.
   * `"keep"`: the answer is accepted.
   */
  readonly truncated?: "fail" | "keep"
  /** The number of dimensions of embeddings, for models that can shorten them. */
  readonly dimensions?: number
}

/** The settings of the current fiber. */
export const ModelSettings = Context.Reference<ModelSettings>("@pipe/core/ModelSettings", {
  defaultValue: (): ModelSettings => ({})
})

/** Merges `inner` over `outer`; provider options are merged per provider. */
export const merge = (outer: ModelSettings, inner: ModelSettings): ModelSettings => ({
  ...outer,
  ...inner,
  ...(outer.providerOptions !== undefined && inner.providerOptions !== undefined
    ? { providerOptions: { ...outer.providerOptions, ...inner.providerOptions } }
    : undefined)
})

/** Runs an effect with settings merged over the current ones. */
export const provide =
  (settings: ModelSettings) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.updateService(self, ModelSettings, (outer) => merge(outer, settings))
