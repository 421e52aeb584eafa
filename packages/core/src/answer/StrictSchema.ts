/**
 * Converts JSON Schemas to the strict forms that providers enforce, and back.
 *
 * **Details** Providers that guarantee an answer of a JSON Schema accept only a part of JSON Schema: an object at the
 * root, every property required, no additional properties, no tuples. A request carries the original schema, because a
 * router may send it to any provider; each provider applies `of` with its own `Rules`, and `AnswerValue.read` restores
 * the value from whichever form an answer has:
 *
 * | the schema says | what is sent |
 * | --- | --- |
 * | a list, a choice, a union, a text at the root | an object with the one property `value` |
 * | an optional property | a required one that may be `null`, or an optional one |
 * | a record | a list of `{ key, value }` |
 * | a tuple of one type | a list of that length |
 * | any other tuple | an object with the properties `0`, `1`, … and `rest` |
 * | a constraint that the provider does not accept | words in the description |
 *
 * **Example** (the rules of a provider)
 *
 * ```ts
 * import * as StrictSchema from "@pipe/core/internal/StrictSchema"
 *
 * const rules: StrictSchema.Rules = { optional: "null", keywords: new Set(["minimum"]), takes: () => true }
 *
 * const { problems, schema } = StrictSchema.of({ type: "array", items: { type: "integer", minimum: 1, maximum: 5 } }, rules)
 *
 * problems // => []
 * schema["properties"] // => { value: { type: "array", items: { type: "integer", minimum: 1, description: "maximum: 5" } } }
 * ```
 *
 * @internal
 */
import type * as JsonSchema from "effect/JsonSchema"
import * as SchemaNode from "./SchemaNode.ts"

/** A part of a schema that no strict form can express. */
export interface Problem {
  /** For example `items[].meta`; `""` is the root. */
  readonly path: string
  /** What is there, for example `takes any JSON`. */
  readonly what: string
}

/** What a provider enforces. Make the rules once, because schemas are cached by them. */
export interface Rules {
  /** How optional properties are expressed: as nullable, or as not required. */
  readonly optional: "null" | "absent"
  /** Accepted constraints, such as `minimum` and `pattern`. The others go into the description. */
  readonly keywords: ReadonlySet<string>
  /** Whether the value of a constraint is accepted, for example a `format`. */
  readonly takes: (keyword: string, value: unknown) => boolean
  /** Whether a schema may contain itself. Default: true. */
  readonly recursion?: boolean
  /** Whether a reference may have annotations, through a union of one. Default: true. */
  readonly describedReferences?: boolean
}

export interface Strict {
  readonly schema: JsonSchema.JsonSchema
  /** Empty when the schema can be enforced. */
  readonly problems: ReadonlyArray<Problem>
}

/** The strict form of a JSON Schema (draft 2020-12, definitions in `$defs`). Made once per schema and rules. */
export const of = (schema: JsonSchema.JsonSchema, rules: Rules): Strict => {
  let known = stricts.get(rules)
  if (known === undefined) stricts.set(rules, (known = new WeakMap()))
  let made = known.get(schema)
  if (made === undefined) known.set(schema, (made = make(schema, rules)))
  return made
}

/** The schema with an object at its root, for APIs that only use it as a hint. */
export const withObjectRoot = (schema: JsonSchema.JsonSchema): JsonSchema.JsonSchema => {
  const { $defs, ...root } = schema as SchemaNode.SchemaNode
  return SchemaNode.isObject(schema)
    ? schema
    : { ...SchemaNode.closedObject({ [SchemaNode.ROOT]: root }), ...($defs === undefined ? undefined : { $defs }) }
}

const stricts = new WeakMap<Rules, WeakMap<object, Strict>>()

const make = (schema: JsonSchema.JsonSchema, rules: Rules): Strict => {
  const problems: Array<Problem> = []
  const { $defs, ...root } = schema as SchemaNode.SchemaNode
  const definitions = SchemaNode.fields($defs)
  const names = wireNames(Object.keys(definitions))
  const context: Making = { rules, problems, names, definitions }
  const made = strict(root, "", context)
  const strictDefinitions = SchemaNode.used(root, definitions).map(([name, definition]) => {
    if (rules.recursion === false && SchemaNode.refersTo(definition, name, definitions)) {
      problems.push({ path: name, what: "contains itself" })
    }
    return [names.get(name)!, strict(SchemaNode.fields(definition), name, context)]
  })
  return {
    schema: {
      ...(SchemaNode.isObject(made) ? made : SchemaNode.closedObject({ [SchemaNode.ROOT]: made })),
      ...(strictDefinitions.length === 0 ? undefined : { $defs: Object.fromEntries(strictDefinitions) })
    },
    problems
  }
}

