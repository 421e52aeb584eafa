/**
 * Splits long texts, and groups short ones, by their tokens.
 *
 * **When to use** For documents that are longer than a model takes or than it reads well (`chunks`), and for lists whose
 * items share a prompt (`pack`). `Flow.expand` makes rows of either.
 *
 * **Example** (the parts of a page)
 *
 * ```ts
 * import { Flow, Source, Text } from "@pipe/core"
 *
 * const page = Source.files("page", { path: "docs/*.md" })
 *
 * export const part = Flow.expand("part", { page }, ({ page }) => Text.chunks(page.text, { tokens: 500, overlap: 50 }))
 * ```
 *
 * @since 0.1.0
 */
import * as OptionNames from "../client/OptionNames.ts"
import * as TokenCounter from "./TokenCounter.ts"

/** The options of `chunks`. */
export interface ChunkOptions {
  /** The most tokens of a chunk. */
  readonly tokens: number
  /** The most tokens that a chunk repeats of the one before, at most half of `tokens`. Default: 0. */
  readonly overlap?: number
  /** Counts tokens. Default: `TokenCounter.estimate`. In a step, `yield* TokenCounter.TokenCounter` is the counter of its stack. */
  readonly count?: TokenCounter.Count
}

/**
 * Splits a text into chunks of at most `tokens`, each ending after a paragraph, a line, a sentence or a word: the first of
 * these that is in its second half.
 *
 * Without `overlap` the chunks together are the text. An empty text has none. A character is never cut, even if it alone
 * has more tokens.
 *
 * ```ts
 * import { Text } from "@pipe/core"
 *
 * Text.chunks("One two three. Four five six.", { tokens: 4 }) // => ["One two three. ", "Four five six."]
 * ```
 */
export const chunks = (text: string, options: ChunkOptions): ReadonlyArray<string> => {
  const { count = TokenCounter.estimate, overlap = 0, tokens } = options
  OptionNames.check("Text.chunks", options, ["tokens", "overlap", "count"])
  OptionNames.checkNumbers("Text.chunks", { tokens }, { tokens: OptionNames.COUNT })
  OptionNames.checkNumbers("Text.chunks", { overlap }, { overlap: { least: 0, most: tokens / 2, isWhole: true } })
  const graphemes = GRAPHEMES.segment(text)
  /** The place itself, or the start of the character that it is in. */
  const whole = (at: number): number => (at >= text.length ? text.length : graphemes.containing(at)!.index)
  const all: Array<string> = []
  for (let start = 0; start < text.length;) {
    const most = farthest(text.length - start, tokens, (length) => count(text.slice(start, whole(start + length))))
    const { index, segment } = graphemes.containing(start)!
    const least = index + segment.length
    const end = Math.max(least, breakIn(text, start, whole(start + most)))
    all.push(text.slice(start, end))
    if (end === text.length) break
    const back =
      overlap === 0 ? 0 : farthest(end - start - 1, overlap, (length) => count(text.slice(end - length, end)))
    start = Math.max(least, afterBreak(text, whole(end - back), end))
  }
  return all
}

const GRAPHEMES = new Intl.Segmenter("und", { granularity: "grapheme" })
const SENTENCES = new Intl.Segmenter("und", { granularity: "sentence" })
const WORDS = new Intl.Segmenter("und", { granularity: "word" })

/** The greatest length up to `most` whose measure is at most `limit`: longer texts have no fewer tokens. */
const farthest = (most: number, limit: number, measure: (length: number) => number): number => {
  let [fits, exceeds] = [0, Math.min(most, Math.max(1, limit * 4))]
  while (measure(exceeds) <= limit) {
    if (exceeds === most) return most
    ;[fits, exceeds] = [exceeds, Math.min(most, exceeds * 2)]
  }
  while (exceeds - fits > 1) {
    const middle = (fits + exceeds) >> 1
    if (measure(middle) <= limit) fits = middle
    else exceeds = middle
  }
  return fits
}

/** The characters after a place that tell whether a sentence or a word ends there. */
const AHEAD = 64

/** The last place in the second half of a part where it ends well. */
const breakIn = (text: string, start: number, end: number): number => {
  if (end === text.length) return end
  const part = text.slice(start, end)
  const half = part.length / 2
  const more = text.slice(start, end + AHEAD)
  const startOf = (segmenter: Intl.Segmenter): number => segmenter.segment(more).containing(part.length)?.index ?? 0
  const ends = [
    () => part.lastIndexOf("\n\n") + 2,
    () => part.lastIndexOf("\n") + 1,
    () => startOf(SENTENCES),
    () => (/\s/.test(more[part.length] ?? " ") ? part.length : part.search(/\S*$/)),
    () => startOf(WORDS)
  ]
  for (const find of ends) {
    const at = find()
    if (at >= half) return start + at
  }
  return end
}

/** The first start of a word from a place on; the place itself where none is before the end. */
const afterBreak = (text: string, from: number, end: number): number => {
  if (from === 0 || from >= end) return from
  // Whether a word continues here shows with the character before.
  const word = WORDS.segment(text.slice(from - 1, end)).containing(1)
  const next = word === undefined || word.index === 1 ? from : from - 1 + word.segment.length
  const spaces = /^\s*/.exec(text.slice(next, end))![0].length
  return next + spaces < end ? next + spaces : from
}

/** The options of `pack`. */
export interface PackOptions<A> {
  /** The most tokens of a group. */
  readonly tokens: number
  /** The most items of a group. Default: any number. */
  readonly most?: number
  /** The text of an item. Default: the item, which is a text. */
  readonly text?: (item: A) => string
  /** Counts tokens. Default: `TokenCounter.estimate`. */
  readonly count?: TokenCounter.Count
}

/**
 * Groups items in their order, as many as fit in `tokens`. An item that alone has more is a group of its own.
 *
 * ```ts
 * import { Text } from "@pipe/core"
 *
 * Text.pack(["One two.", "Three.", "Four five six seven."], { tokens: 5 }) // => [["One two.", "Three."], ["Four five six seven."]]
 * ```
 */
export const pack = <A>(
  items: Iterable<A>,
  options: PackOptions<A> & ([A] extends [string] ? unknown : { readonly text: (item: A) => string })
): ReadonlyArray<ReadonlyArray<A>> => {
  const { count = TokenCounter.estimate, most = Number.POSITIVE_INFINITY, text = String, tokens } = options
  OptionNames.check("Text.pack", options, ["tokens", "most", "text", "count"])
  OptionNames.checkNumbers("Text.pack", { tokens, most }, { tokens: OptionNames.COUNT, most: OptionNames.COUNT })
  const groups: Array<Array<A>> = []
  let left = 0
  for (const item of items) {
    const size = count(text(item))
    const last = groups.at(-1)
    if (last !== undefined && size <= left && last.length < most) {
      last.push(item)
      left -= size
    } else {
      groups.push([item])
      left = tokens - size
    }
  }
  return groups
}
