/**
 * What a provider's batch API can do, in the terms that all of them share: the same requests, answered within a day for
 * half of the price. The `Batch` layer gathers requests and follows batches; a provider plugin translates.
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
  readonly requests: number
  /** Of the whole file, in UTF-8. */
  readonly bytes: number
  /** Texts of all embedding requests together. */
  readonly inputs?: number
}

/** A request as a line of a batch. */
export interface BatchRequestLine {
  /** The API that answers it; a batch holds lines of one. */
  readonly endpoint: string
  /** One line, without its end. */
  readonly text: string
  /** Texts of an embedding request; 0 for a completion. */
  readonly inputs: number
}

/** What stands around and between the lines of the file. */
export interface Frame {
  readonly head: string
  readonly separator: string
  readonly tail: string
}

/** A file that is ready to be sent. */
export interface Job {
  /** Our own name of the batch; the ids of its requests begin with it. */
  readonly name: string
  readonly file: string
  readonly endpoint: string
  readonly model: string
  readonly requests: number
  /** When the intent was written, in milliseconds since 1970: the batch cannot be older. */
  readonly at: number
  /** The provider's id of the uploaded file. */
  readonly uploaded: string | undefined
  /** The provider's ids of batches that are known to be others. */
  readonly others?: ReadonlySet<string>
}

/** How a batch stands. */
export interface BatchStatus {
  /** The provider's id. */
  readonly id: string
  /**
   * `ended`: results may be read, also where it was cancelled or has expired. `rejected`: nothing was or will be done.
   */
  readonly state: "running" | "cancelling" | "ended" | "rejected"
  readonly answered: number
  readonly failed: number
  /**
   * Answers that the provider counts; `undefined`: it does not say. What it counts and does not give is looked for, and never sent
   * again without a person's word.
   */
  readonly counted?: number | undefined
  /** Whether it ended with all its requests done: not cancelled, not expired. */
  readonly isWhole?: boolean
  /** Whether somebody cancelled it: what it has not answered is not sent again by those who wait for it. */
  readonly isCancelled?: boolean
  /** Why it was rejected: `quota` for the tokens that the account may have waiting. */
  readonly rejection?: {
    readonly kind: "quota" | "invalid"
    readonly message: string
    /** With `quota`: the tokens that may wait, where the provider says so. */
    readonly limit?: number | undefined
    /** Lines of the file that are at fault, from 1. */
    readonly lines: ReadonlyArray<{ readonly line: number; readonly message: string }>
  }
  /** Files that hold the results, in the provider's names. */
  readonly files: ReadonlyArray<string>
}

/** What became of one request. */
export type BatchOutcome =
  | { readonly _tag: "Answered"; readonly response: ModelResponse.ModelResponse }
  | { readonly _tag: "Failed"; readonly error: AiError.AiError }
  /** Nothing was done, and nothing is billed: it expired or was cancelled. */
  | { readonly _tag: "Unanswered"; readonly reason: string }
  /** The provider has answered, and the answer cannot be understood: it is billed, and not sent again by itself. */
  | { readonly _tag: "Unreadable"; readonly error: AiError.AiError }

/** A line of the results. */
export type BatchResult =
  | { readonly customId: string; readonly outcome: BatchOutcome }
  /** One that belongs to no request: no JSON, without an id. */
  | { readonly customId: undefined; readonly line: number }

/** Whose batches these are. */
export interface Account {
  /** The same for the same key at the same address, and says nothing of the key. */
  readonly id: string
  /** For people: where the key came from. */
  readonly label: string
}

export interface BatchProvider {
  /** As price tables name it. */
  readonly name: string
  readonly account: Account
  readonly limits: BatchLimits
  readonly frame: Frame
  /** A request as a line; `undefined`: the batch API does not take its kind. */
  readonly encode: (
    customId: string,
    request: ModelRequest.ModelRequest
  ) => Effect.Effect<BatchRequestLine | undefined, AiError.AiError>
  /** Sends the file, where that is a step of its own: the provider's id of it. */
  readonly upload?: (job: Job) => Effect.Effect<string, AiError.AiError>
  /** Removes a file that was sent, when all that its batch gave is in the store. */
  readonly removeUpload?: (id: string) => Effect.Effect<void, AiError.AiError>
  /** The file that an earlier process has sent. */
  readonly findUpload?: (job: Job) => Effect.Effect<string | undefined, AiError.AiError>
  readonly create: (job: Job) => Effect.Effect<BatchStatus, AiError.AiError>
  /**
   * The batch that an earlier process has created for this job: `undefined` when there is none, `"undecided"` while that
   * cannot be said yet.
   */
  readonly find: (job: Job) => Effect.Effect<BatchStatus | "undecided" | undefined, AiError.AiError>
  /** `undefined`: there is no such batch, or it belongs to another account. */
  readonly status: (id: string) => Effect.Effect<BatchStatus | undefined, AiError.AiError>
  readonly cancel: (id: string) => Effect.Effect<void, AiError.AiError>
  /** All lines of all result files, in whatever order. */
  readonly results: (status: BatchStatus, model: string) => Stream.Stream<BatchResult, AiError.AiError>
}

/** The batch APIs at the bottom of a stack. */
export interface Choice {
  /** The one of the provider that a request goes to; `undefined`: that one has none. */
  readonly of: (request: ModelRequest.ModelRequest) => BatchProvider | undefined
  readonly all: ReadonlyArray<BatchProvider>
}

/** One for every request. */
export const only = (provider: BatchProvider): Choice => ({ of: () => provider, all: [provider] })
