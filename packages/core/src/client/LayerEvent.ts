/**
 * Events that layers and loops report to the runner: waits, and how often a loop called. Without a runner they are ignored.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

/** A call waits: for a rate limit, before it is retried, or for what a layer says in its own words. */
export interface Wait {
  readonly _tag: "Wait"
  /** Why the call waits: `"rate limit"`, `"retry"`, or words of the layer, such as `"the quiet hours"`. */
  readonly reason: "rate limit" | "retry" | (string & {})
  /** Whose limit it is, when it is not the provider's: a tenant, a key. */
  readonly of?: string
  /** The failure after which the call is retried. */
  readonly failure?: string
  readonly model: string
  /** The length of the wait. */
  readonly milliseconds: number
  /** Milliseconds since 1970. */
  readonly until: number
}

/** A loop of a row has ended. See `Agent`. */
export interface Loop {
  readonly _tag: "Loop"
  readonly step: string
  /** The calls of the model. */
  readonly calls: number
  /** The most calls that it may make. */
  readonly most: number
  /** Whether it ended by itself. */
  readonly isFinished: boolean
}

/** What is reported. */
export type LayerEvent = Wait | Loop

/** Logs each warning once. A warning whose text varies has a key. */
export const once = (): ((text: string, key?: string) => Effect.Effect<void>) => {
  const said = new Set<string>()
  return (text, key = text) =>
    Effect.suspend(() => {
      if (said.has(key)) return Effect.void
      said.add(key)
      return Effect.logWarning(text)
    })
}
