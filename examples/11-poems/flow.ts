/** Synthetic data: a model lists subjects, and writes two poems about each. A task of Curator. */
import { Flow, Parameter, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const count = Parameter.make("count", Schema.Int, { default: 5, description: "number of subjects" })

const kinds = Source.fromIterable("kind", ["nature", "cities"])

const subject = Flow.expand(
  "subject",
  { kind: kinds },
  ({ kind }) =>
    Effect.gen(function* () {
      const { value } = yield* LanguageModel.generateObject({
        schema: Schema.Struct({ subjects: Schema.Array(Schema.String) }),
        prompt: `Name ${yield* count} different subjects for poems about ${kind}.`
      })
      return value.subjects
    }),
  { expect: 5 }
)

const poems = Flow.step("poems", { subject }, ({ subject }) =>
  LanguageModel.generateObject({
    schema: Schema.Struct({ poems: Schema.Array(Schema.String) }),
    prompt: `Write two short poems about ${subject}.`
  }).pipe(Effect.map(({ value }) => value.poems))
)

const poem = Flow.expand("poem", { poems }, ({ poems }) => poems)

export default Flow.make("poems", {
  parameters: [count],
  outputs: [Sink.jsonl(new URL("../out/poems.jsonl", import.meta.url), { kind: kinds, subject, poem })],
  stack: Stack.recommended({ provider: OpenAi.layer({ model: "gpt-4o-mini" }) })
})
