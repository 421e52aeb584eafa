/**
 * Specifies the JSON that an answer must have: by a schema that the provider enforces, or in the prompt.
 *
 * @internal
 */
import type * as ModelRequest from "@pipe/core/ModelRequest"
import * as StrictSchema from "@pipe/core/internal/StrictSchema"
import type * as JsonSchema from "effect/JsonSchema"
import type * as AiError from "effect/ai/AiError"

/** `"schema"`: the provider enforces it. `"prompt"`: the prompt describes it, and the answer is only checked here. */
export type StructuredOutputMode = "schema" | "prompt"

/** A schema that this provider cannot enforce. */
export class UnsupportedSchema extends Error {}

export type JsonFormat = Extract<ModelRequest.ResponseFormat, { readonly type: "json" }>

export const schemaOf = (format: JsonFormat): JsonSchema.JsonSchema => format.schema as JsonSchema.JsonSchema

/** The instruction in the prompt. */
export const instruction = (format: JsonFormat): string =>
  `Answer with one JSON value and nothing else. It fits this JSON Schema:\n${JSON.stringify(
    StrictSchema.withObjectRoot(schemaOf(format))
  )}`

/** Describes what no form can express. */
export const problemWords = (problems: ReadonlyArray<StrictSchema.Problem>): string => {
  const words = problems
    .slice(0, 3)
    .map(({ path, what }) => `${path === "" ? "the schema" : `the field ${path}`} ${what}`)
  return problems.length > 3 ? `${words.join(", ")}, and ${problems.length - 3} more` : words.join(", ")
}

/** What providers limit in a schema. */
export interface Counts {
  readonly properties: number
  /** Optional properties. */
  readonly optional: number
  /** Unions, including nullable types. */
  readonly unions: number
  readonly choices: number
  /** Characters of the longest list of more than 250 choices. */
  readonly longChoices: number
  /** Levels of objects and lists. */
  readonly depth: number
  /** Characters of names, choices and constants. */
  readonly characters: number
}

type Counted = { -readonly [name in keyof Counts]: number }

export const count = (schema: JsonSchema.JsonSchema): Counts => {
  const counts: Counted = { properties: 0, optional: 0, unions: 0, choices: 0, longChoices: 0, depth: 0, characters: 0 }
  countIn(schema, 0, counts)
  return counts
}

const isNode = (value: unknown): value is { readonly [keyword: string]: unknown } =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const countIn = (schema: unknown, depth: number, counts: Counted): void => {
  if (!isNode(schema)) return
  counts.depth = Math.max(counts.depth, depth)
  const { $defs, anyOf, enum: choices, items, properties, required } = schema
  if (Array.isArray(anyOf)) {
    if (anyOf.length > 1) counts.unions++
    for (const member of anyOf) countIn(member, depth, counts)
  }
  if (Array.isArray(choices)) {
    counts.choices += choices.length
    const length = choices.reduce<number>((sum, choice) => sum + String(choice).length, 0)
    counts.characters += length
    if (choices.length > 250) counts.longChoices = Math.max(counts.longChoices, length)
  }
  countIn(items, depth + 1, counts)
  for (const [name, property] of Object.entries(isNode(properties) ? properties : {})) {
    counts.properties++
    counts.characters += name.length
    if (!Array.isArray(required) || !required.includes(name)) counts.optional++
    countIn(property, depth + 1, counts)
  }
  for (const [name, definition] of Object.entries(isNode($defs) ? $defs : {})) {
    counts.characters += name.length
    countIn(definition, 0, counts)
  }
}

/** The limits that a schema exceeds; `undefined` for one that a provider does not have. */
export const overLimits = (
  counts: Counts,
  limits: ReadonlyArray<readonly [name: keyof Counts, most: number, words: string]>
): ReadonlyArray<StrictSchema.Problem> =>
  limits.flatMap(([name, most, words]) =>
    counts[name] > most
      ? [{ path: "", what: `has ${counts[name].toLocaleString("en")} ${words} (${most.toLocaleString("en")} at most)` }]
      : []
  )

/** Expressions that a provider's engine does not support, or interprets differently. */
const FOREIGN_PATTERN = /\(\?|\\[1-9bBpPkcu]|\[\^?\]|\{\d{3,}|\{\d+,\d{3,}/

/** Tests whether every engine interprets a pattern alike. */
export const isPlainPattern = (pattern: unknown): boolean =>
  typeof pattern === "string" && !FOREIGN_PATTERN.test(pattern.replaceAll("(?:", "("))

const NO_SCHEMAS =
  /(?=[^]*(?:response.?format|json.?schema|text\.format))(?=[^]*(?:unavailable|not support|unsupported|does not|must be|only support|one of))/i

/** In these the schema is at fault, and not the endpoint. */
const OWN_SCHEMA = /invalid (?:json )?schema|\.schema|flavored|xgrammar|grammar|'messages' must|must contain/i

/** Tests whether a refusal means that the endpoint accepts no JSON Schema at all. */
export const isUnknownHere = ({ reason }: AiError.AiError): boolean => {
  if (reason._tag !== "InvalidRequestError") return false
  const words = (reason.description ?? "").slice(0, 1_000)
  return NO_SCHEMAS.test(words) && !OWN_SCHEMA.test(words)
}
