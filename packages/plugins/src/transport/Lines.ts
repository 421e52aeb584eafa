/**
 * Results that come as JSON Lines, read as they arrive.
 *
 * @internal
 */
import * as TextLine from "@pipe/core/TextLine"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as PoolTransport from "./PoolTransport.ts"

/** The lines of a download; one that is no JSON is left out with a warning: what it was for counts as not answered. */
export const parse = <A>(
  options: { readonly module: string; readonly baseUrl: string; readonly what: string },
  response: Effect.Effect<Response, AiError.AiError>
): Stream.Stream<A, AiError.AiError> =>
  Stream.suspend(() => {
    const bad: Array<number> = []
    const lines = Stream.unwrap(
      Effect.map(response, ({ body }) =>
        body === null
          ? Stream.empty
          : TextLine.split(
              Stream.fromReadableStream({
                evaluate: () => body as ReadableStream<Uint8Array>,
                onError: (error) =>
                  PoolTransport.toNetworkError({
                    module: options.module,
                    url: options.baseUrl,
                    error: error as Error,
                    sent: true
                  })
              })
            )
      )
    )
    return lines.pipe(
      Stream.map(({ number, text }) => {
        if (text.trim() === "") return undefined
        try {
          return JSON.parse(text) as A
        } catch {
          bad.push(number)
          return undefined
        }
      }),
      Stream.filter((line) => line !== undefined),
      Stream.concat(
        Stream.fromEffectDrain(
          Effect.suspend(() =>
            bad.length === 0
              ? Effect.void
              : Effect.logWarning(`${options.what}: not JSON: line ${bad.slice(0, 10).join(", ")}`)
          )
        )
      )
    )
  })
