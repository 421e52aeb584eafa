/**
 * Converts a JSON Schema to the form that Anthropic enforces (platform.claude.com, *Structured outputs*, "JSON Schema
 * limitations", accessed 2026-11-29). Anthropic enforces every schema that is sent, so one that it cannot enforce is
 * refused before it is sent.
 *
 * @internal
 */
import * as StrictSchema from "@pipe/core/internal/StrictSchema"
import type * as JsonSchema from "effect/JsonSchema"
import * as StructuredOutput from "../provider/StructuredOutput.ts"

const FORMATS: ReadonlySet<unknown> = new Set([
  "date-time",
  "time",
  "date",
  "duration",
  "email",
  "hostname",
  "uri",
  "ipv4",
  "ipv6",
  "uuid"
])

const rules: StrictSchema.Rules = {
  // A nullable property counts as a union, of which few are allowed.
  optional: "absent",
  keywords: new Set(["pattern", "format", "minItems"]),
  takes: (keyword, value) =>
    keyword === "format"
      ? FORMATS.has(value)
      : keyword === "minItems"
        ? value === 0 || value === 1
        : StructuredOutput.isPlainPattern(value),
  recursion: false,
  describedReferences: false
}

const LIMITS = [
  ["optional", 24, "optional fields"],
  ["unions", 16, "fields that are unions or nullable"]
] as const

const known = new WeakMap<object, JsonSchema.JsonSchema | StructuredOutput.UnsupportedSchema>()

/** Throws when the schema cannot be enforced. */
export const of = (schema: JsonSchema.JsonSchema): JsonSchema.JsonSchema => {
  let form = known.get(schema)
  if (form === undefined) known.set(schema, (form = make(schema)))
  if (form instanceof StructuredOutput.UnsupportedSchema) throw form
  return form
}

const make = (schema: JsonSchema.JsonSchema): JsonSchema.JsonSchema | StructuredOutput.UnsupportedSchema => {
  const strict = StrictSchema.of(schema, rules)
  const problems = [...strict.problems, ...StructuredOutput.overLimits(StructuredOutput.count(strict.schema), LIMITS)]
  return problems.length === 0
    ? strict.schema
    : new StructuredOutput.UnsupportedSchema(
        `Anthropic cannot enforce this schema: ${StructuredOutput.problemWords(problems)}. Change it, or describe it in the prompt and check it here: Anthropic.layer({ structuredOutput: "prompt" })`
      )
}
