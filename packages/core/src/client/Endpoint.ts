/**
 * Other endpoints for provider plugins than those that a flow names: a gateway, a recording proxy, the simulator. They
 * hold for a whole run and stand above options and environment, so that no call slips past.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"

export interface Endpoint {
  readonly baseUrl: string
  readonly apiKey: string
}

/** Whether nobody will be asked: then a provider does without a key. A plan sets it. */
export const Unasked = Context.Reference<boolean>("@pipe/core/Endpoint/Unasked", { defaultValue: () => false })

/** By wire format: `"openai"` or `"anthropic"`. Default: none. */
export const Overrides = Context.Reference<{ readonly [wire: string]: Endpoint }>("@pipe/core/Endpoint/Overrides", {
  defaultValue: () => ({})
})
