/**
 * Results that come as JSON Lines, read as they arrive.
 *
 * @internal
 */
import * as TextLine from "@pipe/core/internal/TextLine"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as PoolTransport from "./PoolTransport.ts"

/** A line of a download: what it holds as JSON, `undefined` where it holds none. Empty lines are left out. */
export interface JsonLine {
  readonly number: number
  readonly value: unknown
}

/** The lines of a download. */
export const parse = (
  options: { readonly module: string; readonly baseUrl: string },
  response: Effect.Effect<Response, AiError.AiError>
): Stream.Stream<JsonLine, AiError.AiError> =>
  Stream.unwrap(
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
  ).pipe(
    // A line that is no text (too long, broken UTF-8) is one that cannot be read.
    Stream.filter((line) => line.problem !== undefined || line.text.trim() !== ""),
    Stream.map(({ number, text }): JsonLine => ({ number, value: parsed(text) }))
  )

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
