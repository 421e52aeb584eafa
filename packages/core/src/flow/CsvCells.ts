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
  /** Lists and records, which are JSON in their cell. */
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
    isNested: has((one) => SchemaAST.isArrays(one) || SchemaAST.isObjects(one))
  }
}

/** The columns that a schema names; none where it takes any. */
const columnsOf = (schema: Schema.Top): ReadonlyMap<string, Column> => {
  const ast = SchemaAST.toType(schema.ast)
  return new Map(
    SchemaAST.isObjects(ast)
      ? ast.propertySignatures.map(({ name, type }) => [String(name), columnOf(type)] as const)
      : []
  )
}

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

/** Reads cells by the names of their columns. */
export const reader = (schema: Schema.Top): ((name: string, cell: string) => Cell) => {
  const columns = columnsOf(schema)
  return (name, cell) => {
    const column = columns.get(name)
    return column === undefined ? value(cell) : read(column, cell)
  }
}
