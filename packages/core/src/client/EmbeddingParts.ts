/**
 * Splits embedding requests that hold more than an endpoint accepts, and isolates a text that is refused.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Utf8 from "../encoding/Utf8.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"

/** The most that one request may hold. */
export interface EmbeddingLimits {
  /** Default: no limit. */
  readonly inputs?: number
  /** Of all inputs together, in UTF-8. A token is rarely less than one byte. Default: no limit. */
  readonly bytes?: number
}

type Send = (request: ModelRequest.Embedding) => Effect.Effect<ModelResponse.EmbeddingResponse, AiError.AiError>

const mostOf = ({ bytes = Number.POSITIVE_INFINITY, inputs = Number.POSITIVE_INFINITY }: EmbeddingLimits) => ({
  bytes,
  inputs
})

/** Groups the inputs by what an endpoint accepts. */
const groupsOf = (inputs: ReadonlyArray<string>, limits: EmbeddingLimits): ReadonlyArray<ReadonlyArray<string>> => {
  const { bytes: mostBytes, inputs: mostInputs } = mostOf(limits)
  const groups: Array<Array<string>> = []
  let size = 0
  for (const input of inputs) {
    const last = groups.at(-1)
    const bytes = Utf8.byteLength(input)
    if (last === undefined || last.length >= mostInputs || size + bytes > mostBytes) {
      groups.push([input])
      size = bytes
    } else {
      last.push(input)
      size += bytes
    }
  }
  return groups
}

/** Merges the answers to the parts of a request. */
const merge = (parts: ReadonlyArray<ModelResponse.EmbeddingResponse>): ModelResponse.EmbeddingResponse => {
  const { usage: _, ...first } = parts[0]!
  const usages = parts.map(({ usage }) => usage)
  return {
    ...first,
    vectors: parts.flatMap(({ vectors }) => vectors),
    ...(usages.every((usage) => usage !== undefined) ? { usage: usages.reduce(Usage.add) } : undefined)
  }
}

/** Sends a request in as many parts as it needs. */
export const send = (
  request: ModelRequest.Embedding,
  limits: EmbeddingLimits | undefined,
  one: Send
): Effect.Effect<ModelResponse.EmbeddingResponse, AiError.AiError> => {
  const { inputs } = request
  if (limits === undefined) return one(request)
  const most = mostOf(limits)
  const size = inputs.length > 1 ? inputs.reduce((sum, input) => sum + Utf8.byteLength(input), 0) : 0
  if (inputs.length <= most.inputs && size <= most.bytes) return one(request)
  return Effect.map(
    Effect.forEach(groupsOf(inputs, limits), (inputs) => one({ ...request, inputs }), { concurrency: 4 }),
    merge
  )
}

/** Tests whether a failure may be caused by a single input. Such a request is not billed. */
const isOfInput = (error: AiError.AiError): boolean =>
  error.reason._tag === "ContentPolicyError"
  || ModelFailure.isDenied(error)
  || (error.reason._tag === "InvalidRequestError" && !ModelFailure.isForAll(error) && !ModelFailure.mayBeBilled(error))

/** The most requests spent to find the refused inputs. What is left then fails as a whole. */
const MOST_REQUESTS = 100

/** The most items of a request, as refused ones have shown; infinite until then. */
export interface Accepted {
  most: number
}

/**
 * Sends what several callers request together, and completes each. When the request is refused, it is split in halves
 * and sent again, so that a bad input (an empty text, one that is too long) fails alone. Where both halves pass, the endpoint
 * takes no more at once: further requests are no larger.
 */
export const together = <A>(
  items: ReadonlyArray<A>,
  send: (items: ReadonlyArray<A>) => Effect.Effect<ModelResponse.EmbeddingResponse, AiError.AiError>,
  complete: (items: ReadonlyArray<A>, exit: Exit.Exit<ModelResponse.EmbeddingResponse, AiError.AiError>) => void,
  accepted: Accepted = { most: Number.POSITIVE_INFINITY }
): Effect.Effect<void> => {
  let left = MOST_REQUESTS
  const halves = (items: ReadonlyArray<A>): Effect.Effect<boolean> => {
    const middle = Math.ceil(items.length / 2)
    return Effect.zipWith(
      Effect.suspend(() => sendParts(items.slice(0, middle))),
      Effect.suspend(() => sendParts(items.slice(middle))),
      (first, second) => first && second
    )
  }
  /** Whether all items were accepted. */
  const sendParts = (items: ReadonlyArray<A>): Effect.Effect<boolean> => {
    if (items.length > accepted.most) return halves(items)
    return Effect.flatMap(Effect.exit(send(items)), (exit) => {
      const failure = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason) : undefined
      if (failure === undefined || items.length === 1 || !isOfInput(failure.error) || (left -= 2) < 0) {
        return Effect.sync(() => {
          complete(items, exit)
          return Exit.isSuccess(exit)
        })
      }
      return Effect.map(halves(items), (areAccepted) => {
        if (areAccepted) accepted.most = Math.min(accepted.most, Math.ceil(items.length / 2))
        return areAccepted
      })
    })
  }
  return Effect.asVoid(sendParts(items))
}

/** Returns the response when it has one vector of finite numbers per input, all of one length. */
export const checked = (
  request: ModelRequest.Embedding,
  response: ModelResponse.EmbeddingResponse
): Effect.Effect<ModelResponse.EmbeddingResponse, AiError.AiError> => {
  const { vectors } = response
  const length = vectors[0]?.length ?? 0
  const isWhole =
    length > 0 && vectors.every((vector) => vector.length === length && vector.every((value) => Number.isFinite(value)))
  if (isWhole && vectors.length === request.inputs.length) return Effect.succeed(response)
  return Effect.fail(
    AiError.make({
      module: response.provider,
      method: "send",
      reason: new AiError.InvalidResponseError({
        description: isWhole
          ? `the answer has ${vectors.length} vectors for ${request.inputs.length} texts`
          : "the answer has a vector that is empty, of a different length, or not finite"
      })
    })
  )
}
