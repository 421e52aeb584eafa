/**
 * Encodes request bodies as text that every server can read, and reads answers from text.
 *
 * @internal
 */
import * as ModelFailure from "@pipe/core/ModelFailure"
import * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as StructuredOutput from "./StructuredOutput.ts"

/** A lone surrogate as `JSON.stringify` escapes it: servers answer such a body with 400. */
const LONE = /(^|[^\\])((?:\\\\)*)\\ud[89a-f][0-9a-f]{2}/i

/** JSON with only well-formed strings: a lone surrogate becomes U+FFFD. */
export const encode = (body: object): string => {
  const text = JSON.stringify(body)
  return text.includes("\\ud") && LONE.test(text) ? JSON.stringify(wellFormed(body)) : text
}

/** The same value with every string well-formed. */
export const wellFormed = (value: unknown): unknown => {
  if (typeof value === "string") return value.toWellFormed()
  if (Array.isArray(value)) return value.map(wellFormed)
  if (value === null || typeof value !== "object") return value
  // A date, for example: it is sent as its JSON.
  if ("toJSON" in value && typeof value.toJSON === "function") return wellFormed(value.toJSON())
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key.toWellFormed(), wellFormed(field)]))
}

/** JSON inside a text of a body: arguments, and results of tools. */
export const text = (value: unknown): string => JSON.stringify(wellFormed(value)) ?? "null"

/** A request that an API cannot express. Thrown while its body is made, it becomes an `InvalidRequestError`. */
export class Unsupported extends Error {}

/** Makes a body, at once. What the provider cannot accept becomes a request that cannot be sent. */
export const make = <B>(module: string, f: () => B): Effect.Effect<B, AiError.AiError> => {
  try {
    return Effect.succeed(f())
  } catch (error) {
    return Effect.fail(AiError.make({ module, method: "send", reason: reasonOf(error) }))
  }
}

const reasonOf = (error: unknown): AiError.AiErrorReason => {
  const metadata = { [ModelFailure.unsentKey]: true }
  return error instanceof StructuredOutput.UnsupportedSchema
    ? new AiError.UnsupportedSchemaError({ description: error.message, metadata })
    : new AiError.InvalidRequestError({
        description: error instanceof Unsupported ? error.message : `the request cannot be encoded: ${String(error)}`,
        metadata
      })
}

/** Body fields that must not be set by options, each with the way to set it. `reasoning.effort` is a part of one. */
export type Reserved = { readonly [field: string]: string }

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/**
 * A body with the author's options for the provider. An option is refused when the request has a field for it: it would
 * bypass the limits of layers and the keys of caches.
 */
export const withOptions = <B extends object>(body: B, provider: string, given: unknown, reserved: Reserved): B => {
  if (given === undefined) return body
  if (!isObject(given)) throw new Unsupported(`providerOptions.${provider}: is not an object`)
  const refuse = (path: string, way: string): never => {
    throw new Unsupported(`providerOptions.${provider}.${path} is not accepted: ${way}`)
  }
  const own = body as Record<string, unknown>
  const merged: Record<string, unknown> = { ...own }
  for (const [name, value] of Object.entries(given)) {
    if (Object.hasOwn(reserved, name)) refuse(name, reserved[name]!)
    if (!isObject(value)) {
      if (Object.hasOwn(own, name)) refuse(name, "the request sets it already")
      merged[name] = value
      continue
    }
    for (const part of Object.keys(value)) {
      const path = `${name}.${part}`
      if (Object.hasOwn(reserved, path)) refuse(path, reserved[path]!)
    }
    merged[name] = isObject(own[name]) ? { ...own[name], ...value } : value
  }
  return merged as B
}

/** How to set what every API has a field for. */
export const ways = {
  model: "name the model in the step (`model`), the layer or a Router",
  messages: "it is the prompt of the step",
  maxTokens: "use settings: { maxTokens }",
  temperature: "use settings: { temperature }",
  topP: "use settings: { topP }",
  stop: "use settings: { stop }",
  seed: "use settings: { seed }",
  presencePenalty: "use settings: { presencePenalty }",
  frequencyPenalty: "use settings: { frequencyPenalty }",
  reasoningEffort: "use settings: { reasoningEffort }",
  topLogprobs: "use settings: { topLogprobs }",
  schema: 'ask for an object with generateObject; an endpoint that takes no schema: structuredOutput: "prompt"',
  samples: "request several answers with the step's `samples`",
  stream: "set it on the provider's layer: { stream: true }",
  background: "answers are awaited; to pay half, run with --batch",
  dimensions: "it is a field of the request",
  encoding: "vectors are read as numbers"
} as const
