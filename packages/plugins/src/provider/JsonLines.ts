/**
 * Reads results in JSON Lines as they arrive.
 *
 * @internal
 */
import * as TextLine from "@pipe/core/internal/TextLine"
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as PoolTransport from "./PoolTransport.ts"

/** A line of a download: its JSON, or `undefined` when it is invalid. Empty lines are skipped. */
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
    // A line that is not text (too long, invalid UTF-8) counts as unreadable.
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
