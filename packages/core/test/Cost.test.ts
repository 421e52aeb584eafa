/** Every case of kind `cost` that users reported elsewhere, with the right value from the report. */
import { assert, describe, it } from "@effect/vitest"
import {
  RunHooks,
  Ledger,
  Money,
  Price,
  Pricing,
  Retry,
  Stack,
  Usage,
  ModelClient,
  ModelRequest,
  ModelResponse,
  CallContext
} from "@pipe/core"
import * as RunTotals from "../src/ledger/RunTotals.ts"
import { Effect, Option } from "effect"
import type { AiError } from "effect/ai"
import * as fc from "fast-check"
import * as Host from "./Host.ts"
import * as Scripted from "./ScriptedModel.ts"

const usd = (price: Price.UsdPerMillion, usage: Usage.Usage, tier?: string) => {
  const amount = Price.cost(Price.fromUsdPerMillion("m", price), usage, { provider: "openai", serviceTier: tier })
  return amount === undefined ? undefined : Money.toUsd(amount)
}

describe("token classes", () => {
  it("charges a cached token once (litellm#14849)", () => {
    const usage = Usage.fromInclusive({ input: 10_000, output: 200, cacheRead: 9_000 })!
    assert.strictEqual(usd({ input: 2, cacheRead: 0.5, cacheWrite: 2.5, output: 8 }, usage), "0.0081")
    assert.strictEqual(Usage.inputTokens(usage), 10_000)
  })

  it("does not subtract where cache classes stand beside the input (litellm#9812)", () => {
    const usage = Usage.fromDisjoint({ input: 5, cacheWrite: 8_000, cacheRead: 2_000, output: 300 })!
    assert.strictEqual(usd({ input: 3, cacheWrite: 3.75, cacheRead: 0.3, output: 15 }, usage), "0.035115")
    assert.strictEqual(Usage.inputTokens(usage), 10_005)
  })

  it("bills reasoning once, inside or beside the output (browser-use#4075)", () => {
    const inside = Usage.fromInclusive({ input: 0, output: 500, reasoning: 420 })!
    const beside = Usage.fromDisjoint({ input: 0, output: 80, reasoning: 420 })!
    for (const usage of [inside, beside]) {
      assert.strictEqual(Usage.outputTokens(usage), 500)
      assert.strictEqual(usd({ input: 1, output: 8 }, usage), "0.004")
    }
  })

  it("bills the total where the breakdown is partial or too large, and says so (litellm#18607)", () => {
    assert.strictEqual(Usage.outputTokens(Usage.fromInclusive({ input: 0, output: 500, reasoning: 420 })!), 500)
    const wrong = Usage.fromInclusive({ input: 10, output: 55, reasoning: 60, total: 65 })!
    assert.strictEqual(Usage.outputTokens(wrong), 55)
    assert.include(wrong.inconsistent!, "60 reasoning tokens inside 55")
  })

  it("puts no price on more cached input than there was input (genai-prices#334)", () => {
    const usage = Usage.fromInclusive({ input: 100, output: 1, cacheRead: 120 })!
    assert.include(usage.inconsistent!, "100 input tokens of which 120 cache read")
    assert.isUndefined(usd({ input: 1, output: 1 }, usage))
  })

  it("discounts each class in a batch (curator#186, litellm#38341)", () => {
    const usage = Usage.fromInclusive({ input: 10_000, output: 200, cacheRead: 9_000 })!
    assert.strictEqual(usd({ input: 2, cacheRead: 0.5, output: 8 }, usage, "batch"), "0.00405")
    assert.isUndefined(usd({ input: 2, output: 8 }, usage, "priority"))
  })

  it("adds up to what it was made of, in any order, and survives effect/ai's form", () => {
    const count = fc.nat({ max: 1_000_000 })
    const usage = fc.record({
      uncachedInput: count,
      cacheRead: count,
      cacheWrite: count,
      cacheWrite1h: fc.constant(0),
      output: count,
      reasoning: count
    })
    fc.assert(
      fc.property(usage, usage, (a, b) => {
        assert.deepStrictEqual(Usage.add(a, b), Usage.add(b, a))
        assert.strictEqual(Usage.totalTokens(Usage.add(a, b)), Usage.totalTokens(a) + Usage.totalTokens(b))
        assert.deepStrictEqual(Usage.fromAi(Usage.toAi(a)), a)
      })
    )
  })
})

describe("money", () => {
  it("is exact for any sum, and comes back from its decimal form", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n }), (amount) => {
        assert.deepStrictEqual(Money.fromUsd(Money.toUsd(amount)), Option.some(amount))
      })
    )
  })

  it("refuses a price given for another unit (litellm#20615)", () => {
    assert.throws(() => Price.fromUsdPerMillion("m", { input: 0.15e-6, output: 1 }), /per million/)
    assert.throws(() => Price.fromUsdPerMillion("m", { input: 150_000, output: 1 }), /per million/)
    assert.strictEqual(usd({ input: 0, output: 0 }, Usage.fromInclusive({ input: 5, output: 5 })!), "0")
  })

  it("shows small amounts, groups large ones, and leaves no noise", () => {
    assert.strictEqual(Money.format(120_000n), "$0.00000012")
    assert.strictEqual(Money.format(1_234_567n * 10n ** 12n), "$1,234,567.00")
    assert.strictEqual(Money.format(0n), "$0.00")
  })
})

