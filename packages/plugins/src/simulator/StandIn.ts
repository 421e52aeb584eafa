/**
 * Replaces a provider that cannot be redirected: it sends to the simulator with OpenAI's API.
 *
 * @internal
 */
import type * as BatchProvider from "@pipe/core/BatchProvider"
import type * as ModelRequest from "@pipe/core/ModelRequest"
import * as ModelClient from "@pipe/core/ModelClient"
import type * as ModelResponse from "@pipe/core/ModelResponse"
import type * as Simulation from "@pipe/core/internal/Simulation"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Api from "../openai/Api.ts"
import * as Batches from "../openai/Batches.ts"
import * as Connection from "../provider/Connection.ts"
import * as Operation from "../provider/Operation.ts"
import * as RequestNotes from "./RequestNotes.ts"

const address: Connection.Address = {
  module: "OpenAi",
  baseUrl: "http://localhost",
  environment: { apiKey: "", baseUrl: "" }
}

/** Sends to a simulator at an address. */
export const make = (
  baseUrl: string
): Effect.Effect<Pick<Simulation.Simulation, "answer" | "batch">, never, Scope.Scope> =>
  Effect.gen(function* () {
    const connection = yield* Effect.orDie(Connection.make(address, { baseUrl, apiKey: "none" }))
    const transport = yield* Connection.pool(connection)
    const apis = new Map<string, Api.Api>()
    const apiOf = (provider: string): Api.Api => {
      let api = apis.get(provider)
      if (api === undefined) {
        api = Api.make({ provider, api: "chat", isOfficial: true, hasResponses: true, structuredOutput: "schema" })
        apis.set(provider, api)
      }
      return api
    }
    const answer = <R extends ModelRequest.ModelRequest>(provider: string, request: R) => {
      const { completion, decision, embedding } = apiOf(provider)
      const { model = provider } = request
      const sent =
        <S extends ModelRequest.ModelRequest, A extends ModelResponse.ResponseTo<S>>(
          operation: Operation.Operation<S, A>
        ) =>
        (request: S) =>
          Operation.send(operation, connection, transport, request, {
            asked: { provider, model, request },
            stream: false
          })
      const send = ModelClient.handle({
        Completion: sent(completion),
        Embedding: sent(embedding),
        ...(provider === "openai" && decision.takes(model) ? { Decision: sent(decision) } : undefined)
      })
      return send(plain(request, model))
    }
    const batch = (provider: string): BatchProvider.BatchProvider => {
      const batch = Batches.make(connection, apiOf(provider))
      return {
        ...batch,
        encode: (customId, request) => batch.encode(customId, plain(request, request.model ?? provider))
      }
    }
    return { answer, batch }
  })

/** Options for a provider of another kind do not reach the simulator, except the number of the note. */
const plain = <R extends ModelRequest.ModelRequest>(request: R, model: string): R => ({
  ...request,
  model,
  providerOptions: RequestNotes.only(request)
})
