/**
 * Certified routing: the intent of 300 questions of a bank's customers, by the cheap model wherever `pipe tune` certifies that its answers
 * agree with the strong model's. Without a key, the flow answers for both models: the cheap one errs on long questions.
 */
import { Cache, Cascade, Flow, Ledger, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import intents from "../data/intents.json" with { type: "json" }

const questions = Source.csv("questions", {
  path: new URL("../data/questions.csv", import.meta.url),
  schema: Schema.Struct({ text: Schema.String })
})

const Label = Schema.Struct({ intent: Schema.Literals(intents) })

const words = (text: string): number => text.split(" ").length

/** Some intent, the same for a question each time. */
const intentOf = (text: string): string => intents[text.length % intents.length]!

const label = Flow.step(
  "label",
  { question: questions },
  ({ question }) =>
    LanguageModel.generateObject({ schema: Label, prompt: `The intent of this question: ${question.text}` }).pipe(
      Effect.map((response) => response.value)
    ),
  { quality: { features: ({ question }) => ({ words: words(question.text) }) } }
)

export default Flow.make("certified", {
  outputs: [Sink.jsonl(new URL("../out/certified.jsonl", import.meta.url), { question: questions, label })],
  simulate: ({ model, values: { question } }) => ({
    intent: intentOf(model === "gpt-4o" || words(question.text) <= 15 ? question.text : `${question.text}?`)
  }),
  stack: Stack.make(
    Ledger.layer,
    Cascade.layer({
      models: ["gpt-4o-mini", "gpt-4o"],
      routing: new URL("./flow.routing.json", import.meta.url)
    }),
    Cache.layer(),
    Retry.layer(),
    OpenAi.layer()
  )
})
