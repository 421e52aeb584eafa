/**
 * What a model answered, as plain data, with what it consumed and where it came from.
 *
 * @since 0.1.0
 */
import type * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import * as Option from "effect/Option"
import type * as ModelRequest from "./ModelRequest.ts"
import * as Usage from "./Usage.ts"

/** A part of an answer, encoded as `effect/ai` encodes it; metadata and finish stand in fields of their own. */
export type Part = Exclude<Response.PartEncoded, Response.FinishPartEncoded | Response.ResponseMetadataPartEncoded>

const Part: Schema.Codec<Part> = Schema.Any

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
 * `provider`: paid for now; `cache`: kept from before; `shared`: given by an equal call that was on its way; `semantic`: kept
 * from before, to a question that means the same.
 */
export const origins = ["provider", "cache", "shared", "semantic"] as const

export const Origin = Schema.Literals(origins)

export type Origin = typeof Origin.Type

/** No answer of any origin. */
export const noAnswers: { readonly [O in Origin]: number } = { provider: 0, cache: 0, shared: 0, semantic: 0 }

/** An answer that was paid for and is not the one that is given. */
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
  /** The provider, as price tables name it: `"openai"`. */
  provider: Schema.String,
  /** The model that really answered, as the provider reports it. */
  model: Schema.String,
  /** The model that was asked for in the request that was sent. */
  requestedModel: Schema.String,
  /** What would have been asked without routing, where a router chose. */
  baselineModel: Schema.optionalKey(Schema.String),
  /** `undefined` when the provider did not say. */
  usage: Schema.optionalKey(Usage.Usage),
  /** The class of service that was billed, when it is not the ordinary one: `"flex"`, `"batch"`; several are joined: `"us+batch"`. */
  serviceTier: Schema.optionalKey(Schema.String),
  /** What the provider itself says that the call has cost, in USD. */
  reportedCost: Schema.optionalKey(Schema.Finite),
  /** What the request would have used by itself, as it was counted, where it was answered together with others. */
  unpacked: Schema.optionalKey(Usage.Usage),
  /** What was asked for this answer beside it: the doubted answers of cheaper models, and those of their judges. */
  discarded: Schema.optionalKey(Schema.Array(Discarded)),
  origin: Origin
}

export const CompletionResponse = Schema.TaggedStruct("CompletionResponse", {
  ...common,
  id: Schema.optionalKey(Schema.String),
  parts: Schema.Array(Part),
  finishReason: FinishReason,
  /** The log-probability of each token of the text, where they were asked for and the provider gives them. */
  logprobs: Schema.optionalKey(Schema.Array(Schema.Finite)),
  /** The words with which the model refused, if it did. */
  refusal: Schema.optionalKey(Schema.String)
})

export interface CompletionResponse extends Schema.Schema.Type<typeof CompletionResponse> {}

export const EmbeddingResponse = Schema.TaggedStruct("EmbeddingResponse", {
  ...common,
  /** One vector an input, in their order. */
  vectors: Schema.Array(Schema.Array(Schema.Finite))
})

export interface EmbeddingResponse extends Schema.Schema.Type<typeof EmbeddingResponse> {}

export const ModelResponse = Schema.Union([CompletionResponse, EmbeddingResponse])

export type ModelResponse = typeof ModelResponse.Type

/** The answer to a kind of request. */
export interface ByRequest {
  readonly Completion: CompletionResponse
  readonly Embedding: EmbeddingResponse
}

export type ResponseTo<R extends ModelRequest.ModelRequest> = ByRequest[R["_tag"]]

/** What is kept of an answer that was asked for beside another, and of those that it was asked for with. */
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

/** An answer that is given again: nothing of it is paid now. */
export const again = <R extends ModelResponse>(response: R, origin: Exclude<Origin, "provider">): R => ({
  ...response,
  origin,
  ...(response.discarded === undefined
    ? undefined
    : { discarded: response.discarded.map((one) => ({ ...one, origin })) })
})

/** The answer as one that was billed in a class of service too. */
export const inTier = <R extends ModelResponse>(response: R, tier: string): R => ({
  ...response,
  serviceTier: response.serviceTier === undefined ? tier : `${response.serviceTier}+${tier}`
})

/** The text of an answer; empty for vectors and for pure tool calls. */
export const text = (response: ModelResponse): string =>
  response._tag === "EmbeddingResponse"
    ? ""
    : response.parts.map((part) => (part.type === "text" ? part.text : "")).join("")

const NAME = /^[^\p{Cc}\p{Cf}]{1,200}$/u

/**
 * The answer with all that money hangs on of the kind that belongs there, whoever has made it: a model or provider that is no
 * name of one line, a class of service that is none and a usage that is no counts are left out, and so unknown.
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
 * The answer that a store gives back as JSON; none where the text is not one. What every reader relies on is looked at, and
 * no more: a schema would cost more than the look-up.
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
    : response._tag === "EmbeddingResponse" && response.vectors.every(Array.isArray))

const isPart = (part: Part): boolean =>
  typeof part.type === "string"
  && ((part.type !== "text" && part.type !== "reasoning") || typeof part.text === "string")

/** Whether a completion was cut at its output limit. */
export const isTruncated = (response: ModelResponse): boolean =>
  response._tag === "CompletionResponse" && response.finishReason === "length"

/** Whether a completion has a text that says something, or a part that is neither text nor reasoning. */
export const hasContent = ({ parts }: CompletionResponse): boolean =>
  parts.some((part) => (part.type === "text" ? /\S/.test(part.text) : part.type !== "reasoning"))

/** What an answer shows: its text, and its calls of tools as JSON. */
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

/** How answers end that did not end by themselves. */
const BROKEN: ReadonlySet<FinishReason> = new Set<FinishReason>(["length", "content-filter", "error", "pause", "other"])

/**
 * Whether an answer is whole: it ended by itself and holds something. The one rule for all that keeps answers, and for steps: one that
 * is not whole is a failure, unless the caller takes it. A provider that does not say how an answer ended is believed.
 */
export const isComplete = (response: ModelResponse): boolean =>
  response._tag === "EmbeddingResponse"
    ? response.vectors.length > 0
    : !BROKEN.has(response.finishReason) && response.refusal === undefined && hasContent(response)

/** The same answer with other texts; tool calls stay as they are, and so do vectors. */
export const mapText = <R extends ModelResponse>(response: R, f: (text: string) => string): R =>
  response._tag === "CompletionResponse"
    ? {
        ...response,
        parts: response.parts.map((part) =>
          part.type === "text" || part.type === "reasoning" ? { ...part, text: f(part.text) } : part
        )
      }
    : response
