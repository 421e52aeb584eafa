/**
 * The forms in which providers hold an answer strictly to a schema, and the way back.
 *
 * **Details** Providers that promise an answer of a JSON Schema take a part of JSON Schema alone: an object at the root, every
 * property required, no other property, no tuple. A request carries the schema as it is, since a router may send it to any
 * of them; a provider sends `of` it by its own `Rules`, and `read` gives back what the schema means, whichever form an answer
 * came in:
 *
 * | the schema says | what is sent |
 * | --- | --- |
 * | a list, a choice, a union, a text at the root | an object with the one property `value` |
 * | an optional property | a required one that may be `null`, or an optional one |
 * | a record | a list of `{ key, value }` |
 * | a tuple of one type | a list of that length |
 * | any other tuple | an object with the properties `0`, `1`, … and `rest` |
 * | a constraint that the provider does not take | words in the description |
 *
 * **Example** (what a provider takes, said once)
 *
 * ```ts
 * import { StrictSchema } from "@pipe/core"
 *
 * const rules: StrictSchema.Rules = { optional: "null", keywords: new Set(["minimum"]), takes: () => true }
 *
 * const { problems, schema } = StrictSchema.of({ type: "array", items: { type: "integer", minimum: 1, maximum: 5 } }, rules)
 *
 * problems // => []
 * schema["properties"] // => { value: { type: "array", items: { type: "integer", minimum: 1, description: "maximum: 5" } } }
 * StrictSchema.read({ type: "array", items: { type: "integer" } }, { value: [3] }) // => [3]
 * ```
 *
 * @since 0.1.0
 */
import type * as JsonSchema from "effect/JsonSchema"

type Node = { readonly [keyword: string]: unknown }

/** A place in a schema that no strict form holds. */
export interface Problem {
  /** Such as `items[].meta`; "" is the root. */
  readonly path: string
  /** What is there, such as `takes any JSON`. */
  readonly what: string
}

/** What a provider holds an answer to; make them once, since schemas are kept by them. */
export interface Rules {
  /** How an optional property is said: as one that may be `null`, or as one that is not required. */
  readonly optional: "null" | "absent"
  /** Constraints that are taken, such as `minimum` and `pattern`; the others go into the description. */
  readonly keywords: ReadonlySet<string>
  /** Whether a value of a constraint is taken: a `format`, say. */
  readonly takes: (keyword: string, value: unknown) => boolean
  /** Whether a schema may contain itself. Default: it may. */
  readonly recursion?: boolean
  /** Whether words may stand beside a reference, in a union of one. Default: they may. */
  readonly describedReferences?: boolean
}

export interface Strict {
  readonly schema: JsonSchema.JsonSchema
  /** None: the schema can be held strictly. */
  readonly problems: ReadonlyArray<Problem>
}

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && !Array.isArray(value)

const nodes = (value: unknown): ReadonlyArray<Node> => (Array.isArray(value) ? value.filter(isNode) : [])

const fields = (value: unknown): Node => (isNode(value) ? value : {})

const same = (left: unknown, right: unknown): boolean => JSON.stringify(left) === JSON.stringify(right)

/** The property under which a root that is no object stands. */
const ROOT = "value"

/** A JSON Schema (draft 2020-12, definitions in `$defs`) in its strict form. Made once for each schema and rules. */
export const of = (schema: JsonSchema.JsonSchema, rules: Rules): Strict => {
  let known = stricts.get(rules)
  if (known === undefined) stricts.set(rules, (known = new WeakMap()))
  let made = known.get(schema)
  if (made === undefined) known.set(schema, (made = make(schema, rules)))
  return made
}

/** The schema with an object at its root, as APIs want one that they take for a guide alone. */
export const withObjectRoot = (schema: JsonSchema.JsonSchema): JsonSchema.JsonSchema => {
  const { $defs, ...root } = schema as Node
  return isObject(schema)
    ? schema
    : { ...closedObject({ [ROOT]: root }), ...($defs === undefined ? undefined : { $defs }) }
}

const stricts = new WeakMap<Rules, WeakMap<object, Strict>>()

