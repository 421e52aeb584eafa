/** Batch processing: 100 rows in windows of 10 requests, five calls at once, with progress while it continues. */
import { Flow, Ledger, Retry, Sink, Source, Stack, Coalesce } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const Sentence = Schema.Struct({ id: Schema.Int, zh: Schema.String, attribution: Schema.String })

const sentences = Source.jsonl("sentences", {
  path: new URL("../data/sentences.jsonl", import.meta.url),
  schema: Sentence
})

const hundred = Flow.filter("hundred", { sentence: sentences }, ({ sentence }) => sentence.id <= 100)

const english = Flow.step("english", { hundred }, ({ hundred: { sentence } }) =>
  LanguageModel.generateText({ prompt: `Translate to English: ${sentence.zh}` }).pipe(
    Effect.map((response) => response.text)
  )
)

export default Flow.make("batch-processing", {
  outputs: [Sink.jsonl(new URL("../out/batch.jsonl", import.meta.url), { sentence: sentences, english })],
  concurrency: 10,
  stack: Stack.make(
    Ledger.layer,
    Coalesce.layer({ size: 10, concurrency: 5 }),
    Retry.layer(),
    OpenAi.layer({ model: "gpt-4o-mini" })
  )
})
