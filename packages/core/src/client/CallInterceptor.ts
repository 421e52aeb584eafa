/**
 * Intercepts the calls of a step at the top of the stack.
 *
 * @internal
 */
import * as Effect from "effect/Effect"
import * as CallContext from "./CallContext.ts"
import type * as ModelClient from "./ModelClient.ts"

/**
 * A client whose requests can be intercepted. Requests that its layers send on their own are not requests of the step.
 */
export const over = (client: ModelClient.Service): ModelClient.Service => ({
  ...client,
  send: (request) =>
    Effect.withFiber((fiber) => {
      const call = fiber.getRef(CallContext.CallContext)
      const { interceptor } = call.state
      const sent = client.send(request)
      return interceptor === undefined
        ? sent
        : interceptor(
            request,
            () => client.resolve(request, call),
            CallContext.provideState({ interceptor: undefined })(sent)
          )
    })
})
