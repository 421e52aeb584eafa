/**
 * What layers tell whoever watches a run: waits and limits. The runner listens; by default nobody does.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as RateLimitHeaders from "../resilience/RateLimitHeaders.ts"

export type LayerEvent = {
  readonly _tag: "Wait"
  /** Why the call waits. */
  readonly reason: "rate limit" | "retry"
  /** The failure after which it is sent again. */
  readonly failure?: string
  readonly model: string
  readonly milliseconds: number
  /** Milliseconds since 1970. */
  readonly until: number
}

/** Logs warnings, each once; what differs each time has a key. */
export const once = (): ((text: string, key?: string) => Effect.Effect<void>) => {
  const said = new Set<string>()
  return (text, key = text) =>
    Effect.suspend(() => {
      if (said.has(key)) return Effect.void
      said.add(key)
      return Effect.logWarning(text)
    })
}

export const LayerEvent = Context.Reference<(notice: LayerEvent) => void>("@pipe/core/LayerEvent", {
  defaultValue: () => () => {}
})

/**
 * Receives the limits that a provider reports with an answer. `RateLimit` listens to learn; where nobody does, providers
 * do not read the headers.
 */
export const Limits = Context.Reference<((observed: RateLimitHeaders.Observed) => void) | undefined>(
  "@pipe/core/LayerEvent/Limits",
  { defaultValue: () => undefined }
)
