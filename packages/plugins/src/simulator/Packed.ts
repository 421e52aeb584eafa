/**
 * Answers prompts with several texts (`Pack` of `@pipe/core`): each text as if it had been sent alone, apart from
 * configured faults.
 *
 * @internal
 */
import type { PackFaults } from "./Options.ts"
import * as Script from "./Script.ts"
import type * as Wire from "./Wire.ts"

interface Item {
  readonly id: number
  readonly text: string
}

/** The texts of a prompt by number, and the prompt that each would have alone. */
const textsOf = (prompt: string): { readonly items: ReadonlyArray<Item>; readonly instruction: string } | undefined => {
  const at = prompt.lastIndexOf("\n\n[[text]] stands for each of the texts below")
  if (at < 0) return undefined
  const items = prompt
    .slice(at)
    .split("\n")
    .flatMap((line): ReadonlyArray<Item> => {
      if (!line.startsWith('{"id":')) return []
      return [JSON.parse(line) as Item]
    })
  return { items, instruction: prompt.slice(0, at) }
}

/** The answer to a prompt with several texts; `undefined` for any other prompt. */
export const answer = (
  asked: Wire.WireRequest,
  seed: string,
  faults: PackFaults,
  single: (prompt: string, schema: Wire.WireJson | undefined) => string
): string | undefined => {
  const schema = asked.schema as Wire.WireJson | undefined
  const form: Wire.WireJson | undefined = schema?.["properties"]?.["answers"]?.["items"]?.["properties"]?.["answer"]
  const texts = form === undefined ? undefined : textsOf(asked.prompt)
  if (schema === undefined || form === undefined || texts === undefined) return undefined
  const { instruction, items } = texts
  const happens = (rate: number | undefined, ...what: ReadonlyArray<string>) =>
    rate !== undefined && Script.chance(seed, ...what, asked.prompt) < rate
  if (happens(faults.garbled, "garbled")) return "I have read all of the texts. Here is what"
  const isText = form["type"] === "string" && form["enum"] === undefined
  const own = isText
    ? undefined
    : { ...form, ...(schema["$defs"] === undefined ? undefined : { $defs: schema["$defs"] }) }
  const answerTo = ({ text }: Item): unknown => {
    const said = single(instruction.split("[[text]]").join(text), own)
    return isText ? said : JSON.parse(said)
  }
  const answers = items.flatMap((item, at) => {
    if (happens(faults.missing, "missing", String(item.id))) return []
    const other = happens(faults.wrong, "wrong", String(item.id)) ? items[(at + 1) % items.length]! : item
    const entry = { id: item.id, answer: answerTo(other) }
    return happens(faults.doubled, "doubled", String(item.id)) ? [entry, entry] : [entry]
  })
  return JSON.stringify({ answers })
}
