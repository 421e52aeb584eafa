/**
 * The value that an answer stands for, whichever form it came in: that of the schema, or a strict one (see `StrictSchema`).
 *
 * **Example** (a record that came as a list)
 *
 * ```ts
 * import { AnswerValue } from "@pipe/core"
 *
 * const schema = { type: "object", additionalProperties: { type: "number" } } as const
 *
 * AnswerValue.read(schema, { value: [{ key: "a", value: 1 }] }) // => { a: 1 }
 * ```
 *
 * @since 0.1.0
 */
import type * as JsonSchema from "effect/JsonSchema"
import * as SchemaNode from "./SchemaNode.ts"

/** The value that an answer stands for: of the schema, whether it came in its strict form or as the schema says. */
export const read = (schema: JsonSchema.JsonSchema, value: unknown): unknown => {
  if (isPlain(schema)) return value
  const definitions = SchemaNode.fields(schema["$defs"])
  if (SchemaNode.isNode(value) && Object.keys(value).length === 1 && SchemaNode.ROOT in value) {
    const inner = readNode(schema, value[SchemaNode.ROOT], definitions)
    if (SchemaNode.fits(schema, inner, definitions)) return inner
  }
  return readNode(schema, value, definitions)
}

/**
 * The kinds of value that an answer may have at its root, in its strict form or as the schema says; `undefined`: any.
 */
export const rootKinds = (schema: JsonSchema.JsonSchema): ReadonlySet<string> | undefined => {
  const kinds = kindsOf(schema, SchemaNode.fields(schema["$defs"]))
  // The strict form of any root is an object, but where it is one already; that of a record is a list, too.
  return kinds === undefined ? undefined : new Set([...kinds, "object"])
}

const kindsOf = (node: SchemaNode.Node, definitions: SchemaNode.Node): ReadonlyArray<string> | undefined => {
  const schema = SchemaNode.direct(node)
  const target = SchemaNode.resolve(schema, definitions)
  if (target !== undefined) return kindsOf(target, definitions)
  const { anyOf, enum: choices, oneOf, type } = schema
  const members = anyOf ?? oneOf
  if (members !== undefined) {
    const kinds = SchemaNode.nodes(members).map((member) => kindsOf(member, definitions))
    return kinds.includes(undefined) ? undefined : kinds.flatMap((kind) => kind ?? [])
  }
  if (Array.isArray(choices)) return choices.map(SchemaNode.typeOf)
  return typeof type === "string" ? [type === "integer" ? "number" : type] : undefined
}

/** Whether a text is a value of a schema, so that an answer may be one without quotes. */
export const takesText = (schema: JsonSchema.JsonSchema): boolean =>
  kindsOf(schema, SchemaNode.fields(schema["$defs"]))?.includes("string") === true

/** Whether values stand in an answer as the schema says, so that there is nothing to be read. */
export const isPlain = (schema: JsonSchema.JsonSchema): boolean => {
  let known = plains.get(schema)
  if (known === undefined) {
    known =
      SchemaNode.isObject(schema)
      && [schema, ...SchemaNode.nodes(Object.values(SchemaNode.fields(schema["$defs"])))].every(isPlainNode)
    plains.set(schema, known)
  }
  return known
}

const plains = new WeakMap<object, boolean>()

const isPlainNode = (node: SchemaNode.Node): boolean => {
  const schema = SchemaNode.direct(node)
  if (schema["type"] === "object") {
    const required = SchemaNode.requiredOf(schema)
    return (
      !SchemaNode.isRecord(schema)
      && Object.entries(SchemaNode.fields(schema["properties"])).every(
        ([name, property]) => required.has(name) && isPlainNode(SchemaNode.fields(property))
      )
    )
  }
  if (schema["type"] === "array") {
    const { first, rest } = SchemaNode.tupleOf(schema)
    return first.length === 0 && (rest === undefined || isPlainNode(rest))
  }
  return [...SchemaNode.nodes(schema["anyOf"]), ...SchemaNode.nodes(schema["oneOf"])].every(isPlainNode)
}

const readNode = (node: SchemaNode.Node, value: unknown, definitions: SchemaNode.Node): unknown => {
  if (typeof value !== "object" || value === null) return value
  const schema = SchemaNode.direct(node)
  const target = SchemaNode.resolve(schema, definitions)
  if (target !== undefined) return readNode(target, value, definitions)
  const members = schema["anyOf"] ?? schema["oneOf"]
  if (members !== undefined) {
    for (const member of SchemaNode.nodes(members)) {
      const inner = readNode(member, value, definitions)
      if (SchemaNode.fits(member, inner, definitions)) return inner
    }
    return value
  }
  if (schema["type"] === "object") {
    return SchemaNode.isRecord(schema) ? readRecord(schema, value, definitions) : readObject(schema, value, definitions)
  }
  return schema["type"] === "array" ? readList(schema, value, definitions) : value
}

