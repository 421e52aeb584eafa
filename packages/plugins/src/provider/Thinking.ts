/**
 * Separates thinking from the text of an answer, as open-weight models write it, whichever API serves them.
 *
 * @internal
 */

const OPEN = "<think>"
const CLOSE = "</think>"

/**
 * Splits off thinking before the text. Some templates leave its opening tag to the prompt: its closing tag then is on a
 * separate line, or ends a line. Thinking without an end is not an answer.
 */
export const split = (text: string): readonly [thinking: string | undefined, text: string] => {
  const isOpen = text.trimStart().startsWith(OPEN)
  const begin = isOpen ? text.indexOf(OPEN) + OPEN.length : 0
  const end = text.indexOf(CLOSE)
  if (end < 0) return isOpen ? [text.slice(begin).trim(), ""] : [undefined, text]
  const rest = text.slice(end + CLOSE.length)
  const isClear =
    text.indexOf(CLOSE, end + 1) < 0
    && !text.includes(OPEN)
    && rest.trim() !== ""
    && (/\n[ \t]*$/.test(text.slice(0, end)) || /^[ \t]*\n/.test(rest))
  if (!isOpen && !isClear) return [undefined, text]
  const thinking = text.slice(begin, end).trim()
  return [thinking === "" ? undefined : thinking, rest.trimStart()]
}

/** The parts of a text: its thinking, if any, and the rest. */
export const partsOf = (
  text: string
): ReadonlyArray<{ readonly type: "reasoning" | "text"; readonly text: string }> => {
  const [thinking, rest] = split(text)
  return [
    ...(thinking === undefined ? [] : [{ type: "reasoning" as const, text: thinking }]),
    ...(thinking !== undefined && rest === "" ? [] : [{ type: "text" as const, text: rest }])
  ]
}
