/** Long texts in chunks, and short ones in groups, by tokens. */
import { assert, describe, it } from "@effect/vitest"
import { Text, TokenCounter } from "@pipe/core"
import { readFileSync } from "node:fs"
import { countTokens } from "gpt-tokenizer/encoding/o200k_base"
import * as fc from "fast-check"

/** Texts as they are: words, lines, paragraphs, scripts without spaces, emoji of several code points. */
const text = fc
  .array(
    fc.oneof(
      fc.constantFrom("\n\n", "\n", ". ", " ", "。", "👩‍👩‍👧", "é", "🇩🇪", "word", "数据", "\r\n"),
      fc.string({ unit: "grapheme", maxLength: 12 })
    ),
    { maxLength: 120 }
  )
  .map((parts) => parts.join(""))

const counters = [TokenCounter.estimate, (text: string) => countTokens(text), (text: string) => text.length]

const graphemes = (text: string): number =>
  Array.from(new Intl.Segmenter("und", { granularity: "grapheme" }).segment(text)).length

describe("chunks of a text", () => {
  it("are the text, within their tokens, and cut no character", () => {
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 60 }), fc.constantFrom(...counters), (text, tokens, count) => {
        const chunks = Text.chunks(text, { tokens, count })
        assert.strictEqual(chunks.join(""), text)
        assert.strictEqual(
          chunks.reduce((sum, chunk) => sum + graphemes(chunk), 0),
          graphemes(text)
        )
        for (const chunk of chunks) assert.isTrue(count(chunk) <= tokens || graphemes(chunk) === 1, chunk)
      })
    )
  })

  it("repeat the end of the one before, as far as is said", () => {
    fc.assert(
      fc.property(text, fc.integer({ min: 4, max: 60 }), (text, tokens) => {
        const overlap = Math.floor(tokens / 2)
        const chunks = Text.chunks(text, { tokens, overlap })
        let at = 0
        let end = 0
        for (const chunk of chunks) {
          assert.isTrue(TokenCounter.estimate(chunk) <= tokens || graphemes(chunk) === 1)
          const start = text.indexOf(chunk, at)
          assert.isTrue(start >= at && start <= end)
          at = start + 1
          end = Math.max(end, start + chunk.length)
        }
        assert.strictEqual(end, text.length)
      })
    )
  })

  it("end after paragraphs, lines, sentences and words", () => {
    const of = (text: string, tokens: number) => Text.chunks(text, { tokens })
    assert.deepStrictEqual(of("One two.\n\nThree four. Five.", 5), ["One two.\n\n", "Three four. Five."])
    assert.deepStrictEqual(of("One two\nthree four five", 4), ["One two\n", "three four five"])
    assert.deepStrictEqual(of("One two three. Four five six.", 4), ["One two three. ", "Four five six."])
    assert.deepStrictEqual(of("one two three four five six seven", 5), ["one two three four ", "five six seven"])
    assert.deepStrictEqual(of("我有一张卡。它在哪里？", 4), ["我有一张卡。", "它在哪里？"])
    assert.deepStrictEqual(Text.chunks("one two three four five six", { tokens: 4, overlap: 2 }), [
      "one two three ",
      "three four five ",
      "five six"
    ])
    assert.deepStrictEqual(of("", 4), [])
    assert.deepStrictEqual(of("👩‍👩‍👧👩‍👩‍👧", 1), ["👩‍👩‍👧", "👩‍👩‍👧"])
  })

  it("take a long text at once", () => {
    const long = `${readFileSync(new URL("../../../README.md", import.meta.url), "utf8")}\n`.repeat(100)
    const chunks = Text.chunks(long, { tokens: 500, overlap: 50 })
    assert.isAbove(chunks.length, 200)
    for (const chunk of chunks) assert.isAtMost(TokenCounter.estimate(chunk), 500)
    // A word of a megabyte.
    assert.strictEqual(Text.chunks("x".repeat(1_000_000), { tokens: 1_000 }).length, 250)
  })

  it("refuse options that make no sense", () => {
    for (const options of [{ tokens: 0 }, { tokens: Number.NaN }, { tokens: 10, overlap: 6 }, { tokens: 1.5 }])
      assert.throws(() => Text.chunks("text", options), "Text.chunks")
    assert.throws(() => Text.chunks("text", { tokens: 1, size: 5 } as never), "no option size")
  })
})

describe("groups of texts", () => {
  it("have all items in order, within their tokens", () => {
    fc.assert(
      fc.property(
        fc.array(fc.string()),
        fc.integer({ min: 1, max: 20 }),
        fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
        (items, tokens, most) => {
          const groups = Text.pack(items, { tokens, ...(most === undefined ? undefined : { most }) })
          assert.deepStrictEqual(groups.flat(), items)
          for (const [at, group] of groups.entries()) {
            const size = group.reduce((sum, item) => sum + TokenCounter.estimate(item), 0)
            assert.isTrue(group.length === 1 || (size <= tokens && group.length <= (most ?? Infinity)))
            // No group could take the first item of the next one.
            const next = groups[at + 1]?.[0]
            if (next !== undefined) assert.isTrue(size + TokenCounter.estimate(next) > tokens || group.length === most)
          }
        }
      )
    )
  })

  it("take items of any kind by their text", () => {
    const rows = [{ text: "a".repeat(8) }, { text: "b".repeat(8) }, { text: "c" }]
    assert.deepStrictEqual(
      Text.pack(rows, { tokens: 3, text: ({ text }) => text }).map((group) => group.length),
      [1, 2]
    )
  })
})