const readObject = (schema: SchemaNode.Node, value: object, definitions: SchemaNode.Node): unknown => {
  if (!SchemaNode.isNode(value)) return value
  const required = SchemaNode.requiredOf(schema)
  const properties = SchemaNode.fields(schema["properties"])
  let out: { [name: string]: unknown } | undefined
  for (const [name, property] of Object.entries(properties)) {
    const field = value[name]
    if (field === undefined) continue
    if (field === null && !required.has(name) && !SchemaNode.fits(SchemaNode.fields(property), null, definitions)) {
      delete (out ??= { ...value })[name]
      continue
    }
    const inner = readNode(SchemaNode.fields(property), field, definitions)
    if (inner !== field) (out ??= { ...value })[name] = inner
  }
  return out ?? value
}

/**
 * A value that does not fit, without the slips that leave no doubt of what is meant: a choice in other letters or with spaces around it,
 * which even providers that hold an answer strictly let pass, and a list of one in the place of an object. The same value where
 * there are none.
 */
export const mend = (schema: JsonSchema.JsonSchema, value: unknown): unknown => {
  const definitions = SchemaNode.fields(schema["$defs"])
  const isListOfOne =
    Array.isArray(value) && value.length === 1 && kindsOf(schema, definitions)?.includes("array") === false
  return mendNode(schema, isListOfOne ? value[0] : value, definitions)
}

const mendNode = (node: SchemaNode.Node, value: unknown, definitions: SchemaNode.Node): unknown => {
  const schema = SchemaNode.direct(node)
  const target = SchemaNode.resolve(schema, definitions)
  if (target !== undefined) return mendNode(target, value, definitions)
  if (SchemaNode.fits(schema, value, definitions)) return value
  const members = schema["anyOf"] ?? schema["oneOf"]
  if (members !== undefined) {
    const mended = SchemaNode.nodes(members).map((member) => mendNode(member, value, definitions))
    return (
      mended.find((other, index) => SchemaNode.fits(SchemaNode.nodes(members)[index]!, other, definitions)) ?? value
    )
  }
  if (typeof value === "string" && Array.isArray(schema["enum"])) return choiceLike(schema["enum"], value)
  if (Array.isArray(value)) {
    const { items } = schema
    return SchemaNode.isNode(items) ? value.map((item) => mendNode(items, item, definitions)) : value
  }
  if (!SchemaNode.isNode(value)) return value
  const properties = SchemaNode.fields(schema["properties"])
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      name,
      properties[name] === undefined ? field : mendNode(SchemaNode.fields(properties[name]), field, definitions)
    ])
  )
}

const choiceLike = (choices: ReadonlyArray<unknown>, value: string): unknown => {
  const plain = (text: string): string => text.trim().toLowerCase()
  const like = choices.filter((choice) => typeof choice === "string" && plain(choice) === plain(value))
  return like.length === 1 ? like[0] : value
}

const isEntry = (value: unknown): value is { readonly key: unknown; readonly value: unknown } =>
  SchemaNode.isNode(value) && "key" in value && "value" in value

const readRecord = (schema: SchemaNode.Node, value: object, definitions: SchemaNode.Node): unknown => {
  const isEntries = Array.isArray(value) && value.every(isEntry)
  if (!isEntries && !SchemaNode.isNode(value)) return value
  const inner = SchemaNode.anyOf(SchemaNode.entriesOf(schema).values)
  const entries = isEntries ? value.map((entry) => [String(entry.key), entry.value] as const) : Object.entries(value)
  return Object.fromEntries(entries.map(([key, field]) => [key, readNode(inner, field, definitions)]))
}

const readList = (schema: SchemaNode.Node, value: object, definitions: SchemaNode.Node): unknown => {
  const tuple = SchemaNode.tupleOf(schema)
  const items = Array.isArray(value) ? value : itemsOf(schema, tuple, value, definitions)
  if (items === undefined) return value
  const read = items.map((item: unknown, index) => {
    const type = tuple.first[index] ?? tuple.rest
    return type === undefined ? item : readNode(type, item, definitions)
  })
  return items === value && read.every((item, index) => item === items[index]) ? value : read
}

/** The items of a tuple that came as an object; `undefined`: it is another one. */
const itemsOf = (
  schema: SchemaNode.Node,
  { first }: ReturnType<typeof SchemaNode.tupleOf>,
  value: object,
  definitions: SchemaNode.Node
): ReadonlyArray<unknown> | undefined => {
  const record = value as SchemaNode.Node
  if (first.length === 0 || !first.every((_, index) => String(index) in record)) return undefined
  const items = first.map((_, index) => record[index])
  const least = Number(schema["minItems"] ?? 0)
  while (
    items.length > least
    && items.at(-1) === null
    && !SchemaNode.fits(first[items.length - 1]!, null, definitions)
  ) {
    items.pop()
  }
  return items.length === first.length && Array.isArray(record["rest"]) ? [...items, ...record["rest"]] : items
}
