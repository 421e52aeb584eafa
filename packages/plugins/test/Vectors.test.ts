/** Vectors of rows: their own model, one request for many texts, and the nearest rows as a comparison with all finds them. */
import { assert, describe, it } from "@effect/vitest"
import { Flow, Ledger, type Node, Pricing, Sink, Source, Stack } from "@pipe/core"
import { TestFlow, TestModel } from "@pipe/core/testing"
import { Anthropic, NodeHost, OpenAi } from "@pipe/plugins"
import { Effect, Layer, Logger } from "effect"
import { AiError, EmbeddingModel, LanguageModel } from "effect/ai"
import * as fc from "fast-check"

const provider = (options: OpenAi.Options) => OpenAi.layer({ apiKey: "k", ...options })

const flowOf = (
  node: Node.Any,
  stack: Parameters<typeof Stack.make>[1] = provider({ embeddings: "text-embedding-3-small" })
) =>
  Flow.make("vectors", {
    outputs: [Sink.forEach("out", { it: node as Node.Node<unknown> }, () => Effect.void)],
    stack: Stack.make(Ledger.layer, stack as ReturnType<typeof provider>)
  })

/** A vector per text: its numbers. */
const model = (vectorOf: (text: string) => ReadonlyArray<number> = (text) => text.split(" ").map(Number)) =>
  TestModel.make(({ request }) => (request._tag === "Embedding" ? request.inputs.map(vectorOf) : "an answer"))

const embedIn = (options: { readonly model?: string } = {}) =>
  Flow.step(
    "v",
    { text: Source.fromIterable("text", ["1 2", "3 4"]) },
    ({ text }) =>
      Effect.gen(function* () {
        const { vector } = yield* EmbeddingModel.EmbeddingModel.use((model) => model.embed(text))
        const { text: answer } = yield* LanguageModel.generateText({ prompt: text })
        return [vector.length, answer] as const
      }),
    options
  )

describe("the model of embeddings", () => {
  it.live("is the provider's, also in a step that names a chat model", () =>
    Effect.gen(function* () {
      for (const own of [{}, { model: "gpt-4.1" }]) {
        const answers = model()
        const v = embedIn(own)
        const { summary } = yield* TestFlow.run(
          flowOf(v, provider({ model: "gpt-4o", embeddings: "text-embedding-3-small" })),
          { model: answers }
        )
        assert.deepStrictEqual(
          summary.steps.map(({ model }) => model).toSorted(),
          [own.model ?? "gpt-4o", "text-embedding-3-small"].toSorted()
        )
      }
    })
  )

  it.live("is the step's where that makes vectors", () =>
    Effect.gen(function* () {
      const answers = model()
      const v = Flow.embed("v", { text: Source.fromIterable("text", ["1 2"]) }, ({ text }) => text, {
        model: "text-embedding-3-large",
        dimensions: 2
      })
      yield* TestFlow.run(flowOf(v), { model: answers })
      assert.deepStrictEqual(
        answers.calls().map(({ model, request }) => [model, request._tag === "Embedding" && request.dimensions]),
        [["text-embedding-3-large", 2]]
      )
    })
  )

  it.live("is never one that answers in text: nothing is sent, and the message says what to name (B3)", () =>
    Effect.gen(function* () {
      const answers = model()
      const { failed, summary } = yield* TestFlow.run(flowOf(embedIn(), provider({ model: "gpt-4o" })), {
        model: answers
      })
      assert.lengthOf(answers.calls(), 0)
      assert.strictEqual(summary.calls.attempts, 0)
      assert.lengthOf(failed, 2)
      assert.include(failed[0]!.message, "gpt-4o answers in text and makes no vectors")
      assert.include(failed[0]!.message, "embeddings")
    })
  )

  it.live("may be any that your own prices name, whatever they charge", () =>
    Effect.gen(function* () {
      const answers = model()
      const { failed } = yield* TestFlow.run(
        flowOf(
          Flow.embed("v", { text: Source.fromIterable("text", ["1"]) }, ({ text }) => text),
          provider({ embeddings: "mine" })
        ),
        {
          model: answers,
          host: Layer.merge(TestFlow.host, Layer.orDie(Pricing.layer({ mine: { input: 1, output: 2 } })))
        }
      )
      assert.deepStrictEqual(failed, [])
    })
  )

  it.live("must be named: a request without one is no call (B12)", () =>
    Effect.gen(function* () {
      const answers = model()
      const { failed, summary } = yield* TestFlow.run(flowOf(embedIn(), provider({})), { model: answers })
      assert.lengthOf(answers.calls(), 0)
      assert.strictEqual(summary.calls.attempts, 0)
      assert.deepStrictEqual(summary.steps, [])
      assert.include(failed[0]!.message, "OpenAi.layer({ embeddings })")
    })
  )

  it("is refused as an option of a provider without embeddings", () => {
    assert.throws(() => Anthropic.layer({ apiKey: "k", embeddings: "x" } as object), "embeddings")
  })
})