const make = (schema: JsonSchema.JsonSchema, rules: Rules): Strict => {
  const problems: Array<Problem> = []
  const { $defs, ...root } = schema as Node
  const definitions = fields($defs)
  const names = wireNames(Object.keys(definitions))
  const context: Making = { rules, problems, names }
  const made = strict(root, "", context)
  const strictDefinitions = Object.entries(definitions).map(([name, definition]) => {
    if (rules.recursion === false && reaches(fields(definition), name, definitions, new Set())) {
      problems.push({ path: name, what: "contains itself" })
    }
    return [names.get(name)!, strict(fields(definition), name, context)]
  })
  return {
    schema: {
      ...(isObject(made) ? made : closedObject({ [ROOT]: made })),
      ...(strictDefinitions.length === 0 ? undefined : { $defs: Object.fromEntries(strictDefinitions) })
    },
    problems
  }
}

/** What a strict form is made by, and what no form holds. */
interface Making {
  readonly rules: Rules
  readonly problems: Array<Problem>
  /** Of definitions, by their own. */
  readonly names: ReadonlyMap<string, string>
}

/** Names that need no escape: a definition is often named after a class. */
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

/** Whether a definition is met again under itself. */
const reaches = (schema: unknown, name: string, definitions: Node, seen: Set<string>): boolean => {
  if (typeof schema !== "object" || schema === null) return false
  const target = isNode(schema) ? nameOf(schema) : undefined
  if (target === name) return true
  if (target !== undefined && !seen.has(target)) {
    seen.add(target)
    if (reaches(definitions[target], name, definitions, seen)) return true
  }
  return Object.values(schema).some((part) => reaches(part, name, definitions, seen))
}

const isObject = (schema: Node): boolean => schema["type"] === "object"

const closedObject = (properties: Node, rest: Node = {}): Node => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
  ...rest
})

const NULL: Node = { type: "null" }

const nullable = (schema: Node): Node => (fits(schema, null, {}) ? schema : { anyOf: [...alternatives(schema), NULL] })

const alternatives = (schema: Node): ReadonlyArray<Node> =>
  Object.keys(schema).length === 1 && schema["anyOf"] !== undefined ? nodes(schema["anyOf"]) : [schema]

/** Words that people or models read, and that hold nothing. */
const words = (schema: Node): Node => {
  const { description, title } = schema
  return {
    ...(title === undefined ? undefined : { title }),
    ...(description === undefined ? undefined : { description })
  }
}

const shaping = ["type", "$ref", "anyOf", "oneOf", "enum", "const", "properties"]

