/**
 * Decodes the rows of a source by its schema. A row that does not fit has a problem in its place.
 *
 * @internal
 */
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as ExactJson from "../encoding/ExactJson.ts"
import type * as Node from "./Node.ts"

/** Decodes the value at a position. */
export type Decode<A> = (position: string, raw: unknown) => Node.ReadRow<A>

/** Decodes JSON, in the form that the schema has in JSON. */
export const json = <A>(schema: Schema.Codec<A, unknown>): Decode<A> => {
  const codec = Schema.toCodecJson(schema) as Schema.Codec<A, unknown>
  return make(codec, (error, raw) => longIntegerProblem(error, raw, codec) ?? schemaProblem(error))
}

/** Decodes texts: the cells of a table. Lists and records in a cell are JSON, whose leaves are texts too. */
export const texts = <A>(schema: Schema.Codec<A, unknown>): Decode<A> => {
  const codec = Schema.toCodecStringTree(schema) as Schema.Codec<A, unknown>
  const decode = make(codec)
  const encode = Schema.encodeUnknownExit(codec)
  return (position, raw) => {
    const row = decode(position, raw)
    if ("problem" in row || !hasLongInteger(raw)) return row
    const encoded = encode(row.value)
    const lost = Exit.isSuccess(encoded) ? changedInteger(raw, encoded.value) : undefined
    return lost === undefined ? row : { position, problem: longIntegerWords(lost, "", IN_TEXTS), raw: rawOf(raw) }
  }
}

/** Whether a list or a record in a row has an integer of more digits than a number holds. */
const hasLongInteger = (raw: unknown): boolean =>
  typeof raw === "string" ? ExactJson.losesDigits(raw) : isParent(raw) && Object.values(raw).some(hasLongInteger)

const isParent = (value: unknown): value is object => typeof value === "object" && value !== null

/** The first long integer that a number has changed. */
const changedInteger = (raw: unknown, encoded: unknown): string | undefined => {
  if (typeof raw === "string") return ExactJson.losesDigits(raw) && raw !== encoded ? raw : undefined
  if (!isParent(raw)) return undefined
  for (const [key, part] of Object.entries(raw)) {
    const found = changedInteger(part, at(encoded, [key]))
    if (found !== undefined) return found
  }
  return undefined
}

const schemaProblem = ({ message }: Schema.SchemaError): string =>
  `does not fit its schema: ${message.replace(/\s*\n\s*/g, " ")}`

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

/** The paths at which a value does not fit. */
const pathsOf = ({ issue }: Schema.SchemaError): ReadonlyArray<ReadonlyArray<string>> =>
  formatIssue(issue).issues.map(({ path = [] }) =>
    path.map((part) => String(typeof part === "object" ? part.key : part))
  )

const at = (value: unknown, path: ReadonlyArray<string>): unknown =>
  path.reduce<unknown>((inner, key) => Object(inner)[key], value)

/** Whether a number in place of the value at a path fits there. */
const fits = <A>(raw: unknown, path: ReadonlyArray<string>, number: number, schema: Schema.Codec<A, unknown>) => {
  const holder = { row: structuredClone(raw) }
  const places = ["row", ...path]
  const key = places.pop()!
  Object.assign(Object(at(holder, places)), { [key]: number })
  const error = Exit.findError(Schema.decodeUnknownExit(schema)(holder.row))
  return Result.isFailure(error) || !pathsOf(error.success).some((other) => other.join() === path.join())
}

const longIntegerWords = (text: string, place: string, advice: string): string =>
  `the number ${text.length > MOST_DIGITS ? `${text.slice(0, MOST_DIGITS)}…` : text}${place} loses digits: ${advice}`

const IN_TEXTS = "read it as text (Schema.String), or as a Schema.BigInt"

/** Shorter integers of the same field are numbers in JSON. */
const IN_JSON =
  "write it in quotes and read it as a Schema.String or a Schema.BigInt, or read it as Schema.Union([Schema.Number, Schema.String])"

/** The most digits of a number in a message. */
const MOST_DIGITS = 40

/** The problem of an integer that was read as its text (`ExactJson`) where a number fits. */
const longIntegerProblem = <A>(
  error: Schema.SchemaError,
  raw: unknown,
  schema: Schema.Codec<A, unknown>
): string | undefined => {
  for (const path of pathsOf(error)) {
    const text = at(raw, path)
    if (typeof text !== "string" || !ExactJson.losesDigits(text)) continue
    if (![1, Number(text)].some((number) => fits(raw, path, number, schema))) continue
    const place = path.length === 0 ? "" : ` at ${path.join(".")}`
    return longIntegerWords(text, place, IN_JSON)
  }
  return undefined
}

/** Decodes by a schema, or returns the problem. */
export const make = <A>(
  schema: Schema.Codec<A, unknown>,
  problemOf: (error: Schema.SchemaError, raw: unknown) => string = schemaProblem
): Decode<A> => {
  const decode = Schema.decodeUnknownExit(schema)
  return (position: string, raw: unknown): Node.ReadRow<A> => {
    const exit = decode(raw)
    if (Exit.isSuccess(exit)) return { position, value: exit.value }
    const error = Exit.findError(exit)
    return {
      position,
      problem: Result.isSuccess(error) ? problemOf(error.success, raw) : "does not fit its schema: a defect",
      raw: rawOf(raw)
    }
  }
}

/** The value that did not fit, as far as JSON can represent it. */
const rawOf = (raw: unknown): string => {
  try {
    return JSON.stringify(raw) ?? String(raw)
  } catch {
    return String(raw)
  }
}
