/** Answers that fit a JSON Schema, as a provider would make them that holds its model to it; each is checked by Ajv. */
import { Ajv2020 } from "ajv/dist/2020.js"
import addFormats from "ajv-formats"

type Json = { readonly [keyword: string]: unknown }

export type Random = (below: number) => number

/** Numbers from a seed (mulberry32). */
export const random = (seed: number): Random => {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

/** Texts that match the patterns that generated schemas have. */
export const patterns: ReadonlyMap<string, ReadonlyArray<string>> = new Map([
  ["^[A-Z]{3}$", ["ABC", "XYZ"]],
  ["^\\d{4}-\\d{2}$", ["2026-11", "1999-01"]],
  ["^(?:yes|no)$", ["yes", "no"]],
  ["^-?\\d+$", ["0", "-17", "123456789012345678901234567890"]]
])

const texts: { readonly [format: string]: ReadonlyArray<string> } = {
  "date-time": ["2026-03-05T10:00:00Z", "1999-12-31T23:59:59.250+01:00"],
  uri: ["https://example.com/a?b=c"],
  uuid: ["123e4567-e89b-12d3-a456-426614174000"]
}

const words = ["", "a", "zwei", "três três", "日本", "😀", 'say "hi"', "{not json}", "null", "[1]"]

const pick = <A>(items: ReadonlyArray<A>, next: Random): A => items[next(items.length)]!

const sample = (node: Json, root: Json, next: Random, depth: number): unknown => {
  const { anyOf, enum: choices, $ref, type } = node
  if (typeof $ref === "string") {
    return sample((root["$defs"] as Json)[$ref.replace("#/$defs/", "")] as Json, root, next, depth + 1)
  }
  if (Array.isArray(anyOf)) return sample(pick(anyOf, next) as Json, root, next, depth)
  if (Array.isArray(choices)) return pick(choices, next)
  switch (type) {
    case "object": {
      const required = node["required"] as ReadonlyArray<string>
      return Object.fromEntries(
        Object.entries(node["properties"] as Json).flatMap(([name, property]) =>
          required.includes(name) || next(2) === 0 ? [[name, sample(property as Json, root, next, depth + 1)]] : []
        )
      )
    }
    case "array": {
      const least = Number(node["minItems"] ?? 0)
      const most = Math.min(Number(node["maxItems"] ?? 100), least + (depth > 6 ? 0 : 2))
      const items = Array.from({ length: least + next(most - least + 1) }, () =>
        sample(node["items"] as Json, root, next, depth + 1)
      )
      // A record has each name once, which no schema of a list can say.
      const isRecord = Object.keys(((node["items"] as Json)["properties"] ?? {}) as Json).join() === "key,value"
      return isRecord ? [...new Map(items.map((item) => [(item as Json)["key"], item])).values()] : items
    }
    case "string": {
      const { format, pattern } = node
      if (typeof pattern === "string") return pick(patterns.get(pattern) ?? ["?"], next)
      return typeof format === "string" ? pick(texts[format] ?? ["?"], next) : pick(words, next)
    }
    case "integer":
    case "number": {
      const least = Number(node["minimum"] ?? -100)
      const most = Number(node["maximum"] ?? least + 200)
      const whole = Math.ceil(least) + next(Math.floor(most) - Math.ceil(least) + 1)
      return type === "number" && next(2) === 0 ? Math.min(most, whole + 0.25) : whole
    }
    case "boolean":
      return next(2) === 0
    default:
      return null
  }
}

const ajv = addFormats.default(
  new Ajv2020({ strict: true, strictTypes: false, strictRequired: false, strictTuples: false })
)

/** An answer that the schema takes, by Ajv's word. */
export const of = (schema: Json, next: Random): unknown => {
  const made = sample(schema, schema, next, 0)
  const validate = ajv.compile(schema)
  if (!validate(made))
    throw new Error(`the sample does not fit: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(schema)}`)
  return made
}
