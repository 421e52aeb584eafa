/**
 * The length of the answers that a JSON Schema allows: the fewest and the most characters as JSON.
 *
 * @internal
 */
import * as SchemaNode from "./SchemaNode.ts"

type JsonSchema = { readonly [key: string]: unknown }

/** Characters. `most` is infinite when nothing bounds a text or a list. */
export interface AnswerSize {
  readonly least: number
  readonly most: number
}

/** How many nested references are followed: a recursive schema never ends. */
const DEPTH = 8

/** Characters of formats with texts of similar length. */
const formats: { readonly [format: string]: AnswerSize } = {
  "date-time": { least: 22, most: 32 },
  date: { least: 12, most: 12 },
  time: { least: 10, most: 20 },
  uuid: { least: 38, most: 38 }
}

/** Digits of an unbounded number. */
const NUMBER: AnswerSize = { least: 1, most: 20 }

const sizes = new WeakMap<object, AnswerSize>()

/** The size of a schema's answers, computed once per schema. */
export const of = (schema: JsonSchema): AnswerSize => {
  let size = sizes.get(schema)
  if (size === undefined) sizes.set(schema, (size = sizeOf(schema, schema, 0)))
  return size
}

const either = (all: ReadonlyArray<AnswerSize>): AnswerSize => ({
  least: Math.min(...all.map(({ least }) => least)),
  most: Math.max(...all.map(({ most }) => most))
})

const together = (all: ReadonlyArray<AnswerSize>): AnswerSize => ({
  least: all.reduce((sum, { least }) => sum + least, 0),
  most: all.reduce((sum, { most }) => sum + most, 0)
})

const written = (value: unknown): AnswerSize => {
  const length = (JSON.stringify(value) ?? "null").length
  return { least: length, most: length }
}

const sizeOf = (schema: JsonSchema, root: JsonSchema, depth: number): AnswerSize => {
  if (depth > DEPTH) return { least: 2, most: Number.POSITIVE_INFINITY }
  const inner = (part: unknown): AnswerSize => sizeOf((part ?? {}) as JsonSchema, root, depth + 1)
  const name = SchemaNode.nameOf(schema)
  if (name !== undefined) return inner((root["$defs"] as JsonSchema | undefined)?.[name])
  if ("const" in schema) return written(schema["const"])
  const values = schema["enum"]
  if (Array.isArray(values) && values.length > 0) return either(values.map(written))
  for (const keyword of ["anyOf", "oneOf"]) {
    const options = schema[keyword]
    if (Array.isArray(options) && options.length > 0) return either(options.map(inner))
  }
  const parts = schema["allOf"]
  if (Array.isArray(parts) && parts.length > 0) return together(parts.map(inner))
  return ofType(schema, inner)
}

const ofType = (schema: JsonSchema, inner: (part: unknown) => AnswerSize): AnswerSize => {
  const { type } = schema
  if (Array.isArray(type) && type.length > 0) return either(type.map((one) => ofType({ ...schema, type: one }, inner)))
  switch (type) {
    case "boolean":
      return { least: 4, most: 5 }
    case "null":
      return { least: 4, most: 4 }
    case "integer":
    case "number":
      return NUMBER
    case "array":
      return ofItems(schema, inner)
    case "object":
      return ofProperties(schema, inner)
    case "string":
      return (
        formats[String(schema["format"])] ?? {
          least: 2 + Number(schema["minLength"] ?? 0),
          most: 2 + Number(schema["maxLength"] ?? Number.POSITIVE_INFINITY)
        }
      )
    default:
      return { least: 1, most: Number.POSITIVE_INFINITY }
  }
}

const ofItems = (schema: JsonSchema, inner: (part: unknown) => AnswerSize): AnswerSize => {
  const first = schema["prefixItems"]
  if (Array.isArray(first)) {
    const { least, most } = together(first.map(inner))
    return { least: least + 2, most: most + 2 + 2 * first.length }
  }
  const item = inner(schema["items"])
  const most = Number(schema["maxItems"] ?? Number.POSITIVE_INFINITY)
  return {
    least: 2 + Number(schema["minItems"] ?? 0) * (item.least + 1),
    most: most === 0 ? 2 : 2 + most * (item.most + 2)
  }
}

const ofProperties = (schema: JsonSchema, inner: (part: unknown) => AnswerSize): AnswerSize => {
  const required = new Set(Array.isArray(schema["required"]) ? schema["required"] : [])
  const all = Object.entries((schema["properties"] ?? {}) as JsonSchema).map(([name, property]): AnswerSize => {
    const { least, most } = inner(property)
    // Quotes, a colon and a comma. A model may add a space after each of the last two.
    return { least: required.has(name) ? name.length + 4 + least : 0, most: name.length + 6 + most }
  })
  const { least, most } = together(all)
  return { least: least + 2, most: most + 2 }
}
