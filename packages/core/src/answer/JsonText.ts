/**
 * The one JSON value in the text of an answer: alone, in a Markdown fence, after thoughts in tags, or with sentences around it.
 *
 * **Details** Models put their JSON in all of these, and to pay for it a second time would change nothing. Two different
 * values leave open which of them is the answer, so that neither is taken.
 *
 * @internal
 */
import * as Nesting from "../encoding/Nesting.ts"
import * as SafeText from "../encoding/SafeText.ts"

export type FoundJson =
  | { readonly _tag: "Found"; readonly value: unknown; readonly isWhole: boolean }
  | { readonly _tag: "Missing"; readonly problem: string }

/**
 * Finds the value. `isExpected`: whether it is of the kind of the answer, an object or a list for instance; it tells the answer
 * from a `[1]` in a sentence.
 */
export const find = (text: string, isExpected: (value: unknown) => boolean = () => true): FoundJson => {
  const whole = parse(text)
  if (whole !== undefined) {
    const inner = typeof whole.value === "string" && !isExpected(whole.value) ? parse(whole.value) : undefined
    return { _tag: "Found", value: (inner ?? whole).value, isWhole: inner === undefined }
  }
  const rest = withoutThoughts(text)
  const first = rest === undefined ? [] : within(rest, isExpected)
  // The tag may stand in the value itself.
  const found = first.length === 0 && rest !== text && rest !== undefined ? within(text, isExpected) : first
  switch (found.length) {
    case 0:
      return { _tag: "Missing", problem: problemOf(text) }
    case 1:
      return { _tag: "Found", value: found[0], isWhole: false }
    default:
      return { _tag: "Missing", problem: "it has more than one JSON value: answer with one alone" }
  }
}

/** JSON that is the whole of a text; too deep is not JSON. */
const parse = (text: string): { readonly value: unknown } | undefined => {
  try {
    return { value: Nesting.parse(text.replace(/^\uFEFF/, "")) }
  } catch {
    return undefined
  }
}

const problemOf = (text: string): string => {
  const start = text.trimStart()
  if (start !== "" && !/^[[{"]/.test(start)) return `not JSON, but ${JSON.stringify(SafeText.line(start, MOST_SHOWN))}`
  try {
    Nesting.parse(text)
    return "not JSON"
  } catch (error) {
    return `not JSON: ${(error as Error).message}`
  }
}

/** Characters of an answer that is no JSON, a refusal perhaps, that are shown of it. */
const MOST_SHOWN = 120

/** Tags in which models of open weights think before they answer; the first of them may stand in the prompt. */
const THOUGHTS = ["think", "thinking", "thought", "reasoning"]

/** The text behind them; `undefined`: they have no end. */
const withoutThoughts = (text: string): string | undefined => {
  for (const tag of THOUGHTS) {
    const close = `</${tag}>`
    const end = text.lastIndexOf(close)
    if (end !== -1) return text.slice(end + close.length)
    if (text.trimStart().startsWith(`<${tag}>`)) return undefined
  }
  return text
}

/** Begins an object or a list of JSON, and no remark of a person's: `{a}`, `[see below: …]`. */
const JSON_START = /^(?:\{\s*(?:["'}]|\w+\s*:)|\[\s*["{[\]\d-]|\[\s*(?:true|false|null)\b)/

/** `[1]`: where something is said, and no list. */
const CITATION = /^\[\s*\d{1,3}(?:\s*[,-]\s*\d{1,3})*\s*\]$/

/** Values that are looked at. */
const MOST_VALUES = 1_000

/** How often a text is walked over at most: one of brackets alone ends there. */
const MOST_WALKS = 8

/**
 * The different objects and lists of the expected kind in a text. Pieces of JSON that is broken are none: they would pass for the
 * whole.
 */
const within = (text: string, isExpected: (value: unknown) => boolean): ReadonlyArray<unknown> => {
  const found = new Map<string, unknown>()
  let left = MOST_WALKS * text.length
  let looked = 0
  for (let at = nextStart(text, 0); at !== -1 && left > 0 && looked++ < MOST_VALUES;) {
    const end = endOf(text, at)
    left -= (end ?? text.length) - at
    const isJson = JSON_START.test(text.slice(at, at + 100))
    if (end === undefined && isJson) break
    const piece = end === undefined ? undefined : text.slice(at, end)
    const value = piece === undefined || CITATION.test(piece.slice(0, 100)) ? undefined : parse(piece)
    if (value !== undefined && isExpected(value.value)) found.set(JSON.stringify(value.value), value.value)
    at = nextStart(text, isJson && end !== undefined ? end : at + 1)
  }
  // What was not looked at may be another value.
  return left <= 0 || looked > MOST_VALUES ? [] : [...found.values()]
}

const nextStart = (text: string, from: number): number => {
  const object = text.indexOf("{", from)
  const list = text.indexOf("[", from)
  return object === -1 ? list : list === -1 ? object : Math.min(object, list)
}

/** Where the brackets that open at a place are closed, texts left out; `undefined`: nowhere. */
const endOf = (text: string, start: number): number | undefined => {
  let depth = 0
  for (let at = start; at < text.length; at++) {
    switch (text[at]) {
      case "{":
      case "[":
        depth++
        break
      case "}":
      case "]":
        if (--depth === 0) return at + 1
        break
      case '"':
        at = endOfText(text, at)
    }
  }
  return undefined
}

const endOfText = (text: string, start: number): number => {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === "\\") at++
    else if (text[at] === '"') return at
  }
  return text.length
}
