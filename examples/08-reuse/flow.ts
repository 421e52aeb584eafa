/**
 * The intent of each question of a bank's customers, under a long instruction: several questions in one prompt, answers reused for
 * questions that mean the same, and the instruction kept by the provider.
 */
import {
  Cache,
  Flow,
  Ledger,
  Pack,
  PromptCache,
  RateLimit,
  Retry,
  SemanticCache,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import { LocalEmbedder, OpenAi, Usearch } from "@pipe/plugins"
import { Effect, Layer, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import intents from "../data/intents.json" with { type: "json" }

const questions = Source.csv("questions", {
  path: new URL("../data/questions.csv", import.meta.url),
  schema: Schema.Struct({ text: Schema.String })
})

const Label = Schema.Struct({ intent: Schema.Literals(intents) })

const instruction = `Which of these intents does a customer of a bank have?
${intents.map((intent) => `- ${intent}: the customer writes about ${intent.replaceAll("_", " ")}`).join("\n")}`

const label = Flow.step(
  "label",
  { question: questions },
  ({ question }) =>
    LanguageModel.generateObject({ schema: Label, prompt: `${instruction}\n\nQuestion: ${question.text}` }).pipe(
      Effect.map((response) => response.value)
    ),
  {
    varies: ({ question }) => question.text,
    reuse: { maxErrorRate: 0.05 },
    pack: { size: "auto" }
  }
)

export default Flow.make("reuse", {
  outputs: [Sink.jsonl(new URL("../out/reuse.jsonl", import.meta.url), { question: questions, label })],
  settings: { temperature: 0 },
  stack: Stack.make(
    Ledger.layer,
    Cache.layer(),
    SemanticCache.layer().pipe(Layer.provide([LocalEmbedder.layer, Usearch.layer])),
    Pack.layer(),
    Retry.layer(),
    PromptCache.layer(),
    RateLimit.layer({ requestsPerMinute: 5_000, tokensPerMinute: 2_000_000 }),
    OpenAi.layer({ model: "gpt-4o-mini" })
  )
})
