/** The guard of reuse on pairs that were written by people who had not seen it (fault I1): see the fixture's `source`. */
import { assert, describe, it } from "@effect/vitest"
import * as EquivalenceGuard from "../src/semantic/guard/EquivalenceGuard.ts"
import { readFileSync } from "node:fs"

interface Pair {
  readonly a: string
  readonly b: string
  readonly kind: string
  readonly language: string
  readonly set: number
}

const { opposites, paraphrases } = JSON.parse(
  readFileSync(new URL("./fixtures/guard-pairs.json", import.meta.url), "utf8")
) as { readonly opposites: ReadonlyArray<Pair>; readonly paraphrases: ReadonlyArray<Pair> }

const isEnglish = ({ language }: Pair): boolean => language === "en"

const passes = ({ a, b }: Pair): boolean => EquivalenceGuard.difference(a, b) === undefined

const share = (pairs: ReadonlyArray<Pair>, is: (pair: Pair) => boolean): number =>
  pairs.filter(is).length / pairs.length

describe("pairs of texts", () => {
  it("at most 2 % of opposites pass", () => {
    assert.isAbove(opposites.filter(isEnglish).length, 350)
    assert.isAtMost(share(opposites.filter(isEnglish), passes), 0.02)
  })

  it("at most 10 % of paraphrases are lost", () => {
    assert.isAbove(paraphrases.filter(isEnglish).length, 300)
    assert.isAtMost(
      share(paraphrases.filter(isEnglish), (pair) => !passes(pair)),
      0.1
    )
  })

  it("none of another language passes without evidence, unless it is the same text", () => {
    const others = opposites.filter((pair) => !isEnglish(pair))
    assert.isAbove(others.length, 30)
    assert.strictEqual(share(others, passes), 0)
  })

  it("says the same of a pair in either order", () => {
    for (const { a, b } of [...opposites, ...paraphrases]) {
      assert.strictEqual(
        EquivalenceGuard.difference(a, b) === undefined,
        EquivalenceGuard.difference(b, a) === undefined,
        `${a} | ${b}`
      )
    }
  })
})

describe("kinds that were named (I1)", () => {
  for (const [a, b] of [
    ["how do I log in", "how do I log out"],
    ["the account was opened", "the account was closed"],
    ["How do deposits work?", "How do withdrawals work?"],
    ["smoking is allowed here", "smoking is prohibited here"],
    ["I want to upgrade my plan", "I want to downgrade my plan"],
    ["I can open it", "I cant open it"],
    ["He paid the bill", "He refused to pay the bill"],
    ["It works", "It barely works"],
    ["access was granted", "access was revoked"],
    ["It is 5 degrees", "It is -5 degrees"],
    ["What did we sell last year?", "What did we sell next year?"],
    ["send me the daily report", "send me the weekly report"],
    ["pay ५ dollars", "pay ६ dollars"],
    ["is this refundable", "is this non-refundable"],
    ["from USD to EUR", "from EUR to USD"],
    ["node-a called node-b", "node-b called node-a"]
  ] as const) {
    it(`tells "${a}" from "${b}"`, () => assert.isDefined(EquivalenceGuard.difference(a, b)))
  }

  for (const [a, b] of [
    ["It takes 24 months", "It takes two years"],
    ["We open at 5 pm", "We open at 17:00"],
    ["It costs $1,000.50", "It costs 1000.5 dollars"],
    ["pay ५ dollars", "pay 5 dollars"],
    ["STRIKE AT HAMBURG PORT", "Strike at Hamburg port"],
    ["If it rains, the concert moves indoors", "The concert moves indoors if it rains"],
    ["This coat is not big enough", "This coat is too small"]
  ] as const) {
    it(`lets "${a}" stand for "${b}"`, () => assert.isUndefined(EquivalenceGuard.difference(a, b)))
  }
})

describe("what strangers write", () => {
  it("is read in time", () => {
    for (const text of [
      "no ".repeat(2_600),
      "5 ".repeat(3_900),
      "a, ".repeat(2_600),
      "of the ".repeat(1_100),
      "1:".repeat(3_900),
      "x'".repeat(3_900),
      "how ".repeat(1_900),
      "-".repeat(7_900),
      "has ".repeat(1_900),
      "一".repeat(7_900)
    ]) {
      EquivalenceGuard.signature(text)
    }
  })
})
