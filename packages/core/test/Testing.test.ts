/** Flows tested with the public kit: a test model, rows from code, a store in memory. */
import { assert, describe, it } from "@effect/vitest"
import { Embedder, Flow, ModelClient, ModelRequest, Money, RunHooks, Sink, Source, Stack } from "@pipe/core"
import { TestFlow, TestModel } from "@pipe/core/testing"
import { Effect, Fiber, Layer, Schema } from "effect"
import { AiError, EmbeddingModel, LanguageModel } from "effect/ai"
import { TestClock } from "effect/testing"

/** A provider that no test reaches. */
const provider = Layer.sync(ModelClient.ModelClient, () =>
  ModelClient.provider({
    name: "openai",
    resolve: (request) => ModelRequest.withModel(request, "gpt-4o-mini"),
    send: () => Effect.die("a test calls the provider")
  })
)

const Review = Schema.Struct({ id: Schema.String, text: Schema.String })
const Verdict = Schema.Struct({ sentiment: Schema.Literals(["positive", "negative"]) })

const reviews = Source.jsonl("reviews", { path: "no/such/file.jsonl", schema: Review })
const english = Flow.step("english", { review: reviews }, ({ review }) =>
  Effect.map(LanguageModel.generateText({ prompt: `Translate: ${review.text}` }), ({ text }) => text)
)
const verdict = Flow.step(
  "verdict",
  { english },
  ({ english }) =>
    Effect.map(LanguageModel.generateObject({ schema: Verdict, prompt: `Judge: ${english}` }), ({ value }) => value),
  { check: (answer) => (answer.includes("negative") ? "never say so" : undefined) }
)
const flow = Flow.make("reviews", {
  outputs: [Sink.jsonl("no/such/out.jsonl", { review: reviews, verdict })],
  stack: Stack.recommended({ provider: provider })
})

const sources = [
  Source.given(reviews, [
    { id: "1", text: "gut" },
    { id: "2", text: "schlecht" }
  ])
]

describe("TestFlow", () => {
  it.effect("gives the rows of every node, the calls and what they cost, without a file, a key or a network", () =>
    Effect.gen(function* () {
      const model = TestModel.make({
        english: ({ values }) => `in English: ${values["review"].text}`,
        verdict: TestModel.response({
          parts: [{ type: "text", text: '{"sentiment":"positive"}' }],
          usage: { uncachedInput: 100, cacheRead: 0, cacheWrite: 0, cacheWrite1h: 0, output: 10, reasoning: 0 }
        })
      })
      const run = yield* TestFlow.run(flow, { model, sources })
      assert.deepStrictEqual(run.rows(english), ["in English: gut", "in English: schlecht"])
      assert.deepStrictEqual(run.rows(verdict), [{ sentiment: "positive" }, { sentiment: "positive" }])
      assert.deepStrictEqual(run.failed, [])
      assert.deepStrictEqual(
        model
          .calls()
          .map(({ prompt, row, step }) => [step, row, prompt])
          .toSorted(),
        [
          ["english", 0, "Translate: gut"],
          ["english", 1, "Translate: schlecht"],
          ["verdict", 0, "Judge: in English: gut"],
          ["verdict", 1, "Judge: in English: schlecht"]
        ]
      )
      const judged = run.summary.steps.find(({ step }) => step === "verdict")!
      // Of openai.com/api/pricing: $0.15 and $0.60 per million tokens, for two calls of 100 and 10.
      assert.strictEqual(Money.toUsd(judged.cost), "0.000042")
      assert.strictEqual(run.events.at(-1)?._tag, "RunFinished")
    })
  )

  it.effect("waits on the clock of the test: a retry takes no time", () =>
    Effect.gen(function* () {
      let failures = 2
      const model = TestModel.make({
        english: () => (failures-- > 0 ? TestModel.failure() : "good"),
        verdict: { sentiment: "positive" }
      })
      const fiber = yield* Effect.forkChild(
        TestFlow.run(flow, { model, sources: [Source.given(reviews, [{ id: "1", text: "gut" }])] })
      )
      yield* TestClock.adjust("10 minutes")
      const run = yield* Fiber.join(fiber)
      assert.deepStrictEqual(run.rows(verdict), [{ sentiment: "positive" }])
      assert.strictEqual(run.summary.calls.attempts, 4)
    })
  )

  it.effect("applies the step's own check, and keeps a row that fails, with the words of its failure", () =>
    Effect.gen(function* () {
      const model = TestModel.make({
        english: ({ row }) =>
          row === 0
            ? "good"
            : TestModel.failure(new AiError.ContentPolicyError({ description: "the provider refuses the text" })),
        verdict: { sentiment: "negative" }
      })
      const run = yield* TestFlow.run(flow, { model, sources })
      assert.deepStrictEqual(run.rows(verdict), [])
      assert.deepStrictEqual(run.failed.map(({ node, row }) => [node, row]).toSorted(), [
        ["english", 1],
        ["verdict", 0]
      ])
      assert.include(run.failed.find(({ node }) => node === "verdict")!.message, "never say so")
    })
  )

  it.effect("says which step has no answer", () =>
    Effect.gen(function* () {
      const model = TestModel.make({ verdict: { sentiment: "positive" } })
      const run = yield* TestFlow.run(flow, { model, sources })
      assert.include(
        run.failed[0]!.message,
        "the test model has no answer for step english; it has answers for: verdict"
      )
    })
  )

  it.effect("calls no provider and no embedder without a model either", () =>
    Effect.gen(function* () {
      const run = yield* TestFlow.run(flow, { sources })
      assert.strictEqual(run.failed.length, 2)
      assert.include(run.failed[0]!.message, "the test model has no answer for step english; it has answers for: none")
      const remote = Layer.succeed(EmbeddingModel.EmbeddingModel)(
        yield* EmbeddingModel.make({ embedMany: () => Effect.die("a test calls the embedder") })
      )
      const embedder = Layer.provide(Embedder.layer({ name: "remote", unfit: () => undefined }), remote)
      const embedded = Effect.provide(
        Effect.flatMap(Embedder.Embedder, ({ embed }) => embed("a text")),
        embedder
      )
      const model = TestModel.make(() => [[3, 4]])
      assert.deepStrictEqual(
        [...(yield* RunHooks.provide({ standIn: model.standIn })(embedded))],
        [...Float32Array.of(0.6, 0.8)]
      )
    })
  )

  it.effect("says what is no answer", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [answer: unknown, words: string]> = [
        [undefined, "undefined: return a text or a value"],
        [Promise.resolve("text"), "a promise: return Effect.promise(() => …)"],
        [new Error("down"), "an Error (down): return TestModel.failure(…)"],
        [() => "text", "a function: call it"]
      ]
      for (const [answer, words] of cases) {
        const model = TestModel.make(() => answer as string)
        const run = yield* TestFlow.run(flow, { model, sources })
        assert.include(run.failed[0]!.message, `the test model cannot answer with ${words}`)
      }
    })
  )

  it.effect("knows its own nodes alone", () =>
    Effect.gen(function* () {
      const run = yield* TestFlow.run(flow, { model: TestModel.make({}), sources })
      assert.throws(() => run.rows(Source.fromIterable("elsewhere", [1])), /flow reviews has no node elsewhere/)
    })
  )
})
