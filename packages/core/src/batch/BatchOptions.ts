/**
 * The options of batches.
 *
 * @internal
 */
import type * as Duration from "effect/Duration"

/** The intervals between polls. */
export interface Polling {
  /** Default: 1 second. */
  readonly first?: Duration.Input
  /** Default: 1 minute. */
  readonly most?: Duration.Input
}

/** The options of `Batch.layer`. */
export interface Options {
  /** Uses batches for these steps only. Default: all. */
  readonly steps?: ReadonlyArray<string>
  /**
   * Counted from the start of the run. What has no result by then is cancelled and sent as single calls. Default: none.
   */
  readonly deadline?: Duration.Input
  /** How many batches a request is put in before it is sent as a single call. Default: 3. */
  readonly tries?: number
  /** The most requests in a batch. Default: the provider's limit. */
  readonly maxRequests?: number
  /** The most bytes in a batch. Default: the provider's limit, less 2 %. */
  readonly maxBytes?: number
  /** The tokens of one model that the account may have enqueued. Default: learned when the provider refuses. */
  readonly enqueuedTokens?: number
  /** How often batches are polled. Default: after 1 second, then at growing intervals up to a minute. */
  readonly polling?: Polling
  /** Attempts of a batch API call (an upload, a poll) while the provider is failing. Default: 8. */
  readonly attempts?: number
}