describe("prices", () => {
  const at = Date.UTC(2026, 6, 24, 12)
  const lookup = (model: string, provider?: string) =>
    Effect.map(Pricing.make(), (pricing) => pricing.lookup({ model, provider, at }))

  it.effect("resolves dated, prefixed and fine-tuned names, and nothing that only begins alike (claude-usage#21)", () =>
    Effect.gen(function* () {
      for (const name of ["gpt-4o-mini", "openai/gpt-4o-mini", "gpt-4o-mini-2024-07-18"]) {
        const price = Option.getOrThrow(yield* lookup(name))
        // openai.com/api/pricing: 0.15 in, 0.075 cached, 0.60 out.
        assert.deepInclude(price.tiers[0].rates, { input: 150_000n, cacheRead: 75_000n, output: 600_000n }, name)
      }
      assert.isTrue(Option.isSome(yield* lookup("models/gemini-2.5-pro", "google")))
      assert.isTrue(Option.isSome(yield* lookup("ft:gpt-4o-mini-2024-07-18:org::id", "openai")))
      for (const name of ["gpt-4o-mini-pro", "zeta-2", "", "gpt"])
        assert.isTrue(Option.isNone(yield* lookup(name, "openai")), name)
    })
  )

  it.effect(
    "charges a long prompt at its tier as a whole (ai.google.dev: gemini-2.5-pro 1.25/10, above 200k 2.50/15)",
    () =>
      Effect.gen(function* () {
        const price = Option.getOrThrow(yield* lookup("gemini-2.5-pro", "google"))
        const cost = (input: number) => Money.toUsd(Price.cost(price, Usage.fromInclusive({ input, output: 1_000 })!)!)
        assert.strictEqual(cost(200_000), "0.26")
        assert.strictEqual(cost(200_001), "0.5150025")
      })
  )

  it.effect("puts the author's prices first, and says which is wrong", () =>
    Effect.gen(function* () {
      const pricing = yield* Pricing.make({ "nova-x": { input: 1, output: 2 }, "gpt-4o-mini": { input: 9, output: 9 } })
      assert.strictEqual(Option.getOrThrow(pricing.lookup({ model: "nova-x", at })).tiers[0].rates.input, 1_000_000n)
      assert.strictEqual(
        Option.getOrThrow(pricing.lookup({ model: "gpt-4o-mini", at })).tiers[0].rates.input,
        9_000_000n
      )
      const error = yield* Effect.flip(Pricing.make({ bad: { input: 1e-7, output: 1 } }))
      assert.include(error.message, "price of bad")
    })
  )
})

/** What a stack ledger for one completion. */
const booked = (model: Scripted.Scripted, ask: Effect.Effect<unknown, AiError.AiError, ModelClient.ModelClient>) => {
  const totals = RunTotals.make()
  return ask.pipe(
    Effect.exit,
    RunHooks.provide({ onEntry: totals.record }),
    Effect.provide(Stack.make(Ledger.layer, Retry.layer({ attempts: 3, base: 0 }), model.layer)),
    Effect.provide(Host.layerMemory),
    Effect.as(totals)
  )
}

const ask = ModelClient.send(
  ModelRequest.completion({ model: "gpt-4o-mini", messages: [{ role: "user", content: "x" }] })
)

describe("the ledger", () => {
  it.effect("sum all attempts of a re-asked answer, on success and on failure (instructor#2391)", () =>
    Effect.gen(function* () {
      for (const valid of [true, false]) {
        const figures = [
          [400, 90],
          [520, 95],
          [640, 100]
        ] as const
        const model = Scripted.make((_, index) =>
          Scripted.response(index === 2 && valid ? "good" : `bad ${index}`, {
            usage: Usage.fromInclusive({ input: figures[index]![0], output: figures[index]![1] })!
          })
        )
        const accept = CallContext.provide({
          accept: (response) => (ModelResponse.text(response) === "good" ? undefined : "not good")
        })(ask)
        const sums = (yield* booked(model, accept)).total()
        assert.strictEqual(Usage.inputTokens(sums.usage), 1_560)
        assert.strictEqual(Usage.outputTokens(sums.usage), 285)
        assert.strictEqual(sums.attempts, 3)
        // 1,560 × 0.15 + 285 × 0.60 USD per million.
        assert.strictEqual(Money.toUsd(sums.spent), "0.000405")
      }
    })
  )

  it.effect("keep an unknown price unknown, never 0 (eidan#203)", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() => Scripted.response("x", { model: "nova-x-unlisted" }))
      const sums = (yield* booked(model, ask)).total()
      assert.strictEqual(sums.unpriced, 1)
      assert.strictEqual(sums.spent, 0n)
    })
  )

  it.effect("book a refusal that was billed (pydantic-ai#4310)", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() => Scripted.response("", { refusal: "I can't help with that." }))
      const sums = (yield* booked(model, ask)).total()
      assert.strictEqual(model.requests.length, 1)
      assert.strictEqual(sums.attempts, 1)
      assert.notStrictEqual(sums.spent, 0n)
    })
  )

  it.effect("count a call that was cut in progress as an estimate, not as nothing (vercel/ai#7805)", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() => Effect.interrupt)
      const sums = (yield* booked(model, ask)).total()
      assert.strictEqual(sums.estimated, 1)
      assert.strictEqual(sums.unpriced, 0)
      assert.isTrue(sums.spent > 0n && sums.spent === sums.estimatedSpent)
    })
  )

  it.effect("price embeddings (litellm#36646)", () =>
    Effect.gen(function* () {
      const pricing = yield* Pricing.make({ "emb-small": { input: 0.02, output: 0 } })
      const price = Option.getOrThrow(pricing.lookup({ model: "emb-small", at: 0 }))
      assert.strictEqual(Money.toUsd(Price.cost(price, Usage.fromInclusive({ input: 50_000, output: 0 })!)!), "0.001")
    })
  )
})
