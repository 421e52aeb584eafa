/**
 * Answers that fit the schema: readable words and numbers where it accepts them, and otherwise values that Effect
 * generates from it.
 *
 * @internal
 */
import * as AnswerValue from "@pipe/core/internal/AnswerValue"
import * as StrictSchema from "@pipe/core/internal/StrictSchema"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Script from "./Script.ts"

type Json = { readonly [key: string]: unknown }

type Codec = Schema.Codec<unknown, unknown>

type Accepts = (value: unknown) => boolean

/** Values are generated for the strict form, which has neither records nor tuples. */
const rules: StrictSchema.Rules = {
  optional: "absent",
  keywords: new Set([
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength"
  ]),
  takes: () => true
}

/** The generated values to try before a readable one is sent although it does not fit. */
const MOST_TRIES = 10

/** A value as JSON, for a JSON Schema and, when known, the schema that decodes the answer. */
export const json = (form: Json, schema: Schema.Top | undefined, key: string): string => {
  const readable = AnswerValue.read(form, Script.fromSchema(StrictSchema.of(form, rules).schema, key))
  if (schema === undefined) return JSON.stringify(readable)
  const codec = schema as unknown as Codec
  const decode = Schema.decodeUnknownExit(codec)
  const accepts: Accepts = (value) => {
    try {
      return Exit.isSuccess(decode(value))
    } catch {
      return false
    }
  }
  if (accepts(readable)) return JSON.stringify(readable)
  for (let attempt = 0; attempt < MOST_TRIES; attempt++) {
    const generated = generate(codec, `${key}/${attempt}`)
    if (generated !== undefined && accepts(generated)) {
      return JSON.stringify(readableWhere(generated, readable, (value) => value, accepts, key))
    }
  }
  return JSON.stringify(readable)
}

/** An encoded value of a schema; `undefined` when none can be generated. */
const generate = (codec: Codec, seed: string): unknown => {
  try {
    const [value] = Effect.runSync(Arbitrary.sampleEffect(Arbitrary.schema(codec), { count: 1, size: SIZE, seed }))
    return JSON.parse(JSON.stringify(Schema.encodeUnknownSync(codec)(value)))
  } catch {
    return undefined
  }
}

const SIZE = 12

const isRecord = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

/** Replaces generated values with readable ones, field by field, as long as the whole is accepted. */
const readableWhere = (
  generated: unknown,
  readable: unknown,
  within: (value: unknown) => unknown,
  accepts: Accepts,
  key: string
): unknown => {
  if (accepts(within(readable))) return readable
  if (typeof generated === "string") {
    return Script.usual(key).find((text) => accepts(within(text))) ?? generated
  }
  if (!isRecord(generated) || !isRecord(readable)) return generated
  let made: Json = generated
  for (const [name, value] of Object.entries(readable)) {
    if (!(name in made)) continue
    const field = readableWhere(
      made[name],
      value,
      (field) => within({ ...made, [name]: field }),
      accepts,
      `${key}.${name}`
    )
    made = { ...made, [name]: field }
  }
  return made
}
