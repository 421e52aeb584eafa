/** What a new table of prices changes is shown in full, and what no public table has is kept. */
import { assert, describe, it } from "@effect/vitest"
import { Price, PriceChanges, PriceTable, Pricing, PublicTables, Usage } from "@pipe/core"
import { Effect, Option } from "effect"

const at = Date.UTC(2026, 10, 30, 12)

const tableOf = (json: unknown) =>
  PriceTable.make({ name: "test", source: "test", date: "2026-11-30", rows: PublicTables.read(json)!.rows })

const entry = (fields: object) => ({ litellm_provider: "openai", mode: "chat", ...fields })

/** gpt-5-mini as LiteLLM has it: 0.25, 0.025 and 2 USD a million. */
const mini = {
  input_cost_per_token: 2.5e-7,
  cache_read_input_token_cost: 2.5e-8,
  output_cost_per_token: 2e-6,
  max_input_tokens: 272_000
}

const compared = (json: unknown, used: ReadonlyArray<PriceChanges.ModelOf> = []) =>
  Effect.gen(function* () {
    const table = tableOf(json)
    const before = yield* Pricing.make()
    const after = yield* Pricing.make({}, { table })
    return { before, after, changes: PriceChanges.make(before, after, table, used, at) }
  })

const priceIn = (pricing: Pricing.Service, model: string, provider = "openai") =>
  Option.getOrThrow(pricing.lookup({ model, provider, at }))

const million = (fields: Partial<Usage.Usage>): Usage.Usage => ({ ...Usage.zero, ...fields })

describe("a new table of prices", () => {
  it.effect("shows what changes in tiers of service, fees and windows too", () =>
    Effect.gen(function* () {
      const { changes } = yield* compared({
        "gpt-5-mini": entry({
          ...mini,
          input_cost_per_token_flex: 1e-9,
          output_cost_per_token_flex: 1e-9,
          search_context_cost_per_query: { high: 0.5 }
        })
      })
      const of = (what: string) => changes.changed.find((change) => change.what === what)
      // Half of 0.25 USD becomes a thousandth.
      assert.strictEqual(of("flex input")?.before, 125_000_000_000n)
      assert.strictEqual(of("flex input")?.after, 1_000_000_000n)
      assert.strictEqual(of("search")?.after, 500_000_000_000n)
      assert.isTrue(changes.absurd.some(({ what }) => what === "flex input"))
    })
  )

  it.effect("with a context window of one token is not understood, and a smaller one bounds nothing", () =>
    Effect.gen(function* () {
      const tiny = { "gpt-5-mini": entry({ ...mini, max_input_tokens: 1 }) }
      assert.strictEqual(PublicTables.read(tiny)!.rows.length, 0)
      const { after, before } = yield* compared({ "gpt-5-mini": entry({ ...mini, max_input_tokens: 4_000 }) })
      assert.strictEqual(priceIn(after, "gpt-5-mini").contextWindow, priceIn(before, "gpt-5-mini").contextWindow)
    })
  )

  it.effect("leaves dated versions their own price, and the prices that only the package has", () =>
    Effect.gen(function* () {
      const { after, changes } = yield* compared(
        {
          "gpt-4o": entry({ input_cost_per_token: 2.5e-6, output_cost_per_token: 1e-5 }),
          "gpt-6-luna": entry({ input_cost_per_token: 1e-7, output_cost_per_token: 5e-7 })
        },
        [{ provider: "openai", model: "gpt-4o-2024-05-13" }]
      )
      // 5 and 15 USD (platform.openai.com/docs/pricing).
      const dated = Price.cost(priceIn(after, "gpt-4o-2024-05-13"), million({ uncachedInput: 1e6, output: 1e6 }))
      assert.strictEqual(dated, 20_000_000_000_000n)
      assert.isFalse(changes.changed.some(({ model }) => model === "gpt-4o-2024-05-13"))
      // Nothing for the output of a decision (developers.openai.com/api/docs/guides/decisions).
      const decided = Price.cost(priceIn(after, "gpt-6-luna"), million({ uncachedInput: 1e6, output: 1e6 }), {
        provider: "openai",
        serviceTier: "decision"
      })
      assert.strictEqual(decided, 100_000_000_000n)
      assert.isDefined(priceIn(after, "gpt-4o").fees?.search)
    })
  )

  it("never makes a missing output free: it is not understood, or at the share of the input", () => {
    const read = PublicTables.read({
      "gpt-9": entry({ input_cost_per_token: 1e-6 }),
      "gpt-9-mini": entry({ ...mini, input_cost_per_token_flex: 1.25e-7, input_cost_per_token_priority: 5e-7 }),
      "gpt-9-long": entry({ ...mini, output_cost_per_token_above_200k_tokens: 4e-6 }),
      "gpt-9-vectors": { ...entry({ input_cost_per_token: 1e-7 }), mode: "embedding" }
    })!
    assert.deepStrictEqual(
      read.problems.map(({ model }) => model),
      ["gpt-9"]
    )
    const rowOf = (model: string) => read.rows.find((row) => row.model === model)!
    // Flex at half of both is the published share; priority is twice both.
    assert.deepInclude(rowOf("gpt-9-mini").tiers[0].services?.["priority"], { input: 0.5, output: 4 })
    assert.deepInclude(rowOf("gpt-9-long").tiers[1]!.rates, { input: 0.5, output: 4 })
    assert.strictEqual(rowOf("gpt-9-vectors").tiers[0].rates.output, 0)
  })

  it.effect("asks about a model in use that would be free", () =>
    Effect.gen(function* () {
      const free = { "gpt-9": entry({ input_cost_per_token: 0, output_cost_per_token: 0 }) }
      assert.strictEqual((yield* compared(free)).changes.absurd.length, 0)
      const { changes } = yield* compared(free, [{ provider: "openai", model: "gpt-9" }])
      assert.deepStrictEqual(
        changes.absurd.map(({ model }) => model),
        ["gpt-9"]
      )
    })
  )

  it.effect("of thresholds that differ by one has no change", () =>
    Effect.gen(function* () {
      const table = tableOf({ "gpt-5-mini": entry(mini) })
      const at272 = {
        ...table.rows[0]!,
        tiers: [table.rows[0]!.tiers[0], { above: 272_000, rates: { input: 1, output: 4 } }]
      }
      const at271 = { ...at272, tiers: [at272.tiers[0], { ...at272.tiers[1], above: 271_999 }] }
      const make = (row: typeof at272) => PriceTable.make({ ...table, rows: [row as unknown as PriceTable.Row] })
      const [one, other] = [make(at272), make(at271)]
      const before = yield* Pricing.make({}, { table: one })
      const after = yield* Pricing.make({}, { table: other })
      assert.deepStrictEqual(PriceChanges.make(before, after, other, [], at).changed, [])
    })
  )
})
