/**
 * Uses any provider of `effect/ai` as the bottom of a stack.
 *
 * **Example** (a provider layer from another package)
 *
 * ```ts
 * import { FromLanguageModel, Ledger, Stack } from "@pipe/core"
 * import { Effect, Layer, Stream } from "effect"
 * import { LanguageModel } from "effect/ai"
 *
 * const acme = LanguageModel.make({
 *   generateText: () => Effect.succeed([{ type: "text", text: "A lovely lamp." }]),
 *   streamText: () => Stream.empty
 * })
 *
 * export const stack = Stack.make(
 *   Ledger.layer,
 *   FromLanguageModel.layer({ provider: "acme", model: "acme-1" }).pipe(
 *     Layer.provide(Layer.effect(LanguageModel.LanguageModel, acme))
 *   )
 * )
 * ```
 *
 * **Gotchas** `effect/ai` takes sampling settings from the provider's own layer and not per call. A request that sets
 * any is refused, because it would be answered with other settings.
 *
 * @since 0.1.0
 */
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import type * as JsonSchema from "effect/JsonSchema"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as AnswerSchema from "../answer/AnswerSchema.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"
import * as ModelClient from "./ModelClient.ts"

/** The provider and model that the layer in context answers as. Prices and cache keys depend on them. */
export interface Options {
  /** As price tables name it, for example `"openai"`. */
  readonly provider: string
  readonly model: string
}

/**
 * Makes a `ModelClient` from the `LanguageModel` in context and, for embeddings, from the `EmbeddingModel` when there
 * is one.
 */
export const layer = (options: Options): Layer.Layer<ModelClient.ModelClient, never, LanguageModel.LanguageModel> =>
  Layer.effect(
    ModelClient.ModelClient,
    Effect.gen(function* () {
      const model = yield* LanguageModel.LanguageModel
      const embedder = yield* Effect.serviceOption(EmbeddingModel.EmbeddingModel)
      const send = ModelClient.handle({
        Completion: (request) => complete(model, options, request),
        Embedding: (request) => embed(embedder, options, request)
      })
      return ModelClient.provider({
        name: options.provider,
        resolve: (request) => ({ ...request, model: options.model }),
        send,
        answers: options.model,
        endpoint: `effect/ai ${options.provider}`
      })
    })
  )

const complete = Effect.fnUntraced(function* (
  model: LanguageModel.LanguageModel,
  options: Options,
  request: ModelRequest.Completion
) {
  const settings = Object.keys(request.settings)
  if (settings.length > 0) {
    return yield* refuse(`${settings.join(", ")}: set it on the effect/ai provider, which accepts no settings per call`)
  }
  const messages = yield* Schema.decodeUnknownEffect(Schema.Array(Prompt.Message))(request.messages).pipe(
    Effect.mapError((error) => refuse(error.message))
  )
  const call = {
    prompt: Prompt.fromMessages(messages),
    toolkit: Toolkit.make(
      ...request.tools.map((tool) =>
        Tool.dynamic(tool.name, {
          ...(tool.description === undefined ? undefined : { description: tool.description }),
          parameters: tool.parameters as JsonSchema.JsonSchema
        })
      )
    ),
    toolChoice: request.toolChoice,
    disableToolCallResolution: true as const
  }
  const answer =
    request.responseFormat.type === "text"
      ? yield* model.generateText(call as never) as unknown as Effect.Effect<
          LanguageModel.GenerateTextResponse<{}>,
          AiError.AiError
        >
      : yield* model.generateObject({
          ...call,
          objectName: request.responseFormat.name,
          schema: AnswerSchema.fromJson(request.responseFormat.schema as JsonSchema.JsonSchema)
        } as never) as unknown as Effect.Effect<LanguageModel.GenerateTextResponse<{}>, AiError.AiError>
  return toResponse(options, answer)
})

/** The parts of an answer. An object is returned as JSON, whatever form the provider used. */
const partsOf = (answer: LanguageModel.GenerateTextResponse<{}>): ReadonlyArray<ModelResponse.Part> => {
  const parts = answer.content
    .filter((part) => part.type !== "response-metadata" && part.type !== "finish")
    .map((part) => ({ ...part }) as ModelResponse.Part)
  const text = answer instanceof LanguageModel.GenerateObjectResponse ? JSON.stringify(answer.value) : undefined
  return text === undefined ? parts : [...parts.filter(({ type }) => type !== "text"), { type: "text", text }]
}

const toResponse = (
  options: Options,
  answer: LanguageModel.GenerateTextResponse<{}>
): ModelResponse.CompletionResponse => {
  const usage = Usage.ofAnswer(Usage.fromAi(answer.usage), answer.text !== "" || answer.toolCalls.length > 0)
  const metadata = answer.content.find((part) => part.type === "response-metadata")
  return {
    _tag: "CompletionResponse",
    provider: options.provider,
    model: metadata?.modelId ?? options.model,
    requestedModel: options.model,
    ...(metadata?.id === undefined ? undefined : { id: metadata.id }),
    ...(usage === undefined ? undefined : { usage }),
    parts: partsOf(answer),
    finishReason: answer.finishReason,
    origin: "provider"
  }
}

const embed = (
  embedder: Option.Option<EmbeddingModel.EmbeddingModel>,
  options: Options,
  request: ModelRequest.Embedding
): Effect.Effect<ModelResponse.EmbeddingResponse, AiError.AiError> =>
  Option.match(embedder, {
    onNone: () => Effect.fail(refuse("this stack has no EmbeddingModel: provide one next to the LanguageModel")),
    onSome: (model) =>
      // An invalid vector is a defect in the class that holds it.
      Effect.map(Effect.catchDefect(model.embedMany(request.inputs), unreadable), ({ embeddings, usage }) => {
        const counted = Usage.fromInclusive({ input: usage.inputTokens, output: 0 })
        return {
          _tag: "EmbeddingResponse" as const,
          provider: options.provider,
          model: options.model,
          requestedModel: options.model,
          ...(counted === undefined ? undefined : { usage: counted }),
          vectors: embeddings.map(({ vector }) => vector),
          origin: "provider" as const
        }
      })
  })

const unreadable = (defect: unknown): Effect.Effect<never, AiError.AiError> =>
  Effect.fail(
    AiError.make({
      module: "FromLanguageModel",
      method: "send",
      reason: new AiError.InvalidResponseError({
        description: `the EmbeddingModel returned no vectors: ${String(defect)}`
      })
    })
  )

const refuse = (description: string): AiError.AiError =>
  AiError.make({
    module: "FromLanguageModel",
    method: "send",
    reason: new AiError.InvalidRequestError({ description })
  })
