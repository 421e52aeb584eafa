/**
 * Generates the simulator's answers: deterministic for a seed, and fitting the requested schema.
 *
 * @internal
 */
import { hash } from "node:crypto"

/** A number from 0 to 1 (exclusive) that depends only on the texts. */
export const chance = (...parts: ReadonlyArray<string>): number =>
  Number.parseInt(hash("sha256", parts.join("\0"), "hex").slice(0, 12), 16) / 2 ** 48

const pick = <A>(items: ReadonlyArray<A>, key: string): A => items[Math.floor(chance(key) * items.length)]!

export type ScriptSchema = { readonly [key: string]: unknown }

/** The levels of recursive values. Below them lists are short, and optional parts are left out. */
const DEEP = 2
const MOST_DEPTH = 12

/** A value that fits a JSON Schema, except for patterns. */
export const fromSchema = (schema: ScriptSchema, key: string, root: ScriptSchema = schema, depth = 0): unknown => {
  const ref = schema["$ref"]
  if (typeof ref === "string") {
    if (depth > MOST_DEPTH) return null
    const name = ref.split("/").at(-1)!
    return fromSchema(
      name === "#" ? root : ((root["$defs"] as ScriptSchema)[name] as ScriptSchema),
      key,
      root,
      depth + 1
    )
  }
  if ("const" in schema) return schema["const"]
  if (Array.isArray(schema["enum"])) return pick(schema["enum"], key)
  for (const keyword of ["anyOf", "oneOf"]) {
    const options = schema[keyword]
    if (!Array.isArray(options)) continue
    const values = options.filter((option: ScriptSchema) => option["type"] !== "null")
    if (values.length === 0 || (depth > DEEP && values.length < options.length)) return null
    // A leaf of a tree.
    const flat = depth > DEEP ? values.filter((option: ScriptSchema) => option["$ref"] === undefined) : []
    return fromSchema(pick(flat.length > 0 ? flat : values, `${key}?`) as ScriptSchema, key, root, depth)
  }
  const all = schema["allOf"]
  if (Array.isArray(all)) return fromSchema(Object.assign({}, schema, ...all, { allOf: undefined }), key, root, depth)
  switch (schema["type"]) {
    case "object":
      return Object.fromEntries(
        Object.entries((schema["properties"] ?? {}) as ScriptSchema).flatMap(([name, property]) =>
          depth > DEEP && !(schema["required"] as ReadonlyArray<string> | undefined)?.includes(name)
            ? []
            : [[name, fromSchema(property as ScriptSchema, `${key}.${name}`, root, depth)]]
        )
      )
    case "array": {
      const min = Number(schema["minItems"] ?? 1)
      const wanted = depth > DEEP ? 0 : 1 + Math.floor(chance(key, "n") * 3)
      const count = Math.max(
        depth > DEEP ? Number(schema["minItems"] ?? 0) : min,
        Math.min(Number(schema["maxItems"] ?? 3), wanted)
      )
      return Array.from({ length: count }, (_, index) =>
        fromSchema((schema["items"] ?? {}) as ScriptSchema, `${key}[${index}]`, root, depth)
      )
    }
    case "boolean":
      return chance(key) < 0.5
    case "integer":
    case "number":
      return number(schema, key)
    case "null":
      return null
    default:
      return string(schema, key)
  }
}

const number = (schema: ScriptSchema, key: string): number => {
  const isWhole = schema["type"] === "integer"
  // The bounds of safe integers are not bounds that an author means.
  const bound = (name: string) =>
    typeof schema[name] === "number" && Math.abs(schema[name]) < Number.MAX_SAFE_INTEGER ? schema[name] : undefined
  const step = bound("multipleOf") ?? (isWhole ? 1 : 0.01)
  const [above, below] = [bound("exclusiveMinimum"), bound("exclusiveMaximum")]
  const least = bound("minimum") ?? (above === undefined ? undefined : above + step)
  const most = bound("maximum") ?? (below === undefined ? undefined : below - step)
  const low = Math.ceil((least ?? (most === undefined ? 0 : most - 10 * step * (isWhole ? 1 : 100))) / step)
  const high = Math.floor((most ?? low * step + 10 * (isWhole ? step : 1)) / step)
  const at = low + Math.floor(chance(key) * (Math.max(low, high) - low + 1))
  // Without the noise of binary fractions.
  return Number((at * step).toPrecision(12))
}

const DAY = 86_400_000

const dateOf = (key: string): Date =>
  new Date(Date.UTC(2025, 0, 1) + Math.floor(chance(key, "day") * 700) * DAY + Math.floor(chance(key, "time") * DAY))

/** Common texts that are not sentences: a time, a date, a number, an address. */
export const usual = (key: string): ReadonlyArray<string> => {
  const at = dateOf(key).toISOString()
  const number = String(1 + Math.floor(chance(key, "number") * 100))
  return [at, at.slice(0, 10), number, `https://example.com/${pick(lexicon, key)}`]
}

/** A text of the requested format and length. */
const string = (schema: ScriptSchema, key: string): string => {
  const at = dateOf(key)
  const digits = hash("sha256", key, "hex")
  switch (schema["format"]) {
    case "date-time":
      return at.toISOString()
    case "date":
      return at.toISOString().slice(0, 10)
    case "time":
      return at.toISOString().slice(11)
    case "uuid":
      return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-4${digits.slice(13, 16)}-a${digits.slice(17, 20)}-${digits.slice(20, 32)}`
    case "email":
      return `${pick(lexicon, key)}.${digits.slice(0, 4)}@example.com`
    case "uri":
    case "url":
      return `https://example.com/${pick(lexicon, key)}/${digits.slice(0, 6)}`
  }
  const least = Number(schema["minLength"] ?? 0)
  const most = Number(schema["maxLength"] ?? Number.POSITIVE_INFINITY)
  let made = sentence(key, most < 40 ? 1 : 8)
  for (let more = 1; made.length < least; more++) made += ` ${sentence(`${key}+${more}`, 8)}`
  return made.length <= most ? made : made.slice(0, most).trimEnd().padEnd(least, "x")
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
