/**
 * Sends a call with the endpoint's key, or with its current token. A token that is refused is renewed, and the call is
 * sent once more: a call with an invalid token is not billed.
 *
 * @internal
 */
import * as Failure from "@pipe/core/Failure"
import * as ModelFailure from "@pipe/core/ModelFailure"
import type * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Endpoint from "./Endpoint.ts"

/** How a token is sent unless the endpoint says otherwise (RFC 6750). */
export const bearer = (key: string): Endpoint.Headers => ({ authorization: `Bearer ${key}` })

/** Nothing was sent to the endpoint, so nothing is billed there. */
const unsent =
  (module: string) =>
  (error: AiError.AiError): AiError.AiError =>
    ModelFailure.mayBeBilled(error)
      ? Failure.lost(`the token cannot be fetched: ${ModelFailure.message(error)}`, { module, isBilled: false })
      : error

export const send = <A extends { readonly status: number }>(
  { authorize = bearer, module, timeout, tokens }: Endpoint.Endpoint,
  call: (headers: Endpoint.Headers) => Effect.Effect<A, AiError.AiError>
): Effect.Effect<A, AiError.AiError> => {
  if (tokens === undefined) return call({})
  const current = Effect.timeoutOrElse(Effect.mapError(tokens.current, unsent(module)), {
    duration: timeout,
    orElse: () =>
      Effect.fail(
        Failure.lost(`the token was not fetched within ${Duration.format(Duration.millis(timeout))}`, {
          module,
          isBilled: false
        })
      )
  })
  const attempt = Effect.flatMap(current, (token) => Effect.map(call(authorize(token)), (reply) => ({ reply, token })))
  return Effect.flatMap(attempt, ({ reply, token }) =>
    reply.status === 401
      ? Effect.andThen(
          tokens.forget(token),
          Effect.map(attempt, (again) => again.reply)
        )
      : Effect.succeed(reply)
  )
}
