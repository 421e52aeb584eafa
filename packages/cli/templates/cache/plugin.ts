/** A cache in memory, for the time of a run. Put `memory()` at the top of a stack, above retries. */
import {
  CallContext,
  LayerAnnotations,
  ModelClient,
  type ModelRequest,
  ModelResponse,
  RequestKey,
  Sharing
} from "@pipe/core"
import { Context, Effect } from "effect"

/** `middlewareService`, because a plan asks the built layer what it holds. */
export const memory = () =>
  ModelClient.middlewareService(
    (next) =>
      Effect.sync(() => {
        const kept = new Map<string, ModelResponse.ModelResponse>()
        // Equal requests at the same time are sent once.
        const share = Sharing.make()
        // The key is the request as it reaches the provider.
        const keyOf = (request: ModelRequest.ModelRequest, call: CallContext.CallContext) =>
          RequestKey.content(next.resolve(request, call))
        return {
          resolve: next.resolve,
          send: <R extends ModelRequest.ModelRequest>(request: R) =>
            Effect.flatMap(CallContext.CallContext, (call) => {
              const key = keyOf(request, call)
              const known = ModelResponse.forRequest(request, kept.get(key))
              if (known !== undefined) return Effect.succeed(ModelResponse.again(known, "cache"))
              const keep = (response: ModelResponse.ModelResponse) => Effect.sync(() => void kept.set(key, response))
              return share(key, Effect.tap(next.send(request), keep))
            }),
          annotations: Context.make(LayerAnnotations.Cached, {
            peek: (request, call) => Effect.sync(() => kept.get(keyOf(request, call)))
          })
        }
      }),
    // A kept answer is the provider's own.
    { name: "Memory", answers: false }
  )
