/**
 * What providers refuse of a JSON Schema, written from their pages and not from our code: developers.openai.com "Structured outputs"
 * (Supported schemas, Limitations) and platform.claude.com "Structured outputs" (JSON Schema limitations), both looked at 2026-11-29.
 * Where a page is silent and users report a 400, the report holds.
 */

type Json = { readonly [keyword: string]: unknown }

const isRecord = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

interface Rules {
  readonly keywords: ReadonlySet<string>
  readonly formats: ReadonlySet<unknown>
  readonly node: (node: Json, at: string) => string | undefined
}

const common = [
  "type",
  "properties",
  "required",
  "additionalProperties",
  "items",
  "anyOf",
  "enum",
  "const",
  "$ref",
  "description",
  "title"
]

const formats = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]

const openAiRules: Rules = {
  keywords: new Set([
    ...common,
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
  formats: new Set(formats),
  node: (node, at) => {
    if ("$ref" in node && Object.keys(node).length > 1) return `${at}: $ref cannot have keywords`
    if (/\(\?[=!<]/.test(String(node["pattern"] ?? ""))) return `${at}: regex lookaround is not supported`
    const properties = isRecord(node["properties"]) ? Object.keys(node["properties"]) : []
    const required = Array.isArray(node["required"]) ? node["required"] : []
    return node["type"] === "object" && properties.some((name) => !required.includes(name))
      ? `${at}: 'required' is required to include every key in properties`
      : undefined
  }
}

const anthropicRules: Rules = {
  keywords: new Set([...common, "allOf", "pattern", "format", "minItems", "default"]),
  formats: new Set([...formats, "uri"]),
  node: (node, at) => {
    if ("minItems" in node && node["minItems"] !== 0 && node["minItems"] !== 1) {
      return `${at}: 'minItems' values other than 0 or 1 are not supported`
    }
    if ("$ref" in node && Object.keys(node).length > 1) return `${at}: $ref has siblings`
    return /\(\?[=!<]|\\[bB1-9]|\{\d{4,}/.test(String(node["pattern"] ?? "")) ? `${at}: unsupported regex` : undefined
  }
}

/** The first thing that is refused of a node or what is in it. */
const refusalIn = (node: unknown, at: string, rules: Rules): string | undefined => {
  if (!isRecord(node)) return `${at}: a schema is an object`
  for (const keyword of Object.keys(node))
    if (!rules.keywords.has(keyword)) return `${at}: '${keyword}' is not permitted`
  if (!("type" in node) && !("anyOf" in node) && !("$ref" in node)) return `${at}: schema must have a 'type' key`
  if ("format" in node && !rules.formats.has(node["format"]))
    return `${at}: '${String(node["format"])}' is not a valid format`
  if (Array.isArray(node["enum"])) {
    if (new Set(node["enum"].map((value) => typeof value)).size > 1)
      return `${at}: enum values must be of the same type`
    if (node["enum"].some((value) => value === null || typeof value !== node["type"])) {
      return `${at}: enum value does not validate against its type`
    }
  }
  if (node["type"] === "object") {
    if (node["additionalProperties"] !== false) return `${at}: 'additionalProperties' is required to be false`
    if (!isRecord(node["properties"])) return `${at}: an object has 'properties'`
    for (const [name, property] of Object.entries(node["properties"])) {
      const refusal = refusalIn(property, `${at}.${name}`, rules)
      if (refusal !== undefined) return refusal
    }
  }
  if (node["type"] === "array") {
    const refusal = refusalIn(node["items"], `${at}[]`, rules)
    if (refusal !== undefined) return refusal
  }
  for (const [index, member] of (Array.isArray(node["anyOf"]) ? node["anyOf"] : []).entries()) {
    const refusal = refusalIn(member, `${at}|${index}`, rules)
    if (refusal !== undefined) return refusal
  }
  return rules.node(node, at)
}

const refusalOf = (schema: Json, rules: Rules): string | undefined => {
  const { $defs, ...root } = schema
  for (const [name, definition] of Object.entries(isRecord($defs) ? $defs : {})) {
    const refusal = refusalIn(definition, `#${name}`, rules)
    if (refusal !== undefined) return refusal
  }
  return refusalIn(root, "$", rules)
}

/** Sums over all nodes of a schema. */
const sum = (node: unknown, of: (node: Json) => number): number =>
  Array.isArray(node)
    ? node.reduce<number>((total, part) => total + sum(part, of), 0)
    : isRecord(node)
      ? of(node) + Object.values(node).reduce<number>((total, part) => total + sum(part, of), 0)
      : 0

const optionals = ({ properties, required }: Json): number =>
  isRecord(properties)
    ? Object.keys(properties).filter((name) => !Array.isArray(required) || !required.includes(name)).length
    : 0

const depthOf = (node: unknown): number =>
  !isRecord(node)
    ? 0
    : Math.max(
        0,
        ...Object.values(isRecord(node["properties"]) ? node["properties"] : {}).map((part) => 1 + depthOf(part)),
        ...(node["items"] === undefined ? [] : [1 + depthOf(node["items"])]),
        ...(Array.isArray(node["anyOf"]) ? node["anyOf"].map(depthOf) : [])
      )

/** Why OpenAI answers 400 to a strict schema; `undefined`: it takes it. */
export const openAi = (name: string, schema: Json): string | undefined => {
  if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name)) return "string does not match pattern. Expected ^[a-zA-Z0-9_-]+$"
  if (schema["type"] !== "object")
    return `schema must be a JSON Schema of 'type: "object"', got 'type: "${String(schema["type"])}"'`
  if ("anyOf" in schema) return "schema must not have 'anyOf' at the top level"
  const choices = sum(schema, (node) => (Array.isArray(node["enum"]) ? node["enum"].length : 0))
  if (choices > 1_000) return `Expected at most 1000 enum values in total within a schema, but got ${choices}.`
  if (depthOf(schema) > 10) return `${depthOf(schema)} levels of nesting exceeds limit of 10.`
  return refusalOf(schema, openAiRules)
}

/** Whether a definition leads back to itself. */
const isRecursive = (schema: Json): boolean => {
  const definitions = isRecord(schema["$defs"]) ? schema["$defs"] : {}
  const refs = (node: unknown): ReadonlyArray<string> =>
    Array.isArray(node)
      ? node.flatMap(refs)
      : isRecord(node)
        ? [
            ...(typeof node["$ref"] === "string" ? [node["$ref"].replace("#/$defs/", "")] : []),
            ...Object.values(node).flatMap(refs)
          ]
        : []
  const leadsTo = (name: string, target: string, seen: ReadonlyArray<string>): boolean =>
    refs(definitions[name]).some(
      (next) => next === target || (!seen.includes(next) && leadsTo(next, target, [...seen, next]))
    )
  return Object.keys(definitions).some((name) => leadsTo(name, name, []))
}

/** Why Anthropic answers 400 to a schema; `undefined`: it takes it. */
export const anthropic = (schema: Json): string | undefined => {
  if (isRecursive(schema)) return "Circular reference detected in schema definitions"
  const optional = sum(schema, optionals)
  if (optional > 24) return `Schemas contains too many optional parameters (${optional}) (limit: 24).`
  const unions = sum(schema, (node) => (Array.isArray(node["anyOf"]) || Array.isArray(node["type"]) ? 1 : 0))
  if (unions > 16) return `Schemas contains too many parameters with union types (${unions}) (limit: 16).`
  return refusalOf(schema, anthropicRules)
}
