/**
 * How OpenAI's APIs answer: chat completions or responses, and embeddings, for single calls and batches alike.
 *
 * @internal
 */
import * as LayerEvent from "@pipe/core/LayerEvent"
import * as ModelFacts from "@pipe/core/internal/ModelFacts"
import * as ModelFailure from "@pipe/core/ModelFailure"
import type * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Body from "../provider/Body.ts"
import type * as Operation from "../provider/Operation.ts"
import type * as Provider from "../provider/Provider.ts"
import type * as Reply from "../provider/Reply.ts"
import * as StructuredOutput from "../provider/StructuredOutput.ts"
import * as Chat from "./Chat.ts"
import * as ChatAnswer from "./ChatAnswer.ts"
import * as Client from "./Client.ts"
import * as Decisions from "./Decisions.ts"
import * as Embeddings from "./Embeddings.ts"
import * as Responses from "./Responses.ts"
import * as ResponsesAnswer from "./ResponsesAnswer.ts"
import * as ServiceTiers from "./ServiceTiers.ts"

export interface Options extends Chat.Options {
  /** Default: chat completions, except for requests that a model takes as responses only. */
  readonly api?: "chat" | "responses" | undefined
  /** Whether the endpoint is known to have the responses API. Others translate tools and efforts for chat completions. */
  readonly hasResponses: boolean
  readonly structuredOutput: StructuredOutput.StructuredOutputMode
}

export interface Api {
  readonly provider: string
  readonly completion: Operation.CompletionOperation
  readonly embedding: Operation.EmbeddingOperation
  readonly decision: Operation.DecisionOperation
  readonly leavesOut: NonNullable<Provider.Api["leavesOut"]>
  readonly serviceTiers: NonNullable<Provider.Api["serviceTiers"]>
  /** The path of a request, and its body. */
  readonly pathOf: (request: ModelRequest.ModelRequest) => string
  readonly body: (
    request: ModelRequest.ModelRequest,
    model: string
  ) => Effect.Effect<object, AiError.AiError> | undefined
  /** How an answer of this form is read, whichever API was called. */
  readonly formatOf: (object: unknown, model: string) => Reply.Format<ModelResponse.ModelResponse>
}

/** The most texts and bytes of an embedding request (platform.openai.com/docs/api-reference/embeddings, accessed 2026-11-28). */
const LIMITS = { inputs: 2_048, bytes: 600_000 }

/** Tests whether a request is only taken as a response, or continues one: its thinking is sent back. */
const needsResponses = (provider: string, request: ModelRequest.Completion): boolean =>
  ModelFacts.needsResponses(request) || Responses.hasThinking(request, provider)

/** Settings that chat completions have and responses do not (platform.openai.com/docs/api-reference, 2026-11-30). */
const NOT_IN_RESPONSES = ["stop", "seed", "presencePenalty", "frequencyPenalty"] as const

const CHAT = "/chat/completions"
const RESPONSES = "/responses"
const EMBEDDINGS = "/embeddings"
const DECISIONS = "/decisions"

type IsChat = (request: ModelRequest.Completion | undefined) => boolean

/** Completions: what is sent of them, and how their answers are read. */
const completions = (options: Options, isChat: IsChat) => {
  const { provider } = options
  const warn = LayerEvent.once()
  /** Models that refuse a schema at this endpoint: the prompt describes it. */
  const untaught = new Set<string>()
  const modeOf = (model: string): StructuredOutput.StructuredOutputMode =>
    untaught.has(model) ? "prompt" : options.structuredOutput

  /** Parts that the provider will not enforce are reported once. */
  const body = (request: ModelRequest.Completion, model: string): Effect.Effect<object, AiError.AiError> => {
    const mode = modeOf(model)
    const made = Body.make(Client.MODULE, (): object =>
      isChat(request) ? Chat.toBody(request, model, options, mode) : Responses.toBody(request, model, provider, mode)
    )
    const loose = mode === "schema" ? Chat.looseness(request, model, provider) : undefined
    return loose === undefined
      ? made
      : Effect.andThen(
          warn(`${model} does not enforce ${loose}. It is sent as a hint, and answers are checked on arrival`),
          made
        )
  }

  const completion: Operation.CompletionOperation = {
    path: (_, request) => (isChat(request) ? CHAT : RESPONSES),
    body: (request, { model }) => body(request, model),
    format: ({ model, request }) => (isChat(request) ? ChatAnswer : ResponsesAnswer).format({ provider, model }),
    streamed: (body) => ({
      ...body,
      stream: true,
      ...("messages" in body ? { stream_options: { include_usage: true } } : undefined)
    }),
    learn: (error, { model, request }) => {
      const isText = request === undefined || request.responseFormat.type === "text"
      if (isText || options.structuredOutput === "prompt" || !StructuredOutput.isUnknownHere(error))
        return Effect.succeed(false)
      untaught.add(model)
      return Effect.as(
        warn(
          `${model} accepts no JSON Schema here (${ModelFailure.message(error).slice(0, 200)}): the prompt describes it from now on. To do so from the first call: structuredOutput: "prompt"`,
          `prompt ${model}`
        ),
        true
      )
    }
  }
  return { body, completion }
}

export const make = (options: Options): Api => {
  const { provider } = options
  const isChat: IsChat = (request) =>
    options.api === undefined
      ? request === undefined || !options.hasResponses || !needsResponses(provider, request)
      : options.api === "chat"
  const takesDecision = (model: string): boolean => options.decisions ?? Decisions.takes(model)
  const { body, completion } = completions(options, isChat)
  const vectors = (request: ModelRequest.Embedding, model: string) =>
    Body.make(Client.MODULE, () => Embeddings.toBody(request, model))
  return {
    provider,
    completion,
    embedding: {
      path: () => EMBEDDINGS,
      body: (request, { model }) => vectors(request, model),
      format: ({ model, request }) => Embeddings.format({ provider, model }, request?.inputs.length),
      limits: LIMITS
    },
    decision: {
      path: () => DECISIONS,
      body: (request, { model }) => Body.make(Client.MODULE, () => Decisions.toBody(request, model)),
      format: ({ model, request }) => Decisions.format({ provider, model }, request?.questions ?? []),
      takes: takesDecision
    },
    pathOf: (request) =>
      request._tag === "Embedding" ? EMBEDDINGS : request._tag === "Decision" || isChat(request) ? CHAT : RESPONSES,
    serviceTiers: {
      options: ServiceTiers.optionsOf(provider),
      of: (request) =>
        request._tag === "Decision" && takesDecision(request.model ?? "")
          ? Decisions.SERVICE
          : ServiceTiers.askedBy(request)
    },
    leavesOut: (request) =>
      isChat(request)
        ? undefined
        : { settings: NOT_IN_RESPONSES, because: "the responses API, which the model needs here, has none" },
    body: (request, model) => {
      switch (request._tag) {
        case "Embedding":
          return vectors(request, model)
        case "Completion":
          return body(request, model)
        // The batch API has none of them.
        case "Decision":
          return undefined
      }
    },
    formatOf: (object, model) =>
      object === "list"
        ? Embeddings.format({ provider, model }, undefined)
        : (object === "response" ? ResponsesAnswer : ChatAnswer).format({ provider, model })
  }
}
