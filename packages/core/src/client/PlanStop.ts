/**
 * What a request passes from the top of a stack to the provider, as far as a plan needs to know: caches, layers that send requests of
 * their own, and cascades.
 *
 * @internal
 */
import type * as Effect from "effect/Effect"
import type { ModelRequest } from "../model/ModelRequest.ts"
import type { ModelResponse } from "../model/ModelResponse.ts"
import type { CallContext } from "./CallContext.ts"
import type { Resolve } from "./Send.ts"

/** The layer answers equal requests without a call. */
export interface Cached {
  /** How long it reuses an answer, in milliseconds. Default: unlimited. */
  readonly timeToLive?: number
  /**
   * The kept answer to a request as it arrives at the layer, for plans: nothing is sent or written. Without it, a plan
   * counts every call.
   */
  readonly peek?: (request: ModelRequest, call: CallContext) => Effect.Effect<ModelResponse | undefined>
}

/** A request that a layer makes of its own (`ModelClient.aside`). */
export interface Asked {
  readonly purpose: string
  readonly request: ModelRequest
  /** The share of the requests for which it is made. Default: 1. */
  readonly share?: number
}

/** One of the requests that a cascade makes for a request. */
export interface CascadeRequest {
  readonly request: ModelRequest
  /** The share of the step's requests it is made for. */
  readonly share: number
  /** Only a run shows how many requests earlier models leave over, so all are counted. */
  readonly isMost: boolean
  /** Why the layer makes it itself: the question of a judge, for example. */
  readonly purpose?: string
}

/** The layers below a stop. */
export interface Below {
  readonly resolve: Resolve
  /** The stops of a request, from the top. */
  readonly stops?: StopsOf
}

export type StopsOf = (request: ModelRequest, call: CallContext) => ReadonlyArray<PlanStop>

export type PlanStop =
  | {
      readonly _tag: "Cache"
      readonly cached: Cached
      /** The request as it arrives at the cache. */
      readonly request: ModelRequest
      /** Equal for requests that the cache answers alike. */
      readonly key: string
    }
  | { readonly _tag: "Asides"; readonly asked: ReadonlyArray<Asked>; readonly next: Below }
  /** The requests take the place of the one that arrived; the last supplies the answer. */
  | { readonly _tag: "Cascade"; readonly requests: ReadonlyArray<CascadeRequest>; readonly next: Below }
