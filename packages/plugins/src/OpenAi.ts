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
 * export const withVectors = OpenAi.layer({ model: "gpt-4o-mini", embeddings: "text-embedding-3-small" })
 * export const local = OpenAi.layer({ model: "llama3", baseUrl: "http://localhost:11434/v1", apiKey: "none" })
 * ```
 *
 * @since 0.1.0
 */
import * as ModelClient from "@pipe/core/ModelClient"
import * as Pricing from "@pipe/core/Pricing"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Api from "./openai/Api.ts"
import * as Batches from "./openai/Batches.ts"
import * as Client from "./openai/Client.ts"
import * as Connection from "./provider/Connection.ts"
import * as Provider from "./provider/Provider.ts"
import * as Sdk from "./provider/Sdk.ts"

/** The options of `OpenAi.layer`. */
export interface Options extends Connection.Options {
  /**
   * The API for completions. Default: chat completions, and responses for what a model takes there only: tools of models
   * that think, and the effort `max`.
   */
  readonly api?: "chat" | "responses"
  /**
   * How the required JSON is specified. `"schema"`: the endpoint enforces the schema; a model that refuses it receives
   * it in the prompt from then on. `"prompt"`: the prompt describes it from the start, as endpoints like DeepSeek's
   * need. Default: `"schema"`.
   */
  readonly structuredOutput?: "schema" | "prompt"
  /**
   * Whether decisions go to `/decisions`. Default: at OpenAI, for the models that it takes there. A completion answers
   * others, without probabilities.
   */
  readonly decisions?: boolean
  /** The provider's name in price tables. Default: the one that the base URL belongs to, or `"openai"`. */
  readonly provider?: string
  /** `"sdk"` sends calls through the SDK. Default: `"pool"`. */
  readonly transport?: "pool" | "sdk"
}

const OFFICIAL = "https://api.openai.com/v1"

const address: Connection.Address = {
  module: Client.MODULE,
  baseUrl: OFFICIAL,
  environment: { apiKey: "OPENAI_API_KEY", baseUrl: "OPENAI_BASE_URL" },
  wire: "openai",
  addressEnd: "/v1"
}

/** Provides a client of OpenAI's API. */
export const layer = (
  options: Options = {}
): Layer.Layer<ModelClient.ModelClient, AiError.AiError, Pricing.Pricing> => {
  Connection.check("OpenAi.layer", options, [
    ...Connection.optionNames,
    "api",
    "structuredOutput",
    "decisions",
    "provider",
    "transport"
  ])
  return Layer.effect(
    ModelClient.ModelClient,
    Effect.gen(function* () {
      const pricing = yield* Pricing.Pricing
      const connection = yield* Connection.make(address, options)
      const { baseUrl } = connection
      const transport = yield* options.transport === "sdk"
        ? Sdk.transport(connection, Client.loadSdk)
        : Connection.pool(connection)
      const name = options.provider ?? Option.getOrElse(pricing.providerOf(options.baseUrl ?? baseUrl), () => "openai")
      const api = Api.make({
        provider: name,
        api: options.api,
        structuredOutput: options.structuredOutput ?? "schema",
        isOfficial: baseUrl === OFFICIAL,
        // A gateway of that name may have chat completions alone.
        hasResponses: connection.place === undefined || name === "azure",
        // Other endpoints may have models of the same names.
        decisions: options.decisions ?? (connection.place === undefined ? undefined : false)
      })
      return Provider.make(
        connection,
        transport,
        {
          name,
          completion: api.completion,
          embedding: api.embedding,
          decision: api.decision,
          batchProvider: () => Batches.make(connection, api),
          // With an API of the author's choice, what it lacks is refused.
          ...(options.api === undefined ? { leavesOut: api.leavesOut } : undefined),
          serviceTiers: api.serviceTiers,
          models: "/models",
          answers: [
            ...Provider.modelsOf(options),
            options.api,
            ...(options.structuredOutput === "prompt" ? ["prompt"] : [])
          ]
        },
        { ...options, pricing }
      )
    })
  )
}
