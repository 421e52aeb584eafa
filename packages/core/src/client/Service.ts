/**
 * A client of models, as the layers of a stack see it: what it sends, and what its layers declare.
 *
 * @internal
 */
import type * as BatchProvider from "../batch/BatchProvider.ts"
import type { ModelRequest } from "../model/ModelRequest.ts"
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
  /** The function that makes up the layer. The constructors set it. */
  readonly code?: Function
  /**
   * Set on the bottom of the stack. The values that its code captures do not count; `answers` declares those that do.
   */
  readonly isProvider?: true
  /**
   * The address it sends to, when it is not the provider's own: another server may answer differently for the same
   * model.
   */
  readonly endpoint?: string | undefined
  /** Set when a simulator replaces it. */
  readonly isSimulated?: true
  /**
   * Set when `resolve` shows everything the layer does to a request and answers pass unchanged (a router). A cache
   * above can then key by it. `mapRequest` sets it.
   */
  readonly isShown?: true
  /** The rate limits it enforces, per minute. */
  readonly limits?: { readonly requestsPerMinute?: number | undefined; readonly tokensPerMinute?: number | undefined }
  /** How long it reuses an answer, in milliseconds. */
  readonly timeToLive?: number
  /** The namespace of the cache it reads. */
  readonly namespace?: string
  /** The model that would be called without it, when it chooses one. */
  readonly baseline?: string
  /**
   * Set when the layer only decides when calls are sent. Requests that are not sent as single calls, such as batches,
   * bypass it.
   */
  readonly paces?: true
  /** The models it calls one after the other, the strong one last. See `Cascade`. */
  readonly cascade?: Cascade | undefined
  /** The service tier it requests, and the steps it applies to, when not all. */
  readonly service?: { readonly tier: string; readonly steps?: ReadonlyArray<string> | undefined } | undefined
}

/** Describes a cascade for plans and for tuning. */
export interface Cascade {
  /** The name used in place of a model's name. */
  readonly name: string
  readonly models: ReadonlyArray<string>
  /** The part of each judge that changes its verdict. */
  readonly judges: ReadonlyArray<{ readonly name: string; readonly key: string }>
  /** The routing file; `undefined` for a cascade with manual rules. */
  readonly file: string | undefined
  /** The content of the file; `undefined` when it does not exist. */
  readonly routing: unknown
  /** The requests it makes for a request of a step, in order, the strong model last. */
  readonly requests: (request: ModelRequest, step: string) => ReadonlyArray<CascadeRequest>
}

/** One of the requests that a cascade makes for a request. */
export interface CascadeRequest {
  readonly request: ModelRequest
  /** The share of the step's requests it is made for. */
  readonly share: number
  /** Only a run shows how many requests earlier models leave over, so all are counted. */
  readonly isMost: boolean
}

/** A client of models: what a layer wraps. */
export interface Service {
  readonly send: Send
  readonly resolve: Resolve
  /** The layers from here down. */
  readonly layers?: ReadonlyArray<LayerInfo>
  /** The batch APIs of the providers at the bottom, if any. */
  readonly batch?: BatchProvider.Choice
  /** Set when only layers that pace calls are above the provider. */
  readonly isEdge?: true
}
