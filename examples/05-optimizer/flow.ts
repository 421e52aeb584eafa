/** The whole optimiser: every layer together, one report. `--language` says what to translate to. */
import { Flow, Parameter, Router, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const language = Parameter.make("language", Schema.Literals(["English", "German", "French"]), {
  default: "English",
  description: "language of the translations"
})

const Sentence = Schema.Struct({ id: Schema.Int, zh: Schema.String, attribution: Schema.String })

const sentences = Source.jsonl("sentences", {
  path: new URL("../data/sentences.jsonl", import.meta.url),
  schema: Sentence
})

const translation = Flow.step("translation", { sentence: sentences }, ({ sentence }) =>
  Effect.gen(function* () {
    const response = yield* LanguageModel.generateText({ prompt: `Translate to ${yield* language}: ${sentence.zh}` })
    return response.text
  })
)

export default Flow.make("optimizer", {
  parameters: [language],
  outputs: [Sink.jsonl(new URL("../out/optimizer.jsonl", import.meta.url), { sentence: sentences, translation })],
  settings: { temperature: 0 },
  stack: Stack.recommended({
    provider: OpenAi.layer(),
    cache: "30 days",
    router: Router.layer({ cheap: "gpt-4o-mini", strong: "gpt-4o", when: Router.promptShorterThan(40) }),
    requestsPerMinute: 500,
    tokensPerMinute: 200_000
  })
})
