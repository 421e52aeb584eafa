/**
 * Replaces a provider that cannot be redirected: it sends to the simulator with OpenAI's API.
 *
 * @internal
 */
import type * as BatchProvider from "@pipe/core/BatchProvider"
import type * as ModelRequest from "@pipe/core/ModelRequest"
import type { ResponseTo } from "@pipe/core/ModelResponse"
import type * as Simulation from "@pipe/core/internal/Simulation"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Api from "../openai/Api.ts"
import * as Batches from "../openai/Batches.ts"
import * as Client from "../openai/Client.ts"
import * as RequestNotes from "./RequestNotes.ts"

/** The time limit of an answer, in milliseconds. */
const TIMEOUT = 600_000

const endpointAt = (baseUrl: string): Client.Options => ({
  module: Client.MODULE,
  baseUrl,
  apiKey: "no-key-needed",
  keySource: "the simulator",
  headers: {},
  timeout: TIMEOUT,
  connections: 256
})

/** Sends to a simulator at an address. */
export const make = (
  baseUrl: string
): Effect.Effect<Pick<Simulation.Simulation, "answer" | "batch">, never, Scope.Scope> =>
  Effect.map(Client.makePool(endpointAt(baseUrl)), (transport) => {
    const apis = new Map<string, Api.Api>()
    const apiOf = (provider: string): Api.Api => {
      let api = apis.get(provider)
      if (api === undefined) {
        api = Api.make({ provider, api: "chat", isOfficial: true, structuredOutput: "schema", stream: false })
        apis.set(provider, api)
      }
      return api
    }
    const answer = <R extends ModelRequest.ModelRequest>(
      provider: string,
      request: R
    ): Effect.Effect<ResponseTo<R>, AiError.AiError> => {
      const sent = plain(provider, request)
      return Api.send(apiOf(provider), endpointAt(baseUrl), transport, sent, sent.model) as Effect.Effect<
        ResponseTo<R>,
        AiError.AiError
      >
    }
    const batch = (provider: string): BatchProvider.BatchProvider => {
      const batch = Batches.make(endpointAt(baseUrl), apiOf(provider))
      return { ...batch, encode: (customId, request) => batch.encode(customId, plain(provider, request)) }
    }
    return { answer, batch }
  })

/** Options for a provider of another kind do not reach the simulator, except the number of the note. */
const plain = (provider: string, request: ModelRequest.ModelRequest) => ({
  ...request,
  model: request.model ?? provider,
  providerOptions: RequestNotes.only(request)
})
