/** Preference data: three models answer each question, a fourth rates the answers. A task of distilabel (UltraFeedback). */
import { Flow, Money, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Option, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const questions = Source.fromIterable("question", [
  "Why is the sky blue?",
  "How do I apologise to a colleague?",
  "Is a tomato a fruit?"
])

const model = Flow.expand("model", { question: questions }, () => ["gpt-4o-mini", "gpt-4.1-mini", "gpt-4.1"])

const answer = Flow.step(
  "answer",
  { question: questions, model },
  ({ question }) => Effect.map(LanguageModel.generateText({ prompt: question }), ({ text }) => text),
  { model: ({ model }) => model }
)

const Rating = Schema.Struct({
  helpfulness: Schema.Literals([1, 2, 3, 4, 5]),
  honesty: Schema.Literals([1, 2, 3, 4, 5]),
  reason: Schema.String
})

const rating = Flow.step("rating", { question: questions, answer }, ({ answer, question }) =>
  LanguageModel.generateObject({
    schema: Rating,
    prompt: `Rate this answer to "${question}" from 1 to 5:\n\n${answer}`
  }).pipe(Effect.map(({ value }) => value))
)

const compared = Flow.group(
  "compared",
  { question: questions, model, answer, rating, cost: Flow.cost(answer) },
  { by: ({ question }) => question, missing: "keep" },
  ({ key, rows }) => ({
    question: key,
    answers: rows
      .map(({ answer, cost, model, rating }) => ({
        model,
        score: (rating.helpfulness + rating.honesty) / 2,
        usd: Option.match(Option.flatMap(Option.fromNullishOr(cost.usd), Money.fromUsd), {
          onNone: () => "unknown",
          onSome: Money.format
        }),
        answer
      }))
      .toSorted((a, b) => b.score - a.score)
  })
)

export default Flow.make("ratings", {
  outputs: [Sink.jsonl(new URL("../out/ratings.jsonl", import.meta.url), compared)],
  stack: Stack.recommended({ provider: OpenAi.layer({ model: "gpt-4o" }) })
})
