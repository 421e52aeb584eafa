/** Token tracking: ten translations, and a report of tokens and cost by step and model, in all, and on average. */
import { Flow, Ledger, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const Sentence = Schema.Struct({ id: Schema.Int, zh: Schema.String, attribution: Schema.String })

const sentences = Source.jsonl("sentences", {
  path: new URL("../data/sentences.jsonl", import.meta.url),
  schema: Sentence
})

const firstTen = Flow.filter("first ten", { sentence: sentences }, ({ sentence }) => sentence.id <= 10)

const english = Flow.step("english", { firstTen }, ({ firstTen: { sentence } }) =>
  LanguageModel.generateText({ prompt: `Translate to English: ${sentence.zh}` }).pipe(
    Effect.map((response) => response.text)
  )
)

export default Flow.make("token-tracking", {
  outputs: [Sink.jsonl(new URL("../out/translations.jsonl", import.meta.url), { sentence: sentences, english })],
  settings: { temperature: 0 },
  stack: Stack.make(Ledger.layer, Retry.layer(), OpenAi.layer({ model: "gpt-4o-mini" }))
})
