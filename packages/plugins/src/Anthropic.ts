/**
 * Anthropic's messages API: tools, JSON Schema answers, images, documents, and prompt caching.
 *
 * **Details** Key and address default to `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL`. Calls use a connection pool.
 * With `transport: "sdk"` they go through the official SDK, with its retries off, which gives the same answers and
 * costs more CPU. The API requires an output limit: for requests without one, `maxTokens` applies. Set prompt-cache
 * breakpoints in the options of a message or part: `{ anthropic: { cacheControl: { type: "ephemeral" } } }`.
 *
 * **Example** (the bottom of a stack)
 *
 * ```ts
 * import { Anthropic } from "@pipe/plugins"
 *
 * export const claude = Anthropic.layer({ model: "claude-haiku-4-5", maxTokens: 1024 })
 * ```
 *
 * @since 0.1.0
 */
import * as OptionNames from "@pipe/core/internal/OptionNames"
import * as Endpoint from "@pipe/core/Endpoint"
import * as ModelClient from "@pipe/core/ModelClient"
import * as ModelRequest from "@pipe/core/ModelRequest"
import * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Batches from "./anthropic/Batches.ts"
import * as Client from "./anthropic/Client.ts"
import * as MessageAnswer from "./anthropic/MessageAnswer.ts"
import * as Messages from "./anthropic/Messages.ts"
import * as Body from "./transport/Body.ts"
import * as Credentials from "./transport/Credentials.ts"
import * as ModelList from "./transport/ModelList.ts"
import * as Reply from "./transport/Reply.ts"

/** The options of `Anthropic.layer`. */
export interface Options {
  /** The model of requests that name none. */
  readonly model?: string
  /** The output limit of requests without one. Default: 4,096 tokens. */
  readonly maxTokens?: number
  /** Default: `ANTHROPIC_API_KEY`. */
  readonly apiKey?: string | Redacted.Redacted
  /** Default: `ANTHROPIC_BASE_URL`, or Anthropic's own address. */
  readonly baseUrl?: string
  /**
   * Identifies the endpoint in keys, when its address is not Anthropic's own: give two addresses of one service the
   * same name. Default: the address.
   */
  readonly endpoint?: string
  /** `"sdk"` sends calls through the SDK. Default: `"pool"`. */
  readonly transport?: "pool" | "sdk"
  /**
   * How the required JSON is specified. `"schema"`: the provider enforces the schema. `"prompt"`: the prompt describes
   * the schema, which can then be any, and the answer is only checked here. Default: `"schema"`.
   */
  readonly structuredOutput?: "schema" | "prompt"
  /** Streams answers, which keeps connections alive during long ones. Default: `false`. */
  readonly stream?: boolean
  /** The time limit of a call. Default: 10 minutes. */
  readonly timeout?: Duration.Input
  /** The most connections of the pool. Default: 256. */
  readonly connections?: number
  /** Additional headers of every call. */
  readonly headers?: { readonly [name: string]: string }
}

const OFFICIAL = "https://api.anthropic.com"

/** Provides a client of Anthropic's API. */
export const layer = (options: Options = {}): Layer.Layer<ModelClient.ModelClient, AiError.AiError> => {
  Credentials.remember(options)
  OptionNames.check("Anthropic.layer", options, [
    "model",
    "maxTokens",
    "apiKey",
    "baseUrl",
    "endpoint",
    "transport",
    "structuredOutput",
    "stream",
    "timeout",
    "connections",
    "headers"
  ])
  OptionNames.checkDurations("Anthropic.layer", options, ["timeout"])
  OptionNames.checkNumbers("Anthropic.layer", options, { connections: OptionNames.COUNT, maxTokens: OptionNames.COUNT })
  return Layer.effect(
    ModelClient.ModelClient,
    Effect.gen(function* () {
      const override = (yield* Endpoint.Overrides)["anthropic"]
      const { apiKey, baseUrl, isSet, keySource } = yield* Credentials.resolve({
        module: Client.MODULE,
        override,
        apiKey: options.apiKey,
        baseUrl: options.baseUrl,
        keyName: "ANTHROPIC_API_KEY",
        urlName: "ANTHROPIC_BASE_URL",
        official: OFFICIAL,
        headers: options.headers ?? {}
      })
      const settings: Client.Options = {
        module: Client.MODULE,
        apiKey,
        baseUrl,
        keySource,
        timeout: Duration.toMillis(Duration.fromInputUnsafe(options.timeout ?? "10 minutes")),
        headers: options.headers ?? {},
        connections: options.connections ?? 256
      }
      const transport = yield* options.transport === "sdk" ? Client.makeSdk(settings) : Client.makePool(settings)
      const bodyOptions: Messages.Options = {
        defaultMaxTokens: options.maxTokens ?? 4_096,
        structuredOutput: options.structuredOutput ?? "schema"
      }
      const ask = asking(settings, transport, bodyOptions, options.stream === true)
      const send = ModelClient.handle({
        Embedding: () => refuse("Anthropic has no embeddings API: use another provider for them"),
        Completion: (request) =>
          request.model === undefined
            ? refuse("no model is named: give one to Anthropic.layer({ model }), to the step, or to a Router")
            : ask(request, request.model)
      })
      return ModelClient.provider({
        name: "anthropic",
        isRedirected: true,
        resolve: (request) => withLimit(options.maxTokens, withModel(options.model, request)),
        send,
        answers: options.structuredOutput === "prompt" ? [options.model, "prompt"] : options.model,
        endpoint: override === undefined ? (options.endpoint ?? Credentials.endpointOf(baseUrl, OFFICIAL)) : undefined,
        batch: Batches.make({ ...settings, ...bodyOptions }),
        credentials: { name: keySource, isSet },
        check: ModelList.check(settings, "/v1/models", Client.headersOf(settings))
      })
    })
  )
}

/** Sends a request to a model. */
const asking =
  (settings: Client.Options, transport: Reply.Transport, options: Messages.Options, isStreamed: boolean) =>
  (request: ModelRequest.Completion, model: string) =>
    Effect.flatMap(
      Body.make(Client.MODULE, () => {
        const body = Messages.toBody(request, model, options)
        return Body.encode(isStreamed ? { ...body, stream: true } : body)
      }),
      (body) => {
        const format = MessageAnswer.format(model)
        return Reply.answer(settings, format, transport("/v1/messages", body, isStreamed ? format.assembly : undefined))
      }
    )

const withModel = <R extends ModelRequest.ModelRequest>(model: string | undefined, request: R): R =>
  request.model === undefined && model !== undefined ? ModelRequest.withModel(request, model) : request

/** The layer's own limit is a setting of the request, so it is part of the keys. */
const withLimit = <R extends ModelRequest.ModelRequest>(maxTokens: number | undefined, request: R): R =>
  request._tag === "Completion" && maxTokens !== undefined && request.settings.maxTokens === undefined
    ? { ...request, settings: { ...request.settings, maxTokens } }
    : request

const refuse = (description: string): Effect.Effect<never, AiError.AiError> =>
  Effect.fail(
    AiError.make({ module: Client.MODULE, method: "send", reason: new AiError.InvalidRequestError({ description }) })
  )
