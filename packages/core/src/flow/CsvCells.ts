/**
 * Reads the cells of a CSV file as their columns' schemas mean them: what people and spreadsheets write for missing
 * values, booleans, numbers and lists.
 *
 * @internal
 */
import type * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as ExactJson from "../encoding/ExactJson.ts"

/** A cell as the schema reads it, nothing for a missing one, or what is wrong with it. */
export type Cell =
  | { readonly _tag: "Value"; readonly value: unknown }
  | { readonly _tag: "Missing" }
  | { readonly _tag: "Problem"; readonly problem: string }

/** What a column may hold. */
interface Column {
  readonly hasText: boolean
  readonly hasBoolean: boolean
  readonly hasNumber: boolean
  readonly hasNull: boolean
  readonly isOptional: boolean
  readonly hasUndefined: boolean
  /** Lists, records, maps and sets, which are JSON in their cell. */
  readonly isNested: boolean
}

/** The fields of a class are those of the struct that it is made of. */
const structOf = (ast: SchemaAST.AST): SchemaAST.AST => {
  if (SchemaAST.isSuspend(ast)) return structOf(ast.thunk())
  const [inner] = SchemaAST.isDeclaration(ast) ? ast.typeParameters : []
  return inner !== undefined
    && ast._tag === "Declaration"
    && ast.typeParameters.length === 1
    && SchemaAST.isObjects(inner)
    ? inner
    : ast
}

const membersOf = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> => {
  const own = structOf(ast)
  return SchemaAST.isUnion(own) ? own.types.flatMap(membersOf) : [own]
}

/** Whether a value is made from a text that its schema reads itself, such as JSON. */
const readsText = (ast: SchemaAST.AST): boolean => {
  const encoded = SchemaAST.toEncoded(ast)
  return ast.encoding !== undefined && SchemaAST.isString(encoded) && isNestedOf(SchemaAST.toType(ast))
}

const isNestedOf = (ast: SchemaAST.AST): boolean =>
  membersOf(ast).some((one) => SchemaAST.isArrays(one) || SchemaAST.isObjects(one))

const columnOf = (field: SchemaAST.AST): Column => {
  const encoded = SchemaAST.toEncoded(field)
  const members = membersOf(SchemaAST.toType(field))
  const has = (is: (ast: SchemaAST.AST) => boolean) => members.some(is)
  return {
    hasText:
      readsText(field)
      || has(
        (one) =>
          SchemaAST.isString(one)
          || SchemaAST.isTemplateLiteral(one)
          || SchemaAST.isUnknown(one)
          || SchemaAST.isAny(one)
          || (SchemaAST.isLiteral(one) && one.literal === "")
      ),
    hasBoolean: has(
      (one) => SchemaAST.isBoolean(one) || (SchemaAST.isLiteral(one) && typeof one.literal === "boolean")
    ),
    hasNumber: has((one) => SchemaAST.isNumber(one)),
    hasNull: has(SchemaAST.isNull) || membersOf(encoded).some(SchemaAST.isNull),
    isOptional: field.context?.isOptional === true || encoded.context?.isOptional === true,
    hasUndefined: has(SchemaAST.isUndefined),
    isNested: has((one) => SchemaAST.isArrays(one) || SchemaAST.isObjects(one) || SchemaAST.isDeclaration(one))
  }
}

/** A column with the fields that lead to its value: `review.text` is a field of a record. */
interface Place {
  readonly column: Column
  readonly path: ReadonlyArray<string>
}

/** The columns that a schema names; none where it takes any. */
const placesOf = (ast: SchemaAST.AST, before: ReadonlyArray<string> = []): ReadonlyArray<readonly [string, Place]> =>
  membersOf(ast).flatMap((one) =>
    SchemaAST.isObjects(one) && before.length < DEPTH
      ? one.propertySignatures.flatMap(({ name, type }) => {
          const path = [...before, String(name)]
          return [[path.join("."), { column: columnOf(type), path }] as const, ...placesOf(type, path)]
        })
      : []
  )

/** The most levels of records that are columns: a schema may contain itself. */
const DEPTH = 8

/** The records with names of any kind: the columns `scores.a` and `scores.b` are fields of `scores`. */
const openOf = (ast: SchemaAST.AST, before: ReadonlyArray<string> = []): ReadonlyArray<Place> =>
  membersOf(ast).flatMap((one) =>
    SchemaAST.isObjects(one) && before.length < DEPTH
      ? [
          ...one.indexSignatures.map(({ type }): Place => ({
            column: { ...columnOf(type), isOptional: true },
            path: before
          })),
          ...one.propertySignatures.flatMap(({ name, type }) => openOf(type, [...before, String(name)]))
        ]
      : []
  )

/** The columns of the fields of a record begin with this. */
const prefixOf = (path: ReadonlyArray<string>): string => (path.length === 0 ? "" : `${path.join(".")}.`)

const value = (cell: unknown): Cell => ({ _tag: "Value", value: cell })

