/** Asks a model whether a prompt is harmful before it is sent. Put `guardrail()` above retries, and below the cache. */
import { Failure, LayerAnnotations, ModelClient, ModelRequest, ModelResponse } from "@pipe/core"
import { Context, Effect } from "effect"

/** A model named here answers the question; without one, the default of the provider does. */
const question = (request: ModelRequest.Completion) =>
  ModelRequest.completion({
    messages: [{ role: "user", content: `Is this harmful? Reply yes or no.\n\n${ModelRequest.text(request)}` }]
  })

/** `aside` sends the layer's own question: it has nothing of the step's call but its run, row and budget. */
export const guardrail = () =>
  ModelClient.completionMiddleware(
    (send) => (request) =>
      Effect.flatMap(ModelClient.aside("guardrail", send)(question(request)), (verdict) =>
        /^yes\b/i.test(ModelResponse.text(verdict))
          ? Effect.fail(Failure.refused("the guardrail rejects the prompt", { module: "Guardrail" }))
          : send(request)
      ),
    {
      name: "Guardrail",
      // A plan shows the questions in lines of their own: `reply / guardrail`.
      annotations: Context.make(LayerAnnotations.Asks, (request) =>
        request._tag === "Completion" ? [{ purpose: "guardrail", request: question(request) }] : []
      )
    }
  )
