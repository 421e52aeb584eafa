/** Subtitles translated in scenes of ten lines, with a glossary, and given back line by line. A task of llm-subtrans. */
import { Flow, Parameter, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"

const language = Parameter.make("language", Schema.String, { default: "German" })

const lines = Source.jsonl("line", {
  path: new URL("../data/sentences.jsonl", import.meta.url),
  schema: Schema.Struct({ id: Schema.Int, en: Schema.String })
})

const glossary = { train: "Zug", station: "Bahnhof", doctor: "Ärztin" }

const scene = Flow.group("scene", { line: lines }, { by: ({ line }) => Math.ceil(line.id / 10) }, ({ rows }) =>
  rows.map(({ line }) => line)
)

const translated = Flow.step(
  "translated",
  { scene },
  ({ scene }) =>
    Effect.gen(function* () {
      const text = scene.map(({ en }) => en).join("\n")
      const terms = Object.entries(glossary).filter(([term]) => text.toLowerCase().includes(term))
      const { value } = yield* LanguageModel.generateObject({
        schema: Schema.Struct({ lines: Schema.Array(Schema.String) }),
        prompt: `Translate these subtitles to ${yield* language}, one for each line.${
          terms.length === 0 ? "" : ` Use these words: ${terms.map((term) => term.join(" = ")).join(", ")}.`
        }\n\n${text}`
      })
      return value.lines
    }),
  {
    // The model receives what is wrong, and sends another answer.
    check: (answer, { scene }) => {
      const count = (JSON.parse(answer) as { readonly lines: ReadonlyArray<string> }).lines.length
      return count === scene.length || `there are ${count} lines: send exactly ${scene.length}`
    }
  }
)

const subtitle = Flow.expand("subtitle", { scene, translated }, ({ scene, translated }) =>
  scene.map(({ en, id }, at) => ({ id, en, translated: translated[at] }))
)

export default Flow.make("subtitles", {
  parameters: [language],
  outputs: [Sink.jsonl(new URL("../out/subtitles.jsonl", import.meta.url), subtitle)],
  simulate: ({ step, values }) =>
    step === "translated"
      ? { lines: (values["scene"] as ReadonlyArray<{ readonly en: string }>).map(({ en }) => `(simulated) ${en}`) }
      : undefined,
  stack: Stack.recommended({ provider: OpenAi.layer({ model: "gpt-4o-mini" }) })
})
