/**
 * The operation under everything, and the pure function beside it.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import type * as Effect from "effect/Effect"
import type { ModelRequest } from "../model/ModelRequest.ts"
import type { ResponseTo } from "../model/ModelResponse.ts"

/** Sends a request and waits for its answer. */
export type Send = <R extends ModelRequest>(request: R) => Effect.Effect<ResponseTo<R>, AiError.AiError>

/** Returns the request as it will reach the provider. Pure and cheap. */
export type Resolve = <R extends ModelRequest>(request: R) => R
