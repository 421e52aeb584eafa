/** Questions in many words, and a flow that reuses the answers. */

const topics = {
  arrival: ["where is my card", "my card has not arrived yet", "when will my card arrive"],
  pin: ["my pin is blocked", "the pin does not work any more", "how do I unblock my pin"],
  refund: ["how do I get a refund", "I want my money back", "please refund what I paid"]
}

export const rows = Object.entries(topics).flatMap(([intent, cores]) =>
  cores.flatMap((core) =>
    [
      "",
      "hello, ",
      "hi there, ",
      "good morning, ",
      "dear bank, ",
      "tell me, ",
      "excuse me, ",
      "good evening, "
    ].flatMap((opening) =>
      ["", " please", " thanks", " if I may ask"].map((end) => ({
        text: `${opening}${core}${end}`,
        intent
      }))
    )
  )
)

export interface Options {
  readonly step?: string
  readonly layers?: string
  readonly prompt?: string
  readonly model?: string
  readonly provider?: string
}

const flow = (options: Options) => `
import { Cache, Flow, Ledger, Pack, PromptCache, Retry, SemanticCache, Sink, Source, Stack } from "@pipe/core"
import { Anthropic, LocalEmbedder, OpenAi, Usearch } from "@pipe/plugins"
import { Effect, Layer, Schema } from "effect"
import { LanguageModel } from "effect/ai"
const rows = Source.jsonl("rows", { path: "rows.jsonl", schema: Schema.Struct({ text: Schema.String }) })
const label = Flow.step("label", { row: rows }, ({ row }) =>
  Effect.map(LanguageModel.generateText({ prompt: ${options.prompt ?? "`Name the intent.\\n\\n${row.text}`"} }), (r) => r.text), { varies: ({ row }) => row.text, ${options.step ?? ""} })
export default Flow.make("reuse", {
  outputs: [Sink.jsonl("out.jsonl", { row: rows, label })],
  settings: { model: "${options.model ?? "gpt-4o-mini"}" },
  stack: Stack.make(Ledger.layer, Cache.layer(), ${options.layers ?? ""} Retry.layer(), ${options.provider ?? "OpenAi.layer()"})
})
`

export const files = (options: Options) => ({
  "package.json": '{"type": "module"}',
  "flow.ts": flow(options),
  "rows.jsonl": rows.map((row) => JSON.stringify(row)).join("\n")
})
