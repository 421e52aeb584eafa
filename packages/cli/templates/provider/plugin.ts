/** The provider of an API. Put `layer({ model: "nimbus-1" })` at the end of a Stack.make. */
import { ModelRequest } from "@pipe/core"
import { type Connection, Operation, Provider } from "@pipe/plugins/provider"
import { Schema } from "effect"

/** An answer, as the API sends it. */
const Answer = Schema.Struct({
  text: Schema.String,
  stop: Schema.String,
  tokens: Schema.Struct({ input: Schema.Int, output: Schema.Int })
})

/** The key is NIMBUS_API_KEY, unless an option gives it. */
export const layer = (options: Connection.Options = {}) =>
  Provider.layer(
    {
      name: "nimbus",
      baseUrl: "https://api.nimbus.example",
      completion: Operation.completion({
        path: "/v1/answer",
        accepts: ["maxTokens", "temperature"],
        body: (request, model) => ({
          model,
          prompt: ModelRequest.text(request),
          max_tokens: request.settings.maxTokens,
          temperature: request.settings.temperature
        }),
        answer: Answer,
        read: ({ stop, text, tokens }) => ({ text, finishReason: stop, usage: tokens })
      }),
      // USD per million tokens.
      prices: { "nimbus-1": { input: 2, output: 10 } }
    },
    options
  )
