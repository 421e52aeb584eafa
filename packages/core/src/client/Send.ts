/**
 * The one operation under everything, and what it makes of a request.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import type * as Effect from "effect/Effect"
import type { ModelRequest } from "../model/ModelRequest.ts"
import type { ResponseTo } from "../model/ModelResponse.ts"

/** Sends a request and waits for its answer. */
export type Send = <R extends ModelRequest>(request: R) => Effect.Effect<ResponseTo<R>, AiError.AiError>

/** What a request becomes on its way down. Pure and cheap. */
export type Resolve = <R extends ModelRequest>(request: R) => R
