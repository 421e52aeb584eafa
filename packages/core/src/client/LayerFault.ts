/**
 * Names the layer that breaks the contract of `send`: one that interrupts itself, or returns something that is not an
 * answer. The row fails with the name; the run continues.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { ModelRequest } from "../model/ModelRequest.ts"
import type { ResponseTo } from "../model/ModelResponse.ts"
import type { Send } from "./Send.ts"
import * as Suspension from "./Suspension.ts"

/** A layer that breaks the contract of `send`. */
class LayerFault extends Error {
  override readonly name = "LayerFault"
}

/** A function that sends, with the name of its layer in what it does wrong. */
export const named = (name: string, send: Send): Send => {
  /** Not called when the row itself is interrupted from outside. */
  const onFailure = <R extends ModelRequest>(
    cause: Cause.Cause<AiError.AiError>
  ): Effect.Effect<ResponseTo<R>, AiError.AiError> =>
    Cause.hasInterruptsOnly(cause) && !Suspension.isSuspended(cause)
      ? Effect.die(new LayerFault(`layer ${name} interrupted the call`))
      : Effect.failCause(cause)
  return <R extends ModelRequest>(request: R) => {
    const tag = request._tag === "Completion" ? "CompletionResponse" : "EmbeddingResponse"
    return Effect.matchCauseEffect(send(request), {
      onFailure: (cause) => onFailure<R>(cause),
      onSuccess: (response) =>
        // An author may have cast: what comes from a layer is checked like what comes from outside.
        response?._tag === tag
          ? Effect.succeed(response)
          : Effect.die(new LayerFault(`layer ${name} returned something that is not a ${tag}`))
    })
  }
}
