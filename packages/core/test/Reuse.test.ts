/** What reuse by meaning decides by: the guard before it, and the bound on its errors. */
import { Context } from "effect"
import { assert, describe, it } from "@effect/vitest"
import { LayerAnnotations, ModelClient, ModelRequest, Usage, Varying } from "@pipe/core"
import * as Binomial from "../src/stats/Binomial.ts"
import * as ErrorBound from "../src/semantic/ErrorBound.ts"
import * as EquivalenceGuard from "../src/semantic/guard/EquivalenceGuard.ts"
import * as PromptCacheMinimum from "../src/price/PromptCacheMinimum.ts"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as fc from "fast-check"
import * as Soak from "../../../test/Soak.ts"

describe("the guard", () => {
  const differ: ReadonlyArray<readonly [string, string, string]> = [
    // sem-02
    ["Convert 250 USD to EUR at 0.9", "Convert 260 USD to EUR at 0.9", "numbers"],
    ["Convert 250 USD to EUR at 0.9", "Convert 250 USD to EUR at 0.8", "numbers"],
    ["Convert 250 USD to EUR at 0.9", "Convert 250 EUR to USD at 0.9", "numbers"],
    ["The run was 5 miles long", "The run was 6 miles long", "numbers"],
    ["The run was 5 miles long", "The run was 5 km long", "numbers"],
    ["Book it for two people", "Book it for three people", "numbers"],
    ["What happened on 3 May 2021?", "What happened on 4 May 2021?", "numbers"],
    ["Is the shop open on Monday?", "Is the shop open on Tuesday?", "numbers"],
    ["What is the capital of Peru?", "What is the capital of Chile?", "names"],
    ["Who is the wife of John Smith?", "Who is the wife of Paul Smith?", "names"],
    ['Translate "good morning"', 'Translate "good night"', "quotations"],
    ["What does parseInt(x) do?", "What does parseFloat(x) do?", "code"],
    ["Can I take this with milk?", "Can't I take this with milk?", "negations"],
    ["The food was good", "The food was not good", "negations"],
    ["How do I enable notifications?", "How do I disable notifications?", "opposites"],
    ["Is it safe to swim here?", "Is it unsafe to swim here?", "opposites"],
    ["How can I increase my limit?", "How can I decrease my limit?", "opposites"],
    ["Is Berlin larger than Paris?", "Is Paris larger than Berlin?", "word order"],
    ["Is tea stronger than coffee?", "Is coffee stronger than tea?", "word order"]
  ]
  for (const [a, b, what] of differ) {
    it(`tells "${a}" from "${b}"`, () => {
      assert.strictEqual(EquivalenceGuard.difference(a, b), what)
      assert.strictEqual(EquivalenceGuard.difference(b, a), what)
    })
  }

  const agree: ReadonlyArray<readonly [string, string]> = [
    ["Where is my card?", "Where's my card"],
    ["I want 5 apples", "I want five apples"],
    ["It costs 1,000 dollars", "It costs 1000 dollars"],
    ["How do I top up?", "how can I top up my account"],
    ["What is the capital of Peru?", "Tell me the capital of Peru"]
  ]
  for (const [a, b] of agree) {
    it(`lets "${a}" and "${b}" be compared`, () => assert.isUndefined(EquivalenceGuard.difference(a, b)))
  }

  it("finds nothing between a text and itself, whatever it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), (text) => {
        assert.isUndefined(EquivalenceGuard.difference(text, text))
      })
    )
  })

  it("is the same from both sides", () => {
    fc.assert(
      fc.property(fc.lorem({ maxCount: 8 }), fc.lorem({ maxCount: 8 }), (a, b) => {
        assert.strictEqual(
          EquivalenceGuard.difference(a, b) === undefined,
          EquivalenceGuard.difference(b, a) === undefined
        )
      })
    )
  })
})

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32, public domain). */
const random = (seed: number) => () => {
  let t = (seed += 0x6d2b79f5)
  t = Math.imul(t ^ (t >>> 15), t | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

/** A stream of lookups in which an answer is right the more often the nearer its question is; how it went. */
const simulate = (seed: number, maxErrorRate: number, lookups: number, rightAt: (similarity: number) => number) => {
  const next = random(seed)
  const bound = ErrorBound.make({ maxErrorRate })
  let reused = 0
  let wrong = 0
  let first = -1
  for (let at = 0; at < lookups; at++) {
    const similarity = 0.5 + 0.5 * next()
    const isRight = next() < rightAt(similarity)
    const candidate = ErrorBound.candidate(
      [{ similarity, overlap: similarity - 0.4, answer: "a", isUsable: true, right: 0, wrong: 0 }],
      at
    )!
    const allowed = bound.allows(candidate)
    bound.observe({ features: candidate.features, right: allowed ? undefined : isRight })
    if (!allowed) continue
    if (first < 0) first = at
    reused++
    if (!isRight) wrong++
  }
  return { reused, wrong, first }
}

describe("the bound", () => {
  it("reuses nothing before there is evidence", () => {
    for (let seed = 0; seed < 10; seed++) {
      const { first } = simulate(seed, 0.1, 1_000, () => 1)
      assert.isAtLeast(first, ErrorBound.COLD_START)
    }
  })

  const streams = Soak.times(30, 300)

  it(`keeps the error of what is reused, over ${streams} streams, and reuses most of what may be`, () => {
    // Right with certainty over 0.8, less and less under it: at 5 % at most the upper half can be reused.
    const rightAt = (similarity: number) => Math.min(1, Math.max(0, (similarity - 0.5) / 0.3))
    let reused = 0
    let wrong = 0
    let over = 0
    for (let seed = 0; seed < streams; seed++) {
      const one = simulate(seed, 0.05, 4_000, rightAt)
      reused += one.reused
      wrong += one.wrong
      if (one.wrong / one.reused > 0.05) over++
    }
    assert.isAtMost(wrong / reused, 0.05)
    assert.isAtMost(over, 0.05 * streams)
    assert.isAbove(reused / (streams * 4_000), 0.35)
  })

  it("reuses nothing where similarity says nothing", () => {
    let reused = 0
    let wrong = 0
    for (let seed = 0; seed < 20; seed++) {
      const one = simulate(seed, 0.02, 3_000, () => 0.7)
      reused += one.reused
      wrong += one.wrong
    }
    assert.isBelow(reused / (20 * 3_000), 0.01)
    assert.isAtMost(wrong, reused)
  })

  it("gives an answer only from a text that the guard has let through", () => {
    const far = { similarity: 0.7, overlap: 0.2, answer: "no", isUsable: true, right: 0, wrong: 0 }
    const near = { similarity: 0.99, overlap: 0.9, answer: "yes", isUsable: false, right: 0, wrong: 0 }
    assert.isUndefined(ErrorBound.candidate([near, far], 2))
    const twin = { ...near, similarity: 0.98, isUsable: true }
    assert.strictEqual(ErrorBound.candidate([near, twin, far], 3)!.neighbour, 1)
  })

  it("has Clopper and Pearson's interval", () => {
    // R 4.3: binom.test(0, 20), (1, 20), (5, 100), (20, 20).
    const known: ReadonlyArray<readonly [number, number, number, number]> = [
      [0, 20, 0, 0.1684335],
      [1, 20, 0.001265089, 0.2487328],
      [5, 100, 0.01643188, 0.1128349],
      [20, 20, 0.8315665, 1]
    ]
    for (const [count, of, low, high] of known) {
      const [l, h] = Binomial.interval(count, of)
      assert.closeTo(l, low, 1e-6)
      assert.closeTo(h, high, 1e-6)
    }
    assert.deepStrictEqual(Binomial.interval(0, 0), [0, 1])
  })
})

describe("what varies", () => {
  const request = (content: ModelRequest.Message["content"]) =>
    ModelRequest.completion({
      messages: [{ role: "system", content: "card" }, { role: "user", content } as ModelRequest.Message]
    })

  it("is put in its place at the last time that it is there, in a message of the user", () => {
    const twice = Varying.replace(request("card and card"), "card", "X")!
    assert.strictEqual(ModelRequest.text(twice), "card\ncard and X")
    assert.isUndefined(
      Varying.replace(ModelRequest.completion({ messages: [{ role: "system", content: "card" }] }), "card", "X")
    )
    assert.isUndefined(Varying.replace(request("card"), "", "X"))
  })

  it("divides a request into what stands before it and the rest, with all of its text", () => {
    fc.assert(
      fc.property(fc.string(), fc.string({ minLength: 1 }), fc.string(), (before, text, after) => {
        const whole = request(before + text + after)
        const place = Varying.find(whole, text)!
        const split = Varying.split(whole, place, { anthropic: { cacheControl: { type: "ephemeral" } } })
        assert.strictEqual(ModelRequest.text(split), ModelRequest.text(whole))
        assert.isTrue(ModelRequest.text(whole).startsWith(ModelRequest.text(Varying.before(whole, place))))
      })
    )
  })
})

describe("shares of a usage", () => {
  it("are whole tokens, and together exactly what was used", () => {
    const tokens = fc.nat(1_000_000)
    fc.assert(
      fc.property(
        fc.record({
          uncachedInput: tokens,
          cacheRead: tokens,
          cacheWrite: tokens,
          cacheWrite1h: tokens,
          output: tokens,
          reasoning: tokens
        }),
        fc.array(fc.record({ input: fc.nat(5_000), output: fc.nat(5_000) }), { minLength: 1, maxLength: 40 }),
        (usage, weights) => {
          const parts = Usage.split(usage, weights)
          assert.deepStrictEqual(parts.reduce(Usage.add, Usage.zero), usage)
          for (const part of parts)
            for (const name of Usage.classes) assert.isTrue(Number.isInteger(part[name]) && part[name] >= 0)
        }
      )
    )
  })
})

describe("the prompt caches of providers", () => {
  it("belong to the provider that a model's name leads to", () => {
    const several = [
      { name: "Retry" },
      { name: "providers", annotations: Context.make(LayerAnnotations.ModelPrefix, "claude-") },
      { name: "anthropic" },
      { name: "providers", annotations: Context.make(LayerAnnotations.ModelPrefix, "") },
      { name: "Concurrency" },
      { name: "openai" }
    ]
    assert.strictEqual(ModelClient.providerOf(several, "claude-haiku-4-5"), "anthropic")
    assert.strictEqual(ModelClient.providerOf(several, "gpt-4o"), "openai")
    assert.strictEqual(ModelClient.providerOf(several.slice(0, 3), "gpt-4o"), "anthropic")
    assert.strictEqual(ModelClient.providerOf([{ name: "Retry" }, { name: "openai" }], "claude-haiku-4-5"), "openai")
    assert.strictEqual(ModelClient.providerOf([], "gpt-4o"), "")
  })

  it("keep a beginning from the length on that their pages say", () => {
    // platform.claude.com/docs/en/build-with-claude/prompt-caching and openai.com/index/api-prompt-caching, 2026-11-25.
    assert.strictEqual(PromptCacheMinimum.ruleOf("anthropic", "claude-opus-4-6")!.minimum, 4_096)
    assert.strictEqual(PromptCacheMinimum.ruleOf("anthropic", "claude-haiku-4-5-20251001")!.minimum, 4_096)
    assert.strictEqual(PromptCacheMinimum.ruleOf("anthropic", "claude-sonnet-4-5")!.minimum, 1_024)
    assert.strictEqual(PromptCacheMinimum.ruleOf("anthropic", "claude-opus-4-1")!.minimum, 1_024)
    assert.strictEqual(PromptCacheMinimum.ruleOf("anthropic", "claude-3-haiku-20240307")!.minimum, 2_048)
    // A second source, which has 1,024 for Claude Sonnet 4.6: the larger of two figures counts.
    const table: {
      readonly [model: string]: { readonly litellm_provider?: string; readonly prompt_cache_min_tokens?: number }
    } = JSON.parse(readFileSync(join(import.meta.dirname, "fixtures/litellm.json"), "utf8"))
    const known = Object.entries(table).filter(([, { litellm_provider }]) => litellm_provider === "anthropic")
    assert.isAbove(known.length, 20)
    for (const [model, { prompt_cache_min_tokens: minimum }] of known) {
      if (minimum === undefined) continue
      const own = PromptCacheMinimum.ruleOf("anthropic", model)!.minimum
      assert.strictEqual(own, model === "claude-sonnet-4-6" ? 2_048 : minimum, model)
    }
    const openai = PromptCacheMinimum.ruleOf("openai", "gpt-4o")
    assert.deepStrictEqual(
      [1_023, 1_024, 1_151, 1_152, 2_006].map((tokens) => PromptCacheMinimum.kept(openai, tokens)),
      [0, 1_024, 1_024, 1_152, 1_920]
    )
    assert.strictEqual(PromptCacheMinimum.kept(undefined, 10_000), 0)
  })
})
