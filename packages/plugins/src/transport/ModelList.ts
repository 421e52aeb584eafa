/**
 * Checks that an endpoint accepts a key, by the list of its models, which is free.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type * as Endpoint from "./Endpoint.ts"

/** Returns what was found in words. */
export const check = (
  { baseUrl, keySource, module }: Endpoint.Endpoint,
  path: string,
  headers: { readonly [name: string]: string }
): Effect.Effect<string, AiError.AiError> => {
  const failure = (reason: AiError.AiErrorReason) => AiError.make({ module, method: "check", reason })
  return Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(baseUrl + path, { headers, signal })
      await response.body?.cancel()
      return response
    },
    catch: (error) => {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
      const words = cause instanceof Error ? cause.message : String(cause)
      return failure(new AiError.UnknownError({ description: `${baseUrl} does not answer: ${words}` }))
    }
  }).pipe(
    Effect.flatMap(({ ok, status }) =>
      status === 401 || status === 403
        ? Effect.fail(
            failure(
              new AiError.AuthenticationError({
                kind: "InvalidKey",
                description: `${baseUrl} does not take the key from ${keySource} (${status})`
              })
            )
          )
        : status >= 500
          ? Effect.fail(
              failure(new AiError.UnknownError({ description: `${baseUrl} answers ${status}: try again later` }))
            )
          : Effect.succeed(
              ok
                ? `${baseUrl} takes the key from ${keySource}`
                : `${baseUrl} answers ${status} to a list of its models; some compatible endpoints have no such list`
            )
    ),
    Effect.timeoutOrElse({
      duration: "10 seconds",
      orElse: () =>
        Effect.fail(failure(new AiError.UnknownError({ description: `${baseUrl} does not answer within 10 seconds` })))
    })
  )
}
