/**
 * What the simulator can be told, and what it tells.
 *
 * @internal
 */
import type * as Simulation from "@pipe/core/internal/Simulation"
import type * as Duration from "effect/Duration"

/** Shares (0 to 1) of the requests that fail in some way; a request that is sent again may succeed. */
export interface Faults {
  /** 429 with `retry-after-ms`. */
  readonly rateLimit?: number
  /** 500. */
  readonly serverError?: number
  /** 200 whose JSON is cut. */
  readonly brokenJson?: number
  /** The connection ends without an answer. */
  readonly drop?: number
  /** An answer that does not fit the schema that was asked for. It is billed. */
  readonly wrongSchema?: number
}

/** How prompts with several texts go wrong. Shares are from 0 to 1, of the texts where nothing else is said. */
export interface PackFaults {
  /** Texts without an answer. */
  readonly missing?: number
  /** Texts with two answers. */
  readonly doubled?: number
  /** Texts that have the answer of the next one. */
  readonly wrong?: number
  /** Prompts whose answer is none. */
  readonly garbled?: number
}

export interface Options {
  /** Answers and faults depend on it alone. Default: `"pipe"`. */
  readonly seed?: string
  /** Time before an answer. Default: 0. */
  readonly latency?: Duration.Input
  readonly faults?: Faults
  readonly batches?: BatchOptions
  /** Prompts with several texts (`Pack`) are answered text by text. Default: without faults. */
  readonly packs?: PackFaults
  /** Limits that are held and reported in the headers. Default: none. */
  readonly requestsPerMinute?: number
  readonly tokensPerMinute?: number
  /** Answers of one's own; where it returns `undefined` the simulator makes one. */
  readonly answer?: (asked: { readonly model: string; readonly prompt: string }) => string | undefined
  /** How sure of its answer a model is, from 0 to 1, where log-probabilities are asked for. Default: by chance, from 0.5 on. */
  readonly confidence?: (answered: {
    readonly model: string
    readonly prompt: string
    readonly text: string
  }) => number | undefined
  /** Default: any free port. */
  readonly port?: number
}

/** How batches go. Shares are from 0 to 1, of the requests of a batch. */
export interface BatchOptions {
  /** Time from creation to the end. Default: 1 second. */
  readonly latency?: Duration.Input
  /** Requests that are refused (400). */
  readonly errors?: number
  /** Requests that fail for now (500); asked again they may succeed. */
  readonly serverErrors?: number
  /** Requests that are not answered when the batch expires. */
  readonly expired?: number
  /** Requests that have two results. */
  readonly duplicates?: number
  /** Requests that have no result at all. */
  readonly missing?: number
  /** Results in the order of the requests. Default: shuffled. */
  readonly ordered?: boolean
  /** The first batches, so many, fail their validation: their second request is said to be wrong. */
  readonly invalid?: number
  /** Tokens that may wait, of all batches together; what is more is rejected. */
  readonly enqueuedTokens?: number
  /** So many creations are made, and the connection ends without an answer. */
  readonly lostCreations?: number
  /** So many uploads fail (500). */
  readonly failedUploads?: number
  /** So many downloads end in their middle. */
  readonly cutDownloads?: number
  /** Told how far a batch has come, before the client is. */
  readonly onStage?: (stage: BatchStage) => void
}

export type BatchStage = "uploading" | "uploaded" | "creating" | "created" | "polled" | "downloading" | "downloaded"

/** A batch that was created. */
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

/** What was asked of one model and would have been billed. */
export interface Bill {
  readonly model: string
  /** `undefined`: the ordinary one. */
  readonly serviceTier?: "batch"
  readonly answers: number
  /** Input tokens, those read from the prompt cache or written to it included. */
  readonly input: number
  readonly cacheRead: number
  readonly cacheWrite: number
  /** Output tokens, reasoning included. */
  readonly output: number
  readonly reasoning: number
}

export interface Simulator {
  readonly url: string
  /** Base URL for OpenAI clients. */
  readonly openAiUrl: string
  /** Base URL for Anthropic clients. */
  readonly anthropicUrl: string
  /** Gives a request the number under which the simulator knows its row and the schema of its answer. */
  readonly note: Simulation.Simulation["note"]
  /** Requests that came, faults included. */
  readonly requests: () => number
  /** By model and class of service. */
  readonly bill: () => ReadonlyArray<Bill>
  /** All batches that were created, in their order. */
  readonly batches: () => ReadonlyArray<CreatedBatch>
  /** Ends the batches that run, whatever their latency: all their requests are done. */
  readonly endBatches: () => void
}
