/** Prompts, models and cases compared: how many pass, for how much money and time. A task of promptfoo. */
import { Flow, Money, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Option } from "effect"
import { LanguageModel } from "effect/ai"

const prompts = {
  plain: (text: string) => `Translate to French: ${text}`,
  strict: (text: string) => `Translate to French. Reply with the translation and nothing else.\n\n${text}`
}

const variants = (["plain", "strict"] as const).flatMap((prompt) => [
  { prompt, model: "gpt-4o-mini", temperature: 0 },
  { prompt, model: "gpt-4.1", temperature: 0 }
])

const cases = Source.fromIterable("case", [
  { text: "Good morning", has: "bonjour" },
  { text: "The bee sleeps", has: "abeille" },
  { text: "Where is the station?", has: "gare" }
])

const variant = Flow.expand("variant", { case: cases }, () => variants)

const answer = Flow.step(
  "answer",
  { case: cases, variant },
  ({ case: { text }, variant }) =>
    Effect.map(LanguageModel.generateText({ prompt: prompts[variant.prompt](text) }), ({ text }) => text),
  { model: ({ variant }) => variant.model, settings: ({ variant }) => ({ temperature: variant.temperature }) }
)

const passes = Flow.map("passes", { case: cases, answer }, ({ answer, case: { has } }) =>
  answer.toLowerCase().includes(has)
)

const total = Flow.group(
  "total",
  { variant, passes, cost: Flow.cost(answer) },
  { by: ({ variant }) => ({ prompt: variant.prompt, model: variant.model }), missing: "keep" },
  ({ count, key, missing, rows }) => ({
    ...key,
    passed: rows.filter(({ passes }) => passes).length,
    of: count + missing,
    usd: Option.map(Option.all(rows.map(({ cost }) => Money.fromUsd(cost.usd ?? ""))), Money.sum).pipe(
      Option.match({ onNone: () => "unknown", onSome: Money.format })
    ),
    milliseconds: Math.max(...rows.map(({ cost }) => cost.milliseconds ?? 0))
  })
)

export default Flow.make("matrix", {
  outputs: [
    Sink.csv(new URL("../out/matrix.csv", import.meta.url), total),
    Sink.jsonl(new URL("../out/matrix.jsonl", import.meta.url), {
      case: cases,
      variant,
      answer,
      passes,
      $cost: Flow.cost(answer)
    })
  ],
  stack: Stack.recommended({ provider: OpenAi.layer({ model: "gpt-4o-mini" }) })
})
