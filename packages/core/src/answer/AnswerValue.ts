/**
 * Reads the value of an answer in any of its forms: that of the schema, or a strict one (see `StrictSchema`).
 *
 * **Example** (a record that arrived as a list)
 *
 * ```ts
 * import * as AnswerValue from "@pipe/core/internal/AnswerValue"
 *
 * const schema = { type: "object", additionalProperties: { type: "number" } } as const
 *
 * AnswerValue.read(schema, { value: [{ key: "a", value: 1 }] }) // => { a: 1 }
 * ```
 *
 * @internal
 */
import type * as JsonSchema from "effect/JsonSchema"
import * as SchemaNode from "./SchemaNode.ts"

/** The value of an answer, whether it arrived in its strict form or in that of the schema. */
export const read = (schema: JsonSchema.JsonSchema, value: unknown): unknown =>
  isPlain(schema) ? value : new Reader(SchemaNode.fields(schema["$defs"])).root(schema, value)

/** The types that an answer may have at its root, in either form; `undefined` for any. */
export const rootKinds = (schema: JsonSchema.JsonSchema): ReadonlySet<string> | undefined => {
  const kinds = kindsOf(schema, SchemaNode.fields(schema["$defs"]))
  // The strict form of any root is an object, unless it is one already. That of a record is a list, too.
  return kinds === undefined ? undefined : new Set([...kinds, "object"])
}

