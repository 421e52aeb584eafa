/**
 * A physical attempt at a provider, and the hooks around it: the ledger's meter, and the budget's guard before it.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { ModelRequest } from "../model/ModelRequest.ts"
import type { ModelResponse } from "../model/ModelResponse.ts"
import type { Money } from "../price/Money.ts"

/** An attempt that is about to start. */
export interface AttemptCall {
  readonly request: ModelRequest
  readonly provider: string
  readonly startedAt: number
  /** The requested service tier, when it is not the standard one. */
  readonly serviceTier?: string
  /** The request is a re-ask: it is sent again with what was wrong with the previous answer. */
  readonly isReask?: boolean
  /** The output limit was set by another guard and not by the caller, so it may be lowered. */
  readonly limited?: boolean
  /** The most output tokens that the model has room for in this request, when the provider has said so. */
  readonly room?: number
}

/** The result of an attempt. */
export interface AttemptEnd {
  /** The answer, even when it was rejected as unusable afterwards. */
  readonly response?: ModelResponse
  /** The failure. The provider may have reported usage with it (`ModelFailure.usageOf`). */
  readonly error?: AiError.AiError
  /**
   * `yes`: the provider answered and bills. `no`: it refused before any work. `unknown`: the call was cut in flight and
   * may be billed.
   */
  readonly billed: "yes" | "no" | "unknown"
}

/** An attempt as the ledger records it. */
export interface Attempt extends AttemptEnd {
  readonly call: AttemptCall
  readonly milliseconds: number
}

export interface Meter {
  /** Runs before a call is sent, and delays it until it ends; `undefined` when there is nothing to do. */
  readonly begin: (call: AttemptCall) => Effect.Effect<void> | undefined
  /** Receives each attempt when it has ended, however it ended. */
  readonly end: (attempt: Attempt) => void
}

/** Receives every attempt at the provider's edge. The `Ledger` layer sets it. Default: none. */
export const Meter = Context.Reference<Meter>("@pipe/core/Attempt/Meter", {
  defaultValue: () => ({ begin: () => undefined, end: () => {} })
})

/** A request that a guard admits, possibly with an output limit, and the callback for its end. */
export interface Admission<R extends ModelRequest = ModelRequest> {
  readonly request: R
  /** Called when the attempt has ended. */
  readonly end: (ended: AttemptEnd) => void
  /** The amount reserved until then, in picodollars and tokens. */
  readonly held: Held
  /** Whether the guard set the output limit. An answer that it truncates is not returned to the caller. */
  readonly limited: boolean
}

/** An amount that is reserved until a call ends. */
export interface Held {
  readonly money: Money
  readonly tokens: number
}

/** Admits attempts at the provider's edge, delays them, or refuses them. */
export type Guard = <R extends ModelRequest>(
  call: AttemptCall & { readonly request: R }
) => Effect.Effect<Admission<R>, AiError.AiError>

/** Runs before every attempt, including retries and fallbacks. `Budget` sets it. Default: none. */
export const Guard = Context.Reference<Guard | undefined>("@pipe/core/Attempt/Guard", {
  defaultValue: () => undefined
})