/** A reference with words or constraints beside it comes as an `allOf`: it is taken with them in its words. */
const direct = (schema: Node): Node => {
  if (schema["allOf"] === undefined || shaping.some((keyword) => keyword in schema)) return schema
  const members = nodes(schema["allOf"])
  const [shape, ...others] = members.filter((member) => shaping.some((keyword) => keyword in member))
  if (shape === undefined || others.length > 0) return schema
  let out: Node = { ...shape, ...words(schema) }
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

/** The bounds of every integer of JavaScript say nothing to a model. */
const withoutSafeBounds = (schema: Node): Node => {
  const { maximum, minimum, ...rest } = schema
  return minimum === Number.MIN_SAFE_INTEGER && maximum === Number.MAX_SAFE_INTEGER ? rest : schema
}

const strict = (node: Node, path: string, making: Making): Node => {
  const schema = withoutSafeBounds(direct(node))
  const { $ref, const: constant, enum: choices, oneOf, type } = schema
  const report = (what: string): Node => {
    making.problems.push({ path, what })
    return schema
  }
  if ($ref !== undefined) {
    const said = making.rules.describedReferences === false ? {} : words(schema)
    const reference = { $ref: `#/$defs/${making.names.get(nameOf(schema)!) ?? nameOf(schema)}` }
    return Object.keys(said).length === 0 ? reference : { ...said, anyOf: [reference] }
  }
  if (constant !== undefined) return strict({ ...without(schema, "const"), enum: [constant] }, path, making)
  if (oneOf !== undefined) return strict({ ...without(schema, "oneOf"), anyOf: oneOf }, path, making)
  if (schema["not"] !== undefined) {
    return same(schema["not"], NULL) ? closedObject({}, words(schema)) : report("takes no value")
  }
  if (schema["anyOf"] !== undefined) {
    const members = nodes(schema["anyOf"]).flatMap((member) => alternatives(strict(member, path, making)))
    const different = oneChoice(
      members.filter((member, index) => members.findIndex((other) => same(other, member)) === index)
    )
    return different.length === 1 ? { ...different[0], ...words(schema) } : { ...words(schema), anyOf: different }
  }
  if (isRecord(schema)) return recordOf(schema, path, making)
  if (type === "object") return objectOf(schema, path, making)
  if (type === "array") return listOf(schema, path, making)
  const merged = withAll(schema)
  if (Array.isArray(choices)) return choiceOf(choices, merged)
  if (Array.isArray(type))
    return strict({ ...words(schema), anyOf: type.map((type) => ({ ...schema, type })) }, path, making)
  return type === undefined ? report("takes any JSON") : constrained(merged, making)
}

/** A choice with its type; values of different types are a union. */
const choiceOf = (choices: ReadonlyArray<unknown>, schema: Node): Node => {
  const types = [...new Set(choices.map(typeOf))]
  const members = types.map((type) =>
    type === "null" ? NULL : { type, enum: choices.filter((choice) => typeOf(choice) === type) }
  )
  return { ...words(schema), ...anyOf(members) }
}

/** The constraints that the provider takes, and words for the others. */
const constrained = (schema: Node, { rules }: Making): Node => {
  const out: { [keyword: string]: unknown } = {}
  let description = schema["description"]
  for (const [keyword, value] of Object.entries(schema)) {
    if (structural.has(keyword) || (rules.keywords.has(keyword) && rules.takes(keyword, value))) out[keyword] = value
    else if (!ignored.has(keyword) && !says(description, keyword, value)) {
      description = described(description, keyword, value)
    }
  }
  return description === undefined ? out : { ...out, description }
}

/** What every provider takes. */
const structural: ReadonlySet<string> = new Set(["type", "items", "title", "description"])

/** What is neither a constraint nor told to a model. */
const ignored: ReadonlySet<string> = new Set(["allOf", "prefixItems", "$schema", "$id", "$comment", "examples"])

/** Whether a description says a constraint already: those that Effect writes do. */
const says = (description: unknown, keyword: string, value: unknown): boolean =>
  typeof description === "string" && description.includes(wordsFor[keyword] ?? String(value))

/** Words by which Effect says a constraint, where they are not its value: a length counts in other units there. */
const wordsFor: { readonly [keyword: string]: string } = {
  minLength: "length of",
  maxLength: "length of",
  uniqueItems: "unique",
  pattern: "RegExp"
}

/** Choices of one type as one: a provider counts the members of a union. */
const oneChoice = (members: ReadonlyArray<Node>): ReadonlyArray<Node> => {
  const [first] = members
  const isChoice = ({ enum: choices, title: _, type, ...rest }: Node) =>
    Array.isArray(choices) && type === first?.["type"] && Object.keys(rest).length === 0
  return first === undefined || !members.every(isChoice)
    ? members
    : [{ type: first["type"], enum: members.flatMap(({ enum: choices }) => choices) }]
}

const typeOf = (value: unknown): string => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value)

const without = (schema: Node, keyword: string): Node => {
  const { [keyword]: _, ...rest } = schema
  return rest
}

/** Of two bounds the one that holds both. */
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

/** The constraints of `allOf` beside the others; what stands there twice goes into the description. */
const withAll = (schema: Node): Node => {
  const out: { [keyword: string]: unknown } = { ...schema }
  for (const member of nodes(schema["allOf"])) {
    for (const [keyword, value] of Object.entries(member)) {
      const known = out[keyword]
      const bound = bounds[keyword]
      if (known === undefined) out[keyword] = value
      else if (same(known, value)) continue
      else if (bound !== undefined) out[keyword] = bound(Number(known), Number(value))
      else if (keyword === "description") out[keyword] = `${String(known)}; ${String(value)}`
      else out["description"] = described(out["description"], keyword, value)
    }
  }
  return out
}

const described = (description: unknown, keyword: string, value: unknown): string =>
  `${typeof description === "string" && description !== "" ? `${description}; ` : ""}${keyword}: ${
    typeof value === "string" ? value : JSON.stringify(value)
  }`

/** Whether names of properties are open. */
const isRecord = (schema: Node): boolean =>
  schema["type"] === "object"
  && [schema, ...nodes(schema["allOf"])].some(
    ({ additionalProperties, patternProperties, properties, propertyNames }) =>
      isNode(additionalProperties)
      || patternProperties !== undefined
      || propertyNames !== undefined
      || (additionalProperties !== false && properties === undefined)
  )

