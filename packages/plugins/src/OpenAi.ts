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
import * as OptionNames from "@pipe/core/internal/OptionNames"
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
import * as Api from "./openai/Api.ts"
import * as Batches from "./openai/Batches.ts"
import * as Client from "./openai/Client.ts"
import * as Credentials from "./transport/Credentials.ts"

export interface Options {
  /** The model of requests that name none. */
  readonly model?: string
  /** Default: `OPENAI_API_KEY`. */
  readonly apiKey?: string | Redacted.Redacted
  /** Default: `OPENAI_BASE_URL`, or OpenAI's own. It usually ends in `/v1`. */
  readonly baseUrl?: string
  /**
   * What answers are known by in the place of an address that is not OpenAI's own: give two addresses of one service the same. Default:
   * the address, since another server of the same model answers otherwise.
   */
  readonly endpoint?: string
  /** Which API completions use. Default: `"chat"`. */
  readonly api?: "chat" | "responses"
  /**
   * How the endpoint is told which JSON an answer is to be. `"schema"`: it holds the answer to the schema; a model that refuses
   * that is told in the prompt from then on. `"prompt"`: the prompt tells it at once, which endpoints like DeepSeek's want. Default:
   * `"schema"`.
   */
  readonly structuredOutput?: "schema" | "prompt"
  /** The provider, as price tables name it. Default: the one that the base URL belongs to, or `"openai"`. */
  readonly provider?: string
  /** `"sdk"`: calls go through the SDK itself. Default: `"pool"`. */
  readonly transport?: "pool" | "sdk"
  /** Has completions sent as a stream, which survives long answers behind proxies that end silent connections. Default: `false`. */
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

/** Texts and tokens of a request for embeddings (platform.openai.com/docs/api-reference/embeddings, looked at 2026-11-28). */
const MOST_INPUTS = 2_048
const MOST_BYTES = 600_000

/** A provider that speaks OpenAI's API. */
export const layer = (
  options: Options = {}
): Layer.Layer<ModelClient.ModelClient, AiError.AiError, Pricing.Pricing> => {
  Credentials.remember(options)
  OptionNames.check("OpenAi.layer", options, [
    "model",
    "apiKey",
    "baseUrl",
    "endpoint",
    "api",
    "structuredOutput",
    "provider",
    "transport",
    "stream",
    "timeout",
    "connections",
    "overflow",
    "headers"
  ])
  OptionNames.checkDurations("OpenAi.layer", options, ["timeout"])
  OptionNames.checkNumbers("OpenAi.layer", options, { connections: OptionNames.COUNT })
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
        official: OFFICIAL,
        headers: options.headers ?? {}
      })
      const settings: Client.Options = {
        module: Client.MODULE,
        baseUrl,
        apiKey,
        keySource,
        overflow: options.overflow,
        headers: options.headers ?? {},
        timeout: Duration.toMillis(Duration.fromInputUnsafe(options.timeout ?? "10 minutes")),
        connections: options.connections ?? 256
      }
      const transport = yield* options.transport === "sdk" ? Client.makeSdk(settings) : Client.makePool(settings)
      const provider =
        options.provider ?? Option.getOrElse(pricing.providerOf(options.baseUrl ?? baseUrl), () => "openai")
      const api = Api.make({
        provider,
        api: options.api ?? "chat",
        structuredOutput: options.structuredOutput ?? "schema",
        isOfficial: baseUrl === OFFICIAL,
        stream: options.stream === true
      })
      const send = (request: ModelRequest.ModelRequest): Effect.Effect<ModelResponse.ModelResponse, AiError.AiError> =>
        request.model === undefined ? Effect.fail(noModel) : Api.send(api, settings, transport, request, request.model)
      return ModelClient.provider({
        name: provider,
        isRedirected: true,
        resolve: (request) =>
          request.model === undefined && options.model !== undefined
            ? ModelRequest.withModel(request, options.model)
            : request,
        send: send as ModelClient.Send,
        answers: [options.model, options.api, ...(options.structuredOutput === "prompt" ? ["prompt"] : [])],
        endpoint: override === undefined ? (options.endpoint ?? Credentials.endpointOf(baseUrl, OFFICIAL)) : undefined,
        embeddings: { inputs: MOST_INPUTS, bytes: MOST_BYTES },
        batch: Batches.make(settings, api)
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
