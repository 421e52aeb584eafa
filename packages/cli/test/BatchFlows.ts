/** A flow over numbered words for each provider, and what its runs in batches have cost. */
import type { Simulator } from "@pipe/plugins"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"

export const ROWS = 300

export type Wire = "openai" | "anthropic"

/** Batch prices in picodollars a token (platform.openai.com/docs/pricing and docs.anthropic.com pricing, 2026-11-25). */
export const rates = { openai: [75_000n, 300_000n], anthropic: [500_000n, 2_500_000n] } as const

export const flowOf = (wire: Wire) => `
import { Cache, Flow, Ledger, Parameter, RateLimit, Retry, Sink, Source, Stack } from "@pipe/core"
import { ${wire === "openai" ? "OpenAi" : "Anthropic"} as Provider } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

export const input = Parameter.make("input", Schema.String, { default: "rows.jsonl" })
export const rows = Source.jsonl("rows", { path: input, schema: Schema.Struct({ id: Schema.Int, word: Schema.String }) })
export const answer = Flow.step("answer", { row: rows }, ({ row }) => Effect.map(LanguageModel.generateText({ prompt: row.word }), (r) => r.text))

export default Flow.make("words", {
  outputs: [Sink.jsonl("out.jsonl", { row: rows, answer })],
  parameters: [input],
  stack: Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), RateLimit.layer({ requestsPerMinute: 6000 }),
    Provider.layer({ model: "${wire === "openai" ? "gpt-4o-mini" : "claude-haiku-4-5"}" }))
})
`

export const lines = (n: number) =>
  Array.from({ length: n }, (_, id) => `${JSON.stringify({ id, word: `word ${id}` })}\n`).join("")

export const files = (wire: Wire, n = ROWS) => ({ "flow.ts": flowOf(wire), "rows.jsonl": lines(n) })

export const envOf = (simulator: Simulator.Simulator) => ({
  OPENAI_API_KEY: "sk-test-0123456789abcdef",
  OPENAI_BASE_URL: simulator.openAiUrl,
  ANTHROPIC_API_KEY: "sk-ant-test-0123456789abcdef",
  ANTHROPIC_BASE_URL: simulator.anthropicUrl
})

export const bill = (wire: Wire, simulator: Simulator.Simulator): bigint =>
  simulator
    .bill()
    .reduce(
      (sum, one) =>
        sum
        + (BigInt(one.input) * rates[wire][0] + BigInt(one.output) * rates[wire][1])
          * (one.serviceTier === "batch" ? 1n : 2n),
      0n
    )

/** What a store has recorded. */
export const booked = (cwd: string): { readonly attempts: number; readonly cost: bigint } => {
  const db = new DatabaseSync(join(cwd, ".pipe/pipe.db"))
  try {
    const row = db
      .prepare("SELECT count(*) AS n, CAST(coalesce(sum(cost), 0) AS TEXT) AS cost FROM attempts WHERE error IS NULL")
      .get() as { readonly n: number; readonly cost: string }
    return { attempts: Number(row.n), cost: BigInt(row.cost) }
  } finally {
    db.close()
  }
}

export const output = (cwd: string) => readFileSync(join(cwd, "out.jsonl"), "utf8")
