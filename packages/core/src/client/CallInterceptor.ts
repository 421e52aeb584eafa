/**
 * Intercepts the calls of a step at the top of the stack. It receives each request and the effect that sends it, and
 * returns what to run instead.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as CallContext from "./CallContext.ts"
import type * as ModelClient from "./ModelClient.ts"

export type CallInterceptor = <R extends ModelRequest.ModelRequest>(
  request: R,
  send: Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError>,
  call: CallContext.CallContext
) => Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError>

export const CallInterceptor = Context.Reference<CallInterceptor | undefined>("@pipe/core/CallInterceptor", {
  defaultValue: () => undefined
})

/**
 * A client whose requests can be intercepted. Requests that its layers send on their own are not requests of the step.
 */
export const over = (client: ModelClient.Service): ModelClient.Service => ({
  ...client,
  send: (request) =>
    Effect.withFiber((fiber) => {
      const watch = fiber.getRef(CallInterceptor)
      const sent = client.send(request)
      return watch === undefined
        ? sent
        : watch(request, Effect.provideService(sent, CallInterceptor, undefined), fiber.getRef(CallContext.CallContext))
    })
})
