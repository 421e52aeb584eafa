/**
 * What answers each kind of request.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as DecisionByCompletion from "./DecisionByCompletion.ts"
import type { Send, SendCompletion, SendDecision, SendEmbedding } from "./Send.ts"

/** What answers each kind of request. */
export interface Handlers {
  readonly Completion?: SendCompletion | undefined
  readonly Embedding?: SendEmbedding | undefined
  /** Default: a completion with a JSON answer, without probabilities. */
  readonly Decision?: SendDecision | undefined
}

/**
 * Makes `send` from a function for each kind of request, for a provider or for a layer that treats kinds differently. A
 * kind without one is refused.
 *
 * **Example** (a provider of completions)
 *
 * ```ts
 * import { ModelClient, ModelRequest, type ModelResponse } from "@pipe/core"
 * import { Effect, Layer } from "effect"
 *
 * const answer = (request: ModelRequest.Completion): ModelResponse.CompletionResponse => ({
 *   _tag: "CompletionResponse",
 *   provider: "echo",
 *   model: "echo-1",
 *   requestedModel: request.model ?? "echo-1",
 *   parts: [{ type: "text", text: ModelRequest.text(request) }],
 *   finishReason: "stop",
 *   origin: "provider"
 * })
 *
 * export const echo = Layer.succeed(ModelClient.ModelClient)(
 *   ModelClient.provider({
 *     name: "echo",
 *     completion: (request) => Effect.succeed(answer(request))
 *   })
 * )
 * ```
 */
export const handle = (handlers: Handlers): Send => {
  const refused = (kind: string) => refuse("ModelClient", `this model does not take requests of kind ${kind}`)
  const { Completion, Decision = Completion && DecisionByCompletion.over(Completion), Embedding } = handlers
  const send = (request: ModelRequest.ModelRequest): Effect.Effect<ModelResponse.ModelResponse, AiError.AiError> => {
    switch (request._tag) {
      case "Completion":
        return Completion?.(request) ?? refused(request._tag)
      case "Embedding":
        return Embedding?.(request) ?? refused(request._tag)
      case "Decision":
        return Decision?.(request) ?? refused(request._tag)
    }
  }
  return send as Send
}

/** Fails a request before it is sent. */
export const refuse = (module: string, description: string): Effect.Effect<never, AiError.AiError> =>
  Effect.fail(AiError.make({ module, method: "send", reason: new AiError.InvalidRequestError({ description }) }))