/** The schemas of a record's names and values, named properties beside them. */
const entriesOf = (schema: Node): { readonly keys: ReadonlyArray<Node>; readonly values: ReadonlyArray<Node> } => {
  const keys: Array<Node> = []
  const values: Array<Node> = []
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

const anyOf = (members: ReadonlyArray<Node>): Node => (members.length === 1 ? members[0]! : { anyOf: members })

const recordOf = (schema: Node, path: string, making: Making): Node => {
  const { keys, values } = entriesOf(schema)
  const { maxProperties, minProperties } = withAll(schema)
  // A name that any text may have says more than the names that are among them.
  const open = keys.find((key) => Object.keys(key).length === 1)
  return constrained(
    {
      type: "array",
      ...words(schema),
      items: closedObject({
        key: strict(open ?? anyOf(keys.length === 0 ? [{ type: "string" }] : keys), `${path}{key}`, making),
        value: strict(anyOf(values), `${path}{}`, making)
      }),
      ...(minProperties === undefined ? undefined : { minItems: minProperties }),
      ...(maxProperties === undefined ? undefined : { maxItems: maxProperties })
    },
    making
  )
}

const objectOf = (schema: Node, path: string, making: Making): Node => {
  const required = requiredOf(schema)
  const properties: { [name: string]: Node } = {}
  for (const [name, property] of Object.entries(fields(schema["properties"]))) {
    if (isNever(property) && !required.has(name)) continue
    const made = strict(fields(property), path === "" ? name : `${path}.${name}`, making)
    properties[name] = required.has(name) || making.rules.optional === "absent" ? made : nullable(made)
  }
  return {
    ...closedObject(properties, words(schema)),
    ...(making.rules.optional === "absent"
      ? { required: Object.keys(properties).filter((name) => required.has(name)) }
      : undefined)
  }
}

const requiredOf = (schema: Node): ReadonlySet<unknown> =>
  new Set(Array.isArray(schema["required"]) ? schema["required"] : [])

const isNever = (schema: unknown): boolean => isNode(schema) && same(schema, { not: {} })

/** The types of a tuple's first items, and of those after them. */
const tupleOf = (schema: Node): { readonly first: ReadonlyArray<Node>; readonly rest: Node | undefined } => ({
  first: nodes(schema["prefixItems"]),
  rest: isNode(schema["items"]) ? schema["items"] : undefined
})

/** Whether a list has items of one type, whatever their number. */
const isUniform = ({ first, rest }: ReturnType<typeof tupleOf>): boolean =>
  first.every((item) => same(item, rest ?? first[0]))

const listOf = (schema: Node, path: string, making: Making): Node => {
  const merged = withAll(schema)
  const tuple = tupleOf(schema)
  if (tuple.first.length > 0 && !isHeld(schema, tuple, making.rules)) return tupleObject(schema, tuple, path, making)
  const item = tuple.rest ?? tuple.first[0]
  const items = item === undefined && isEmpty(schema) ? NULL : strict(item ?? {}, `${path}[]`, making)
  return constrained(
    {
      ...merged,
      items,
      ...(tuple.rest === undefined && item !== undefined ? { maxItems: tuple.first.length } : undefined)
    },
    making
  )
}

/** Whether a tuple is held as a list: its items are of one type, and so many. */
const isHeld = (schema: Node, tuple: ReturnType<typeof tupleOf>, { keywords, takes }: Rules): boolean => {
  const most = tuple.rest === undefined ? tuple.first.length : undefined
  return (
    isUniform(tuple)
    && keywords.has("minItems")
    && takes("minItems", schema["minItems"] ?? 0)
    && (most === undefined || (keywords.has("maxItems") && takes("maxItems", most)))
  )
}

const isEmpty = (schema: Node): boolean => schema["maxItems"] === 0 || schema["items"] === false

const tupleObject = (schema: Node, { first, rest }: ReturnType<typeof tupleOf>, path: string, making: Making): Node => {
  const least = Number(schema["minItems"] ?? 0)
  const properties: { [name: string]: Node } = {}
  for (const [index, item] of first.entries()) {
    const made = strict(item, `${path}[${index}]`, making)
    properties[index] = index < least ? made : nullable(made)
  }
  if (rest !== undefined) {
    const items = strict(rest, `${path}[]`, making)
    const more = least > first.length ? { minItems: least - first.length } : undefined
    properties["rest"] = constrained({ type: "array", items, ...more }, making)
  }
  return closedObject(properties, words(schema))
}

/** The value that an answer stands for: of the schema, whether it came in its strict form or as the schema says. */
export const read = (schema: JsonSchema.JsonSchema, value: unknown): unknown => {
  if (isPlain(schema)) return value
  const definitions = fields(schema["$defs"])
  if (isNode(value) && Object.keys(value).length === 1 && ROOT in value) {
    const inner = readNode(schema, value[ROOT], definitions)
    if (fits(schema, inner, definitions)) return inner
  }
  return readNode(schema, value, definitions)
}

/**
 * The kinds of value that an answer may have at its root, in its strict form or as the schema says; `undefined`: any.
 */
export const rootKinds = (schema: JsonSchema.JsonSchema): ReadonlySet<string> | undefined => {
  const kinds = kindsOf(schema, fields(schema["$defs"]))
  // The strict form of any root is an object, but where it is one already; that of a record is a list, too.
  return kinds === undefined ? undefined : new Set([...kinds, "object"])
}

const kindsOf = (node: Node, definitions: Node): ReadonlyArray<string> | undefined => {
  const schema = direct(node)
  const target = resolve(schema, definitions)
  if (target !== undefined) return kindsOf(target, definitions)
  const { anyOf, enum: choices, oneOf, type } = schema
  const members = anyOf ?? oneOf
  if (members !== undefined) {
    const kinds = nodes(members).map((member) => kindsOf(member, definitions))
    return kinds.includes(undefined) ? undefined : kinds.flatMap((kind) => kind ?? [])
  }
  if (Array.isArray(choices)) return choices.map(typeOf)
  return typeof type === "string" ? [type === "integer" ? "number" : type] : undefined
}

/** Whether a text is a value of a schema, so that an answer may be one without quotes. */
export const takesText = (schema: JsonSchema.JsonSchema): boolean =>
  kindsOf(schema, fields(schema["$defs"]))?.includes("string") === true

/** Whether values stand in an answer as the schema says, so that there is nothing to be read. */
export const isPlain = (schema: JsonSchema.JsonSchema): boolean => {
  let known = plains.get(schema)
  if (known === undefined) {
    known = isObject(schema) && [schema, ...nodes(Object.values(fields(schema["$defs"])))].every(isPlainNode)
    plains.set(schema, known)
  }
  return known
}

const plains = new WeakMap<object, boolean>()

const isPlainNode = (node: Node): boolean => {
  const schema = direct(node)
  if (schema["type"] === "object") {
    const required = requiredOf(schema)
    return (
      !isRecord(schema)
      && Object.entries(fields(schema["properties"])).every(
        ([name, property]) => required.has(name) && isPlainNode(fields(property))
      )
    )
  }
  if (schema["type"] === "array") {
    const { first, rest } = tupleOf(schema)
    return first.length === 0 && (rest === undefined || isPlainNode(rest))
  }
  return [...nodes(schema["anyOf"]), ...nodes(schema["oneOf"])].every(isPlainNode)
}

/** The definition that a node refers to. */
const nameOf = ({ $ref }: Node): string | undefined =>
  typeof $ref === "string"
    ? decodeURIComponent($ref.slice($ref.lastIndexOf("/") + 1))
        .replaceAll("~1", "/")
        .replaceAll("~0", "~")
    : undefined

const resolve = (schema: Node, definitions: Node): Node | undefined => {
  const name = nameOf(schema)
  return name === undefined ? undefined : fields(definitions[name])
}

const readNode = (node: Node, value: unknown, definitions: Node): unknown => {
  if (typeof value !== "object" || value === null) return value
  const schema = direct(node)
  const target = resolve(schema, definitions)
  if (target !== undefined) return readNode(target, value, definitions)
  const members = schema["anyOf"] ?? schema["oneOf"]
  if (members !== undefined) {
    for (const member of nodes(members)) {
      const inner = readNode(member, value, definitions)
      if (fits(member, inner, definitions)) return inner
    }
    return value
  }
  if (schema["type"] === "object") {
    return isRecord(schema) ? readRecord(schema, value, definitions) : readObject(schema, value, definitions)
  }
  return schema["type"] === "array" ? readList(schema, value, definitions) : value
}

const readObject = (schema: Node, value: object, definitions: Node): unknown => {
  if (!isNode(value)) return value
  const required = requiredOf(schema)
  const properties = fields(schema["properties"])
  let out: { [name: string]: unknown } | undefined
  for (const [name, property] of Object.entries(properties)) {
    const field = value[name]
    if (field === undefined) continue
    if (field === null && !required.has(name) && !fits(fields(property), null, definitions)) {
      delete (out ??= { ...value })[name]
      continue
    }
    const inner = readNode(fields(property), field, definitions)
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
  const definitions = fields(schema["$defs"])
  const isListOfOne =
    Array.isArray(value) && value.length === 1 && kindsOf(schema, definitions)?.includes("array") === false
  return mendNode(schema, isListOfOne ? value[0] : value, definitions)
}

const mendNode = (node: Node, value: unknown, definitions: Node): unknown => {
  const schema = direct(node)
  const target = resolve(schema, definitions)
  if (target !== undefined) return mendNode(target, value, definitions)
  if (fits(schema, value, definitions)) return value
  const members = schema["anyOf"] ?? schema["oneOf"]
  if (members !== undefined) {
    const mended = nodes(members).map((member) => mendNode(member, value, definitions))
    return mended.find((other, index) => fits(nodes(members)[index]!, other, definitions)) ?? value
  }
  if (typeof value === "string" && Array.isArray(schema["enum"])) return choiceLike(schema["enum"], value)
  if (Array.isArray(value)) {
    const { items } = schema
    return isNode(items) ? value.map((item) => mendNode(items, item, definitions)) : value
  }
  if (!isNode(value)) return value
  const properties = fields(schema["properties"])
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      name,
      properties[name] === undefined ? field : mendNode(fields(properties[name]), field, definitions)
    ])
  )
}

