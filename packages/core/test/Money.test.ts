import { assert, describe, it } from "@effect/vitest"
import { Money } from "@pipe/core"

describe("Money", () => {
  it("adds ten thousand tiny calls exactly (litellm#8867)", () => {
    // 6 tokens at 0.02 USD per million, 10,000 times.
    const call = Money.times(Money.perMillionTokens(0.02), 6)
    assert.strictEqual(Money.toUsd(call), "0.00000012")
    assert.strictEqual(Money.toUsd(Money.sum(Array.from({ length: 10_000 }, () => call))), "0.0012")
  })
})
