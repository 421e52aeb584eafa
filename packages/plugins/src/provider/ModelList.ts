/**
 * Checks that an endpoint accepts a key, by the list of its models, which is free.
 *
 * @internal
 */
import * as ModelFailure from "@pipe/core/ModelFailure"
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import type * as Connection from "./Connection.ts"

/** Returns what was found in words. */
export const check = (
  { baseUrl, http, isSet, keySource, module }: Connection.Connection,
  path: string
): Effect.Effect<string, AiError.AiError> => {
  const failed = (reason: AiError.AiErrorReason) => Effect.fail(AiError.make({ module, method: "check", reason }))
  const unknown = (description: string) => failed(new AiError.UnknownError({ description }))
  if (!isSet)
    return failed(new AiError.AuthenticationError({ kind: "MissingKey", description: `${keySource} is not set` }))
  return http.request("GET", path).pipe(
    Effect.tap((response) => Effect.promise(async () => response.body?.cancel())),
    Effect.catch((error) => unknown(`${baseUrl} does not answer: ${ModelFailure.message(error)}`)),
    Effect.flatMap(({ ok, status }) =>
      status === 401 || status === 403
        ? failed(
            new AiError.AuthenticationError({
              kind: "InvalidKey",
              description: `${baseUrl} does not take the key from ${keySource} (${status})`
            })
          )
        : status >= 500
          ? unknown(`${baseUrl} answers ${status}: try again later`)
          : Effect.succeed(
              ok
                ? `${baseUrl} takes the key from ${keySource}`
                : `${baseUrl} answers ${status} to a list of its models; some compatible endpoints have no such list`
            )
    ),
    Effect.timeoutOrElse({
      duration: "10 seconds",
      orElse: () => unknown(`${baseUrl} does not answer within 10 seconds`)
    })
  )
}