describe("Flow.embed", () => {
  it.live("sends many texts in one request, equal ones once, and keeps vectors by their texts", () =>
    Effect.gen(function* () {
      const answers = model()
      const flow = (note: string) => {
        const row = Source.fromIterable(
          "row",
          Array.from({ length: 300 }, (_, at) => ({ text: `${at % 100} 1`, note: note + at }))
        )
        return Flow.embed("vector", { row }, ({ row }) => row.text)
      }
      const host = yield* Layer.build(NodeHost.layerMemory)
      const shared = Layer.succeedContext(host)
      const first = flow("a")
      const run = yield* TestFlow.run(flowOf(first), { model: answers, host: shared })
      assert.deepStrictEqual(
        run.rows(first),
        Array.from({ length: 300 }, (_, at) => [at % 100, 1])
      )
      assert.lengthOf(answers.calls(), 1)
      const edited = flow("b")
      const again = yield* TestFlow.run(flowOf(edited), { model: answers, host: shared })
      assert.deepStrictEqual(again.rows(edited), run.rows(first))
      assert.lengthOf(answers.calls(), 1)
      assert.strictEqual(again.summary.nodes.find(({ name }) => name === "vector")!.reused, 300)
    }).pipe(Effect.scoped)
  )

  it.live("learns how many texts an endpoint takes at once, and loses none (emb-01)", () =>
    Effect.gen(function* () {
      const text = Source.fromIterable(
        "text",
        Array.from({ length: 1_500 }, (_, at) => `text ${at}`)
      )
      const vector = Flow.embed("vector", { text }, ({ text }) => text)
      const tooMany = TestModel.failure(new AiError.InvalidRequestError({ description: "at most 10 texts" }))
      const capped = TestModel.make(({ request }) => {
        if (request._tag !== "Embedding") return ""
        return request.inputs.length > 10 || request.inputs.includes("text 700")
          ? tooMany
          : request.inputs.map((text) => [text.length])
      })
      const run = yield* TestFlow.run(flowOf(vector), { model: capped })
      assert.lengthOf(run.rows(vector), 1_499)
      assert.deepStrictEqual(
        run.failed.map(({ position }) => position),
        ["text[700]"]
      )
      const refused = capped.calls().filter(({ request }) => request._tag === "Embedding" && request.inputs.length > 10)
      assert.isBelow(refused.length, 20)
    })
  )

  it.live("fails the row whose text is none or refused, and no other", () =>
    Effect.gen(function* () {
      const text = Source.fromIterable("text", ["1", "2", undefined, "4"])
      const vector = Flow.embed("vector", { text }, ({ text }) => {
        if (text === "4") throw new Error("four")
        return text as string
      })
      const run = yield* TestFlow.run(flowOf(vector), { model: model() })
      assert.deepStrictEqual(run.rows(vector), [[1], [2]])
      assert.deepStrictEqual(
        run.failed.map(({ message, position }) => [position, message.split(" (")[0]]),
        [
          ["text[2]", "the function of the embedding returns undefined, not a text"],
          ["text[3]", "four"]
        ]
      )
    })
  )
})

