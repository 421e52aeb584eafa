/**
 * Converts a JSON Schema to the form that OpenAI enforces (developers.openai.com, *Structured outputs*, "Supported
 * schemas" and "Limitations", accessed 2026-11-29). One that it cannot enforce is sent as a hint, with a warning, and
 * the answer is checked here.
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
  "ipv4",
  "ipv6",
  "uuid"
])

const takes: StrictSchema.Rules["takes"] = (keyword, value) =>
  keyword === "format" ? FORMATS.has(value) : keyword !== "pattern" || StructuredOutput.isPlainPattern(value)

const rules: StrictSchema.Rules = {
  optional: "null",
  keywords: new Set([
    "pattern",
    "format",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems"
  ]),
  takes
}

/** Fine-tuned models, and models on Azure, accept no constraints on values. */
const rulesOfFew: StrictSchema.Rules = { optional: "null", keywords: new Set(), takes }

const LIMITS = [
  ["depth", 10, "levels"],
  ["properties", 5_000, "properties"],
  ["choices", 1_000, "values to choose from"],
  ["longChoices", 15_000, "characters in a choice of more than 250 values"],
  ["characters", 120_000, "characters in names and choices"]
] as const

export interface SchemaForm {
  readonly schema: JsonSchema.JsonSchema
  /** Why the schema is not enforced; `undefined` when it is. */
  readonly problem: string | undefined
}

const made = new WeakMap<StrictSchema.Rules, WeakMap<object, SchemaForm>>()

export const of = (schema: JsonSchema.JsonSchema, model: string, provider: string): SchemaForm => {
  const its = model.startsWith("ft:") || provider === "azure" ? rulesOfFew : rules
  let known = made.get(its)
  if (known === undefined) made.set(its, (known = new WeakMap()))
  let form = known.get(schema)
  if (form === undefined) known.set(schema, (form = make(schema, its)))
  return form
}

const make = (schema: JsonSchema.JsonSchema, its: StrictSchema.Rules): SchemaForm => {
  const strict = StrictSchema.of(schema, its)
  const problems = [...strict.problems, ...StructuredOutput.overLimits(StructuredOutput.count(strict.schema), LIMITS)]
  return problems.length === 0
    ? { schema: strict.schema, problem: undefined }
    : { schema: StrictSchema.withObjectRoot(schema), problem: StructuredOutput.problemWords(problems) }
}

/** A valid name: schemas are often named after classes. */
export const wireName = (name: string): string => name.replaceAll(/[^a-zA-Z0-9_-]+/g, "_").slice(0, 64) || "answer"
