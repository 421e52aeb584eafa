/**
 * The parts of a JSON Schema as Effect writes it, and which values match them.
 *
 * @internal
 */

export type SchemaNode = { readonly [keyword: string]: unknown }

export const isNode = (value: unknown): value is SchemaNode =>
  typeof value === "object" && value !== null && !Array.isArray(value)

export const nodes = (value: unknown): ReadonlyArray<SchemaNode> => (Array.isArray(value) ? value.filter(isNode) : [])

export const fields = (value: unknown): SchemaNode => (isNode(value) ? value : {})

export const same = (left: unknown, right: unknown): boolean => JSON.stringify(left) === JSON.stringify(right)

/** The property that wraps a root which is not an object. */
export const ROOT = "value"

export const isObject = (schema: SchemaNode): boolean => schema["type"] === "object"

export const closedObject = (properties: SchemaNode, rest: SchemaNode = {}): SchemaNode => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
  ...rest
})

export const NULL: SchemaNode = { type: "null" }

/** Annotations for people and models, which constrain nothing. */
export const words = (schema: SchemaNode): SchemaNode => {
  const { description, title } = schema
  return {
    ...(title === undefined ? undefined : { title }),
    ...(description === undefined ? undefined : { description })
  }
}

const shaping = ["type", "$ref", "anyOf", "oneOf", "enum", "const", "properties"]

/** A reference with annotations or constraints arrives as an `allOf`: it is merged into one node. */
export const direct = (schema: SchemaNode): SchemaNode => {
  if (schema["allOf"] === undefined || shaping.some((keyword) => keyword in schema)) return schema
  const members = nodes(schema["allOf"])
  const [shape, ...others] = members.filter((member) => shaping.some((keyword) => keyword in member))
  if (shape === undefined || others.length > 0) return schema
  let out: SchemaNode = { ...shape, ...words(schema) }
  for (const member of members) {
    if (member === shape) continue
    for (const [keyword, value] of Object.entries(member)) {
      out = {
        ...out,
        description: keyword === "description" ? value : described(out["description"], keyword, value)
      }
    }
  }
  return out
}

export const typeOf = (value: unknown): string =>
  value === null ? "null" : Array.isArray(value) ? "array" : typeof value

export const described = (description: unknown, keyword: string, value: unknown): string =>
  `${typeof description === "string" && description !== "" ? `${description}; ` : ""}${keyword}: ${
    typeof value === "string" ? value : JSON.stringify(value)
  }`

/** Whether property names are open. */
export const isRecord = (schema: SchemaNode): boolean =>
  schema["type"] === "object"
  && [schema, ...nodes(schema["allOf"])].some(
    ({ additionalProperties, patternProperties, properties, propertyNames }) =>
      isNode(additionalProperties)
      || patternProperties !== undefined
      || propertyNames !== undefined
      || (additionalProperties !== false && properties === undefined)
  )

/** The schemas of a record's names and values, in addition to named properties. */
export const entriesOf = (
  schema: SchemaNode
): { readonly keys: ReadonlyArray<SchemaNode>; readonly values: ReadonlyArray<SchemaNode> } => {
  const keys: Array<SchemaNode> = []
  const values: Array<SchemaNode> = []
  for (const part of [schema, ...nodes(schema["allOf"])]) {
    const named = Object.entries(fields(part["properties"]))
    if (named.length > 0) keys.push({ type: "string", enum: named.map(([name]) => name) })
    values.push(...named.map(([, property]) => fields(property)))
    for (const [pattern, value] of Object.entries(fields(part["patternProperties"]))) {
      keys.push({ type: "string", pattern })
      values.push(fields(value))
    }
    if (isNode(part["additionalProperties"])) {
      keys.push(isNode(part["propertyNames"]) ? { type: "string", ...part["propertyNames"] } : { type: "string" })
      values.push(part["additionalProperties"])
    }
  }
  return { keys, values: values.length === 0 ? [{}] : values }
}

export const anyOf = (members: ReadonlyArray<SchemaNode>): SchemaNode =>
  members.length === 1 ? members[0]! : { anyOf: members }

export const requiredOf = (schema: SchemaNode): ReadonlySet<unknown> =>
  new Set(Array.isArray(schema["required"]) ? schema["required"] : [])

export const isNever = (schema: unknown): boolean => isNode(schema) && same(schema, { not: {} })

/** The schemas of a tuple's first items, and of the rest. */
export const tupleOf = (
  schema: SchemaNode
): { readonly first: ReadonlyArray<SchemaNode>; readonly rest: SchemaNode | undefined } => ({
  first: nodes(schema["prefixItems"]),
  rest: isNode(schema["items"]) ? schema["items"] : undefined
})

/** Whether all items of a list have one type, whatever their number. */
export const isUniform = ({ first, rest }: ReturnType<typeof tupleOf>): boolean =>
  first.every((item) => same(item, rest ?? first[0]))