/** Leaves as the texts that a cell would have. */
const textsOf = (json: unknown): unknown => {
  if (Array.isArray(json)) return json.map(textsOf)
  return typeof json === "object" && json !== null
    ? Object.fromEntries(Object.entries(json).map(([key, item]) => [key, textsOf(item)]))
    : String(json)
}

const nested = (cell: string): Cell => {
  try {
    return value(textsOf(ExactJson.parse(cell)))
  } catch {
    return value(cell)
  }
}

const empty = ({ hasNull, hasNumber, hasUndefined, isOptional }: Column, cell: string): Cell => {
  if (isOptional) return { _tag: "Missing" }
  if (hasUndefined || hasNull) return value(hasUndefined ? undefined : "null")
  // Some schemas of numbers read nothing as 0.
  return hasNumber ? { _tag: "Problem", problem: "it is empty, and not a number" } : value(cell)
}

const read = (column: Column, cell: string): Cell => {
  const { hasBoolean, hasNumber, hasText, isNested } = column
  if (hasText) return value(cell)
  const trimmed = cell.trim()
  if (trimmed === "") return empty(column, cell)
  if (hasBoolean && /^(?:true|false)$/i.test(trimmed)) return value(trimmed.toLowerCase())
  if (hasNumber && ExactJson.losesDigits(trimmed))
    return {
      _tag: "Problem",
      problem: `the number ${trimmed} loses digits: read the column as text (Schema.String), or as a Schema.BigInt`
    }
  return isNested && /^[[{]/.test(trimmed) ? nested(trimmed) : value(trimmed)
}

const isRecord = (found: unknown): found is Record<string, unknown> =>
  typeof found === "object" && found !== null && !Array.isArray(found)

/**
 * Puts a cell into its record. What the columns of its fields have comes before what the column of the whole has; with
 * `isDefault`, what is there stays.
 */
const put = (
  record: Record<string, unknown>,
  [name = "", ...rest]: ReadonlyArray<string>,
  found: unknown,
  isDefault = false
): void => {
  const own = Object.hasOwn(record, name) ? record[name] : undefined
  if (rest.length === 0) {
    if (!isRecord(own) && (!isDefault || own === undefined)) define(record, name, found)
    return
  }
  const inner: Record<string, unknown> = isRecord(own) ? own : {}
  define(record, name, inner)
  put(inner, rest, found, isDefault)
}

const define = (record: Record<string, unknown>, name: string, value: unknown): void =>
  void Object.defineProperty(record, name, { value, enumerable: true, configurable: true, writable: true })

type Cells = (header: ReadonlyArray<string>, cells: ReadonlyArray<string>) => Record<string, unknown> | string

/** Reads the cells of a row by the names of their columns: a record, or what is wrong with one of them. */
export const reader = (schema: Schema.Top): Cells => {
  const { ast } = schema
  const places = new Map(placesOf(ast))
  const open = openOf(ast)
  const placeOf = (name: string): Place | undefined => {
    const known = places.get(name)
    if (known !== undefined) return known
    const whole = open.find(({ path }) => path.length > 0 && name.startsWith(prefixOf(path)))
    if (whole !== undefined)
      return { column: whole.column, path: [...whole.path, name.slice(prefixOf(whole.path).length)] }
    const all = open.find(({ path }) => path.length === 0)
    return all === undefined ? undefined : { column: all.column, path: [name] }
  }
  const optional = optionalRecords(ast)
  return (header, cells) => {
    const record: Record<string, unknown> = {}
    const absent = optional.filter(({ path }) => isEmpty(path.join("."), header, cells))
    for (const [at, name] of header.entries()) {
      if (absent.some(({ path }) => name.startsWith(`${path.join(".")}.`))) continue
      const place = placeOf(name)
      const cell = place === undefined ? value(cells[at]) : read(place.column, cells[at]!)
      if (cell._tag === "Problem") return `${name}: ${cell.problem}`
      if (cell._tag === "Value") put(record, place?.path ?? [name], cell.value)
    }
    for (const { column, path } of absent) {
      const cell = empty(column, "")
      if (cell._tag === "Value" && !header.includes(path.join("."))) put(record, path, cell.value)
    }
    for (const { path } of open) {
      if (path.length === 0) continue
      const name = path.join(".")
      if (header.some((column) => column.startsWith(`${name}.`)) && !absent.some((one) => one.path.join(".") === name))
        put(record, path, {}, true)
    }
    return record
  }
}

/** The records of a schema that may be missing, or `null`: their columns are then all empty. */
const optionalRecords = (ast: SchemaAST.AST): ReadonlyArray<Place> =>
  placesOf(ast)
    .map(([, place]) => place)
    .filter(
      ({ column: { hasNull, hasUndefined, isNested, isOptional } }) =>
        isNested && (hasNull || hasUndefined || isOptional)
    )

/** Whether a row has nothing in any column of a record. */
const isEmpty = (name: string, header: ReadonlyArray<string>, cells: ReadonlyArray<string>): boolean => {
  let has = false
  for (const [at, column] of header.entries()) {
    if (!column.startsWith(`${name}.`)) continue
    if (cells[at]!.trim() !== "") return false
    has = true
  }
  return has
}
