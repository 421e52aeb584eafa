/** Dynamic model choice: short sentences to the cheap model, long ones to the strong one; the report shows what that saved. */
import { Flow, Ledger, Retry, Router, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const Sentence = Schema.Struct({ id: Schema.Int, zh: Schema.String, attribution: Schema.String })

const sentences = Source.jsonl("sentences", {
  path: new URL("../data/sentences.jsonl", import.meta.url),
  schema: Sentence
})

const english = Flow.step("english", { sentence: sentences }, ({ sentence }) =>
  LanguageModel.generateText({ prompt: `翻译:${sentence.zh}` }).pipe(Effect.map((response) => response.text))
)

export default Flow.make("model-choice", {
  outputs: [Sink.jsonl(new URL("../out/model-choice.jsonl", import.meta.url), { sentence: sentences, english })],
  settings: { temperature: 0 },
  stack: Stack.make(
    Ledger.layer,
    Router.layer({ cheap: "gpt-4o-mini", strong: "gpt-4o", when: Router.promptShorterThan(20) }),
    Retry.layer(),
    OpenAi.layer()
  )
})
