/**
 * Which of OpenAI's APIs a request goes to, as which body, and how its answers are read: the same for single calls and batches.
 *
 * @internal
 */
import type * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Body from "../transport/Body.ts"
import * as Reply from "../transport/Reply.ts"
import * as Chat from "./Chat.ts"
import * as ChatAnswer from "./ChatAnswer.ts"
import * as Client from "./Client.ts"
import * as Embeddings from "./Embeddings.ts"
import * as Responses from "./Responses.ts"
import * as ResponsesAnswer from "./ResponsesAnswer.ts"

export interface Options extends Chat.Options {
  readonly api: "chat" | "responses"
  /** Whether completions are sent as a stream. */
  readonly stream: boolean
}

/** One way for requests to go. */
export interface Route {
  readonly path: "/chat/completions" | "/responses" | "/embeddings"
  readonly toBody: (request: ModelRequest.ModelRequest, model: string) => object
  /** The body of a request whose answer comes as a stream. */
  readonly streamed?: (body: object) => object
  readonly format: (model: string, inputs?: number) => Reply.Format<ModelResponse.ModelResponse>
}

export interface Api {
  readonly provider: string
  readonly routeOf: (request: ModelRequest.ModelRequest) => Route
  /** The route whose answers have this form. */
  readonly routeFor: (object: unknown) => Route
}

export const make = (options: Options): Api => {
  const { provider } = options
  const chat: Route = {
    path: "/chat/completions",
    toBody: (request, model) => Chat.toBody(request as ModelRequest.Completion, model, options),
    ...(options.stream
      ? { streamed: (body: object) => ({ ...body, stream: true, stream_options: { include_usage: true } }) }
      : undefined),
    format: (model) => ChatAnswer.format({ provider, model })
  }
  const responses: Route = {
    path: "/responses",
    toBody: (request, model) => Responses.toBody(request as ModelRequest.Completion, model, provider),
    ...(options.stream ? { streamed: (body: object) => ({ ...body, stream: true }) } : undefined),
    format: (model) => ResponsesAnswer.format({ provider, model })
  }
  const embeddings: Route = {
    path: "/embeddings",
    toBody: (request, model) => Embeddings.toBody(request as ModelRequest.Embedding, model),
    format: (model, inputs) => Embeddings.format({ provider, model }, inputs)
  }
  const completions = options.api === "responses" ? responses : chat
  return {
    provider,
    routeOf: (request) => (request._tag === "Embedding" ? embeddings : completions),
    routeFor: (object) => (object === "list" ? embeddings : object === "response" ? responses : chat)
  }
}

/** Sends one request. */
export const send = (
  api: Api,
  endpoint: Client.Options,
  transport: Reply.Transport,
  request: ModelRequest.ModelRequest,
  model: string
): Effect.Effect<ModelResponse.ModelResponse, AiError.AiError> =>
  Effect.flatMap(
    Body.make(Client.MODULE, () => {
      const { streamed, toBody } = api.routeOf(request)
      const body = toBody(request, model)
      return Body.encode(streamed === undefined ? body : streamed(body))
    }),
    (body) => {
      const { format, path, streamed } = api.routeOf(request)
      const made = format(model, request._tag === "Embedding" ? request.inputs.length : undefined)
      return Reply.answer(endpoint, made, transport(path, body, streamed === undefined ? undefined : made.assembly))
    }
  )