const cosine = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): number => {
  const dot = (x: ReadonlyArray<number>, y: ReadonlyArray<number>) =>
    x.reduce((sum, value, at) => sum + value * y[at]!, 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}

/** The vectors of rows that are vectors themselves. */
const vectors = (name: string, rows: ReadonlyArray<ReadonlyArray<number>>) => Source.fromIterable(name, rows)

describe("Flow.nearest", () => {
  const point = fc
    .array(fc.integer({ min: -9, max: 9 }), { minLength: 3, maxLength: 3 })
    .filter((p) => p.some((x) => x !== 0))

  it.live("finds what a comparison with all rows finds", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(point, { minLength: 1, maxLength: 5 }),
          fc.array(point, { maxLength: 20 }),
          fc.integer({ min: 1, max: 4 }),
          fc.constantFrom(-1, 0, 0.5, 0.9),
          (asked, known, count, atLeast) =>
            Effect.gen(function* () {
              const [q, p] = [vectors("q", asked), vectors("p", known)]
              const near = Flow.nearest("near", { q }, { p }, { by: [q, p], count, atLeast })
              const run = yield* TestFlow.run(flowOf(near))
              assert.deepStrictEqual(
                run.rows(near).map(({ q }) => q),
                asked
              )
              for (const row of run.rows(near)) {
                const expected = known
                  .map((one) => cosine(row.q, one))
                  .filter((similarity) => similarity >= atLeast - 1e-6)
                  .toSorted((a, b) => b - a)
                  .slice(0, count)
                assert.isAtMost(Math.abs(row.p.length - expected.length), atLeast === -1 ? 0 : 1)
                row.p.forEach(({ similarity, value }, at) => {
                  assert.closeTo(similarity, expected[at]!, 1e-5)
                  assert.closeTo(similarity, cosine(row.q, value), 1e-5)
                })
              }
            }).pipe(Effect.runPromise)
        ),
        { numRuns: 40 }
      )
    )
  )

  it.live("compares the rows of one source with each other", () =>
    Effect.gen(function* () {
      const text = Source.fromIterable("text", ["1 0", "0 1", "1 0.1"])
      const vector = Flow.embed("vector", { text }, ({ text }) => text)
      const near = Flow.nearest("near", { text }, { others: text }, { by: [vector, vector], count: 2 })
      const run = yield* TestFlow.run(flowOf(near), { model: model() })
      assert.deepStrictEqual(
        run.rows(near).map(({ others, text }) => [text, ...others.map(({ value }) => value)]),
        [
          ["1 0", "1 0", "1 0.1"],
          ["0 1", "0 1", "1 0.1"],
          ["1 0.1", "1 0.1", "1 0"]
        ]
      )
    })
  )

  it.live("fails rows whose vectors cannot be compared, and says which rows are not found", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const p = vectors("p", [[1, 0], [], [1, 0, 0], [0, 1]])
      const q = vectors("q", [[1, 0], [1], [Number.NaN, 1]])
      const near = Flow.nearest("near", { q }, { p }, { by: [q, p] })
      const run = yield* TestFlow.run(flowOf(near)).pipe(
        Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void logged.push(String(message)))]))
      )
      assert.deepStrictEqual(run.rows(near), [{ q: [1, 0], p: [{ value: [1, 0], similarity: 1 }] }])
      assert.deepStrictEqual(
        run.failed.map(({ message, position }) => [position, message.split(" (")[0]]),
        [
          ["p[1]", "its vector is not a list of numbers"],
          ["p[2]", "a vector of 3 numbers is not comparable with one of 2"],
          ["q[1]", "a vector of 1 numbers is not comparable with one of 2"],
          ["q[2]", "its vector is not a list of numbers"]
        ]
      )
      assert.include(logged.join("\n"), "near: 2 rows of p failed, and are not found (p[1], p[2])")
    })
  )

  it.live("compares with all rows of the second side, whatever is read of the first", () =>
    Effect.gen(function* () {
      const [p, q] = [
        vectors("p", [
          [0, 1],
          [1, 1],
          [1, 0]
        ]),
        vectors("q", [
          [1, 0],
          [0, 1]
        ])
      ]
      const near = Flow.nearest("near", { q }, { p }, { by: [q, p] })
      for (const options of [{ limit: 1 }, { sample: { size: 1, seed: "1" } }]) {
        const [row, ...more] = (yield* TestFlow.run(flowOf(near), options)).rows(near)
        assert.lengthOf(more, 0)
        assert.deepStrictEqual(row!.p, [{ value: row!.q, similarity: 1 }])
      }
    })
  )

  it.live("has a similarity for numbers of any size", () =>
    Effect.gen(function* () {
      const p = vectors("p", [
        [1, 1],
        [-1e-200, -1e-200],
        [0, 0]
      ])
      const q = vectors("q", [[1e200, 1e200]])
      const near = Flow.nearest("near", { q }, { p }, { by: [q, p], count: 3 })
      const run = yield* TestFlow.run(flowOf(near))
      assert.deepStrictEqual(
        run.rows(near)[0]!.p.map(({ similarity }) => similarity),
        [1, 0, -1]
      )
    })
  )

  it("refuses a number of rows that is none", () => {
    const q = vectors("q", [])
    assert.throws(() => Flow.nearest("near", { q }, { p: q }, { by: [q, q], count: 0 }), "nearest near")
    assert.throws(() => Flow.nearest("near", { q }, { p: q }, { by: [q, q], atLeast: 2 }), "nearest near")
  })
})
