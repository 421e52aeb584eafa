/**
 * How long calls take at the rate limits of a stack: those of each model, and those of keys such as tenants.
 *
 * @internal
 */
import type * as CallContext from "../client/CallContext.ts"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import type { LayerInfo } from "../client/Service.ts"

/** Calls and tokens that count against one limit. */
export interface Load {
  readonly calls: number
  readonly tokens: number
}

/** The load of each key, for each limit by keys. */
export type Keyed = Map<LayerAnnotations.RateLimited, Map<string, Load>>

const limitsOf = (layers: ReadonlyArray<LayerInfo>): ReadonlyArray<LayerAnnotations.RateLimited> =>
  layers.flatMap((layer) => LayerAnnotations.get(layer, LayerAnnotations.RateLimited) ?? [])

/** Adds a call to the load of its keys. */
export const add = (
  keyed: Keyed,
  layers: ReadonlyArray<LayerInfo>,
  call: CallContext.CallContext,
  { calls, tokens }: Load
): void => {
  for (const limit of limitsOf(layers)) {
    if (limit.by === undefined) continue
    const loads = keyed.get(limit) ?? new Map<string, Load>()
    keyed.set(limit, loads)
    const key = limit.by(call)
    const load = loads.get(key) ?? { calls: 0, tokens: 0 }
    loads.set(key, { calls: load.calls + calls, tokens: load.tokens + tokens })
  }
}

/** The shortest duration in milliseconds; `undefined` without limits. `models` are the loads of the models. */
export const shortest = (
  layers: ReadonlyArray<LayerInfo>,
  models: ReadonlyArray<Load>,
  keyed: Keyed
): number | undefined => {
  const limits = limitsOf(layers).filter(
    ({ requestsPerMinute, tokensPerMinute }) => requestsPerMinute !== undefined || tokensPerMinute !== undefined
  )
  if (limits.length === 0) return undefined
  // The first minute's allowance is available immediately.
  const over = (amount: number, limit: number | undefined) =>
    limit === undefined ? 0 : Math.max(0, amount / limit - 1)
  const minutes = limits.flatMap((limit) =>
    (limit.by === undefined ? models : [...(keyed.get(limit)?.values() ?? [])]).map(({ calls, tokens }) =>
      Math.max(over(calls, limit.requestsPerMinute), over(tokens, limit.tokensPerMinute))
    )
  )
  return Math.round(Math.max(0, ...minutes) * 60_000)
}
