/**
 * Reads what a provider sent: a field of the expected type, or nothing.
 *
 * @internal
 */
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Nesting from "@pipe/core/internal/Nesting"
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"

export type Fields = { readonly [name: string]: unknown }

const none: Fields = {}

/** Tests for an object that is not a list. */
export const isRecord = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The fields of an object. Anything else has no fields. */
export const fields = (value: unknown): Fields => (isRecord(value) ? value : none)

/** A text; `undefined` for anything else. */
export const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

/** A non-blank text. */
export const words = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined

/** A short text that is kept and shown, such as the name of a model, made safe. */
export const name = (value: unknown): string | undefined => {
  const given = words(value)
  return given === undefined ? undefined : words(SafeText.terminal(given))
}

/** Tests whether a field is present and not null. */
export const isPresent = (value: unknown): boolean => value !== undefined && value !== null

/** A list; `undefined` for anything else. */
export const list = (value: unknown): ReadonlyArray<unknown> | undefined => (Array.isArray(value) ? value : undefined)

/** Looks up a provider's name. Names of inherited properties mean nothing. */
export const oneOf = <A>(table: ReadonlyMap<string, A>, name: unknown): A | undefined =>
  typeof name === "string" ? table.get(name) : undefined

/** An answer without a required part. */
export const malformed = (module: string, missing: string): AiError.AiError =>
  AiError.make({
    module,
    method: "send",
    reason: new AiError.InvalidResponseError({ description: `the answer has no usable ${missing}` })
  })

/**
 * The arguments of a tool call. Invalid or too deeply nested JSON stays text, which the tool's schema then refuses.
 */
export const toolArguments = (value: unknown): unknown => {
  if (typeof value !== "string") return Nesting.isTooDeep(value) ? undefined : value
  if (value === "") return {}
  try {
    return Nesting.parse(value)
  } catch {
    return value
  }
}

/** Parses a text as JSON; `undefined` when it is invalid. */
export const parse = (text: string): unknown => {
  try {
    // Some servers prefix a byte order mark.
    return JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text)
  } catch {
    return undefined
  }
}

/** Reads a batch or file. A reader that throws has met something it does not understand. */
export const decode = <A>(module: string, f: () => A | AiError.AiError): Effect.Effect<A, AiError.AiError> =>
  Effect.suspend((): Effect.Effect<A, AiError.AiError> => {
    try {
      const made = f()
      return AiError.isAiError(made) ? Effect.fail(made) : Effect.succeed(made)
    } catch (error) {
      return Effect.fail(malformed(module, `form: ${error instanceof Error ? error.message : String(error)}`))
    }
  })