/** The state of a conversion, and the problems found. */
interface Making {
  readonly rules: Rules
  readonly problems: Array<Problem>
  /** The sent names of definitions, by their own. */
  readonly names: ReadonlyMap<string, string>
  readonly definitions: SchemaNode.SchemaNode
}

/** Names without characters to escape: a definition is often named after a class. */
const wireNames = (names: ReadonlyArray<string>): ReadonlyMap<string, string> => {
  const taken = new Map<string, string>()
  for (const name of names) {
    const clean = name.replaceAll(/[^a-zA-Z0-9_-]+/g, "_")
    let wire = clean
    for (let copy = 2; [...taken.values()].includes(wire); copy++) wire = `${clean}_${copy}`
    taken.set(name, wire)
  }
  return taken
}

const nullable = (
  schema: SchemaNode.SchemaNode,
  property: SchemaNode.SchemaNode,
  { definitions }: Making
): SchemaNode.SchemaNode =>
  new SchemaNode.Fits(definitions).is(property, null, true)
    ? schema
    : { anyOf: [...alternatives(schema), SchemaNode.NULL] }

const alternatives = (schema: SchemaNode.SchemaNode): ReadonlyArray<SchemaNode.SchemaNode> =>
  Object.keys(schema).length === 1 && schema["anyOf"] !== undefined ? SchemaNode.nodes(schema["anyOf"]) : [schema]

/** Removes the bounds of JavaScript's safe integers, which say nothing to a model. */
const withoutSafeBounds = (schema: SchemaNode.SchemaNode): SchemaNode.SchemaNode => {
  const { maximum, minimum, ...rest } = schema
  return minimum === Number.MIN_SAFE_INTEGER && maximum === Number.MAX_SAFE_INTEGER ? rest : schema
}

const strict = (node: SchemaNode.SchemaNode, path: string, making: Making): SchemaNode.SchemaNode => {
  const schema = withoutSafeBounds(SchemaNode.direct(node))
  const { $ref, const: constant, enum: choices, oneOf, type } = schema
  const report = (what: string): SchemaNode.SchemaNode => {
    making.problems.push({ path, what })
    return schema
  }
  if ($ref !== undefined) {
    const said = making.rules.describedReferences === false ? {} : SchemaNode.words(schema)
    const reference = { $ref: `#/$defs/${making.names.get(SchemaNode.nameOf(schema)!) ?? SchemaNode.nameOf(schema)}` }
    return Object.keys(said).length === 0 ? reference : { ...said, anyOf: [reference] }
  }
  if (constant !== undefined) return strict({ ...without(schema, "const"), enum: [constant] }, path, making)
  if (oneOf !== undefined) return strict({ ...without(schema, "oneOf"), anyOf: oneOf }, path, making)
  if (schema["not"] !== undefined) {
    return SchemaNode.same(schema["not"], SchemaNode.NULL)
      ? SchemaNode.closedObject({}, SchemaNode.words(schema))
      : report("takes no value")
  }
  if (schema["anyOf"] !== undefined) {
    const all = SchemaNode.nodes(schema["anyOf"])
    const forms = all.map((member) => strict(member, path, making))
    if (lookAlike(all, forms)) report("has members that an answer cannot tell apart")
    const members = forms.flatMap(alternatives)
    const different = oneChoice(
      members.filter((member, index) => members.findIndex((other) => SchemaNode.same(other, member)) === index)
    )
    return different.length === 1
      ? { ...different[0], ...SchemaNode.words(schema) }
      : { ...SchemaNode.words(schema), anyOf: different }
  }
  if (SchemaNode.isRecord(schema)) return recordOf(schema, path, making)
  if (type === "object") return objectOf(schema, path, making)
  if (type === "array") return listOf(schema, path, making)
  const merged = withAll(schema)
  if (Array.isArray(choices)) return choiceOf(choices, merged)
  if (Array.isArray(type))
    return strict({ ...SchemaNode.words(schema), anyOf: type.map((type) => ({ ...schema, type })) }, path, making)
  return type === undefined ? report("takes any JSON") : constrained(merged, making)
}

