/** An agent that looks things up before it answers. The knowledge base agent of the AI SDK. */
import { Agent, Flow, Sink, Source, Stack, VectorIndex } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { EmbeddingModel, Tool, Toolkit } from "effect/ai"

const facts = Source.fromIterable("fact", [
  "Returns are free within 30 days of delivery.",
  "Shipping to Norway takes five working days.",
  "The desk lamp has a bulb of 7 watts.",
  "Support answers from Monday to Friday, 9 to 17."
])

const vector = Flow.embed("vector", { fact: facts }, ({ fact }) => fact)

const knowledge = Flow.group("knowledge", { fact: facts, vector }, { by: () => "all" }, ({ rows }) => rows)

const questions = Source.fromIterable("question", ["Can I send the lamp back?", "When does my parcel reach Oslo?"])

const asked = Flow.join("asked", { question: questions }, { knowledge }, { on: [() => "all", () => "all"] })

const Search = Tool.make("search", {
  description: "finds what the handbook says",
  parameters: Schema.Struct({ query: Schema.String }),
  success: Schema.Array(Schema.String),
  dependencies: [EmbeddingModel.EmbeddingModel]
})
const toolkit = Toolkit.make(Search)

const answer = Flow.step("answer", { asked }, ({ asked: { knowledge, question } }) =>
  Agent.run({
    prompt: `Answer from the handbook alone; search it first.\n\n${question}`,
    toolkit,
    steps: 4
  }).pipe(
    Effect.map(({ finished, text, tools }) => ({ text, finished, searches: tools.length })),
    Effect.provide(
      toolkit.toLayer({
        search: ({ query }) =>
          EmbeddingModel.EmbeddingModel.use((model) => model.embed(query)).pipe(
            Effect.map(({ vector }) =>
              VectorIndex.nearest(knowledge, vector, { by: (row) => row.vector, count: 2 }).map(
                ({ value }) => value.fact
              )
            ),
            Effect.orDie
          )
      })
    )
  )
)

export default Flow.make("knowledge", {
  outputs: [
    Sink.jsonl(new URL("../out/knowledge.jsonl", import.meta.url), {
      asked: Flow.map("q", { asked }, ({ asked }) => asked.question),
      answer
    })
  ],
  stack: Stack.recommended({
    provider: OpenAi.layer({ model: "gpt-4o-mini", embeddings: "text-embedding-3-small" })
  })
})
