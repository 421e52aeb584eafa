/**
 * Finds the JSON value in the text of an answer: alone, in a Markdown fence, after tagged thoughts, or between
 * sentences.
 *
 * **Details** Models write JSON in all of these ways, and paying for a second answer would change nothing. When there
 * are two different values, it is unclear which is the answer, so neither is used.
 *
 * @internal
 */
import * as Nesting from "../encoding/Nesting.ts"
import * as SafeText from "../encoding/SafeText.ts"

export type FoundJson =
  | { readonly _tag: "Found"; readonly value: unknown; readonly isWhole: boolean }
  | { readonly _tag: "Missing"; readonly problem: string }

/**
 * Finds the value. `isExpected` tests whether a value has the type of the answer, for example an object or a list: it
 * distinguishes the answer from a `[1]` in a sentence.
 */
export const find = (text: string, isExpected: (value: unknown) => boolean = () => true): FoundJson => {
  const whole = parse(text)
  if (whole !== undefined) {
    const inner = typeof whole.value === "string" && !isExpected(whole.value) ? parse(whole.value) : undefined
    return { _tag: "Found", value: (inner ?? whole).value, isWhole: inner === undefined }
  }
  const rest = withoutThoughts(text)
  const first = rest === undefined ? [] : within(rest, isExpected)
  // The value itself may contain the tag.
  const found = first.length === 0 && rest !== text && rest !== undefined ? within(text, isExpected) : first
  switch (found.length) {
    case 0:
      return { _tag: "Missing", problem: problemOf(text) }
    case 1:
      return { _tag: "Found", value: found[0], isWhole: false }
    default:
      return { _tag: "Missing", problem: "it has more than one JSON value: answer with exactly one" }
  }
}

/** Parses a text that is JSON as a whole. JSON that is nested too deep is rejected. */
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

/** The characters shown of an answer without JSON, for example a refusal. */
const MOST_SHOWN = 120

/** Tags that open-weight models use for thoughts. The opening tag may be in the prompt. */
const THOUGHTS = ["think", "thinking", "thought", "reasoning"]

/** The text after the thoughts; `undefined` when they do not end. */
const withoutThoughts = (text: string): string | undefined => {
  for (const tag of THOUGHTS) {
    const close = `</${tag}>`
    const end = text.lastIndexOf(close)
    if (end !== -1) return text.slice(end + close.length)
    if (text.trimStart().startsWith(`<${tag}>`)) return undefined
  }
  return text
}

/** The start of a JSON object or list, as opposed to a remark: `{a}`, `[see below: …]`. */
const JSON_START = /^(?:\{\s*(?:["'}]|\w+\s*:)|\[\s*["{[\]\d-]|\[\s*(?:true|false|null)\b)/

/** `[1]` refers to a source and is not a list. */
const CITATION = /^\[\s*\d{1,3}(?:\s*[,-]\s*\d{1,3})*\s*\]$/

/** The most values that are examined. */
const MOST_VALUES = 1_000

/** How often a text is scanned at most, which bounds a text of brackets. */
const MOST_WALKS = 8

/**
 * The different objects and lists of the expected type in a text. Parts of broken JSON are ignored, because they could
 * pass for the whole.
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
  // What was not examined may be another value.
  return left <= 0 || looked > MOST_VALUES ? [] : [...found.values()]
}

const nextStart = (text: string, from: number): number => {
  const object = text.indexOf("{", from)
  const list = text.indexOf("[", from)
  return object === -1 ? list : list === -1 ? object : Math.min(object, list)
}

/** Where the brackets opened at a position close, ignoring texts; `undefined` when they do not. */
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
