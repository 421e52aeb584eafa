/**
 * The ledger that records the calls of a fiber. It is apart from the call's context, which a layer may replace: each attempt
 * and answer is recorded once, however many ledgers there are.
 *
 * @internal
 */
import * as Context from "effect/Context"
import type * as Attempt from "./Attempt.ts"
import type { Send } from "./Send.ts"

/** What a ledger records of a call. */
export interface CallRecording {
  /** Runs around each attempt, after all other hooks. */
  readonly hook: Attempt.AttemptHook
  /** Records what a layer sends itself as calls of their own. */
  readonly over: (send: Send) => Send
}

/** The ledger above; `undefined` where none records. */
export const CallRecording = Context.Reference<CallRecording | undefined>("@pipe/core/CallRecording", {
  defaultValue: () => undefined
})
