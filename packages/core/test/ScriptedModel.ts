/** A provider that answers from a function and counts what it was sent. */
import { ModelClient, ModelRequest, type ModelResponse } from "@pipe/core"
import { Effect, Layer } from "effect"
import { AiError } from "effect/ai"

export const response = (
  text: string,
  fields: Partial<ModelResponse.CompletionResponse> = {}
): ModelResponse.CompletionResponse => ({
  _tag: "CompletionResponse",
  provider: "openai",
  model: "gpt-4o-mini",
  requestedModel: "gpt-4o-mini",
  parts: [{ type: "text", text }],
  finishReason: "stop",
  usage: { uncachedInput: 10, cacheRead: 0, cacheWrite: 0, cacheWrite1h: 0, output: 5, reasoning: 0 },
  origin: "provider",
  ...fields
})

/** The text of a request's user messages. */
export const prompt = (request: ModelRequest.Completion): string => ModelRequest.text(request, "user")

/** A failure of the provider's own. */
export const broken = (description: string): AiError.AiError =>
  AiError.make({ module: "test", method: "send", reason: new AiError.InternalProviderError({ description }) })

export interface Scripted {
  readonly requests: Array<ModelRequest.Completion>
  readonly layer: Layer.Layer<ModelClient.ModelClient>
}

/** `answer` gets each request and its number from 0. The model that is called, or `gpt-4o-mini`, answers. */
export const make = (
  answer: (
    request: ModelRequest.Completion,
    index: number
  ) =>
    | ModelResponse.CompletionResponse
    | AiError.AiError
    | Effect.Effect<ModelResponse.CompletionResponse, AiError.AiError>
): Scripted => {
  const requests: Array<ModelRequest.Completion> = []
  const send = (request: ModelRequest.Completion) =>
    Effect.suspend(() => {
      const index = requests.push(request) - 1
      const made = answer(request, index)
      const effect = Effect.isEffect(made)
        ? (made as Effect.Effect<ModelResponse.CompletionResponse, AiError.AiError>)
        : "reason" in made
          ? Effect.fail(made)
          : Effect.succeed(made)
      return Effect.map(effect, (r) =>
        r.model === "gpt-4o-mini" && request.model !== undefined
          ? { ...r, model: request.model, requestedModel: request.model }
          : r
      )
    })
  return {
    requests,
    layer: Layer.sync(ModelClient.ModelClient, () =>
      // A script is no part of what a step is.
      ModelClient.provider({ name: "openai", send: send as ModelClient.Send, answers: false })
    )
  }
}
