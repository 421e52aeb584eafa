/** Counts of tokens: what providers send as disjoint classes, whatever they send. */
import { assert, describe, it } from "@effect/vitest"
import { Usage } from "@pipe/core"
import * as fc from "fast-check"

const tokens = fc.nat(1_000_000)
const usage: fc.Arbitrary<Usage.Usage> = fc.record(
  {
    uncachedInput: tokens,
    cacheRead: tokens,
    cacheWrite: tokens,
    cacheWrite1h: tokens,
    output: tokens,
    reasoning: tokens,
    inputAudio: tokens,
    inputImage: tokens,
    outputAudio: tokens,
    outputImage: tokens,
    searches: fc.nat(20)
  },
  { requiredKeys: [...Usage.classes], noNullPrototype: true }
)

/** What a provider may send in the place of a count. */
const figure = fc.oneof(
  { weight: 6, arbitrary: fc.nat(10_000) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>(null, undefined, -1, 1.5, Number.NaN, Infinity, 1e300, "12", "", [], {}, true)
  }
)

const names = [
  "input",
  "output",
  "total",
  "cacheRead",
  "cacheWrite",
  "cacheWrite1h",
  "reasoning",
  "inputAudio",
  "inputImage",
  "outputAudio",
  "outputImage",
  "searches"
] as const

const figures = fc.record(Object.fromEntries(names.map((name) => [name, figure])), {
  requiredKeys: []
}) as fc.Arbitrary<Usage.Figures>

describe("figures of a provider", () => {
  it("are counts in every class, or nothing, whatever is sent", () => {
    fc.assert(
      fc.property(figures, (sent) => {
        for (const read of [Usage.fromInclusive(sent), Usage.fromDisjoint(sent)]) {
          if (read !== undefined) assert.isTrue(Usage.isSound(read), JSON.stringify(read))
        }
      }),
      { numRuns: 2_000 }
    )
  })

  it("are never less than the total that confirms them", () => {
    fc.assert(
      fc.property(figures, (sent) => {
        const read = Usage.fromInclusive(sent)
        const { input, output, total } = sent as { readonly [name: string]: number }
        if (read === undefined || read.unpriceable === true || total !== input! + output!) return
        assert.isAtLeast(Usage.totalTokens(read), total)
      }),
      { numRuns: 2_000 }
    )
  })

  it("give the classes that they were made of, inside or beside", () => {
    fc.assert(
      fc.property(usage, (one) => {
        const whole = { ...one, input: Usage.inputTokens(one), output: Usage.outputTokens(one) }
        const read = Usage.fromInclusive({ ...whole, total: Usage.totalTokens(one) })
        assert.isUndefined(read?.inconsistent)
        assert.strictEqual(Usage.inputTokens(read!), whole.input)
        assert.strictEqual(Usage.outputTokens(read!), whole.output)
        for (const name of Usage.classes) assert.strictEqual(read![name], one[name], name)
        for (const name of Usage.rareClasses) assert.strictEqual(read![name] ?? 0, one[name] ?? 0, name)
        const disjoint = { ...one, input: one.uncachedInput, output: one.output }
        assert.strictEqual(Usage.totalTokens(Usage.fromDisjoint(disjoint)!), whole.input + whole.output)
      })
    )
  })
})

describe("a usage", () => {
  it("is divided into whole tokens that are together what was used, in the rare classes too", () => {
    fc.assert(
      fc.property(
        usage,
        fc.array(fc.record({ input: fc.nat(5_000), output: fc.nat(5_000) }), { minLength: 1, maxLength: 40 }),
        (one, weights) => {
          const parts = Usage.split(one, weights)
          assert.deepStrictEqual(parts.reduce(Usage.add), { ...one })
          for (const part of parts) assert.isTrue(Usage.isSound(part))
        }
      )
    )
  })

  it("adds up in any order", () => {
    fc.assert(
      fc.property(usage, usage, usage, (a, b, c) => {
        const [left, right] = [Usage.add(Usage.add(a, b), c), Usage.add(c, Usage.add(b, a))]
        assert.strictEqual(Usage.totalTokens(left), Usage.totalTokens(right))
        for (const name of [...Usage.classes, ...Usage.rareClasses, "searches"] as const) {
          assert.strictEqual(left[name], right[name], name)
        }
      })
    )
  })

  it("has as many tokens in effect/ai's form, and back", () => {
    fc.assert(
      fc.property(usage, (one) => {
        const back = Usage.fromAi(Usage.toAi(one))!
        assert.strictEqual(Usage.inputTokens(back), Usage.inputTokens(one))
        assert.strictEqual(Usage.outputTokens(back), Usage.outputTokens(one))
        assert.strictEqual(back.cacheRead, one.cacheRead)
        assert.strictEqual(back.reasoning, one.reasoning)
      })
    )
  })
})
