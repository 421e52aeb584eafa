/**
 * The contract of a provider's batch API: the same requests, answered within a day for half the price. The `Batch`
 * layer gathers requests and follows batches; a provider plugin translates.
 *
 * **Example** (the status that a provider reports)
 *
 * ```ts
 * import type { BatchProvider } from "@pipe/core"
 *
 * const statusOf = (batch: { id: string; status: string; done: number }): BatchProvider.BatchStatus => ({
 *   id: batch.id,
 *   state: batch.status === "done" ? "ended" : "running",
 *   answered: batch.done,
 *   failed: 0,
 *   files: batch.status === "done" ? [`${batch.id}/results`] : []
 * })
 *
 * statusOf({ id: "b-1", status: "done", done: 40 }).state // => "ended"
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"

/** The most that one batch may hold. */
export interface BatchLimits {
  /** Requests of the file. */
  readonly requests: number
  /** Bytes of the whole file, in UTF-8. */
  readonly bytes: number
  /** Texts of all embedding requests together. Default: no limit. */
  readonly inputs?: number
}

/** A request as a line of a batch. */
export interface BatchRequestLine {
  /** The API that answers it. All lines of a batch have the same. */
  readonly endpoint: string
  /** One line, without its line break. */
  readonly text: string
  /** The number of texts of an embedding request; 0 for a completion. */
  readonly inputs: number
}

/** The text around and between the lines of the file: for JSON lines `{ head: "", separator: "\n", tail: "\n" }`. */
export interface Frame {
  readonly head: string
  readonly separator: string
  readonly tail: string
}

/** A file that is ready to be sent. */
export interface Job {
  /** Our own name of the batch. The ids of its requests begin with it. */
  readonly name: string
  /** The path of the file. */
  readonly file: string
  readonly endpoint: string
  readonly model: string
  readonly requests: number
  /** When the batch was recorded, in milliseconds since 1970. The provider's batch cannot be older. */
  readonly at: number
  /** The provider's id of the uploaded file: set whenever the provider has `upload`. */
  readonly uploaded: string | undefined
  /** The provider's ids of batches known to be others. `find` does not return them. */
  readonly others?: ReadonlySet<string>
}

/** The status of a batch. */
export interface BatchStatus {
  /** The provider's id. */
  readonly id: string
  /**
   * `ended`: results can be read, also after it was cancelled or expired. `rejected`: nothing was done, and nothing
   * will be.
   */
  readonly state: "running" | "cancelling" | "ended" | "rejected"
  /** Requests that have an answer so far. */
  readonly answered: number
  /** Requests that have failed so far. */
  readonly failed: number
  /**
   * The answers that the provider counts; `undefined` when it does not say. Answers that it counts but does not return
   * are looked for, and their requests are never sent again without confirmation. Set it only when the batch has ended.
   */
  readonly counted?: number | undefined
  /** Whether it ended with all its requests done: not cancelled, not expired. */
  readonly isWhole?: boolean
  /** Whether it was cancelled. Requests without answers are then not sent again by those who wait for it. */
  readonly isCancelled?: boolean
  /** Why it was rejected: `quota` when the account has too many tokens enqueued. */
  readonly rejection?: {
    readonly kind: "quota" | "invalid"
    readonly message: string
    /** With `quota`: the tokens that may be enqueued, when the provider says so. */
    readonly limit?: number | undefined
    /** The lines of the file at fault, from 1. */
    readonly lines: ReadonlyArray<{ readonly line: number; readonly message: string }>
  }
  /** The result files, by the provider's names. */
  readonly files: ReadonlyArray<string>
}

/** The result of one request. */
export type BatchOutcome =
  | { readonly _tag: "Answered"; readonly response: ModelResponse.ModelResponse }
  | { readonly _tag: "Failed"; readonly error: AiError.AiError }
  /** Nothing was done or billed: it expired or was cancelled. */
  | { readonly _tag: "Unanswered"; readonly reason: string }
  /** The provider's answer cannot be read. It is billed, and not sent again automatically. */
  | { readonly _tag: "Unreadable"; readonly error: AiError.AiError }

/** A line of the results. */
export type BatchResult =
  | { readonly customId: string; readonly outcome: BatchOutcome }
  /** A line that matches no request: invalid JSON, or without an id. */
  | { readonly customId: undefined; readonly line: number }

/** The account that owns batches. */
export interface Account {
  /** Equal for the same key at the same address, without revealing the key. */
  readonly id: string
  /** Where the key came from, for display. */
  readonly label: string
}

/** A provider's batch API: how requests become lines, and how a batch is created, found, polled, read and cancelled. */
export interface BatchProvider {
  /** The provider's name in price tables. */
  readonly name: string
  readonly account: Account
  readonly limits: BatchLimits
  readonly frame: Frame
  /** Encodes a request as a line; `undefined` when the batch API does not accept its kind. A failure fails the row. */
  readonly encode: (
    customId: string,
    request: ModelRequest.ModelRequest
  ) => Effect.Effect<BatchRequestLine | undefined, AiError.AiError>
  /**
   * Uploads the file, when that is a separate step. Returns the provider's id of it. Without `findUpload` and
   * `removeUpload`, a file may be uploaded twice or stay at the provider; nothing is paid twice.
   */
  readonly upload?: (job: Job) => Effect.Effect<string, AiError.AiError>
  /** Deletes an uploaded file, once all its results are in the store. */
  readonly removeUpload?: (id: string) => Effect.Effect<void, AiError.AiError>
  /** Finds the file that an earlier process has uploaded. */
  readonly findUpload?: (job: Job) => Effect.Effect<string | undefined, AiError.AiError>
  readonly create: (job: Job) => Effect.Effect<BatchStatus, AiError.AiError>
  /**
   * Finds the batch that an earlier process has created for this job: `undefined` when there is none, `"undecided"`
   * while that is not certain.
   */
  readonly find: (job: Job) => Effect.Effect<BatchStatus | "undecided" | undefined, AiError.AiError>
  /** `undefined` when there is no such batch, or it belongs to another account. */
  readonly status: (id: string) => Effect.Effect<BatchStatus | undefined, AiError.AiError>
  readonly cancel: (id: string) => Effect.Effect<void, AiError.AiError>
  /**
   * Set by `ModelClient.provider` when it sends to a simulator by itself.
   *
   * @internal
   */
  readonly isRedirected?: boolean
  /** All lines of all result files, in any order. `model` is the requested one, the `requestedModel` of the answers. */
  readonly results: (status: BatchStatus, model: string) => Stream.Stream<BatchResult, AiError.AiError>
}

/** The batch APIs at the bottom of a stack. */
export interface Choice {
  /** The batch API of the provider that a request goes to; `undefined` when it has none. */
  readonly of: (request: ModelRequest.ModelRequest) => BatchProvider | undefined
  readonly all: ReadonlyArray<BatchProvider>
}

/** The same choice with other batch APIs in place of some. */
export const replace = (choice: Choice, by: (provider: BatchProvider) => BatchProvider): Choice => {
  const replaced = new Map(choice.all.map((provider) => [provider, by(provider)]))
  return {
    of: (request) => {
      const provider = choice.of(request)
      return provider && replaced.get(provider)
    },
    all: [...replaced.values()]
  }
}

/** The same batch API for every request. */
export const only = (provider: BatchProvider): Choice => ({ of: () => provider, all: [provider] })
