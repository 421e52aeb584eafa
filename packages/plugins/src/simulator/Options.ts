/**
 * The options of the simulator, and what it returns.
 *
 * @internal
 */
import type * as Simulation from "@pipe/core/internal/Simulation"
import type * as Duration from "effect/Duration"

/** The shares (0 to 1) of requests that fail in some way. A retried request may succeed. */
export interface Faults {
  /** 429 with `retry-after-ms`. */
  readonly rateLimit?: number
  /** 500. */
  readonly serverError?: number
  /** 200 with truncated JSON. */
  readonly brokenJson?: number
  /** The connection closes without an answer. */
  readonly drop?: number
  /** An answer that does not fit the requested schema. It is billed. */
  readonly wrongSchema?: number
  /** Requests for the service tier `flex` that it has no room for: 429, and nothing is billed. */
  readonly flexUnavailable?: number
}

/** How prompts with several texts go wrong. Shares are from 0 to 1, of the texts unless stated otherwise. */
export interface PackFaults {
  /** Texts without an answer. */
  readonly missing?: number
  /** Texts with two answers. */
  readonly doubled?: number
  /** Texts with the answer of the next one. */
  readonly wrong?: number
  /** Prompts with an unreadable answer. */
  readonly garbled?: number
}

export interface Options {
  /** The seed of answers and faults. Default: `"pipe"`. */
  readonly seed?: string
  /** The time before an answer. Default: 0. */
  readonly latency?: Duration.Input
  readonly faults?: Faults
  readonly batches?: BatchOptions
  /** Faults of prompts with several texts (`Pack`), which are otherwise answered text by text. Default: none. */
  readonly packs?: PackFaults
  /** Limits that are enforced and reported in headers. Default: none. */
  readonly requestsPerMinute?: number
  readonly tokensPerMinute?: number
  /** Your own answers. When it returns `undefined`, the simulator generates one. */
  readonly answer?: (asked: { readonly model: string; readonly prompt: string }) => string | undefined
  /**
   * The confidence of a model in its answer, from 0 to 1, when log-probabilities are requested. Default: random, from
   * 0.5.
   */
  readonly confidence?: (answered: {
    readonly model: string
    readonly prompt: string
    readonly text: string
  }) => number | undefined
  /** Default: any free port. */
  readonly port?: number
}

/** The behaviour of batches. Shares are from 0 to 1, of the requests of a batch. */
export interface BatchOptions {
  /** The time from creation to the end; by a function of its number, from 1, where batches differ. Default: 1 second. */
  readonly latency?: Duration.Input | ((batch: number) => Duration.Input)
  /** Requests that are refused (400). */
  readonly errors?: number
  /** Requests that fail temporarily (500). A retry may succeed. */
  readonly serverErrors?: number
  /** Requests without an answer when the batch expires. */
  readonly expired?: number
  /** Requests with two results. */
  readonly duplicates?: number
  /** Requests without any result. */
  readonly missing?: number
  /** Results in the order of the requests. Default: shuffled. */
  readonly ordered?: boolean
  /** The number of first batches that fail validation because of their second request. */
  readonly invalid?: number
  /** Tokens that may be enqueued over all batches. Beyond them a batch is rejected. */
  readonly enqueuedTokens?: number
  /** The number of creations that succeed while the connection closes without an answer. */
  readonly lostCreations?: number
  /** The number of uploads that fail (500). */
  readonly failedUploads?: number
  /** The number of downloads that end midway. */
  readonly cutDownloads?: number
  /** Called with the progress of a batch, before the client learns of it. */
  readonly onStage?: (stage: BatchStage) => void
}

export type BatchStage = "uploading" | "uploaded" | "creating" | "created" | "polled" | "downloading" | "downloaded"

/** A created batch. */
export interface CreatedBatch {
  readonly id: string
  readonly wire: "openai" | "anthropic"
  readonly endpoint: string
  readonly requests: number
  readonly bytes: number
  readonly customIds: ReadonlyArray<string>
  readonly metadata: { readonly [name: string]: string }
  readonly status: string
}

/** The requests of a model, and what they would have cost. */
export interface Bill {
  readonly model: string
  /** The service tier, or `decision`; `undefined` for the standard one. */
  readonly serviceTier?: string
  readonly answers: number
  /** Input tokens, including those read from or written to the prompt cache. */
  readonly input: number
  readonly cacheRead: number
  readonly cacheWrite: number
  /** Output tokens, including reasoning. */
  readonly output: number
  readonly reasoning: number
}

export interface Simulator {
  readonly url: string
  /** The base URL for OpenAI clients. */
  readonly openAiUrl: string
  /** The base URL for Anthropic clients. */
  readonly anthropicUrl: string
  /** Adds a number to a request under which the simulator finds its row and the schema of its answer. */
  readonly note: Simulation.Simulation["note"]
  /** The number of requests received, including failed ones. */
  readonly requests: () => number
  /** By model and service tier. */
  readonly bill: () => ReadonlyArray<Bill>
  /** All batches, in the order of their creation. */
  readonly batches: () => ReadonlyArray<CreatedBatch>
  /** Ends the running batches, whatever their latency: all their requests are done. */
  readonly endBatches: () => void
}
