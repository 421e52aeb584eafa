/**
 * Placeholder answers for plans: they have the requested form and the expected length, so that later steps can be
 * planned too.
 *
 * @internal
 */
import * as SchemaNode from "../answer/SchemaNode.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as Usage from "../model/Usage.ts"

type JsonSchema = { readonly [key: string]: unknown }

const FILLER = "lorem ipsum dolor sit amet "

/**
 * Text of about this many tokens (four letters each). Equal rows have the same placeholder, different rows different
 * ones.
 */
const textOf = (tokens: number, number: number): string =>
  `${number} ${FILLER.repeat(Math.ceil((tokens * 4) / FILLER.length))}`.slice(0, Math.max(8, tokens * 4))

const FILLED = /\b(?:lorem|ipsum|dolor|sit|amet)\b(?: (?:lorem|ipsum|dolor|sit|amet))+/g

/** The tokens of a text that are those of placeholders. */
export const tokensIn = (text: string): number =>
  text.includes("lorem ipsum")
    ? Array.from(text.matchAll(FILLED), ([found]) => found.length).reduce((a, b) => a + b) / 4
    : 0

/** Placeholder values by format. */
const formats: { readonly [format: string]: (number: number) => string } = {
  "date-time": (number) => new Date(Date.UTC(2026, 0, 1) + number * 1_000).toISOString(),
  date: () => "2026-01-01",
  time: () => "00:00:00Z",
  uri: (number) => `https://example.com/${number}`,
  email: (number) => `a${number}@example.com`,
  uuid: (number) => `00000000-0000-4000-8000-${String(number).padStart(12, "0").slice(-12)}`
}

const valueOf = (schema: JsonSchema, root: JsonSchema, tokens: number, number: number, depth: number): unknown => {
  const { $ref } = schema
  if (typeof $ref === "string") {
    const definitions = (root["$defs"] ?? {}) as { readonly [name: string]: JsonSchema }
    const name = SchemaNode.nameOf(schema)
    return depth > 8 || name === undefined ? null : valueOf(definitions[name] ?? {}, root, tokens, number, depth + 1)
  }
  if ("const" in schema) return schema["const"]
  if (Array.isArray(schema["enum"])) return schema["enum"][0]
  for (const keyword of ["anyOf", "oneOf", "allOf"]) {
    const options: unknown = schema[keyword]
    if (Array.isArray(options) && options.length > 0) {
      return valueOf(
        keyword === "allOf" ? Object.assign({}, schema, ...options, { allOf: [] }) : options[0],
        root,
        tokens,
        number,
        depth + 1
      )
    }
  }
  switch (schema["type"]) {
    case "object": {
      const properties = Object.entries((schema["properties"] ?? {}) as { readonly [name: string]: JsonSchema })
      return Object.fromEntries(
        properties.map(([name, property]) => [
          name,
          valueOf(property, root, Math.ceil(tokens / properties.length), number, depth + 1)
        ])
      )
    }
    case "array":
      if (Array.isArray(schema["prefixItems"])) {
        return schema["prefixItems"].map((item) => valueOf(item as JsonSchema, root, tokens, number, depth + 1))
      }
      return Array.from({ length: Number(schema["minItems"] ?? 1) }, () =>
        valueOf((schema["items"] ?? {}) as JsonSchema, root, tokens, number, depth + 1)
      )
    case "boolean":
      return true
    case "integer":
    case "number":
      return Number(schema["minimum"] ?? 0)
    case "null":
      return null
    default:
      if (typeof schema["format"] === "string" && Object.hasOwn(formats, schema["format"])) {
        return formats[schema["format"]]!(number)
      }
      return textOf(Math.max(Number(schema["minLength"] ?? 1), Math.ceil(tokens / 2)), number)
  }
}

/** The first of the answers that a question allows, with equal probabilities for all. */
const answerTo = (question: ModelRequest.Question): ModelResponse.Answer => {
  const evenly = (names: ReadonlyArray<string>) => Object.fromEntries(names.map((name) => [name, 1 / names.length]))
  switch (question.type) {
    case "predicate":
      return { type: "predicate", value: true, probability: 0.5 }
    case "choice": {
      const values = question.choices.map(({ value }) => value)
      return { type: "choice", value: values[0]!, probabilities: evenly(values) }
    }
    case "score": {
      const labels = question.levels.map(({ label }) => label)
      return { type: "score", value: (labels.length - 1) / 2, probabilities: evenly(labels) }
    }
  }
}

const completionText = ({ responseFormat }: ModelRequest.Completion, tokens: number, number: number): string => {
  if (responseFormat.type === "text") return textOf(tokens, number)
  const schema = responseFormat.schema as JsonSchema
  return JSON.stringify(valueOf(schema, schema, tokens, number, 0))
}

/** A placeholder answer of about `tokens` tokens, identified by its number. */
export const make = <R extends ModelRequest.ModelRequest>(
  request: R,
  tokens: number,
  number: number
): ModelResponse.ResponseTo<R> => {
  const common = {
    provider: "",
    model: request.model ?? "",
    requestedModel: request.model ?? "",
    usage: Usage.zero,
    origin: "provider" as const
  }
  const answer = (): ModelResponse.ModelResponse => {
    switch (request._tag) {
      case "Decision":
        return {
          _tag: "DecisionResponse",
          ...common,
          answers: Object.fromEntries(request.questions.map((question) => [question.name, answerTo(question)]))
        }
      case "Embedding":
        return {
          _tag: "EmbeddingResponse",
          ...common,
          vectors: request.inputs.map(() => Array.from({ length: request.dimensions ?? 8 }, () => 0))
        }
      case "Completion":
        return {
          _tag: "CompletionResponse",
          ...common,
          finishReason: "stop",
          parts: [{ type: "text", text: completionText(request, tokens, number) }]
        }
    }
  }
  return answer() as ModelResponse.ResponseTo<R>
}
