/**
 * The embeddings API: a request as its body, its answer as a response.
 *
 * @internal
 */
import type * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import * as Usage from "@pipe/core/Usage"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type { CreateEmbeddingResponse, EmbeddingCreateParams } from "openai/resources/embeddings"
import * as Client from "./Client.ts"

export const toBody = (request: ModelRequest.Embedding, model: string): EmbeddingCreateParams => ({
  model,
  input: [...request.inputs],
  ...(request.dimensions === undefined ? undefined : { dimensions: request.dimensions }),
  ...(request.providerOptions["openai"] as object | undefined)
})

/** Vectors in the order of the inputs; `inputs` is how many there must be, where that is known. */
export const toResponse = (
  { data, model: answered, usage }: CreateEmbeddingResponse,
  model: string,
  provider: string,
  inputs: number | undefined
): Effect.Effect<ModelResponse.EmbeddingResponse, AiError.AiError> => {
  if (!Array.isArray(data) || (inputs !== undefined && data.length !== inputs)) {
    return Effect.fail(Client.malformed(`vector for each of ${inputs ?? "its"} inputs`))
  }
  const vectors = new Array<ReadonlyArray<number>>(data.length)
  for (const { embedding, index } of data) vectors[index] = embedding
  return Effect.succeed({
    _tag: "EmbeddingResponse",
    provider,
    model: answered || model,
    requestedModel: model,
    ...(usage === undefined || usage === null
      ? undefined
      : { usage: Usage.fromInclusive({ input: usage.prompt_tokens, output: 0 }) }),
    vectors,
    origin: "provider"
  })
}

/** Asks for vectors. */
export const send = (
  client: Client.Client,
  request: ModelRequest.Embedding,
  model: string,
  provider: string
): Effect.Effect<ModelResponse.EmbeddingResponse, AiError.AiError> =>
  Effect.flatMap(client.embeddings(toBody(request, model)), (answer) =>
    toResponse(answer, model, provider, request.inputs.length)
  )
