/**
 * OpenAI and every endpoint that speaks its API: chat completions, responses and embeddings, with tools, JSON Schema
 * answers, and images in prompts.
 *
 * **Details** The key and the address come from `OPENAI_API_KEY` and `OPENAI_BASE_URL` where the options do not give them.
 * The SDK's own retries are off: `Retry` does that, once. Calls go by a pool of connections, typed by the SDK; with
 * `transport: "sdk"` they go through the SDK itself, which gives the same and costs more CPU.
 *
 * **Example** (the bottom of a stack)
 *
 * ```ts
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const openai = OpenAi.layer({ model: "gpt-4o-mini" })
 * export const local = OpenAi.layer({ model: "llama3", baseUrl: "http://localhost:11434/v1", apiKey: "none" })
 * ```
 *
 * @since 0.1.0
 */
import * as OptionNames from "@pipe/core/OptionNames"
import * as Endpoint from "@pipe/core/Endpoint"
import * as ModelClient from "@pipe/core/ModelClient"
import * as ModelRequest from "@pipe/core/ModelRequest"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import * as Pricing from "@pipe/core/Pricing"
import * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Batches from "./openai/Batches.ts"
import * as Chat from "./openai/Chat.ts"
import * as Client from "./openai/Client.ts"
import * as Embeddings from "./openai/Embeddings.ts"
import * as Responses from "./openai/Responses.ts"
import * as Credentials from "./transport/Credentials.ts"

export interface Options {
  /** The model of requests that name none. */
  readonly model?: string
  /** Default: `OPENAI_API_KEY`. */
  readonly apiKey?: string | Redacted.Redacted
  /** Default: `OPENAI_BASE_URL`, or OpenAI's own. It usually ends in `/v1`. */
  readonly baseUrl?: string
  /** Which API completions use. Default: `"chat"`. */
  readonly api?: "chat" | "responses"
  /** The provider, as price tables name it. Default: the one that the base URL belongs to, or `"openai"`. */
  readonly provider?: string
  /** `"sdk"`: calls go through the SDK itself. Default: `"pool"`. */
  readonly transport?: "pool" | "sdk"
  /** Has chat completions sent as a stream, which survives long answers behind proxies that end silent connections. Through the SDK. Default: `false`. */
  readonly stream?: boolean
  /** Whole time for a call. Default: 10 minutes. */
  readonly timeout?: Duration.Input
  /** Most connections of the pool. Default: 256. */
  readonly connections?: number
  /** How the endpoint says that a request is too long for its window, where it has words of its own: such a request goes to a larger model, and is not tried again. */
  readonly overflow?: RegExp
  /** More headers for every call. */
  readonly headers?: { readonly [name: string]: string }
}

const OFFICIAL = "https://api.openai.com/v1"

/** A provider that speaks OpenAI's API. */
export const layer = (
  options: Options = {}
): Layer.Layer<ModelClient.ModelClient, AiError.AiError, Pricing.Pricing> => {
  Credentials.remember(options)
  OptionNames.check("OpenAi.layer", options, [
    "model",
    "apiKey",
    "baseUrl",
    "api",
    "provider",
    "transport",
    "stream",
    "timeout",
    "connections",
    "overflow",
    "headers"
  ])
  return Layer.effect(
    ModelClient.ModelClient,
    Effect.gen(function* () {
      const pricing = yield* Pricing.Pricing
      const override = (yield* Endpoint.Overrides)["openai"]
      const { apiKey, baseUrl, keySource } = yield* Credentials.resolve({
        module: Client.MODULE,
        override,
        apiKey: options.apiKey,
        baseUrl: options.baseUrl,
        keyName: "OPENAI_API_KEY",
        urlName: "OPENAI_BASE_URL",
        official: OFFICIAL
      })
      const settings: Client.Options = {
        baseUrl,
        apiKey,
        keySource,
        overflow: options.overflow,
        headers: options.headers ?? {},
        timeout: Duration.toMillis(Duration.fromInputUnsafe(options.timeout ?? "10 minutes")),
        connections: options.connections ?? 256
      }
      const stream = options.stream ?? false
      const client =
        options.transport === "sdk" || stream
          ? yield* Client.makeSdk({ ...settings, stream })
          : yield* Client.makePool(settings)
      const provider =
        options.provider ?? Option.getOrElse(pricing.providerOf(options.baseUrl ?? baseUrl), () => "openai")
      const chat: Chat.Options = {
        provider,
        maxTokensField: baseUrl === OFFICIAL ? "max_completion_tokens" : "max_tokens"
      }
      const send = (
        request: ModelRequest.ModelRequest
      ): Effect.Effect<ModelResponse.ModelResponse, AiError.AiError> => {
        const { model } = request
        if (model === undefined) return Effect.fail(noModel)
        if (request._tag === "Embedding") return Embeddings.send(client, request, model, provider)
        return options.api === "responses"
          ? Responses.send(client, request, model, provider)
          : Chat.send(client, request, model, chat)
      }
      return ModelClient.provider({
        name: provider,
        isRedirected: true,
        resolve: (request) =>
          request.model === undefined && options.model !== undefined
            ? ModelRequest.withModel(request, options.model)
            : request,
        send: send as ModelClient.Send,
        answers: [options.model, options.api],
        batch: Batches.make({ ...settings, api: options.api ?? "chat", chat })
      })
    })
  )
}

const noModel = AiError.make({
  module: Client.MODULE,
  method: "send",
  reason: new AiError.InvalidRequestError({
    description: "no model is named: give one to OpenAi.layer({ model }), to the step, or to a Router"
  })
})
