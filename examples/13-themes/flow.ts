/** Themes of speeches: extracted with a review, merged where they mean the same, and reported. A task of DocETL. */
import { Agent, Flow, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const speeches = Source.jsonl("speeches", {
  path: new URL("../data/speeches.jsonl", import.meta.url),
  schema: Schema.Struct({ id: Schema.String, speaker: Schema.String, year: Schema.Int, text: Schema.String })
})

const Themes = Schema.Struct({ themes: Schema.Array(Schema.Struct({ name: Schema.String, quote: Schema.String })) })

const found = Flow.expand("found", { speech: speeches }, ({ speech }) =>
  Agent.refine({
    schema: Themes,
    prompt: `Name the themes of this speech, each with a short quote.\n\n${speech.text}`,
    review: "Is every theme of the speech there, and is each quote in it?",
    rounds: 1
  }).pipe(Effect.map(({ value }) => value.themes))
)

const vector = Flow.embed("vector", { found }, ({ found }) => found.name)

const similar = Flow.nearest(
  "similar",
  { speech: Flow.map("occurrence", { speech: speeches, found }, (it) => it) },
  { others: found },
  {
    by: [vector, vector],
    count: 6,
    atLeast: 0.7
  }
)

const theme = Flow.step("theme", { similar }, ({ similar }) => {
  const names = [...new Set([similar.speech.found.name, ...similar.others.map(({ value }) => value.name)])].toSorted()
  return names.length === 1
    ? Effect.succeed(names[0]!)
    : Effect.map(
        LanguageModel.generateText({
          prompt: `Which of these names fits the theme "${similar.speech.found.name}" best? Reply with the name.\n${names.join("\n")}`
        }),
        ({ text }) => (names.includes(text.trim()) ? text.trim() : similar.speech.found.name)
      )
})

const report = Flow.group("report", { similar, theme }, { by: ({ theme }) => theme }, ({ key, rows }) =>
  LanguageModel.generateText({
    prompt: `Describe how the theme "${key}" changes over the years:\n${rows
      .map(({ similar: { speech } }) => `${speech.speech.year}, ${speech.speech.speaker}: ${speech.found.quote}`)
      .join("\n")}`
  }).pipe(Effect.map(({ text }) => ({ theme: key, speeches: rows.length, report: text })))
)

export default Flow.make("themes", {
  outputs: [Sink.jsonl(new URL("../out/themes.jsonl", import.meta.url), report)],
  stack: Stack.recommended({
    provider: OpenAi.layer({ model: "gpt-4o-mini", embeddings: "text-embedding-3-small" })
  })
})
