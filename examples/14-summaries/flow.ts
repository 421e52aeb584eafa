/** Summaries of long texts: each part alone, then the parts together. LangChain's map-reduce. */
import { Flow, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const speeches = Source.jsonl("speeches", {
  path: new URL("../data/speeches.jsonl", import.meta.url),
  schema: Schema.Struct({ id: Schema.String, speaker: Schema.String, text: Schema.String })
})

const part = Flow.expand("part", { speech: speeches }, ({ speech }) => speech.text.split("\n\n"))

const partSummary = Flow.step("partSummary", { part }, ({ part }) =>
  Effect.map(LanguageModel.generateText({ prompt: `Sum up in one sentence:\n\n${part}` }), ({ text }) => text)
)

// A speech whose part has failed is not summed up as if it were whole: that is the default of `missing`.
const summary = Flow.group(
  "summary",
  { speech: speeches, partSummary },
  { by: ({ speech }) => speech.id },
  ({ key, rows }) =>
    LanguageModel.generateText({
      prompt: `Make one summary of these, in two sentences:\n\n${rows.map(({ partSummary }) => partSummary).join("\n")}`
    }).pipe(
      Effect.map(({ text }) => ({ id: key, speaker: rows[0]!.speech.speaker, parts: rows.length, summary: text }))
    )
)

export default Flow.make("summaries", {
  outputs: [Sink.jsonl(new URL("../out/summaries.jsonl", import.meta.url), summary)],
  stack: Stack.recommended({ provider: OpenAi.layer({ model: "gpt-4o-mini" }) })
})
