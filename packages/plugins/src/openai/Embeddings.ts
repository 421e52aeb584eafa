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
import type { EmbeddingCreateParams } from "openai/resources/embeddings"
import * as Answer from "../transport/Answer.ts"
import * as Body from "../transport/Body.ts"
import * as Chat from "./Chat.ts"
import * as Client from "./Client.ts"

export const toBody = (request: ModelRequest.Embedding, model: string): EmbeddingCreateParams =>
  Body.withOptions(
    {
      model,
      input: [...request.inputs],
      ...(request.dimensions === undefined ? undefined : { dimensions: request.dimensions })
    },
    "openai",
    request.providerOptions["openai"],
    reserved
  )

const reserved: Body.Reserved = {
  model: Body.ways.model,
  input: Body.ways.messages,
  dimensions: Body.ways.dimensions,
  encoding_format: Body.ways.encoding
}

/** A vector: numbers, of which there is one at least. */
const toVector = (value: unknown): ReadonlyArray<number> | undefined =>
  Array.isArray(value) && value.length > 0 && value.every(Number.isFinite)
    ? (value as ReadonlyArray<number>)
    : undefined

/** The vectors in the order of their inputs: one for each, all of one length. */
const toVectors = (
  data: ReadonlyArray<unknown>,
  inputs: number | undefined
): ReadonlyArray<ReadonlyArray<number>> | undefined => {
  if (inputs !== undefined && data.length !== inputs) return undefined
  const vectors = new Map<number, ReadonlyArray<number>>()
  for (const item of data) {
    const { embedding, index } = Answer.fields(item)
    const vector = toVector(embedding)
    if (vector === undefined || typeof index !== "number" || vectors.has(index)) return undefined
    vectors.set(index, vector)
  }
  const sorted = data.map((_, at) => vectors.get(at))
  return sorted.every((vector) => vector !== undefined && vector.length === sorted[0]?.length)
    ? (sorted as ReadonlyArray<ReadonlyArray<number>>)
    : undefined
}

/** Reads an answer: vectors in the order of the inputs; `inputs` is how many there must be, where that is known. */
export const toResponse = (
  value: unknown,
  model: string,
  provider: string,
  inputs: number | undefined
): Effect.Effect<ModelResponse.EmbeddingResponse, AiError.AiError> =>
  Answer.decode(Client.MODULE, () => {
    const answer = Answer.fields(value)
    const vectors = toVectors(Answer.list(answer["data"]) ?? [], inputs)
    if (vectors === undefined || vectors.length === 0) {
      return Client.malformed(`vector for each of ${inputs ?? "its"} inputs`)
    }
    const { id: _, ...metadata } = Chat.metadata(
      answer,
      model,
      provider,
      Usage.fromInclusive({ input: Answer.fields(answer["usage"])["prompt_tokens"], output: 0 })
    )
    return { _tag: "EmbeddingResponse", ...metadata, vectors, origin: "provider" }
  })

/** Asks for vectors. */
export const send = (
  client: Client.Client,
  request: ModelRequest.Embedding,
  model: string,
  provider: string
): Effect.Effect<ModelResponse.EmbeddingResponse, AiError.AiError> =>
  Body.make(Client.MODULE, () => toBody(request, model)).pipe(
    Effect.flatMap(client.embeddings),
    Effect.flatMap((answer) => toResponse(answer, model, provider, request.inputs.length))
  )
