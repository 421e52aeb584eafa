/** Questions of bank customers: classify each, answer the urgent ones, and sum up each intent. */
import { Flow, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import intents from "../data/intents.json" with { type: "json" }

const questions = Source.csv("questions", {
  path: new URL("../data/questions.csv", import.meta.url),
  schema: Schema.Struct({ text: Schema.String })
})

const Label = Schema.Struct({ intent: Schema.Literals(intents), urgent: Schema.Boolean })

const label = Flow.step("label", { question: questions }, ({ question }) =>
  LanguageModel.generateObject({
    schema: Label,
    prompt: `Which intent does this question to a bank have, and is it urgent (money is being lost)? ${question.text}`
  }).pipe(Effect.map((response) => response.value))
)

const answer = Flow.step(
  "answer",
  { question: questions, label },
  ({ question }) =>
    LanguageModel.generateText({ prompt: `Answer this customer in two sentences: ${question.text}` }).pipe(
      Effect.map((response) => response.text)
    ),
  { when: ({ label }) => label.urgent }
)

const summary = Flow.group(
  "summary",
  { question: questions, label },
  { by: ({ label }) => label.intent, take: 10 },
  ({ count, key, rows }) =>
    LanguageModel.generateText({
      prompt: `Sum up in one sentence what these customers ask:\n${rows.map(({ question }) => `- ${question.text}`).join("\n")}`
    }).pipe(Effect.map((response) => ({ intent: key, questions: count, summary: response.text })))
)

export default Flow.make("banking", {
  outputs: [
    Sink.jsonl(new URL("../out/answers.jsonl", import.meta.url), { question: questions, label, answer }),
    Sink.csv(new URL("../out/intents.csv", import.meta.url), summary)
  ],
  settings: { temperature: 0 },
  stack: Stack.recommended({
    provider: OpenAi.layer({ model: "gpt-4o-mini" }),
    cache: "30 days",
    requestsPerMinute: 5_000,
    tokensPerMinute: 2_000_000
  })
})
