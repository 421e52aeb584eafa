/**
 * A model's answer as plain data, with its usage and its origin.
 *
 * **Example**
 *
 * ```ts
 * import { ModelResponse } from "@pipe/core"
 *
 * const response: ModelResponse.CompletionResponse = {
 *   _tag: "CompletionResponse",
 *   provider: "acme",
 *   model: "acme-1",
 *   requestedModel: "acme-1",
 *   parts: [{ type: "text", text: "A lovely lamp." }],
 *   finishReason: "stop",
 *   origin: "provider"
 * }
 * ModelResponse.text(response) // => "A lovely lamp."
 * ModelResponse.isComplete(response) // => true
 * ```
 *
 * @since 0.1.0
 */
import type * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import * as Option from "effect/Option"
import type * as ModelRequest from "./ModelRequest.ts"
import * as Usage from "./Usage.ts"

/** A part of an answer, encoded as `effect/ai` encodes it. Metadata and finish reason are separate fields. */
export type Part = Exclude<Response.PartEncoded, Response.FinishPartEncoded | Response.ResponseMetadataPartEncoded>

const Part: Schema.Codec<Part> = Schema.Any

/** Why a model stopped. An answer is complete with `stop` and `tool-calls`. */
export const FinishReason = Schema.Literals([
  "stop",
  "length",
  "content-filter",
  "tool-calls",
  "error",
  "pause",
  "other",
  "unknown"
])

export type FinishReason = typeof FinishReason.Type

/**
 * `provider`: paid for now. `cache`: from the cache. `shared`: from an equal call that was in flight. `semantic`: from
 * the cache, for a question that means the same.
 */
export const origins = ["provider", "cache", "shared", "semantic"] as const

/** Where an answer comes from: a provider, the cache, another row, or an earlier question with the same meaning. */
export const Origin = Schema.Literals(origins)

export type Origin = typeof Origin.Type

/** Zero answers of every origin. */
export const noAnswers: { readonly [O in Origin]: number } = { provider: 0, cache: 0, shared: 0, semantic: 0 }

/** An answer that was paid for but not returned. */
export const Discarded = Schema.Struct({
  provider: Schema.String,
  model: Schema.String,
  requestedModel: Schema.optionalKey(Schema.String),
  usage: Schema.optionalKey(Usage.Usage),
  serviceTier: Schema.optionalKey(Schema.String),
  origin: Origin
})

export interface Discarded extends Schema.Schema.Type<typeof Discarded> {}

const common = {
  provider: Schema.String,
  model: Schema.String,
  requestedModel: Schema.String,
  baselineModel: Schema.optionalKey(Schema.String),
  usage: Schema.optionalKey(Usage.Usage),
  serviceTier: Schema.optionalKey(Schema.String),
  reportedCost: Schema.optionalKey(Schema.Finite),
  unpacked: Schema.optionalKey(Usage.Usage),
  discarded: Schema.optionalKey(Schema.Array(Discarded)),
  origin: Origin
}

/** The schema of the answer to a completion. */
export const CompletionResponse = Schema.TaggedStruct("CompletionResponse", {
  ...common,
  id: Schema.optionalKey(Schema.String),
  parts: Schema.Array(Part),
  finishReason: FinishReason,
  logprobs: Schema.optionalKey(Schema.Array(Schema.Finite)),
  refusal: Schema.optionalKey(Schema.String)
})

/** What answers of both kinds have. */
interface Common {
  /** The provider's name in price tables: `"openai"`. */
  readonly provider: string
  /** The model that answered, as the provider reports it. */
  readonly model: string
  /** The model named in the request. */
  readonly requestedModel: string
  /** The model that would have been called without routing, when a router chose another one. */
  readonly baselineModel?: string
  /** `undefined` when the provider did not report it. */
  readonly usage?: Usage.Usage
  /** The billed service tier, when it is not the standard one: `"flex"`, `"batch"`. Several are joined: `"us+batch"`. */
  readonly serviceTier?: string
  /** The cost of the call in USD, as the provider reports it. */
  readonly reportedCost?: number
  /** The estimated usage of the request alone, when it was answered together with others. */
  readonly unpacked?: Usage.Usage
  /** Other answers that this one cost: rejected answers of cheaper models, and those of judges. */
  readonly discarded?: ReadonlyArray<Discarded>
  readonly origin: Origin
}

/** The answer to a completion: its parts, its usage, and the model that gave it. */
export interface CompletionResponse extends Common {
  readonly _tag: "CompletionResponse"
  readonly id?: string
  readonly parts: ReadonlyArray<Part>
  readonly finishReason: FinishReason
  /** The log-probability of each token of the text, when requested and provided. */
  readonly logprobs?: ReadonlyArray<number>
  /** The model's words when it refused. */
  readonly refusal?: string
}

