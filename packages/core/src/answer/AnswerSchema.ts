/**
 * A step's schema as a model sees it: the codec that reads an answer, and the JSON Schema that is sent.
 *
 * **Details** Values are encoded as in JSON (`Schema.toCodecJson`): a date as text, a map as pairs. The JSON Schema
 * adds three things that this codec omits: a number is finite, because JSON has no other and no provider could enforce
 * a range besides `"NaN"`; a date and a URL have their format; and a pattern is sent whichever flags its expression
 * has, when it means the same with the flag `u` of JSON Schema.
 *
 * @internal
 */
import type * as JsonSchema from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaRepresentation from "effect/SchemaRepresentation"
import * as SchemaNode from "./SchemaNode.ts"

export interface AnswerSchema {
  readonly codec: Schema.Codec<unknown, unknown>
  /** Draft 2020-12, with definitions in `$defs`. */
  readonly jsonSchema: JsonSchema.JsonSchema
}

/** A schema that no answer can have. */
export class Unsupported extends Error {}

const known = new WeakMap<Schema.Constraint, AnswerSchema>()

/** Throws `Unsupported` with the field. Each schema is prepared once. */
export const of = (schema: Schema.Constraint): AnswerSchema => {
  let made = known.get(schema)
  if (made === undefined) known.set(schema, (made = make(schema)))
  return made
}

const knownOfJson = new WeakMap<object, Schema.Top>()

/** The schema of a JSON Schema, such as that of a stored request. Each is prepared once. */
export const fromJson = (jsonSchema: JsonSchema.JsonSchema): Schema.Top => {
  let made = knownOfJson.get(jsonSchema)
  if (made === undefined) {
    const { $defs, ...schema } = jsonSchema
    made = SchemaRepresentation.fromJsonSchemaDocument({
      dialect: "draft-2020-12",
      schema,
      definitions: ($defs ?? {}) as JsonSchema.Definitions
    })
    knownOfJson.set(jsonSchema, made)
  }
  return made
}

const make = (schema: Schema.Constraint): AnswerSchema => {
  const codec = Schema.toCodecJson(Schema.make<Schema.Codec<unknown, unknown>>(forModels(schema.ast)))
  const { definitions, schema: root } = Schema.toJsonSchemaDocument(codec, {
    generateDescriptions: true,
    onExcessProperty: "error"
  })
  const inlined = inline(root, definitions)
  // A root that is written out leaves its definition behind: each call would pay for it again.
  const used = SchemaNode.used(inlined, definitions)
  return { codec, jsonSchema: used.length === 0 ? inlined : { ...inlined, $defs: Object.fromEntries(used) } }
}

/** A root that refers to a definition is written out: providers take an object at the root. */
const inline = (root: SchemaNode.SchemaNode, definitions: SchemaNode.SchemaNode): SchemaNode.SchemaNode => {
  const node = SchemaNode.direct(root)
  const definition = SchemaNode.resolve(node, definitions)
  return definition === undefined ? root : { ...inline(definition, definitions), ...SchemaNode.words(node) }
}

/** A node with some fields changed. */
const copy = <A extends SchemaAST.AST>(ast: A, changes: { readonly [field in keyof A]?: unknown }): A =>
  Object.assign(Object.create(Object.getPrototypeOf(ast) as object) as A, ast, changes)

/** Maps a list; returns the same list when no item changes. */
const map = <A>(items: ReadonlyArray<A>, change: (item: A, index: number) => A): ReadonlyArray<A> => {
  const changed = items.map(change)
  return changed.every((item, index) => item === items[index]) ? items : changed
}

/** Changes the content of a node. `path` is its position, for messages. */
type Visit = (ast: SchemaAST.AST, path: string) => SchemaAST.AST

/** The same schema with the additions for models. */
const forModels = (root: SchemaAST.AST): SchemaAST.AST => {
  // By node: a repeated node stays one, and a schema may contain itself.
  const visited = new Map<SchemaAST.AST, SchemaAST.AST>()

  const visit: Visit = (ast, path) => {
    const known = visited.get(ast)
    if (known !== undefined) return known
    const made = changed(ast, path)
    visited.set(ast, made)
    return made
  }

  const changed: Visit = (ast, path) => {
    const { encoding } = ast
    if (encoding === undefined) return withWords(visitSelf(ast, path))
    // The last link leads to the JSON form.
    const links = map(encoding, (link, index) =>
      index === encoding.length - 1 ? withTarget(link, (to) => visit(to, path)) : link
    )
    return links === encoding ? ast : copy(ast, { encoding: links })
  }

  const visitSelf: Visit = (ast, path) => {
    switch (ast._tag) {
      case "Number":
        return finite(ast)
      case "String": {
        const checks = map<SchemaAST.Check<unknown>>(ast.checks ?? [], withPattern)
        return ast.checks === undefined || checks === ast.checks ? ast : copy(ast, { checks })
      }
      case "Symbol":
      case "UniqueSymbol":
        throw new Unsupported(`${place(path)} is a symbol, which JSON does not have: use a text`)
      case "Union": {
        const types = map(ast.types, (type) => visit(type, path))
        return types === ast.types ? ast : copy(ast, { types })
      }
      case "Arrays": {
        const elements = map(ast.elements, (type, index) => visit(type, `${path}[${index}]`))
        const rest = map(ast.rest, (type) => visit(type, `${path}[]`))
        return elements === ast.elements && rest === ast.rest ? ast : copy(ast, { elements, rest })
      }
      case "Objects":
        return object(ast, path, visit)
      case "Suspend": {
        let target: SchemaAST.AST | undefined
        return copy(ast, { thunk: () => (target ??= visit(ast.thunk(), path)) })
      }
      case "Declaration":
        return declared(ast, path, visit)
      default:
        return ast
    }
  }

  return visit(root, "")
}

