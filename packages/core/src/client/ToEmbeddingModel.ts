/**
 * `effect/ai`'s `EmbeddingModel` on top of a `ModelClient`.
 *
 * **Details** Concurrent calls of `EmbeddingModel.embed` with the same model and settings are sent as one request. A
 * text that the provider refuses fails alone. Choose the model with `ModelSettings`, or with the `model` of a step or
 * flow.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as RequestResolver from "effect/RequestResolver"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as RequestKey from "../model/RequestKey.ts"
import * as Usage from "../model/Usage.ts"
import * as ChatModel from "../price/ChatModel.ts"
import type * as Pricing from "../price/Pricing.ts"
import * as CallOutcome from "./CallOutcome.ts"
import * as CallContext from "./CallContext.ts"
import * as EmbeddingParts from "./EmbeddingParts.ts"
import * as ModelClient from "./ModelClient.ts"
import * as ModelSettings from "./ModelSettings.ts"
import type * as CallState from "./CallState.ts"

/** The `EmbeddingModel` of a client. */
export const make = (
  client: ModelClient.Service,
  pricing?: Pricing.Service
): Effect.Effect<EmbeddingModel.EmbeddingModel> => {
  const unfit = unfitFor(client, pricing)
  const send = (inputs: ReadonlyArray<string>) =>
    Effect.withFiber<ModelResponse.EmbeddingResponse, AiError.AiError>((fiber) => {
      const request = requestOf(inputs, fiber.getRef(ModelSettings.ModelSettings))
      return unfit(request, fiber) ?? client.send(request)
    })
  const resolver = makeResolver(send)
  const whole = EmbeddingModel.make({
    embedMany: ({ inputs }) =>
      Effect.map(send(inputs), (response) => ({
        results: response.vectors.map((vector) => [...vector]),
        usage: { inputTokens: response.usage === undefined ? undefined : Usage.inputTokens(response.usage) }
      }))
  })
  return Effect.map(whole, (model) => ({ ...model, resolver, embed: embedBy(resolver, client.resolve, unfit) }))
}

type Unfit = (
  request: ModelRequest.Embedding,
  fiber: Fiber.Fiber<unknown, unknown>
) => Effect.Effect<never, AiError.AiError> | undefined

/** Refuses a request that names a model which answers in text: a provider would fail every row, or charge for nothing. */
const unfitFor = ({ resolve }: ModelClient.Service, pricing: Pricing.Service | undefined): Unfit => {
  if (pricing === undefined) return () => undefined
  const known = new Map<string, boolean>()
  return (request, fiber) => {
    const { model = "" } = resolve(request, fiber.getRef(CallContext.CallContext))
    let isChat = known.get(model)
    if (isChat === undefined) {
      isChat = ChatModel.isChat(pricing, model, fiber.getRef(Clock.Clock).currentTimeMillisUnsafe())
      known.set(model, isChat)
    }
    return isChat ? Effect.fail(chatModel(model)) : undefined
  }
}

const chatModel = (model: string): AiError.AiError =>
  AiError.make({
    module: "EmbeddingModel",
    method: "embed",
    reason: new AiError.InvalidRequestError({
      description: `${model} answers in text and makes no vectors, so nothing was sent: name an embedding model, as the provider's \`embeddings\` (OpenAi.layer({ embeddings: "text-embedding-3-small" })) or the step's \`model\``,
      constraint: ModelFailure.setUp
    })
  })

const requestOf = (inputs: ReadonlyArray<string>, settings: ModelSettings.ModelSettings): ModelRequest.Embedding =>
  ModelRequest.embedding({
    inputs,
    ...(settings.model === undefined ? undefined : { model: settings.model }),
    ...(settings.dimensions === undefined ? undefined : { dimensions: settings.dimensions }),
    ...(settings.providerOptions === undefined ? undefined : { providerOptions: settings.providerOptions })
  })

type Resolver = RequestResolver.RequestResolver<EmbeddingModel.EmbeddingRequest>

/** Groups the texts that are requested together. */
const makeResolver = (
  send: (inputs: ReadonlyArray<string>) => Effect.Effect<ModelResponse.EmbeddingResponse, AiError.AiError>
): Resolver => {
  /**
   * Rows that may be suspended send their own requests: a row cannot be suspended while it waits for another row's
   * call.
   */
  const numbers = new WeakMap<CallState.SuspendedRow, number>()
  let number = 0
  const accepted: EmbeddingParts.Accepted = { most: Number.POSITIVE_INFINITY }
  const numberOf = (row: CallState.SuspendedRow | undefined): number => {
    if (row === undefined) return 0
    const known = numbers.get(row) ?? ++number
    numbers.set(row, known)
    return known
  }
  return RequestResolver.makeGrouped<EmbeddingModel.EmbeddingRequest, string>({
    key: ({ context }) =>
      RequestKey.canonical([
        Context.get(context, ModelSettings.ModelSettings),
        Context.get(context, CallContext.CallContext).step,
        numberOf(Context.get(context, CallContext.CallContext).state.row)
      ]),
    resolver: (entries) =>
      EmbeddingParts.together(
        // A text that several rows have is sent once.
        [...Map.groupBy(entries, ({ request }) => request.input)],
        // Only the answer shows whether a row's own text has failed; other texts of the request do not matter.
        (some) =>
          Effect.provideContext(
            CallContext.provideState({ outcome: undefined })(send(some.map(([text]) => text))),
            entries[0].context
          ),
        (some, exit) => {
          for (const [at, [, same]] of some.entries()) {
            const embedded = Exit.map(exit, ({ vectors }) => new EmbeddingModel.EmbedResponse({ vector: vectors[at]! }))
            for (const entry of same) entry.completeUnsafe(embedded)
          }
        },
        accepted
      )
  })
}

/** The vector of one text. The row's request is its own text, whichever request carries it. */
const embedBy =
  (resolver: Resolver, resolve: ModelClient.Service["resolve"], unfit: Unfit): EmbeddingModel.EmbeddingModel["embed"] =>
  (input) =>
    Effect.withFiber((fiber) => {
      const request = requestOf([input], fiber.getRef(ModelSettings.ModelSettings))
      const refused = unfit(request, fiber)
      if (refused !== undefined) return refused
      const embedded = Effect.onExitPrimitive(
        Effect.withSpan(
          Effect.request(new EmbeddingModel.EmbeddingRequest({ input }), resolver),
          "EmbeddingModel.embed"
        ),
        (exit) => {
          const note = Exit.isFailure(exit) ? CallOutcome.failed : CallOutcome.succeeded
          note(fiber, request)
          return undefined
        }
      )
      const watch = CallContext.stateOf(fiber).interceptor
      if (watch === undefined) return embedded
      const sent = Effect.map(
        CallContext.provideState({ interceptor: undefined })(embedded),
        ({ vector }): ModelResponse.EmbeddingResponse => ({
          _tag: "EmbeddingResponse",
          provider: "",
          model: request.model ?? "",
          requestedModel: request.model ?? "",
          origin: "provider",
          vectors: [vector]
        })
      )
      return Effect.map(
        watch(request, () => resolve(request, fiber.getRef(CallContext.CallContext)), sent),
        ({ vectors }) => new EmbeddingModel.EmbedResponse({ vector: vectors[0]! })
      )
    })

/** Provides `EmbeddingModel` from the `ModelClient` in context. */
export const layer: Layer.Layer<EmbeddingModel.EmbeddingModel, never, ModelClient.ModelClient> = Layer.effect(
  EmbeddingModel.EmbeddingModel,
  Effect.flatMap(ModelClient.ModelClient, (client) => make(client))
)
