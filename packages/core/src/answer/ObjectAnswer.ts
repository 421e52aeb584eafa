/**
 * Reads the text of an answer as a value of a step's schema.
 *
 * @internal
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type * as JsonSchema from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import * as AnswerSchema from "./AnswerSchema.ts"
import * as AnswerValue from "./AnswerValue.ts"
import * as JsonText from "./JsonText.ts"

export type ObjectReading =
  | {
      readonly _tag: "Fits"
      /** `None` when decoding needs services or time: it is left to the caller who has them. */
      readonly value: { readonly decoded: unknown } | undefined
      /** The value as JSON in the form of the schema; `undefined` when the text is that already. */
      readonly json: string | undefined
    }
  | { readonly _tag: "Wrong"; readonly problem: string }

/** The most characters of an answer's problem. */
const MOST_PROBLEM = 2_000

const readers = new WeakMap<Schema.Constraint, (text: string) => ObjectReading>()

/** Makes a reader of answers. Each schema is prepared once. */
export const reader = (schema: Schema.Constraint): ((text: string) => ObjectReading) => {
  let made = readers.get(schema)
  if (made === undefined) readers.set(schema, (made = make(AnswerSchema.of(schema))))
  return made
}

const make = ({ codec, jsonSchema }: AnswerSchema.AnswerSchema) => {
  // Reports everything that is wrong at once.
  const decode = Schema.decodeUnknownExit(codec, { errors: "all" })
  const isExpected = expectation(jsonSchema)
  const takesText = AnswerValue.takesText(jsonSchema)
  return (text: string): ObjectReading => {
    const found = JsonText.find(text, isExpected)
    if (found._tag === "Missing" && !takesText) {
      return { _tag: "Wrong", problem: found.problem }
    }
    const given = found._tag === "Missing" ? text.trim() : found.value
    const first = AnswerValue.read(jsonSchema, given)
    const decoded = decode(first)
    const problem = problemOf(decoded)
    if (problem === undefined)
      return fitting(decoded, first, found._tag === "Found" && found.isWhole && first === given)
    for (const value of [AnswerValue.mend(jsonSchema, first), ...(takesText ? [text.trim()] : [])]) {
      const exit = value === first ? decoded : decode(value)
      if (problemOf(exit) === undefined) return fitting(exit, value, false)
    }
    return { _tag: "Wrong", problem }
  }
}

const fitting = (exit: Exit.Exit<unknown, Schema.SchemaError>, value: unknown, isText: boolean): ObjectReading => ({
  _tag: "Fits",
  value: Exit.isSuccess(exit) ? { decoded: exit.value } : undefined,
  json: isText ? undefined : JSON.stringify(value)
})

/** What is wrong with a value. Needing services or time to decode is not a problem. */
const problemOf = (exit: Exit.Exit<unknown, Schema.SchemaError>): string | undefined =>
  Exit.isSuccess(exit) ? undefined : exit.cause.reasons.find(Cause.isFailReason)?.error.message.slice(0, MOST_PROBLEM)

/** Tests whether a value has a type that the root of an answer may have. */
const expectation = (schema: JsonSchema.JsonSchema): ((value: unknown) => boolean) => {
  const kinds = AnswerValue.rootKinds(schema)
  return (value) =>
    kinds === undefined
    || kinds.has(typeof value === "object" ? (Array.isArray(value) ? "array" : "object") : typeof value)
}