const choiceLike = (choices: ReadonlyArray<unknown>, value: string): unknown => {
  const plain = (text: string): string => text.trim().toLowerCase()
  const like = choices.filter((choice) => typeof choice === "string" && plain(choice) === plain(value))
  return like.length === 1 ? like[0] : value
}

const isEntry = (value: unknown): value is { readonly key: unknown; readonly value: unknown } =>
  isNode(value) && "key" in value && "value" in value

const readRecord = (schema: Node, value: object, definitions: Node): unknown => {
  const isEntries = Array.isArray(value) && value.every(isEntry)
  if (!isEntries && !isNode(value)) return value
  const inner = anyOf(entriesOf(schema).values)
  const entries = isEntries ? value.map((entry) => [String(entry.key), entry.value] as const) : Object.entries(value)
  return Object.fromEntries(entries.map(([key, field]) => [key, readNode(inner, field, definitions)]))
}

const readList = (schema: Node, value: object, definitions: Node): unknown => {
  const tuple = tupleOf(schema)
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
  schema: Node,
  { first }: ReturnType<typeof tupleOf>,
  value: object,
  definitions: Node
): ReadonlyArray<unknown> | undefined => {
  const record = value as Node
  if (first.length === 0 || !first.every((_, index) => String(index) in record)) return undefined
  const items = first.map((_, index) => record[index])
  const least = Number(schema["minItems"] ?? 0)
  while (items.length > least && items.at(-1) === null && !fits(first[items.length - 1]!, null, definitions)) {
    items.pop()
  }
  return items.length === first.length && Array.isArray(record["rest"]) ? [...items, ...record["rest"]] : items
}

