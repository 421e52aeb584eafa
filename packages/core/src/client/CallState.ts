/**
 * What the runner keeps of the calls of a row: the part of a call's context that no layer of an author needs.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import type * as Deferred from "effect/Deferred"
import type * as Effect from "effect/Effect"
import type * as AnswerCheck from "../answer/AnswerCheck.ts"
import type { ModelRequest } from "../model/ModelRequest.ts"
import type { ResponseTo } from "../model/ModelResponse.ts"

/** The failed calls of a result. A value made from a failure, such as an empty text, is not kept. */
export interface CallOutcome {
  /** The requests that failed; `undefined` when there are none. */
  failed: Set<string> | undefined
}

/** A request with an answer. Its hash is computed when it is needed. */
export interface AnsweredRequest {
  readonly text: () => string
  hash: string | undefined
}

/** The calls of one step of one row that may be suspended. */
export interface SuspendedRow {
  /** Another number in each replay. */
  readonly replay: number
  /** Calls in flight, including suspended ones. */
  open: number
  suspended: number
  /** Completed when no call of the step can make progress. */
  readonly left: Deferred.Deferred<void>
  /** Completed when the next call ends. */
  ended: Deferred.Deferred<void>
  /** The answers that earlier replays have recorded, by the hash of their request. */
  readonly recorded: ReadonlyMap<string, number>
  /** The requests answered since the row started: recorded ones, and those that a layer returned. */
  readonly answered: Array<AnsweredRequest>
  readonly given: Map<string, number>
  /** Whether all its results are kept: such a row is not replayed. */
  isKept: boolean | undefined
}

/**
 * Receives each request at the top of the stack, the request as it will reach the provider, and the effect that sends
 * it. Returns what to run instead.
 */
export type CallInterceptor = <R extends ModelRequest>(
  request: R,
  resolve: () => R,
  send: Effect.Effect<ResponseTo<R>, AiError.AiError>
) => Effect.Effect<ResponseTo<R>, AiError.AiError>

/** The fewest and the most calls of a loop whose number depends on answers. */
export interface Loop {
  readonly least: number
  readonly most: number
}

export interface CallState {
  /** The loop that the call is part of. */
  readonly loop?: Loop | undefined
  /** The step's own check of its answers. */
  readonly check?: AnswerCheck.AnswerCheck | undefined
  /** Set for a result that may be kept. */
  readonly outcome?: CallOutcome | undefined
  /** Set while the row can be suspended. */
  readonly row?: SuspendedRow | undefined
  /** The number of rows with equal inputs before this one, where each row gets an answer of its own. */
  readonly equalBefore?: number | undefined
  readonly interceptor?: CallInterceptor | undefined
  /**
   * The request must not go in a batch: it has left its batch, or another request waits for its answer. A `kept` answer
   * is found again when the row is replayed.
   */
  readonly single?: "kept" | "passing" | undefined
}
