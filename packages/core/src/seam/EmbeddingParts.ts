/**
 * Requests for embeddings that hold more than an endpoint takes, in parts; and one bad text, apart from the others.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type * as ModelRequest from "../data/ModelRequest.ts"
import type * as ModelResponse from "../data/ModelResponse.ts"
import * as Usage from "../data/Usage.ts"
import * as ModelFailure from "./ModelFailure.ts"

/** The most that one request may hold. */
export interface Limits {
  readonly inputs: number
  /** Characters of all inputs together. */
  readonly bytes: number
}

type Send = (request: ModelRequest.Embedding) => Effect.Effect<ModelResponse.EmbeddingResponse, AiError.AiError>

/** The inputs in groups that an endpoint takes. */
const groupsOf = (inputs: ReadonlyArray<string>, limits: Limits): ReadonlyArray<ReadonlyArray<string>> => {
  const groups: Array<Array<string>> = []
  let size = 0
  for (const input of inputs) {
    const last = groups.at(-1)
    if (last === undefined || last.length >= limits.inputs || size + input.length > limits.bytes) {
      groups.push([input])
      size = input.length
    } else {
      last.push(input)
      size += input.length
    }
  }
  return groups
}

/** The answers to parts of a request as one. */
const merge = (parts: ReadonlyArray<ModelResponse.EmbeddingResponse>): ModelResponse.EmbeddingResponse => {
  const { usage: _, ...first } = parts[0]!
  const usages = parts.map(({ usage }) => usage)
  return {
    ...first,
    vectors: parts.flatMap(({ vectors }) => vectors),
    ...(usages.every((usage) => usage !== undefined) ? { usage: usages.reduce(Usage.add) } : undefined)
  }
}

/** Sends a request, in as many parts as it takes. */
export const send = (
  request: ModelRequest.Embedding,
  limits: Limits,
  one: Send
): Effect.Effect<ModelResponse.EmbeddingResponse, AiError.AiError> => {
  const { inputs } = request
  const size = inputs.length > 1 ? inputs.reduce((sum, input) => sum + input.length, 0) : 0
  if (inputs.length <= limits.inputs && size <= limits.bytes) return one(request)
  return Effect.map(
    Effect.forEach(groupsOf(inputs, limits), (inputs) => one({ ...request, inputs }), { concurrency: 4 }),
    merge
  )
}

/** Whether a failure may be that of one input, and not of those beside it: such a request is not billed. */
export const isOfInput = (error: AiError.AiError): boolean =>
  error.reason._tag === "InvalidRequestError" && !ModelFailure.isForAll(error) && !ModelFailure.mayBeBilled(error)
