/**
 * One physical attempt at a provider, and who is told of it: the ledger's meter, and the budget's guard before it.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { ModelRequest } from "../model/ModelRequest.ts"
import type { ModelResponse } from "../model/ModelResponse.ts"
import type { Money } from "../price/Money.ts"

/** A physical attempt that is about to be made. */
export interface AttemptCall {
  readonly request: ModelRequest
  readonly provider: string
  readonly startedAt: number
  /** The class of service that it is asked in, where that is not the ordinary one. */
  readonly serviceTier?: string
  /** It is sent again, with what was wrong with the answer before. */
  readonly isReask?: boolean
  /** Its output limit is that of another guard, and not the caller's: it may be lowered. */
  readonly limited?: boolean
  /** The most output that the model has room for beside this request, where it has said so. */
  readonly room?: number
}

/** What came of an attempt. */
export interface AttemptEnd {
  /** The answer, also one that was then refused as unusable. */
  readonly response?: ModelResponse
  /** What went wrong; the provider may have counted it (`ModelFailure.usageOf`). */
  readonly error?: AiError.AiError
  /**
   * `yes`: the provider answered and bills; `no`: it refused before any work; `unknown`: the call was cut on its way,
   * so it may be billed.
   */
  readonly billed: "yes" | "no" | "unknown"
}

/** One physical attempt at a provider, as it was booked. */
export interface Attempt extends AttemptEnd {
  readonly call: AttemptCall
  readonly milliseconds: number
}

export interface Meter {
  /** Runs before a call is sent, which waits for it; `undefined`: nothing is to be done. */
  readonly begin: (call: AttemptCall) => Effect.Effect<void> | undefined
  /** Receives each attempt when it has ended, in whatever way. */
  readonly end: (attempt: Attempt) => void
}

/** Told of each attempt at the provider's edge. The `Ledger` layer sets it; by default nobody listens. */
export const Meter = Context.Reference<Meter>("@pipe/core/Attempt/Meter", {
  defaultValue: () => ({ begin: () => undefined, end: () => {} })
})

/** What a guard lets through: the request, perhaps with a limit, and what is to be told of its end. */
export interface Admission<R extends ModelRequest = ModelRequest> {
  readonly request: R
  /** Told how the attempt ended. */
  readonly end: (ended: AttemptEnd) => void
  /** What is held for it until then, in picodollars and tokens. */
  readonly held: Held
  /** Whether its output limit is the guard's: an answer that it cuts is no result of the caller's. */
  readonly limited: boolean
}

/** An amount that is held until a call has ended. */
export interface Held {
  readonly money: Money
  readonly tokens: number
}

/** Lets attempts through at the provider's edge, makes them wait, or refuses them. */
export type Guard = <R extends ModelRequest>(
  call: AttemptCall & { readonly request: R }
) => Effect.Effect<Admission<R>, AiError.AiError>

/** Stands before every attempt, retries and fallbacks included. `Budget` sets it; by default nobody stands there. */
export const Guard = Context.Reference<Guard | undefined>("@pipe/core/Attempt/Guard", {
  defaultValue: () => undefined
})
