/**
 * Whether a JSON Schema is one that OpenAI can hold an answer to strictly: every property of every object is required and
 * no other is allowed (platform.openai.com/docs/guides/structured-outputs, *Supported schemas*). Any other schema is sent
 * as a guide, and the answer is checked here.
 *
 * @internal
 */

const checked = new WeakMap<object, boolean>()

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Key words that strict mode does not take. */
const unsupported = [
  "allOf",
  "oneOf",
  "not",
  "if",
  "then",
  "else",
  "dependentRequired",
  "dependentSchemas",
  "patternProperties",
  "propertyNames",
  "prefixItems"
]

export const isStrict = (schema: unknown): boolean => {
  if (!isRecord(schema)) return false
  const known = checked.get(schema)
  if (known !== undefined) return known
  const strict = schema["type"] === "object" && check(schema)
  checked.set(schema, strict)
  return strict
}

const check = (schema: unknown): boolean => {
  if (Array.isArray(schema)) return schema.every(check)
  if (!isRecord(schema)) return true
  if (unsupported.some((keyword) => keyword in schema)) return false
  if (schema["type"] === "object" || "properties" in schema) {
    const properties = isRecord(schema["properties"]) ? schema["properties"] : {}
    const required = Array.isArray(schema["required"]) ? schema["required"] : []
    if (schema["additionalProperties"] !== false) return false
    if (Object.keys(properties).some((name) => !required.includes(name))) return false
    if (!Object.values(properties).every(check)) return false
  }
  return (
    check(schema["items"])
    && check(schema["anyOf"])
    && Object.values(isRecord(schema["$defs"]) ? schema["$defs"] : {}).every(check)
  )
}
