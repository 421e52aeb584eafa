/**
 * Sends a call with the endpoint's key, or with its current token. A token that is refused is renewed, and the call is
 * sent once more: a call with an invalid token is not billed.
 *
 * @internal
 */
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type * as Endpoint from "./Endpoint.ts"

/** How a token is sent unless the endpoint says otherwise (RFC 6750). */
export const bearer = (key: string): Endpoint.Headers => ({ authorization: `Bearer ${key}` })

export const send = <A extends { readonly status: number }>(
  { authorize = bearer, tokens }: Endpoint.Endpoint,
  call: (headers: Endpoint.Headers) => Effect.Effect<A, AiError.AiError>
): Effect.Effect<A, AiError.AiError> => {
  if (tokens === undefined) return call({})
  const attempt = Effect.flatMap(tokens.current, (token) =>
    Effect.map(call(authorize(token)), (reply) => ({ reply, token }))
  )
  return Effect.flatMap(attempt, ({ reply, token }) =>
    reply.status === 401
      ? Effect.andThen(
          tokens.forget(token),
          Effect.map(attempt, (again) => again.reply)
        )
      : Effect.succeed(reply)
  )
}
