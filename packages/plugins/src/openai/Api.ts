/**
 * Chooses OpenAI's API and the body for a request, and reads its answers, for single calls and batches alike.
 *
 * @internal
 */
import * as ModelFailure from "@pipe/core/ModelFailure"
import type * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import * as LayerEvent from "@pipe/core/LayerEvent"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Body from "../transport/Body.ts"
import * as Reply from "../transport/Reply.ts"
import * as StructuredOutput from "../transport/StructuredOutput.ts"
import * as Chat from "./Chat.ts"
import * as ChatAnswer from "./ChatAnswer.ts"
import * as Client from "./Client.ts"
import * as Embeddings from "./Embeddings.ts"
import * as Responses from "./Responses.ts"
import * as ResponsesAnswer from "./ResponsesAnswer.ts"

export interface Options extends Chat.Options {
  readonly api: "chat" | "responses"
  readonly structuredOutput: StructuredOutput.StructuredOutputMode
  /** Whether completions are streamed. */
  readonly stream: boolean
}

/** An API for some requests. */
export interface ApiRoute {
  readonly path: "/chat/completions" | "/responses" | "/embeddings"
  readonly toBody: (
    request: ModelRequest.ModelRequest,
    model: string,
    mode: StructuredOutput.StructuredOutputMode
  ) => object
  /** The body of a request whose answer is streamed. */
  readonly streamed?: (body: object) => object
  readonly format: (model: string, inputs?: number) => Reply.Format<ModelResponse.ModelResponse>
}

export interface Api {
  readonly provider: string
  readonly routeOf: (request: ModelRequest.ModelRequest) => ApiRoute
  /** The route whose answers have this form. */
  readonly routeFor: (object: unknown) => ApiRoute
  /** The body of a request. Parts that the provider will not enforce are reported once. */
  readonly body: (request: ModelRequest.ModelRequest, model: string) => Effect.Effect<object, AiError.AiError>
  /**
   * Whether a call failed because the endpoint accepts no schemas with this model: the prompt then describes them from
   * now on.
   */
  readonly learn: (model: string, error: AiError.AiError) => Effect.Effect<boolean>
}

export const make = (options: Options): Api => {
  const { provider } = options
  const chat: ApiRoute = {
    path: "/chat/completions",
    toBody: (request, model, mode) => Chat.toBody(request as ModelRequest.Completion, model, options, mode),
    ...(options.stream
      ? { streamed: (body: object) => ({ ...body, stream: true, stream_options: { include_usage: true } }) }
      : undefined),
    format: (model) => ChatAnswer.format({ provider, model })
  }
  const responses: ApiRoute = {
    path: "/responses",
    toBody: (request, model, mode) => Responses.toBody(request as ModelRequest.Completion, model, provider, mode),
    ...(options.stream ? { streamed: (body: object) => ({ ...body, stream: true }) } : undefined),
    format: (model) => ResponsesAnswer.format({ provider, model })
  }
  const embeddings: ApiRoute = {
    path: "/embeddings",
    toBody: (request, model) => Embeddings.toBody(request as ModelRequest.Embedding, model),
    format: (model, inputs) => Embeddings.format({ provider, model }, inputs)
  }
  const completions = options.api === "responses" ? responses : chat
  const routeOf = (request: ModelRequest.ModelRequest): ApiRoute =>
    request._tag === "Embedding" ? embeddings : completions
  const warn = LayerEvent.once()
  /** Models that refuse a schema at this endpoint. */
  const untaught = new Set<string>()
  const modeOf = (model: string): StructuredOutput.StructuredOutputMode =>
    untaught.has(model) ? "prompt" : options.structuredOutput
  return {
    provider,
    routeOf,
    routeFor: (object) => (object === "list" ? embeddings : object === "response" ? responses : chat),
    body: (request, model) => {
      const mode = modeOf(model)
      const made = Body.make(Client.MODULE, () => routeOf(request).toBody(request, model, mode))
      const loose =
        request._tag === "Completion" && mode === "schema" ? Chat.looseness(request, model, provider) : undefined
      return loose === undefined
        ? made
        : Effect.andThen(
            warn(`${model} does not enforce ${loose}. It is sent as a hint, and answers are checked on arrival`),
            made
          )
    },
    learn: (model, error) => {
      if (options.structuredOutput === "prompt" || !StructuredOutput.isUnknownHere(error)) return Effect.succeed(false)
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
}

/** Sends a request, and sends it again when the endpoint turns out to accept no schema. */
export const send = (
  api: Api,
  endpoint: Client.Options,
  transport: Reply.Transport,
  request: ModelRequest.ModelRequest,
  model: string
): Effect.Effect<ModelResponse.ModelResponse, AiError.AiError> => {
  const { format, path, streamed } = api.routeOf(request)
  const made = format(model, request._tag === "Embedding" ? request.inputs.length : undefined)
  const call = Effect.flatMap(
    Effect.suspend(() => api.body(request, model)),
    (body) =>
      Reply.answer(
        endpoint,
        made,
        transport(
          path,
          Body.encode(streamed === undefined ? body : streamed(body)),
          streamed === undefined ? undefined : made.assembly
        )
      )
  )
  return request._tag === "Embedding" || request.responseFormat.type === "text"
    ? call
    : Effect.catch(call, (error) =>
        Effect.flatMap(api.learn(model, error), (learned) => (learned ? call : Effect.fail(error)))
      )
}
