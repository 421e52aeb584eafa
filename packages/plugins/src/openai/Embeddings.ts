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
import * as Client from "./Client.ts"

/** Asks for vectors; they come back in the order of the inputs. */
export const send = (
  client: Client.Client,
  request: ModelRequest.Embedding,
  model: string,
  provider: string
): Effect.Effect<ModelResponse.EmbeddingResponse, AiError.AiError> =>
  Effect.flatMap(
    client.embeddings({
      model,
      input: [...request.inputs],
      ...(request.dimensions === undefined ? undefined : { dimensions: request.dimensions }),
      ...(request.providerOptions["openai"] as object | undefined)
    }),
    ({ data, model: answered, usage }) => {
      if (!Array.isArray(data) || data.length !== request.inputs.length) {
        return Effect.fail(Client.malformed(`vector for each of ${request.inputs.length} inputs`))
      }
      const vectors = new Array<ReadonlyArray<number>>(data.length)
      for (const { embedding, index } of data) vectors[index] = embedding
      return Effect.succeed({
        _tag: "EmbeddingResponse" as const,
        provider,
        model: answered || model,
        requestedModel: model,
        ...(usage === undefined || usage === null
          ? undefined
          : { usage: Usage.fromInclusive({ input: usage.prompt_tokens, output: 0 }) }),
        vectors,
        origin: "provider" as const
      })
    }
  )
