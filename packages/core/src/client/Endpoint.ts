/**
 * Overrides the endpoints of provider plugins: a gateway, a recording proxy, the simulator. An override holds for a
 * whole run and wins over options and environment, so every call uses it.
 *
 * **Example** (all calls of a run go to a gateway)
 *
 * ```ts
 * import { Endpoint } from "@pipe/core"
 * import { Layer } from "effect"
 *
 * export const gateway = Layer.succeed(Endpoint.Overrides)({
 *   openai: { baseUrl: "https://gateway.example.com/v1", apiKey: "none" }
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"

/** The address that replaces the one of a provider. */
export interface Endpoint {
  readonly baseUrl: string
  readonly apiKey: string
}

/** By wire format: `"openai"` or `"anthropic"`. Default: none. */
export const Overrides = Context.Reference<{ readonly [wire: string]: Endpoint }>("@pipe/core/Endpoint/Overrides", {
  defaultValue: () => ({})
})