/** Whether a value is of a schema by its types, choices and properties; bounds and patterns are not looked at. */
const fits = (node: Node, value: unknown, definitions: Node): boolean => {
  const schema = direct(node)
  const target = resolve(schema, definitions)
  if (target !== undefined) return fits(target, value, definitions)
  const members = schema["anyOf"] ?? schema["oneOf"]
  if (members !== undefined) return nodes(members).some((member) => fits(member, value, definitions))
  if (Array.isArray(schema["enum"])) return schema["enum"].includes(value)
  if (schema["const"] !== undefined) return schema["const"] === value
  if (schema["not"] !== undefined) return !isNever(schema) && value !== null
  switch (schema["type"]) {
    case "integer":
      return Number.isInteger(value)
    case "object": {
      if (!isNode(value)) return false
      if (isRecord(schema)) {
        const inner = anyOf(entriesOf(schema).values)
        return Object.values(value).every((field) => fits(inner, field, definitions))
      }
      const properties = fields(schema["properties"])
      return (
        [...requiredOf(schema)].every((name) => String(name) in value)
        && Object.entries(value).every(
          ([name, field]) => properties[name] === undefined || fits(fields(properties[name]), field, definitions)
        )
      )
    }
    case "array": {
      if (!Array.isArray(value) || value.length < Number(schema["minItems"] ?? 0)) return false
      const { first, rest } = tupleOf(schema)
      return value.every((item, index) => {
        const type = first[index] ?? rest
        return type === undefined || fits(type, item, definitions)
      })
    }
    case undefined:
      return true
    default:
      return typeOf(value) === schema["type"]
  }
}