/** Whether a union contains a list and something encoded as a list: an empty one could be either. */
const lookAlike = (
  members: ReadonlyArray<SchemaNode.SchemaNode>,
  forms: ReadonlyArray<SchemaNode.SchemaNode>
): boolean => {
  const lists = members.filter((_, index) => forms[index]!["type"] === "array")
  return lists.some(SchemaNode.isRecord) && lists.length > 1
}

/** A choice with its type. Values of different types become a union. */
const choiceOf = (choices: ReadonlyArray<unknown>, schema: SchemaNode.SchemaNode): SchemaNode.SchemaNode => {
  const types = [...new Set(choices.map(SchemaNode.typeOf))]
  const members = types.map((type) =>
    type === "null" ? SchemaNode.NULL : { type, enum: choices.filter((choice) => SchemaNode.typeOf(choice) === type) }
  )
  return { ...SchemaNode.words(schema), ...SchemaNode.anyOf(members) }
}

/** The accepted constraints, with words for the others. */
const constrained = (schema: SchemaNode.SchemaNode, { rules }: Making): SchemaNode.SchemaNode => {
  const out: { [keyword: string]: unknown } = {}
  let description = schema["description"]
  for (const [keyword, value] of Object.entries(schema)) {
    if (structural.has(keyword) || (rules.keywords.has(keyword) && rules.takes(keyword, value))) out[keyword] = value
    else if (!ignored.has(keyword) && !says(description, keyword, value)) {
      description = SchemaNode.described(description, keyword, value)
    }
  }
  return description === undefined ? out : { ...out, description }
}

/** Keywords that every provider accepts. */
const structural: ReadonlySet<string> = new Set(["type", "items", "title", "description"])

/** Keywords that neither constrain nor inform a model. */
const ignored: ReadonlySet<string> = new Set(["allOf", "prefixItems", "$schema", "$id", "$comment", "examples"])

/** Whether a description states a constraint already, as those written by Effect do. */
const says = (description: unknown, keyword: string, value: unknown): boolean =>
  typeof description === "string" && description.includes(wordsFor[keyword] ?? String(value))

/** Effect's words for a constraint, when they are not its value: a length there counts in other units. */
const wordsFor: { readonly [keyword: string]: string } = {
  minLength: "length of",
  maxLength: "length of",
  uniqueItems: "unique",
  pattern: "RegExp"
}

/** Merges choices of one type: a provider counts the members of a union. */
const oneChoice = (members: ReadonlyArray<SchemaNode.SchemaNode>): ReadonlyArray<SchemaNode.SchemaNode> => {
  const [first] = members
  const isChoice = ({ enum: choices, title: _, type, ...rest }: SchemaNode.SchemaNode) =>
    Array.isArray(choices) && type === first?.["type"] && Object.keys(rest).length === 0
  return first === undefined || !members.every(isChoice)
    ? members
    : [{ type: first["type"], enum: members.flatMap(({ enum: choices }) => choices) }]
}

const without = (schema: SchemaNode.SchemaNode, keyword: string): SchemaNode.SchemaNode => {
  const { [keyword]: _, ...rest } = schema
  return rest
}

/** The stricter of two bounds. */
const bounds: { readonly [keyword: string]: (left: number, right: number) => number } = {
  minimum: Math.max,
  exclusiveMinimum: Math.max,
  minLength: Math.max,
  minItems: Math.max,
  maximum: Math.min,
  exclusiveMaximum: Math.min,
  maxLength: Math.min,
  maxItems: Math.min
}

/** Merges the constraints of `allOf`. What occurs twice goes into the description. */
const withAll = (schema: SchemaNode.SchemaNode): SchemaNode.SchemaNode => {
  const out: { [keyword: string]: unknown } = { ...schema }
  for (const member of SchemaNode.nodes(schema["allOf"])) {
    for (const [keyword, value] of Object.entries(member)) {
      const known = out[keyword]
      const bound = bounds[keyword]
      if (known === undefined) out[keyword] = value
      else if (SchemaNode.same(known, value)) continue
      else if (bound !== undefined) out[keyword] = bound(Number(known), Number(value))
      else if (keyword === "description") out[keyword] = `${String(known)}; ${String(value)}`
      else out["description"] = SchemaNode.described(out["description"], keyword, value)
    }
  }
  return out
}

