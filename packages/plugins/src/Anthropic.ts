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
import * as ModelClient from "@pipe/core/ModelClient"
import type * as ModelRequest from "@pipe/core/ModelRequest"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Batches from "./anthropic/Batches.ts"
import * as Client from "./anthropic/Client.ts"
import * as MessageAnswer from "./anthropic/MessageAnswer.ts"
import * as Messages from "./anthropic/Messages.ts"
import * as Body from "./provider/Body.ts"
import * as Connection from "./provider/Connection.ts"
import type * as Operation from "./provider/Operation.ts"
import * as Provider from "./provider/Provider.ts"
import * as Sdk from "./provider/Sdk.ts"

/** The options of `Anthropic.layer`. */
export interface Options extends Omit<Connection.Options, "embeddings"> {
  /** The output limit of requests without one. Default: 4,096 tokens. */
  readonly maxTokens?: number
  /** `"sdk"` sends calls through the SDK. Default: `"pool"`. */
  readonly transport?: "pool" | "sdk"
  /**
   * How the required JSON is specified. `"schema"`: the provider enforces the schema. `"prompt"`: the prompt describes
   * the schema, which can then be any, and the answer is only checked here. Default: `"schema"`.
   */
  readonly structuredOutput?: "schema" | "prompt"
}

/** The version of the API (docs.anthropic.com/en/api/versioning). */
const VERSION = "2023-06-01"

const address: Connection.Address = {
  module: Client.MODULE,
  baseUrl: "https://api.anthropic.com",
  environment: { apiKey: "ANTHROPIC_API_KEY", baseUrl: "ANTHROPIC_BASE_URL" },
  headers: { "anthropic-version": VERSION },
  wire: "anthropic"
}

/** Provides a client of Anthropic's API. */
export const layer = (options: Options = {}): Layer.Layer<ModelClient.ModelClient, AiError.AiError> => {
  Connection.check("Anthropic.layer", options, [
    ...Connection.optionNames.filter((name) => name !== "embeddings"),
    "maxTokens",
    "transport",
    "structuredOutput"
  ])
  OptionNames.checkNumbers("Anthropic.layer", options, { maxTokens: OptionNames.COUNT })
  return Layer.effect(
    ModelClient.ModelClient,
    Effect.gen(function* () {
      const connection = yield* Connection.make(address, options)
      const transport = yield* options.transport === "sdk"
        ? Sdk.transport(connection, Client.loadSdk)
        : Connection.pool(connection)
      const messages: Messages.Options = {
        defaultMaxTokens: options.maxTokens ?? 4_096,
        structuredOutput: options.structuredOutput ?? "schema"
      }
      return Provider.make(
        connection,
        transport,
        {
          name: "anthropic",
          completion: completion(messages),
          batchProvider: () => Batches.make(connection, messages),
          models: "/v1/models",
          resolve: (request) => withLimit(options.maxTokens, request),
          answers: options.structuredOutput === "prompt" ? [options.model, "prompt"] : options.model
        },
        options
      )
    })
  )
}

const completion = (options: Messages.Options): Operation.CompletionOperation => ({
  path: () => "/v1/messages",
  body: (request, { model }) => Body.make(Client.MODULE, () => Messages.toBody(request, model, options)),
  format: ({ model }) => MessageAnswer.format(model),
  streamed: (body) => ({ ...body, stream: true })
})

/** The layer's own limit is a setting of the request, so it is part of the keys. */
const withLimit = <R extends ModelRequest.ModelRequest>(maxTokens: number | undefined, request: R): R =>
  request._tag === "Completion" && maxTokens !== undefined && request.settings.maxTokens === undefined
    ? { ...request, settings: { ...request.settings, maxTokens } }
    : request
