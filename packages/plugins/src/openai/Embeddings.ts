/**
 * Encodes a request for the embeddings API, and reads its answer.
 *
 * @internal
 */
import type * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import * as Usage from "@pipe/core/Usage"
import type { EmbeddingCreateParams } from "openai/resources/embeddings"
import * as Body from "../provider/Body.ts"
import * as Fields from "../provider/Fields.ts"
import type * as Reply from "../provider/Reply.ts"
import * as ChatAnswer from "./ChatAnswer.ts"
import * as Client from "./Client.ts"
import * as OpenAiUsage from "./OpenAiUsage.ts"

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
  dimensions: Body.ways.dimensions
}

/** Little-endian 32-bit floats in base64. */
const fromBase64 = (text: string): ReadonlyArray<number> | undefined => {
  const bytes = Buffer.from(text, "base64")
  if (bytes.length === 0 || bytes.length % 4 !== 0) return undefined
  return Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(4 * at))
}

/** A vector: at least one number, all finite. */
const toVector = (value: unknown): ReadonlyArray<number> | undefined => {
  const numbers = typeof value === "string" ? fromBase64(value) : value
  return Array.isArray(numbers) && numbers.length > 0 && numbers.every(Number.isFinite)
    ? (numbers as ReadonlyArray<number>)
    : undefined
}

/** The position of each vector: by its index, or by order when none has a distinct index. */
const placesOf = (indexes: ReadonlyArray<unknown>): ReadonlyArray<number> | undefined => {
  const all = new Set(indexes)
  const isWhole = indexes.every((_, at) => all.has(at))
  if (isWhole) return indexes as ReadonlyArray<number>
  return all.size === 1 && (all.has(0) || all.has(undefined) || all.has(null)) ? indexes.map((_, at) => at) : undefined
}

/** The vectors in the order of their inputs, all of one length; or a text that describes the problem. */
const toVectors = (data: ReadonlyArray<unknown>): ReadonlyArray<ReadonlyArray<number>> | string => {
  const places = placesOf(data.map((item) => Fields.fields(item)["index"]))
  if (places === undefined) return "index for each of its vectors"
  const sorted: Array<ReadonlyArray<number>> = []
  for (const [at, item] of data.entries()) {
    const vector = toVector(Fields.fields(item)["embedding"])
    if (vector === undefined) return `vector of finite numbers at data[${at}].embedding`
    sorted[places[at]!] = vector
  }
  return sorted.every((vector) => vector.length === sorted[0]?.length) ? sorted : "vectors of one length"
}

/** `inputs` is the expected number, when known. */
export const format = (
  options: ChatAnswer.Options,
  inputs: number | undefined
): Reply.Format<ModelResponse.EmbeddingResponse> => {
  const usage = (answer: Fields.Fields) => {
    const { input_tokens, prompt_tokens, total_tokens, ...rest } = Fields.fields(answer["usage"])
    const input = prompt_tokens ?? input_tokens ?? total_tokens
    const counted = OpenAiUsage.make({ ...rest, prompt_tokens: input, completion_tokens: 0 })
    return Usage.ofAnswer(counted, false)
  }
  return {
    usage,
    isAnswer: (answer) => Array.isArray(answer["data"]),
    read: (answer) => {
      const data = Fields.list(answer["data"]) ?? []
      if (data.length === 0 || (inputs !== undefined && data.length !== inputs)) {
        return Client.malformed(`vector for each of ${inputs ?? "its"} inputs: it has ${data.length}`)
      }
      const vectors = toVectors(data)
      if (typeof vectors === "string") return Client.malformed(vectors)
      const counted = usage(answer)
      const { id: _, ...metadata } = ChatAnswer.metadata(answer, options)
      return {
        _tag: "EmbeddingResponse",
        ...metadata,
        ...(counted === undefined ? undefined : { usage: counted }),
        vectors,
        origin: "provider"
      }
    }
  }
}