/** The schema of the vectors of a request. */
export const EmbeddingResponse = Schema.TaggedStruct("EmbeddingResponse", {
  ...common,
  vectors: Schema.Array(Schema.Array(Schema.Finite))
})

/** The vectors of the texts of a request, in their order. */
export interface EmbeddingResponse extends Common {
  readonly _tag: "EmbeddingResponse"
  /** One vector per input, in order. */
  readonly vectors: ReadonlyArray<ReadonlyArray<number>>
}

const Probabilities = Schema.Record(Schema.String, Schema.Finite)

/** The schema of the answer to a question. */
export const Answer = Schema.Union([
  Schema.Struct({
    type: Schema.Literal("predicate"),
    value: Schema.Boolean,
    probability: Schema.optionalKey(Schema.Finite)
  }),
  Schema.Struct({
    type: Schema.Literal("choice"),
    value: Schema.String,
    probabilities: Schema.optionalKey(Probabilities),
    confidence: Schema.optionalKey(Schema.Finite)
  }),
  Schema.Struct({
    type: Schema.Literal("score"),
    value: Schema.Finite,
    probabilities: Schema.optionalKey(Probabilities),
    confidence: Schema.optionalKey(Schema.Finite)
  }),
  Schema.Struct({ type: Schema.Literal("refusal") })
])

/**
 * The answer to a question. `value` of a predicate is whether it holds, of a choice the value, and of a score its place
 * on the scale: 0 for the lowest level, and between two levels a fraction. Probabilities, of the statement or by value
 * or label, are absent where the provider gives none. A `refusal` is the model's.
 */
export type Answer = typeof Answer.Type

/**
 * The probability of the answer that was given, from 0 to 1; `undefined` where the provider gives none. Of a score it is
 * that of the likeliest level.
 */
export const certainty = (answer: Answer): number | undefined => {
  switch (answer.type) {
    case "predicate":
      return answer.probability === undefined ? undefined : answer.value ? answer.probability : 1 - answer.probability
    case "choice":
      return answer.probabilities?.[answer.value] ?? answer.confidence
    case "score":
      return answer.confidence ?? (answer.probabilities && Math.max(...Object.values(answer.probabilities)))
    case "refusal":
      return undefined
  }
}

/** The schema of the answers to the questions of a request. */
export const DecisionResponse = Schema.TaggedStruct("DecisionResponse", {
  ...common,
  id: Schema.optionalKey(Schema.String),
  answers: Schema.Record(Schema.String, Answer),
  by: Schema.optionalKey(Schema.Literal("completion"))
})

/** The answers to the questions of a request. */
export interface DecisionResponse extends Common {
  readonly _tag: "DecisionResponse"
  readonly id?: string
  /** By the names of the questions. */
  readonly answers: { readonly [question: string]: Answer }
  /** The provider has no decisions: a completion has answered, without probabilities. */
  readonly by?: "completion"
}

/** The answer to a completion, vectors, or the answers to questions. */
export const ModelResponse = Schema.Union([CompletionResponse, EmbeddingResponse, DecisionResponse])

export type ModelResponse = typeof ModelResponse.Type

/** The answer to a kind of request. */
export interface ByRequest {
  readonly Completion: CompletionResponse
  readonly Embedding: EmbeddingResponse
  readonly Decision: DecisionResponse
}

/** The response to a request, by its type. */
export type ResponseTo<R extends ModelRequest.ModelRequest> = ByRequest[R["_tag"]]

/**
 * A kept answer as the answer to a request; `undefined` when there is none, or when it answers another kind of request. A
 * cache of your own needs no cast with it.
 */
export const forRequest = <R extends ModelRequest.ModelRequest>(
  request: R,
  kept: ModelResponse | undefined
): ResponseTo<R> | undefined => (kept?._tag === `${request._tag}Response` ? (kept as ResponseTo<R>) : undefined)

/** What is kept of an answer that is not returned, with the answers that it discarded itself. */
export const toDiscarded = (response: ModelResponse): ReadonlyArray<Discarded> => [
  {
    provider: response.provider,
    model: response.model,
    requestedModel: response.requestedModel,
    ...(response.usage === undefined ? undefined : { usage: response.usage }),
    ...(response.serviceTier === undefined ? undefined : { serviceTier: response.serviceTier }),
    origin: response.origin
  },
  ...(response.discarded ?? [])
]

/** Returns an answer again, at no cost. */
export const again = <R extends ModelResponse>(response: R, origin: Exclude<Origin, "provider">): R => ({
  ...response,
  origin,
  ...(response.discarded === undefined
    ? undefined
    : { discarded: response.discarded.map((one) => ({ ...one, origin })) })
})

