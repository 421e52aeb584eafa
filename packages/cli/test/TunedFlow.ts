/** A flow with a cascade, over rows of which a cheap model errs on the hard ones. */
import type { Simulator } from "@pipe/plugins"
import { folder } from "./Flows.ts"

export const labels = ["account", "card", "loan"]

export const rows = (count: number) =>
  Array.from({ length: count }, (_, n) => ({
    n,
    text: `question ${n} about a ${labels[n % 3]}`,
    hard: (n * 7919) % 10 < 2
  }))

export const truthIn = (prompt: string) => labels.find((label) => prompt.includes(label))

export const flow = (parts: { readonly cascade?: string; readonly step?: string; readonly prompt?: string } = {}) => `
import { Cache, Cascade, Flow, Judge, Ledger, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
const rows = Source.jsonl("rows", { path: "rows.jsonl", schema: Schema.Struct({ n: Schema.Int, text: Schema.String, hard: Schema.Boolean }) })
const answer = Flow.step("answer", { row: rows }, ({ row }) =>
  Effect.map(LanguageModel.generateText({ prompt: ${parts.prompt ?? '`${row.text}, ${row.hard ? "hard" : "easy"}`'} }), (r) => r.text), { ${parts.step ?? ""} })
export default Flow.make("products", {
  outputs: [Sink.jsonl("out.jsonl", { row: rows, answer })],
  stack: Stack.make(
    Ledger.layer,
    ${parts.cascade ?? `Cascade.layer({ models: ["gpt-4o-mini", "gpt-4o"], judges: [Judge.logprobs()], routing: new URL("./products.routing.json", import.meta.url) }),`}
    Cache.layer(),
    Retry.layer(),
    OpenAi.layer()
  )
})
`

export const at = (parts: Parameters<typeof flow>[0] = {}, count = 600) =>
  folder({
    "package.json": '{"type": "module"}',
    "flow.ts": flow(parts),
    "rows.jsonl": rows(count)
      .map((row) => JSON.stringify(row))
      .join("\n")
  })

/** Answers as the two models do, and tells of each. */
export const simulated = (onAnswer: () => void = () => {}): Simulator.Options => ({
  answer: ({ model, prompt }) => {
    onAnswer()
    return prompt.includes("翻译") || model === "gpt-4o" || !prompt.includes("hard")
      ? truthIn(prompt)
      : labels[(labels.indexOf(truthIn(prompt)!) + 1) % 3]
  },
  confidence: ({ prompt }) => (prompt.includes("hard") ? 0.6 : 0.97)
})

export const envOf = (simulator: Simulator.Simulator) => ({
  OPENAI_BASE_URL: simulator.openAiUrl,
  OPENAI_API_KEY: "test-key-0123456789"
})
