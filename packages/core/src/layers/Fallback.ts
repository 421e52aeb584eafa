/**
 * Other models for a request that the first could not answer: the next one of a list gets the same request.
 *
 * **Details** Put it above `Retry`, so that a model is given up only when its retries are. The next model is asked when
 * the provider is down or limits (after retries), the account or key fails, the request does not fit the context window,
 * or the content is refused; not when the request itself is wrong, since it would be wrong there too. Messages, tools,
 * schema and settings go along unchanged; the answer carries the model that gave it.
 *
 * **Example** (two models behind the first)
 *
 * ```ts
 * import { Fallback } from "@pipe/core"
 *
 * export const fallback = Fallback.layer(["gpt-4o-mini", "gpt-4.1-mini", "gpt-4o"])
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as ModelRequest from "../data/ModelRequest.ts"
import type * as ModelResponse from "../data/ModelResponse.ts"
import * as ModelClient from "../seam/ModelClient.ts"
import * as ModelFailure from "../seam/ModelFailure.ts"

/** The models in the order in which they are asked. A request that names another model starts with that one. */
export const layer = (
  models: readonly [string, ...Array<string>]
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> =>
  ModelClient.middlewareEffect((next) => {
    const first: ModelClient.Resolve = (request) =>
      request.model === undefined ? ModelRequest.withModel(request, models[0]) : request
    const ask = <R extends ModelRequest.ModelRequest>(
      request: R,
      rest: ReadonlyArray<string>
    ): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> =>
      rest.length === 0 ? next.send(request) : Effect.catch(next.send(request), (error) =>
        mayHelp(error) ? ask(ModelRequest.withModel(request, rest[0]!), rest.slice(1)) : Effect.fail(error))
    return Effect.succeed<ModelClient.Service>({
      resolve: (request) => next.resolve(first(request)),
      send: (request) => {
        const start = first(request)
        return ask(start, models.filter((model) => model !== start.model))
      }
    })
  }, { name: "Fallback", answers: models[0] })

/** Whether another model may do better with the same request. */
const mayHelp = (error: AiError.AiError): boolean => {
  const kind = ModelFailure.kind(error)
  return kind !== "final" && kind !== "output" && kind !== "budget"
}
