/**
 * A client of models, as the layers of a stack see it: what it sends, and what its layers declare.
 *
 * @internal
 */
import type * as Context from "effect/Context"
import type * as BatchProvider from "../batch/BatchProvider.ts"
import type { StopsOf } from "./PlanStop.ts"
import type { Resolve, Send } from "./Send.ts"

/** What a layer declares about itself, for readers of the stack such as plans and result keys. */
export interface LayerInfo {
  readonly name: string
  /**
   * The part of the layer that changes answers, as JSON: a result made with another value is not reused. It adds to the
   * code of an author's own layer and everything that code captures. `false` declares that the layer does not change
   * answers (a logger, for example), so nothing of it counts.
   */
  readonly answers?: unknown
  /** The functions that make up the layer. The constructors set them. */
  readonly code?: Function | ReadonlyArray<Function>
  /** What the layer does, by the keys of `LayerAnnotations`. */
  readonly annotations?: Context.Context<never>
}

/** A client of models: what a layer wraps. */
export interface Service {
  readonly send: Send
  readonly resolve: Resolve
  /** The layers from here down. */
  readonly layers?: ReadonlyArray<LayerInfo>
  /** What a request passes, from the top: for plans. */
  readonly stops?: StopsOf
  /** The batch APIs of the providers at the bottom, if any. */
  readonly batch?: BatchProvider.Choice
  /** Set when only layers that pace calls are above the provider. */
  readonly isEdge?: true
}
