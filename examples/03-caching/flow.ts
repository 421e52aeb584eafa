/**
 * Caching: the same sentences asked twice. The second pass is answered by the exact cache: its time, the speed-up, and what
 * it saved, in money and not in time.
 */
import { Flow, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Clock, Console, Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const Sentence = Schema.Struct({ id: Schema.Int, zh: Schema.String, attribution: Schema.String })

const sentences = Source.jsonl("sentences", {
  path: new URL("../data/sentences.jsonl", import.meta.url),
  schema: Sentence
})

const sample = Flow.filter("sample", { sentence: sentences }, ({ sentence }) => sentence.id <= 40)

/** A translation, and the milliseconds until it was there. */
const translate = (zh: string) =>
  Effect.gen(function* () {
    const before = yield* Clock.currentTimeMillis
    const response = yield* LanguageModel.generateText({ prompt: `Translate to English: ${zh}` })
    return { text: response.text, milliseconds: (yield* Clock.currentTimeMillis) - before }
  })

const first = Flow.step("first", { sample }, ({ sample }) => translate(sample.sentence.zh))

// It reads the first answer, so that it is called after it.
const second = Flow.step("second", { sample, first }, ({ sample }) => translate(sample.sentence.zh))

const times = Flow.reduce(
  "times",
  { first, second },
  {
    initial: () => ({ first: 0, second: 0, rows: 0 }),
    step: (sum, { first, second }) => ({
      first: sum.first + first.milliseconds,
      second: sum.second + second.milliseconds,
      rows: sum.rows + 1
    })
  }
)

export default Flow.make("caching", {
  outputs: [
    Sink.jsonl(new URL("../out/caching.jsonl", import.meta.url), { sentence: sentences, first, second }),
    Sink.forEach("times", times, ({ first, rows, second }) =>
      Console.error(
        `first pass ${(first / rows).toFixed(1)} ms a call, second ${(second / rows).toFixed(1)} ms: ${(
          first / Math.max(1, second)
        ).toFixed(0)} times as fast`
      )
    )
  ],
  stack: Stack.recommended({ provider: OpenAi.layer({ model: "gpt-4o-mini" }), cache: "30 days" })
})
