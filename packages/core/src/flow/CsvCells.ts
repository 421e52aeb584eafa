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

const membersOf = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.AST> =>
  SchemaAST.isUnion(ast) ? ast.types.flatMap(membersOf) : [ast]

const columnOf = (ast: SchemaAST.AST): Column => {
  const members = membersOf(ast)
  const has = (is: (ast: SchemaAST.AST) => boolean) => members.some(is)
  return {
    hasText: has(
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
    hasNull: has(SchemaAST.isNull),
    isOptional: ast.context?.isOptional === true,
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
  SchemaAST.isObjects(ast)
    ? ast.propertySignatures.flatMap(({ name, type }) => {
        const path = [...before, String(name)]
        return [
          [path.join("."), { column: columnOf(type), path }] as const,
          ...membersOf(type).flatMap((member) => placesOf(member, path))
        ]
      })
    : []

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

const empty = ({ hasNull, hasUndefined, isOptional }: Column, cell: string): Cell =>
  isOptional ? { _tag: "Missing" } : value(hasUndefined ? undefined : hasNull ? "null" : cell)

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

const put = (record: Record<string, unknown>, [name = "", ...rest]: ReadonlyArray<string>, found: unknown): void => {
  if (rest.length === 0) record[name] = found
  else put((record[name] ??= {}) as Record<string, unknown>, rest, found)
}

/** Reads the cells of a row by the names of their columns: a record, or what is wrong with one of them. */
export const reader = (
  schema: Schema.Top
): ((header: ReadonlyArray<string>, cells: ReadonlyArray<string>) => Record<string, unknown> | string) => {
  const places = new Map(placesOf(SchemaAST.toType(schema.ast)))
  return (header, cells) => {
    const record: Record<string, unknown> = {}
    for (const [at, name] of header.entries()) {
      const place = places.get(name)
      const cell = place === undefined ? value(cells[at]) : read(place.column, cells[at]!)
      if (cell._tag === "Problem") return `${name}: ${cell.problem}`
      if (cell._tag === "Value") put(record, place?.path ?? [name], cell.value)
    }
    return record
  }
}
