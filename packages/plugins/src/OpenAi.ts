/**
 * OpenAI and every endpoint that speaks its API: chat completions, responses and embeddings, with tools, JSON Schema
 * answers, and images in prompts.
 *
 * **Details** Key and address default to `OPENAI_API_KEY` and `OPENAI_BASE_URL`. The SDK's own retries are off, because
 * `Retry` does that. Calls use a connection pool. With `transport: "sdk"` they go through the official SDK, which gives
 * the same answers and costs more CPU.
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
import * as ModelList from "./transport/ModelList.ts"

/** The options of `OpenAi.layer`. */
export interface Options {
  /** The model of requests that name none. */
  readonly model?: string
  /** Default: `OPENAI_API_KEY`. */
  readonly apiKey?: string | Redacted.Redacted
  /** Default: `OPENAI_BASE_URL`, or OpenAI's own address. It usually ends in `/v1`. */
  readonly baseUrl?: string
  /**
   * Identifies the endpoint in keys, when its address is not OpenAI's own: give two addresses of one service the same
   * name. Default: the address, because another server may answer differently for the same model.
   */
  readonly endpoint?: string
  /** The API for completions. Default: `"chat"`. */
  readonly api?: "chat" | "responses"
  /**
   * How the required JSON is specified. `"schema"`: the endpoint enforces the schema; a model that refuses it receives
   * it in the prompt from then on. `"prompt"`: the prompt describes it from the start, as endpoints like DeepSeek's
   * need. Default: `"schema"`.
   */
  readonly structuredOutput?: "schema" | "prompt"
  /** The provider's name in price tables. Default: the one that the base URL belongs to, or `"openai"`. */
  readonly provider?: string
  /** `"sdk"` sends calls through the SDK. Default: `"pool"`. */
  readonly transport?: "pool" | "sdk"
  /** Streams completions, which keeps connections alive behind proxies that close silent ones. Default: `false`. */
  readonly stream?: boolean
  /** The time limit of a call. Default: 10 minutes. */
  readonly timeout?: Duration.Input
  /** The most connections of the pool. Default: 256. */
  readonly connections?: number
  /**
   * Matches the endpoint's own message for a request that exceeds its context window: such a request goes to a larger
   * model and is not retried.
   */
  readonly overflow?: RegExp
  /** Additional headers of every call. */
  readonly headers?: { readonly [name: string]: string }
}

const OFFICIAL = "https://api.openai.com/v1"

/**
 * Texts and tokens of an embedding request (platform.openai.com/docs/api-reference/embeddings, accessed 2026-11-28).
 */
const MOST_INPUTS = 2_048
const MOST_BYTES = 600_000

/** Provides a client of OpenAI's API. */
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
      const { apiKey, baseUrl, isSet, keySource } = yield* Credentials.resolve({
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
        batch: Batches.make(settings, api),
        credentials: { name: keySource, isSet },
        check: ModelList.check(settings, "/models", Client.headersOf(settings))
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