const recordOf = (schema: SchemaNode.SchemaNode, path: string, making: Making): SchemaNode.SchemaNode => {
  const { keys, values } = SchemaNode.entriesOf(schema)
  const { maxProperties, minProperties } = withAll(schema)
  // A name that may be any text includes the names among them.
  const open = keys.find((key) => Object.keys(key).length === 1)
  return constrained(
    {
      type: "array",
      ...SchemaNode.words(schema),
      items: SchemaNode.closedObject({
        key: strict(open ?? SchemaNode.anyOf(keys.length === 0 ? [{ type: "string" }] : keys), `${path}{key}`, making),
        value: strict(SchemaNode.anyOf(values), `${path}{}`, making)
      }),
      ...(minProperties === undefined ? undefined : { minItems: minProperties }),
      ...(maxProperties === undefined ? undefined : { maxItems: maxProperties })
    },
    making
  )
}

const objectOf = (schema: SchemaNode.SchemaNode, path: string, making: Making): SchemaNode.SchemaNode => {
  const required = SchemaNode.requiredOf(schema)
  const isAbsent = making.rules.optional === "absent"
  // By entries, because a property may be named `__proto__`.
  const properties = Object.entries(SchemaNode.fields(schema["properties"])).flatMap(([name, property]) => {
    if (SchemaNode.isNever(property) && !required.has(name)) return []
    const made = strict(SchemaNode.fields(property), path === "" ? name : `${path}.${name}`, making)
    const isKept = required.has(name) || isAbsent
    return [[name, isKept ? made : nullable(made, SchemaNode.fields(property), making)] as const]
  })
  const names = properties.map(([name]) => name)
  return {
    ...SchemaNode.closedObject(Object.fromEntries(properties), SchemaNode.words(schema)),
    required: isAbsent ? names.filter((name) => required.has(name)) : names
  }
}

const listOf = (schema: SchemaNode.SchemaNode, path: string, making: Making): SchemaNode.SchemaNode => {
  const merged = withAll(schema)
  const tuple = SchemaNode.tupleOf(schema)
  if (tuple.first.length > 0 && !isHeld(schema, tuple, making.rules)) return tupleObject(schema, tuple, path, making)
  const item = tuple.rest ?? tuple.first[0]
  const items = item === undefined && isEmpty(schema) ? SchemaNode.NULL : strict(item ?? {}, `${path}[]`, making)
  return constrained(
    {
      ...merged,
      items,
      ...(tuple.rest === undefined && item !== undefined ? { maxItems: tuple.first.length } : undefined)
    },
    making
  )
}

/** Whether a tuple is expressed as a list: its items have one type and a fixed number. */
const isHeld = (
  schema: SchemaNode.SchemaNode,
  tuple: ReturnType<typeof SchemaNode.tupleOf>,
  { keywords, takes }: Rules
): boolean => {
  const most = tuple.rest === undefined ? tuple.first.length : undefined
  return (
    SchemaNode.isUniform(tuple)
    && keywords.has("minItems")
    && takes("minItems", schema["minItems"] ?? 0)
    && (most === undefined || (keywords.has("maxItems") && takes("maxItems", most)))
  )
}

const isEmpty = (schema: SchemaNode.SchemaNode): boolean => schema["maxItems"] === 0 || schema["items"] === false

const tupleObject = (
  schema: SchemaNode.SchemaNode,
  { first, rest }: ReturnType<typeof SchemaNode.tupleOf>,
  path: string,
  making: Making
): SchemaNode.SchemaNode => {
  const least = Number(schema["minItems"] ?? 0)
  const properties: { [name: string]: SchemaNode.SchemaNode } = {}
  for (const [index, item] of first.entries()) {
    const made = strict(item, `${path}[${index}]`, making)
    properties[index] = index < least ? made : nullable(made, item, making)
  }
  if (rest !== undefined) {
    const items = strict(rest, `${path}[]`, making)
    const more = least > first.length ? { minItems: least - first.length } : undefined
    properties["rest"] = constrained({ type: "array", items, ...more }, making)
  }
  return SchemaNode.closedObject(properties, SchemaNode.words(schema))
}