/** Adds a service tier that the answer was billed in. */
export const inTier = <R extends ModelResponse>(response: R, tier: string): R => ({
  ...response,
  serviceTier: response.serviceTier === undefined ? tier : `${response.serviceTier}+${tier}`
})

/** The text of an answer; empty for vectors, decisions, and answers with tool calls only. */
export const text = (response: ModelResponse): string =>
  response._tag !== "CompletionResponse"
    ? ""
    : response.parts.map((part) => (part.type === "text" ? part.text : "")).join("")

const NAME = /^[^\p{Cc}\p{Cf}]{1,200}$/u

/**
 * Removes invalid billing data from an answer of any provider: a model or provider name that is not a single line, an invalid
 * service tier, and a usage that is not made of counts. What is removed is unknown.
 */
export const sound = <R extends ModelResponse>(response: R): R => {
  const { model, provider, serviceTier, usage } = response
  const hasName = typeof model === "string" && NAME.test(model)
  const hasTier = serviceTier === undefined || (typeof serviceTier === "string" && NAME.test(serviceTier))
  const hasUsage = usage === undefined || Usage.isSound(usage)
  if (hasName && hasTier && hasUsage && typeof provider === "string") return response
  const { serviceTier: _tier, usage: _usage, ...rest } = response
  return {
    ...rest,
    provider: typeof provider === "string" ? provider : "",
    model: hasName ? model : String(response.requestedModel),
    ...(hasTier && serviceTier !== undefined ? { serviceTier } : undefined),
    ...(hasUsage && usage !== undefined ? { usage } : undefined)
  } as R
}

/**
 * Decodes an answer that a store returns as JSON; none when the text is not an answer. It checks only what readers rely
 * on, because a schema would cost more than the look-up.
 */
export const decode = (json: string): Option.Option<ModelResponse> => {
  try {
    const response = JSON.parse(json) as ModelResponse
    return isAnswer(response) ? Option.some(sound(response)) : Option.none()
  } catch {
    return Option.none()
  }
}

const isAnswer = (response: ModelResponse): boolean =>
  typeof response.requestedModel === "string"
  && origins.includes(response.origin)
  && (response._tag === "CompletionResponse"
    ? FinishReason.literals.includes(response.finishReason) && response.parts.every(isPart)
    : response._tag === "EmbeddingResponse"
      ? response.vectors.every(Array.isArray)
      : response._tag === "DecisionResponse" && Object.values(response.answers).every(isAnswerOf))

const isAnswerOf = Schema.is(Answer)

const isPart = (part: Part): boolean =>
  typeof part.type === "string"
  && ((part.type !== "text" && part.type !== "reasoning") || typeof part.text === "string")

/** Tests whether a completion was truncated at its output limit. */
export const isTruncated = (response: ModelResponse): boolean =>
  response._tag === "CompletionResponse" && response.finishReason === "length"

/** Tests whether a completion has a non-blank text, or a part other than text and reasoning. */
export const hasContent = ({ parts }: CompletionResponse): boolean =>
  parts.some((part) => (part.type === "text" ? /\S/.test(part.text) : part.type !== "reasoning"))

/** The visible content of an answer: its text, and its tool calls as JSON. */
export const shown = (response: CompletionResponse): string =>
  response.parts
    .flatMap((part) =>
      part.type === "text"
        ? [part.text]
        : part.type === "tool-call"
          ? [JSON.stringify({ tool: part.name, arguments: part.params })]
          : []
    )
    .join("\n")

/** Finish reasons of answers that did not end by themselves. */
const BROKEN: ReadonlySet<FinishReason> = new Set<FinishReason>(["length", "content-filter", "error", "pause", "other"])

/**
 * Tests whether an answer is complete: it ended by itself and has content. Everything that keeps answers uses this
 * rule. In a step, an incomplete answer is a failure unless the caller accepts it. When the provider gives no finish
 * reason, the answer counts as ended.
 */
export const isComplete = (response: ModelResponse): boolean => {
  switch (response._tag) {
    case "EmbeddingResponse":
      return response.vectors.length > 0
    case "DecisionResponse":
      return Object.values(response.answers).every(({ type }) => type !== "refusal")
    case "CompletionResponse":
      return !BROKEN.has(response.finishReason) && response.refusal === undefined && hasContent(response)
  }
}

/** Changes the texts of an answer. Tool calls, vectors and decisions stay the same. */
export const mapText = <R extends ModelResponse>(response: R, f: (text: string) => string): R =>
  response._tag === "CompletionResponse"
    ? {
        ...response,
        parts: response.parts.map((part) =>
          part.type === "text" || part.type === "reasoning" ? { ...part, text: f(part.text) } : part
        )
      }
    : response
