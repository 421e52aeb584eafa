/**
 * The operation under everything, and the pure function beside it.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import type * as Effect from "effect/Effect"
import type { CallContext } from "./CallContext.ts"
import type { Completion, Decision, Embedding, ModelRequest } from "../model/ModelRequest.ts"
import type { CompletionResponse, DecisionResponse, EmbeddingResponse, ResponseTo } from "../model/ModelResponse.ts"

/** Sends a request and waits for its answer. */
export type Send = <R extends ModelRequest>(request: R) => Effect.Effect<ResponseTo<R>, AiError.AiError>

/** Sends completions. */
export type SendCompletion = (request: Completion) => Effect.Effect<CompletionResponse, AiError.AiError>

/** Sends embeddings. */
export type SendEmbedding = (request: Embedding) => Effect.Effect<EmbeddingResponse, AiError.AiError>

/** Sends decisions. */
export type SendDecision = (request: Decision) => Effect.Effect<DecisionResponse, AiError.AiError>

/**
 * Returns the request as it will reach the provider. It is pure: it depends on nothing but the request and the context of
 * the call.
 */
export type Resolve = <R extends ModelRequest>(request: R, call: CallContext) => R