/** The definition that a node refers to. */
export const nameOf = ({ $ref }: SchemaNode): string | undefined =>
  typeof $ref === "string"
    ? decodeURIComponent($ref.slice($ref.lastIndexOf("/") + 1))
        .replaceAll("~1", "/")
        .replaceAll("~0", "~")
    : undefined

export const resolve = (schema: SchemaNode, definitions: SchemaNode): SchemaNode | undefined => {
  const name = nameOf(schema)
  return name === undefined ? undefined : fields(definitions[name])
}

/** Whether a schema refers to a definition, by others too. */
export const refersTo = (
  schema: unknown,
  name: string,
  definitions: SchemaNode,
  seen: Set<string> = new Set()
): boolean => {
  if (typeof schema !== "object" || schema === null) return false
  const target = isNode(schema) ? nameOf(schema) : undefined
  if (target === name) return true
  if (target !== undefined && !seen.has(target)) {
    seen.add(target)
    if (refersTo(definitions[target], name, definitions, seen)) return true
  }
  return Object.values(schema).some((part) => refersTo(part, name, definitions, seen))
}

/** The definitions that a schema refers to. */
export const used = (schema: SchemaNode, definitions: SchemaNode): ReadonlyArray<readonly [string, unknown]> =>
  Object.entries(definitions).filter(([name]) => refersTo(schema, name, definitions))

/**
 * Matches values with nodes by type, choices and properties, but not by bounds and patterns. Results are memoised,
 * because unions that contain themselves would be visited again at each level.
 */
export class Fits {
  readonly definitions: SchemaNode
  private readonly known = {
    closed: new WeakMap<SchemaNode, WeakMap<object, boolean>>(),
    open: new WeakMap<SchemaNode, WeakMap<object, boolean>>()
  }

  constructor(definitions: SchemaNode) {
    this.definitions = definitions
  }

  /** With `isClosed`, a value must not have other properties, as in what providers receive. */
  is(node: SchemaNode, value: unknown, isClosed: boolean): boolean {
    if (typeof value !== "object" || value === null) return this.check(node, value, isClosed)
    const known = this.known[isClosed ? "closed" : "open"]
    let byValue = known.get(node)
    if (byValue === undefined) known.set(node, (byValue = new WeakMap()))
    let result = byValue.get(value)
    if (result === undefined) {
      // A definition that only refers to itself has no value.
      byValue.set(value, false)
      byValue.set(value, (result = this.check(node, value, isClosed)))
    }
    return result
  }

  private check(node: SchemaNode, value: unknown, isClosed: boolean): boolean {
    const schema = direct(node)
    const target = resolve(schema, this.definitions)
    if (target !== undefined) return target !== schema && this.is(target, value, isClosed)
    const members = schema["anyOf"] ?? schema["oneOf"]
    if (members !== undefined) return nodes(members).some((member) => this.is(member, value, isClosed))
    if (Array.isArray(schema["enum"])) return schema["enum"].includes(value)
    if (schema["const"] !== undefined) return schema["const"] === value
    if (schema["not"] !== undefined) return !isNever(schema) && value !== null
    switch (schema["type"]) {
      case "integer":
        return Number.isInteger(value)
      case "object":
        return isNode(value) && this.isObject(schema, value, isClosed)
      case "array":
        return Array.isArray(value) && this.isList(schema, value, isClosed)
      case undefined:
        return true
      default:
        return typeOf(value) === schema["type"]
    }
  }

  private isObject(schema: SchemaNode, value: SchemaNode, isClosed: boolean): boolean {
    if (isRecord(schema)) {
      const inner = valueOf(schema)
      return Object.values(value).every((field) => this.is(inner, field, isClosed))
    }
    const properties = fields(schema["properties"])
    return (
      [...requiredOf(schema)].every((name) => Object.hasOwn(value, String(name)))
      && Object.entries(value).every(([name, field]) =>
        Object.hasOwn(properties, name)
          ? this.is(fields(properties[name]), field, isClosed)
          : !isClosed || schema["additionalProperties"] !== false
      )
    )
  }

  private isList(schema: SchemaNode, value: ReadonlyArray<unknown>, isClosed: boolean): boolean {
    if (value.length < Number(schema["minItems"] ?? 0)) return false
    const { first, rest } = tupleOf(schema)
    return value.every((item, index) => {
      const type = first[index] ?? rest
      return type === undefined ? first.length === 0 : this.is(type, item, isClosed)
    })
  }
}

const values = new WeakMap<SchemaNode, SchemaNode>()

/** The schema of a record's values; one node per record. */
export const valueOf = (schema: SchemaNode): SchemaNode => {
  let made = values.get(schema)
  if (made === undefined) values.set(schema, (made = anyOf(entriesOf(schema).values)))
  return made
}
