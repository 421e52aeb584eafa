/**
 * What the simulator answers: deterministic for a seed, fitting the schema that was asked for.
 *
 * @internal
 */
import { hash } from "node:crypto"

/** A number from 0 to 1 (exclusive) that depends on the texts alone. */
export const chance = (...parts: ReadonlyArray<string>): number =>
  Number.parseInt(hash("sha256", parts.join("\0"), "hex").slice(0, 12), 16) / 2 ** 48

const pick = <A>(items: ReadonlyArray<A>, key: string): A => items[Math.floor(chance(key) * items.length)]!

const wordsOf = (text: string): ReadonlySet<string> => new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [])

/** The option that shares most words with the prompt's end; by the seed where none does. */
const fitting = (options: ReadonlyArray<unknown>, prompt: string, key: string): unknown => {
  const words = wordsOf(prompt.slice(-400))
  const scores = options.map((option) => {
    const own = wordsOf(String(option).replaceAll("_", " "))
    let shared = 0
    for (const word of own) if (words.has(word)) shared++
    return shared / Math.max(1, own.size)
  })
  const best = Math.max(...scores)
  return best > 0 ? options[scores.indexOf(best)] : pick(options, key)
}

type Json = { readonly [key: string]: unknown }

/** A value that fits a JSON Schema. */
export const fromSchema = (schema: Json, prompt: string, key: string, root: Json = schema): unknown => {
  const ref = schema["$ref"]
  if (typeof ref === "string") {
    const name = ref.split("/").at(-1)!
    return fromSchema((root["$defs"] as Json)[name] as Json, prompt, key, root)
  }
  if ("const" in schema) return schema["const"]
  if (Array.isArray(schema["enum"])) return fitting(schema["enum"], prompt, key)
  for (const keyword of ["anyOf", "oneOf"]) {
    const options = schema[keyword]
    if (Array.isArray(options)) {
      const constants = options.flatMap((option: Json) =>
        Array.isArray(option["enum"]) ? option["enum"] : "const" in option ? [option["const"]] : []
      )
      return constants.length === options.length
        ? fitting(constants, prompt, key)
        : fromSchema(options.find((option: Json) => option["type"] !== "null") as Json, prompt, key, root)
    }
  }
  const all = schema["allOf"]
  if (Array.isArray(all)) return fromSchema(Object.assign({}, schema, ...all, { allOf: undefined }), prompt, key, root)
  switch (schema["type"]) {
    case "object":
      return Object.fromEntries(
        Object.entries((schema["properties"] ?? {}) as Json).map(([name, property]) => [
          name,
          fromSchema(property as Json, prompt, `${key}.${name}`, root)
        ])
      )
    case "array": {
      const min = Number(schema["minItems"] ?? 1)
      const count = Math.max(min, Math.min(Number(schema["maxItems"] ?? 3), 1 + Math.floor(chance(key, "n") * 3)))
      return Array.from({ length: count }, (_, index) =>
        fromSchema((schema["items"] ?? {}) as Json, prompt, `${key}[${index}]`, root)
      )
    }
    case "boolean":
      return chance(key) < 0.5
    case "integer":
    case "number": {
      const low = Number(schema["minimum"] ?? schema["exclusiveMinimum"] ?? 0)
      const high = Number(schema["maximum"] ?? schema["exclusiveMaximum"] ?? low + 10)
      const value = low + chance(key) * (high - low)
      return schema["type"] === "integer" ? Math.round(value) : Math.round(value * 100) / 100
    }
    case "null":
      return null
    default:
      return sentence(key, 8)
  }
}

const lexicon = (
  "the a this one answer question text row point reason result note short clear likely simple common useful "
  + "first next last small good known plain open early late same other given stated expected"
).split(" ")

const sentence = (key: string, words: number): string => {
  const text = Array.from({ length: words }, (_, index) => pick(lexicon, `${key}/${index}`)).join(" ")
  return `${text[0]!.toUpperCase()}${text.slice(1)}.`
}

/** A plain answer of 6 to 30 words that says what it is. */
export const text = (key: string): string => `(simulated) ${sentence(key, 6 + Math.floor(chance(key, "length") * 24))}`

/** A vector of unit length. */
export const vector = (input: string, dimensions: number, seed: string): ReadonlyArray<number> => {
  const values = Array.from({ length: dimensions }, (_, index) => chance(seed, input, String(index)) - 0.5)
  const length = Math.hypot(...values)
  return values.map((value) => value / length)
}