const object = (ast: SchemaAST.Objects, path: string, visit: Visit): SchemaAST.AST => {
  const propertySignatures = map(ast.propertySignatures, (property) => {
    const { name, type } = property
    if (typeof name === "symbol") {
      throw new Unsupported(`${place(path)} has a property named by a symbol, which JSON does not have: use a text`)
    }
    const made = visit(type, path === "" ? String(name) : `${path}.${String(name)}`)
    return made === type ? property : new SchemaAST.PropertySignature(name, made)
  })
  const indexSignatures = map(ast.indexSignatures, (index) => {
    const made = visit(index.type, `${path}{}`)
    return made === index.type ? index : new SchemaAST.IndexSignature(index.parameter, made)
  })
  return propertySignatures === ast.propertySignatures && indexSignatures === ast.indexSignatures
    ? ast
    : copy(ast, { propertySignatures, indexSignatures })
}

const declared = (ast: SchemaAST.Declaration, path: string, visit: Visit): SchemaAST.AST => {
  const typeParameters = map(ast.typeParameters, (type) => visit(type, path))
  const { annotations } = ast
  const form = annotations?.["toCodecJson"] ?? annotations?.["toCodec"]
  if (typeof form !== "function") {
    throw new Unsupported(
      `${place(path)} (${nameOf(ast)}) cannot be represented in JSON: describe it with values that can, and decode them with Schema.decodeTo or in the step`
    )
  }
  const format = formats[idOf(annotations) ?? ""]
  if (format === undefined) {
    return typeParameters === ast.typeParameters ? ast : copy(ast, { typeParameters })
  }
  const own = annotations?.["description"] === undefined ? undefined : { description: annotations["description"] }
  const toCodecJson = (parameters: ReadonlyArray<Schema.Constraint>): SchemaAST.Link =>
    withTarget(form(parameters) as SchemaAST.Link, (to) =>
      copy(to, { annotations: { ...to.annotations, ...format, ...own } })
    )
  return copy(ast, { typeParameters, annotations: { ...annotations, toCodecJson } })
}

const withTarget = (link: SchemaAST.Link, change: (to: SchemaAST.AST) => SchemaAST.AST): SchemaAST.Link => {
  const to = change(link.to)
  return to === link.to ? link : new SchemaAST.Link(to, link.transformation)
}

const place = (path: string): string => (path === "" ? "the schema" : `the field ${path}`)

const nameOf = (ast: SchemaAST.Declaration): string => {
  const name = ast.annotations?.["expected"] ?? ast.annotations?.["identifier"]
  return typeof name === "string" ? name : "a class"
}

const idOf = (annotations: Schema.Annotations.Annotations | undefined): string | undefined => {
  const representation = annotations?.["representation"]
  return typeof representation === "object" && representation !== null && "id" in representation
    ? String(representation.id)
    : undefined
}

/** Formats of encoded texts. */
const formats: { readonly [id: string]: Schema.Annotations.Annotations } = {
  "effect/schema/Date": { format: "date-time", description: "a date and time as in 2026-03-05T10:00:00Z" },
  "effect/schema/DateTimeUtc": { format: "date-time", description: "a date and time as in 2026-03-05T10:00:00Z" },
  "effect/schema/DateTimeZoned": {
    description: "a date and time with its zone, as in 2026-03-05T10:00:00.000+01:00[Europe/Paris]"
  },
  "effect/schema/URL": { format: "uri", description: "a URL as in https://example.com/page" }
}

/** JSON has no other numbers, so a model need not be told. */
const isFinite = Schema.isFinite({ expected: undefined })

const finite = (ast: SchemaAST.Number): SchemaAST.AST => {
  const checks = ast.checks ?? []
  const isThere = checks.some(({ annotations }) => idOf(annotations) === "effect/schema/isFinite")
  return copy(ast, { checks: [...(isThere ? [] : [isFinite]), ...checks.map(silent)] })
}

/** A check that the type of a number implies. */
const silent = (check: SchemaAST.Check<unknown>): SchemaAST.Check<unknown> =>
  SILENT.has(idOf(check.annotations)) ? check.annotate({ expected: undefined }) : check

const SILENT: ReadonlySet<string | undefined> = new Set(["effect/schema/isInt", "effect/schema/isFinite"])

/** Adds the messages of a node's own checks, so a model knows them before it answers. */
const withWords = (ast: SchemaAST.AST): SchemaAST.AST => {
  if (ast.checks === undefined) return ast
  const checks = map<SchemaAST.Check<unknown>>(ast.checks, (check) =>
    check.annotations?.["toJsonSchema"] === undefined
    && typeof (check.annotations?.["description"] ?? check.annotations?.["expected"]) === "string"
      ? check.annotate({ toJsonSchema: () => ({}) })
      : check
  )
  return checks === ast.checks ? ast : copy(ast, { checks })
}

/** A pattern that JSON Schema interprets like the expression. */
const withPattern = (check: SchemaAST.Check<unknown>): SchemaAST.Check<unknown> => {
  const { payload } = (check.annotations?.["representation"] ?? {}) as { readonly payload?: unknown }
  if (idOf(check.annotations) !== "effect/schema/isPattern" || typeof payload !== "object" || payload === null) {
    return check
  }
  const { flags, source } = payload as { readonly flags?: unknown; readonly source?: unknown }
  return flags === "" && typeof source === "string" && isUnicode(source)
    ? check.annotate({ toJsonSchema: () => ({ pattern: source }) })
    : check
}

const isUnicode = (source: string): boolean => {
  try {
    new RegExp(source, "u")
    return true
  } catch {
    return false
  }
}
