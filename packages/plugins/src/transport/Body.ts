/**
 * Request bodies as text that every server can read, and answers read from text.
 *
 * @internal
 */
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import { Unsupported } from "./Files.ts"

/** A lone surrogate, as `JSON.stringify` escapes it: servers answer 400 to such a body. */
const LONE = /(^|[^\\])((?:\\\\)*)\\ud[89a-f][0-9a-f]{2}/i

/** JSON whose strings are all well-formed: half of a pair becomes U+FFFD. */
export const encode = (body: object): string => {
  const text = JSON.stringify(body)
  return text.includes("\\ud") && LONE.test(text) ? JSON.stringify(wellFormed(body)) : text
}

/** The same value with every string well-formed. */
export const wellFormed = (value: unknown): unknown => {
  if (typeof value === "string") return value.toWellFormed()
  if (Array.isArray(value)) return value.map(wellFormed)
  if (value === null || typeof value !== "object") return value
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key.toWellFormed(), wellFormed(field)]))
}

/** Makes a body; what the provider cannot take is a request that cannot be sent. */
export const make = <B>(module: string, f: () => B): Effect.Effect<B, AiError.AiError> =>
  Effect.try({
    try: f,
    catch: (error) =>
      AiError.make({
        module,
        method: "send",
        reason: new AiError.InvalidRequestError({
          description: error instanceof Unsupported ? error.message : `the request cannot be encoded: ${error}`
        })
      })
  })
