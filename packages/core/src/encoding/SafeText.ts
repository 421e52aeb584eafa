/**
 * Makes text from outside safe to show: a provider's message, a row, a name in a file. It may contain keys, and escape
 * sequences that control a terminal (move the cursor, write the clipboard).
 *
 * **Example** (a line with only its visible text)
 *
 * ```ts
 * import * as SafeText from "@pipe/core/internal/SafeText"
 *
 * SafeText.line("no\n\u001b]52;c;ZXZpbA==\u0007such model") // => "no such model"
 * SafeText.line("a long story", 6) // => "a long…"
 * SafeText.terminal("a\tb\n\u001b[2J") // => "a\tb\n"
 * ```
 *
 * @internal
 */
import * as Secret from "./Secret.ts"

/**
 * Sequences that begin with an escape character or its 8-bit form: control sequences (CSI), strings up to their
 * terminator (OSC, DCS, SOS, PM, APC), and short ones. ECMA-48.
 */
const SEQUENCES =
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?|(?:\u001b[\]PX^_]|[\u009d\u0090\u0098\u009e\u009f])[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]?/g

/** What is left: control characters but tab and line feed, and characters that change the direction of adjacent text. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

/** Text for a terminal: secrets are masked, tabs and line breaks stay. */
export const terminal = (text: string): string => Secret.mask(withoutControls(text))

/** Every sequence begins with one of them; most texts have none. */
const ANY = new RegExp(CONTROLS.source)

/** Removes everything that controls a terminal. */
export const withoutControls = (text: string): string =>
  ANY.test(text) ? text.replace(SEQUENCES, "").replace(CONTROLS, "") : text

/** The default length limit of a line. */
const MOST = 2_000

/** One line for an error, a log, the store or a page: masked, without control characters, then truncated. */
export const line = (text: string, most = MOST): string => {
  // A text that a stranger made long is not scanned to its end.
  const start = text.length <= most ? text : text.slice(0, most * 20 + 10_000)
  const safe = terminal(start).replace(/\s+/g, " ").trim()
  return safe.length <= most ? safe : `${safe.slice(0, most).toWellFormed()}…`
}

/** JSON whose strings contain no raw control characters. The meaning stays the same. */
export const json = (text: string): string =>
  ESCAPED_TEST.test(text)
    ? text.replace(ESCAPED, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)
    : text

/**
 * What `JSON.stringify` does not escape: 8-bit control characters, and line separators at which some readers split.
 */
const ESCAPED = /[\u007f-\u009f\u2028\u2029]/g
const ESCAPED_TEST = new RegExp(ESCAPED.source)
