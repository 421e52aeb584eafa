/** Our rates of every model that both tables know, against LiteLLM's table of the same day; each disagreement by name, with its reason. */
import { assert, describe, it } from "@effect/vitest"
import { Pricing } from "@pipe/core"
import { Effect, Option } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"

type Row = { readonly [field: string]: unknown }

const table: { readonly [model: string]: Row } = JSON.parse(
  readFileSync(join(import.meta.dirname, "fixtures/litellm.json"), "utf8")
)

/** The day of LiteLLM's copy, at noon: some prices change with the hour. */
const at = Date.UTC(2026, 6, 24, 12)

const providers: { readonly [name: string]: string } = {
  openai: "openai",
  anthropic: "anthropic",
  gemini: "google",
  "vertex_ai-language-models": "google",
  deepseek: "deepseek",
  xai: "x-ai",
  moonshot: "moonshotai"
}

/** Models whose figures differ, and why. The reasons were found by reading both tables; none is an error of ours. */
const known: { readonly [model: string]: string } = {
  "deepseek-chat": "the package's price is of 2025: stale",
  "deepseek-reasoner": "the package's price is of 2025: stale",
  "claude-sonnet-4-20250514": "the package has no tier above 200,000 tokens (3 or 6 USD); the model has left it since",
  "claude-4-sonnet-20250514": "the package has no tier above 200,000 tokens (3 or 6 USD); the model has left it since",
  "claude-3-haiku-20240307": "LiteLLM's one-hour cache write is 6, copied from another model; it is twice the input",
  "claude-3-opus-20240229": "LiteLLM's one-hour cache write is 6, copied from another model; it is twice the input",
  "gemini-3.6-flash": "the package has the introductory price, without its beginning",
  "gemini-2.0-flash-001": "AI Studio's price in the package, Vertex's in LiteLLM",
  "gemini-2.0-flash-exp-image-generation": "an experiment, free in LiteLLM",
  "gemini-2.5-flash-lite-preview-06-17": "the package has the later price for the dated preview",
  "gemini-2.5-flash-preview-09-2025": "the package has the later price for the dated preview",
  "gemini-2.5-flash-native-audio-latest": "the Live API's price in the package, the plain one in LiteLLM",
  "gemini-2.5-flash-native-audio-preview-09-2025": "the Live API's price in the package, the plain one in LiteLLM",
  "gemini-2.5-flash-native-audio-preview-12-2025": "the Live API's price in the package, the plain one in LiteLLM",
  "gemini-live-2.5-flash-preview-native-audio-09-2025": "the Live API's price in the package, the plain one in LiteLLM",
  "gemini-2.5-flash-preview-tts": "speech as output in the package, text in LiteLLM",
  "gemini-2.5-pro-preview-tts": "speech as output in the package, text in LiteLLM",
  "kimi-k2.5": "LiteLLM's row is from another source",
  "kimi-k2.6": "LiteLLM converts from another currency",
  "grok-4.3": "LiteLLM lacks the tier above 200,000 tokens",
  "grok-4.5": "LiteLLM lacks the tier, and has another model's cache read",
  "grok-build-0.1": "LiteLLM lacks the tier above 200,000 tokens",
  "gpt-4o-mini-tts": "text in and speech out in the package",
  "gpt-image-2": "an image as output in the package",
  "gpt-image-2-2026-04-21": "an image as output in the package",
  "gpt-realtime-2": "the price of version 2.1 in the package"
}

const perMillion = (value: unknown): number | undefined =>
  typeof value === "number" ? Number((value * 1e6).toPrecision(8)) : undefined

const usd = (rate: bigint | undefined): number | undefined => (rate === undefined ? undefined : Number(rate) / 1e6)

/** Classes that both have and that differ. */
const differences = (price: NonNullable<Option.Option.Value<ReturnType<Pricing.Service["lookup"]>>>, row: Row) => {
  const base = price.tiers[0].rates
  const pairs: Array<readonly [string, number | undefined, number | undefined]> = [
    ["input", usd(base.input), perMillion(row["input_cost_per_token"])],
    ["output", usd(base.output), perMillion(row["output_cost_per_token"])],
    ["cache read", usd(base.cacheRead), perMillion(row["cache_read_input_token_cost"])],
    ["cache write", usd(base.cacheWrite), perMillion(row["cache_creation_input_token_cost"])],
    ["one-hour cache write", usd(base.cacheWrite1h), perMillion(row["cache_creation_input_token_cost_above_1hr"])]
  ]
  for (const threshold of ["200k", "272k"]) {
    const theirs = perMillion(row[`input_cost_per_token_above_${threshold}_tokens`])
    const ours = price.tiers.find((tier) => Math.round(tier.above / 1_000) === Number.parseInt(threshold, 10))
    if (theirs !== undefined || ours !== undefined) {
      pairs.push([`input above ${threshold}`, usd(ours?.rates.input) ?? Number.NaN, theirs ?? Number.NaN])
      pairs.push([
        `output above ${threshold}`,
        usd(ours?.rates.output) ?? Number.NaN,
        perMillion(row[`output_cost_per_token_above_${threshold}_tokens`]) ?? Number.NaN
      ])
    }
  }
  return pairs.filter(
    ([, ours, theirs]) =>
      ours !== undefined && theirs !== undefined && !(Math.abs(ours - theirs) <= 1e-6 * Math.max(1, ours))
  )
}

describe("prices", () => {
  it.effect("agree with LiteLLM's table, but for what is named here", () =>
    Effect.gen(function* () {
      const pricing = yield* Pricing.make()
      const differing: Array<string> = []
      let compared = 0
      for (const [model, row] of Object.entries(table)) {
        const provider = providers[String(row["litellm_provider"])]
        if (provider === undefined || typeof row["input_cost_per_token"] !== "number") continue
        const price = pricing.lookup({ model, provider, at })
        if (Option.isNone(price)) continue
        compared++
        const found = differences(price.value, row)
        if (found.length === 0) {
          assert.isUndefined(known[model], `${model} agrees now: take it off the list`)
        } else {
          differing.push(model)
          assert.isDefined(
            known[model],
            `${model}: ${found.map(([what, ours, theirs]) => `${what} ${ours}, theirs ${theirs}`).join("; ")}`
          )
        }
      }
      assert.isAtLeast(compared, 150)
      assert.isAtMost(differing.length, Object.keys(known).length)
    })
  )

  it("halves every class that LiteLLM prices for batch and flex", () => {
    for (const [model, row] of Object.entries(table)) {
      for (const tier of ["batches", "flex"]) {
        const half = row[`input_cost_per_token_${tier}`]
        const whole = row["input_cost_per_token"]
        if (typeof half !== "number" || typeof whole !== "number") continue
        assert.closeTo(half / whole, 0.5, 1e-9, model)
      }
    }
  })
})
