/**
 * Anthropic's messages API: tools, JSON Schema answers, images and documents, prompt caching.
 *
 * **Details** The key and the address come from `ANTHROPIC_API_KEY` and `ANTHROPIC_BASE_URL` where the options do not give
 * them. Calls go by a pool of connections; with `transport: "sdk"` they go through the official SDK, its own retries off, which gives
 * the same and costs more CPU. The API wants an output limit: where a request has none,
 * `maxTokens` is it. Breakpoints of the prompt cache are set on a message's or part's options:
 * `{ anthropic: { cacheControl: { type: "ephemeral" } } }`.
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
import type * as ModelResponse from "@pipe/core/ModelResponse"
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
import * as Reply from "./transport/Reply.ts"

export interface Options {
  /** The model of requests that name none. */
  readonly model?: string
  /** Output limit of requests that have none. Default: 4,096 tokens. */
  readonly maxTokens?: number
  /** Default: `ANTHROPIC_API_KEY`. */
  readonly apiKey?: string | Redacted.Redacted
  /** Default: `ANTHROPIC_BASE_URL`, or Anthropic's own. */
  readonly baseUrl?: string
  /**
   * What answers are known by in the place of an address that is not Anthropic's own: give two addresses of one service the same.
   * Default: the address.
   */
  readonly endpoint?: string
  /** `"sdk"`: calls go through the SDK itself. Default: `"pool"`. */
  readonly transport?: "pool" | "sdk"
  /**
   * How it is told which JSON an answer is to be. `"schema"`: it holds the answer to the schema. `"prompt"`: the prompt tells the
   * schema, which may then be any, and the answer is checked here alone. Default: `"schema"`.
   */
  readonly structuredOutput?: "schema" | "prompt"
  /** Has answers sent as a stream, which survives long ones. Default: `false`. */
  readonly stream?: boolean
  /** Whole time for a call. Default: 10 minutes. */
  readonly timeout?: Duration.Input
  /** Most connections of the pool. Default: 256. */
  readonly connections?: number
  /** More headers for every call. */
  readonly headers?: { readonly [name: string]: string }
}

const OFFICIAL = "https://api.anthropic.com"

/** A provider that speaks Anthropic's API. */
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
      const { apiKey, baseUrl, keySource } = yield* Credentials.resolve({
        module: Client.MODULE,
        override,
        apiKey: options.apiKey,
        baseUrl: options.baseUrl,
        keyName: "ANTHROPIC_API_KEY",
        urlName: "ANTHROPIC_BASE_URL",
        official: OFFICIAL,
        headers: options.headers ?? {}
      })
      const timeout = Duration.toMillis(Duration.fromInputUnsafe(options.timeout ?? "10 minutes"))
      const settings: Client.Options = {
        module: Client.MODULE,
        apiKey,
        baseUrl,
        keySource,
        timeout,
        headers: options.headers ?? {},
        connections: options.connections ?? 256
      }
      const transport = yield* options.transport === "sdk" ? Client.makeSdk(settings) : Client.makePool(settings)
      const bodyOptions: Messages.Options = {
        defaultMaxTokens: options.maxTokens ?? 4_096,
        structuredOutput: options.structuredOutput ?? "schema"
      }
      const isStreamed = options.stream === true
      const ask = (request: ModelRequest.Completion, model: string) =>
        Effect.flatMap(
          Body.make(Client.MODULE, () => {
            const body = Messages.toBody(request, model, bodyOptions)
            return Body.encode(isStreamed ? { ...body, stream: true } : body)
          }),
          (body) => {
            const format = MessageAnswer.format(model)
            return Reply.answer(
              settings,
              format,
              transport("/v1/messages", body, isStreamed ? format.assembly : undefined)
            )
          }
        )
      const send = (request: ModelRequest.ModelRequest): Effect.Effect<ModelResponse.ModelResponse, AiError.AiError> =>
        request._tag === "Embedding"
          ? refuse("Anthropic has no embeddings API: use another provider for them")
          : request.model === undefined
            ? refuse("no model is named: give one to Anthropic.layer({ model }), to the step, or to a Router")
            : ask(request, request.model)
      return ModelClient.provider({
        name: "anthropic",
        isRedirected: true,
        resolve: (request) => withLimit(options.maxTokens, withModel(options.model, request)),
        send: send as ModelClient.Send,
        answers: options.structuredOutput === "prompt" ? [options.model, "prompt"] : options.model,
        endpoint: override === undefined ? (options.endpoint ?? Credentials.endpointOf(baseUrl, OFFICIAL)) : undefined,
        batch: Batches.make({ ...settings, ...bodyOptions })
      })
    })
  )
}

const withModel = <R extends ModelRequest.ModelRequest>(model: string | undefined, request: R): R =>
  request.model === undefined && model !== undefined ? ModelRequest.withModel(request, model) : request

/** The layer's own limit is a setting of the request, by which answers are known. */
const withLimit = <R extends ModelRequest.ModelRequest>(maxTokens: number | undefined, request: R): R =>
  request._tag === "Completion" && maxTokens !== undefined && request.settings.maxTokens === undefined
    ? { ...request, settings: { ...request.settings, maxTokens } }
    : request

const refuse = (description: string): Effect.Effect<never, AiError.AiError> =>
  Effect.fail(
    AiError.make({ module: Client.MODULE, method: "send", reason: new AiError.InvalidRequestError({ description }) })
  )
