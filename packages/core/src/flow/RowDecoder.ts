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

const schemaProblem = (error: unknown): string =>
  `does not fit its schema: ${messageOf(error).replace(/\s*\n\s*/g, " ")}`

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

/** The paths at which a value does not fit. */
const pathsOf = (error: unknown): ReadonlyArray<ReadonlyArray<string>> =>
  Schema.isSchemaError(error)
    ? formatIssue(error.issue).issues.map(({ path = [] }) =>
        path.map((part) => String(typeof part === "object" ? part.key : part))
      )
    : []

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

/** The problem of an integer that was read as its text (`ExactJson`) where a number fits. */
const longIntegerProblem = <A>(error: unknown, raw: unknown, schema: Schema.Codec<A, unknown>): string | undefined => {
  for (const path of pathsOf(error)) {
    const text = at(raw, path)
    if (typeof text !== "string" || !ExactJson.losesDigits(text)) continue
    if (![1, Number(text)].some((number) => fits(raw, path, number, schema))) continue
    const place = path.length === 0 ? "" : ` at ${path.join(".")}`
    return `the number ${text}${place} loses digits: read it as text (Schema.String), or as a Schema.BigInt`
  }
  return undefined
}

/** Decodes by a schema, or returns the problem. */
export const make = <A>(
  schema: Schema.Codec<A, unknown>,
  problemOf: (error: unknown, raw: unknown) => string = schemaProblem
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

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