const kindsOf = (
  node: SchemaNode.SchemaNode,
  definitions: SchemaNode.SchemaNode
): ReadonlyArray<string> | undefined => {
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

/** Whether all values of a schema are texts, so an answer may be a text without quotes. */
export const takesText = (schema: JsonSchema.JsonSchema): boolean =>
  kindsOf(schema, SchemaNode.fields(schema["$defs"]))?.every((kind) => kind === "string") === true

/** Whether values are encoded exactly as the schema says, so nothing needs reading. */
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

const isPlainNode = (node: SchemaNode.SchemaNode): boolean => {
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

/**
 * Corrects slips that leave no doubt about the meaning: a choice in other case or with spaces around it, which even
 * strict providers let pass, and a list of one in place of an object. Returns the same value when there are none.
 */
export const mend = (schema: JsonSchema.JsonSchema, value: unknown): unknown => {
  const definitions = SchemaNode.fields(schema["$defs"])
  const isListOfOne =
    Array.isArray(value) && value.length === 1 && kindsOf(schema, definitions)?.includes("array") === false
  return new Mender(definitions).node(schema, isListOfOne ? value[0] : value)
}

/** Results by node and value: a schema may contain itself in many ways. */
class Memo {
  private readonly known = new WeakMap<SchemaNode.SchemaNode, WeakMap<object, unknown>>()

  get(node: SchemaNode.SchemaNode, value: object, make: () => unknown): unknown {
    let byValue = this.known.get(node)
    if (byValue === undefined) this.known.set(node, (byValue = new WeakMap()))
    if (byValue.has(value)) return byValue.get(value)
    byValue.set(value, value)
    const made = make()
    byValue.set(value, made)
    return made
  }
}

class Reader {
  private readonly fits: SchemaNode.Fits
  private readonly memo = new Memo()

  constructor(definitions: SchemaNode.SchemaNode) {
    this.fits = new SchemaNode.Fits(definitions)
  }

  /**
   * A root that is not an object is sent wrapped in one, so it arrives in that form; without it where a model leaves it
   * out. A record arrives as a list.
   */
  root(schema: SchemaNode.SchemaNode, value: unknown): unknown {
    const direct = SchemaNode.direct(schema)
    const root = SchemaNode.resolve(direct, this.fits.definitions) ?? direct
    const isWrapped = SchemaNode.isNode(value) && Object.keys(value).length === 1 && SchemaNode.ROOT in value
    if (!isWrapped) return this.node(schema, value)
    const inner = value[SchemaNode.ROOT]
    if (SchemaNode.isRecord(root)) {
      const list = Array.isArray(inner) ? this.node(schema, inner) : undefined
      return SchemaNode.isNode(list) && this.fits.is(schema, list, true) ? list : this.node(schema, value)
    }
    const isInner = this.fits.is(schema, inner, true) || !this.fits.is(schema, value, true)
    return this.node(schema, isInner && !SchemaNode.isObject(direct) ? inner : value)
  }

  node(node: SchemaNode.SchemaNode, value: unknown): unknown {
    return typeof value !== "object" || value === null
      ? value
      : this.memo.get(node, value, () => this.within(node, value))
  }

  private within(node: SchemaNode.SchemaNode, value: object): unknown {
    const schema = SchemaNode.direct(node)
    const target = SchemaNode.resolve(schema, this.fits.definitions)
    if (target !== undefined) return this.node(target, value)
    const members = schema["anyOf"] ?? schema["oneOf"]
    if (members !== undefined) return this.union(SchemaNode.nodes(members), value)
    if (schema["type"] === "object") {
      return SchemaNode.isRecord(schema) ? this.record(schema, value) : this.object(schema, value)
    }
    return schema["type"] === "array" ? this.list(schema, value) : value
  }

  /** The member that matches the value as it is, or in its strict form, or with additional properties. */
  private union(members: ReadonlyArray<SchemaNode.SchemaNode>, value: object): unknown {
    if (members.some((member) => this.fits.is(member, value, true))) return value
    for (const isClosed of [true, false]) {
      for (const member of members) {
        const inner = this.node(member, value)
        if (this.fits.is(member, inner, isClosed)) return inner
      }
    }
    return value
  }

  private object(schema: SchemaNode.SchemaNode, value: object): unknown {
    if (!SchemaNode.isNode(value)) return value
    const required = SchemaNode.requiredOf(schema)
    const properties = SchemaNode.fields(schema["properties"])
    const entries = Object.entries(value)
    const read = entries.flatMap(([name, field]) => {
      if (!Object.hasOwn(properties, name)) return [[name, field] as const]
      const property = SchemaNode.fields(properties[name])
      return field === null && !required.has(name) && !this.fits.is(property, null, true)
        ? []
        : [[name, this.node(property, field)] as const]
    })
    return read.length === entries.length && read.every(([, field], index) => field === entries[index]![1])
      ? value
      : Object.fromEntries(read)
  }

  private record(schema: SchemaNode.SchemaNode, value: object): unknown {
    const entries = Array.isArray(value) ? entriesIn(value) : Object.entries(value)
    if (entries === undefined) return value
    const inner = SchemaNode.valueOf(schema)
    return Object.fromEntries(entries.map(([key, field]) => [key, this.node(inner, field)]))
  }

  private list(schema: SchemaNode.SchemaNode, value: object): unknown {
    const tuple = SchemaNode.tupleOf(schema)
    const items = Array.isArray(value) ? (value as ReadonlyArray<unknown>) : this.itemsOf(schema, tuple, value)
    if (items === undefined) return value
    const read = items.map((item, index) => {
      const type = tuple.first[index] ?? tuple.rest
      return type === undefined ? item : this.node(type, item)
    })
    return items === value && read.every((item, index) => item === items[index]) ? value : read
  }

  /** The items of a tuple that arrived as an object; `undefined` when it is something else. */
  private itemsOf(
    schema: SchemaNode.SchemaNode,
    { first }: ReturnType<typeof SchemaNode.tupleOf>,
    value: object
  ): ReadonlyArray<unknown> | undefined {
    const record = value as SchemaNode.SchemaNode
    if (first.length === 0 || !first.every((_, index) => String(index) in record)) return undefined
    const items = first.map((_, index) => record[index])
    const least = Number(schema["minItems"] ?? 0)
    while (items.length > least && items.at(-1) === null && !this.fits.is(first[items.length - 1]!, null, true)) {
      items.pop()
    }
    return items.length === first.length && Array.isArray(record["rest"]) ? [...items, ...record["rest"]] : items
  }
}

/** The entries of a record that arrived as a list; `undefined` when it is another list, or has a name twice. */
const entriesIn = (value: ReadonlyArray<unknown>): ReadonlyArray<readonly [string, unknown]> | undefined => {
  const isEntry = (item: unknown): item is { readonly key: unknown; readonly value: unknown } =>
    SchemaNode.isNode(item) && Object.keys(item).length === 2 && "key" in item && "value" in item
  if (!value.every(isEntry)) return undefined
  const entries = value.map((entry) => [String(entry.key), entry.value] as const)
  return new Set(entries.map(([key]) => key)).size === entries.length ? entries : undefined
}

class Mender {
  private readonly fits: SchemaNode.Fits
  private readonly memo = new Memo()

  constructor(definitions: SchemaNode.SchemaNode) {
    this.fits = new SchemaNode.Fits(definitions)
  }

  node(node: SchemaNode.SchemaNode, value: unknown): unknown {
    return typeof value === "object" && value !== null
      ? this.memo.get(node, value, () => this.within(node, value))
      : this.within(node, value)
  }

  private within(node: SchemaNode.SchemaNode, value: unknown): unknown {
    const schema = SchemaNode.direct(node)
    const target = SchemaNode.resolve(schema, this.fits.definitions)
    if (target !== undefined) return this.node(target, value)
    if (this.fits.is(schema, value, false)) return value
    const members = schema["anyOf"] ?? schema["oneOf"]
    if (members !== undefined) {
      for (const member of SchemaNode.nodes(members)) {
        const mended = this.node(member, value)
        if (this.fits.is(member, mended, false)) return mended
      }
      return value
    }
    if (typeof value === "string" && Array.isArray(schema["enum"])) return choiceLike(schema["enum"], value)
    if (Array.isArray(value)) {
      const { first, rest } = SchemaNode.tupleOf(schema)
      return value.map((item, index) => {
        const type = first[index] ?? rest
        return type === undefined ? item : this.node(type, item)
      })
    }
    if (!SchemaNode.isNode(value)) return value
    const properties = SchemaNode.fields(schema["properties"])
    const isRecord = SchemaNode.isRecord(schema)
    return Object.fromEntries(
      Object.entries(value).map(([name, field]) => {
        const type = isRecord
          ? SchemaNode.valueOf(schema)
          : Object.hasOwn(properties, name)
            ? SchemaNode.fields(properties[name])
            : undefined
        return [name, type === undefined ? field : this.node(type, field)]
      })
    )
  }
}

const choiceLike = (choices: ReadonlyArray<unknown>, value: string): unknown => {
  const plain = (text: string): string => text.trim().toLowerCase()
  const like = choices.filter((choice) => typeof choice === "string" && plain(choice) === plain(value))
  return like.length === 1 ? like[0] : value
}
