/**
 * The model choice of the fourth example, tuned: in place of a rule about length, `pipe tune` finds out on these rows which translations
 * of the cheap model may stand, and writes down what it is certain of. Until then the strong model translates all of them.
 */
import { Cache, Cascade, Flow, Judge, Ledger, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const Sentence = Schema.Struct({ id: Schema.Int, zh: Schema.String, en: Schema.String, attribution: Schema.String })

const sentences = Source.jsonl("sentences", {
  path: new URL("../data/sentences.jsonl", import.meta.url),
  schema: Sentence
})

/** The pieces of three letters that a text has, without regard to case and signs. */
const pieces = (text: string): ReadonlySet<string> => {
  const letters = text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, " ")
    .trim()
  return new Set(Array.from({ length: Math.max(1, letters.length - 2) }, (_, at) => letters.slice(at, at + 3)))
}

/** How near a translation is to another, from 0 to 1: the F-score of their pieces, as chrF has it (Popović, WMT 2015), for one length of piece. */
const likeness = (one: string, other: string): number => {
  const [a, b] = [pieces(one), pieces(other)]
  return (2 * [...a].filter((piece) => b.has(piece)).length) / (a.size + b.size)
}

const english = Flow.step(
  "english",
  { sentence: sentences },
  ({ sentence }) =>
    LanguageModel.generateText({ prompt: `翻译:${sentence.zh}` }).pipe(Effect.map((response) => response.text)),
  {
    quality: {
      features: ({ sentence }) => ({ characters: sentence.zh.length }),
      label: ({ sentence }) => sentence.en,
      score: likeness
    }
  }
)

export default Flow.make("tuned", {
  outputs: [Sink.jsonl(new URL("../out/tuned.jsonl", import.meta.url), { sentence: sentences, english })],
  settings: { temperature: 0 },
  stack: Stack.make(
    Ledger.layer,
    Cascade.layer({
      models: ["gpt-4o-mini", "gpt-4o"],
      judges: [Judge.logprobs()],
      routing: new URL("./flow.routing.json", import.meta.url)
    }),
    Cache.layer(),
    Retry.layer(),
    OpenAi.layer()
  )
})
