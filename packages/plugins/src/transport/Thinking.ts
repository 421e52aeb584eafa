/**
 * Thinking in the text of an answer, as models of open weights write it, whichever API serves them.
 *
 * @internal
 */

const OPEN = "<think>"
const CLOSE = "</think>"

/**
 * Thinking before the text, as open models write it. Some templates leave its first mark to the prompt: its end then stands on a line
 * of its own, or a line ends with it. Thinking without an end is no answer.
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

/** The parts of a text: its thinking, where it has some, and the rest. */
export const partsOf = (
  text: string
): ReadonlyArray<{ readonly type: "reasoning" | "text"; readonly text: string }> => {
  const [thinking, rest] = split(text)
  return [
    ...(thinking === undefined ? [] : [{ type: "reasoning" as const, text: thinking }]),
    ...(thinking !== undefined && rest === "" ? [] : [{ type: "text" as const, text: rest }])
  ]
}
