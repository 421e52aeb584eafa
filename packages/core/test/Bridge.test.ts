/** Both ways between `effect/ai` and `ModelClient`, and the layers that gather calls. */
import { assert, describe, it } from "@effect/vitest"
import {
  RunHooks,
  Concurrency,
  FromLanguageModel,
  Ledger,
  ModelClient,
  ModelRequest,
  ModelResponse,
  ModelSettings,
  Router,
  Stack,
  ToLanguageModel,
  Usage,
  Coalesce
} from "@pipe/core"
import * as RunTotals from "../src/ledger/RunTotals.ts"
import * as ToEmbeddingModel from "../src/client/ToEmbeddingModel.ts"
import { Effect, Fiber, Layer, Result, Schema, Stream, Tracer } from "effect"
import { EmbeddingModel, LanguageModel, OpenAiStructuredOutput, Response, Tool, Toolkit } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Host from "./Host.ts"
import * as Scripted from "./ScriptedModel.ts"

const withModel = (model: Scripted.Scripted) => ToLanguageModel.layer.pipe(Layer.provide(model.layer))

describe("LanguageModel", () => {
  it.effect("carries settings, and gives text, usage and the model's name", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() =>
        Scripted.response("hi", {
          id: "r1",
          parts: [
            { type: "reasoning", text: "hm" },
            { type: "text", text: "hi" }
          ]
        })
      )
      const response = yield* LanguageModel.generateText({ prompt: "hello" }).pipe(
        ModelSettings.provide({ model: "gpt-4o", temperature: 0, providerOptions: { openai: { a: 1 } } }),
        Effect.provide(withModel(model))
      )
      assert.strictEqual(response.text, "hi")
      assert.strictEqual(response.reasoningText, "hm")
      assert.strictEqual(response.usage.inputTokens.total, 10)
      assert.deepInclude(model.requests[0]!, {
        model: "gpt-4o",
        settings: { temperature: 0 },
        providerOptions: { openai: { a: 1 } },
        messages: [{ role: "user", content: "hello" }]
      })
    })
  )

  it.effect("gives the same with a tracer, when effect/ai does the whole of it", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() => Scripted.response('{"a":1}'))
      const both = Effect.all({
        text: LanguageModel.generateText({ prompt: "x" }),
        object: LanguageModel.generateObject({ schema: Schema.Struct({ a: Schema.Int }), prompt: "x" })
      })
      const plain = yield* Effect.provide(both, withModel(model))
      const traced = yield* Effect.provide(both, withModel(model)).pipe(
        Effect.withTracer({ span: (options) => new Tracer.NativeSpan(options) } as Tracer.Tracer)
      )
      assert.deepStrictEqual(JSON.parse(JSON.stringify(traced)), JSON.parse(JSON.stringify(plain)))
      assert.deepStrictEqual(plain.object.value, { a: 1 })
      // Also what is called is the same, since the cache's key is made of it.
      assert.deepStrictEqual(model.requests.slice(2), model.requests.slice(0, 2))
    })
  )

  const object = (answer: string) =>
    LanguageModel.generateObject({ schema: Schema.Struct({ a: Schema.Unknown }), prompt: "x" }).pipe(
      Effect.map(({ value }) => value),
      Effect.result,
      Effect.provide(withModel(Scripted.make(() => Scripted.response(answer))))
    )

  it.effect("takes an answer out of a fence", () =>
    Effect.gen(function* () {
      for (const [open, close] of [
        ["```json\n", "\n```"],
        ["```\n", "\n```"],
        [" \n```JSON  \r\n", "\r\n ``` \n"]
      ] as const) {
        assert.deepStrictEqual(yield* object(`${open}{"a":"\`\`\`"}${close}`), Result.succeed({ a: "```" }))
      }
    })
  )

  // A pattern that backtracks takes a minute for each of these.
  for (const [name, answer] of [
    ["a fence of line ends without an end", `\`\`\`json\n${"\n".repeat(60_000)}x`],
    ["a fence of spaces", `\`\`\`json${" ".repeat(60_000)}x`],
    ["lists in each other", `{"a":${"[".repeat(20_000)}${"]".repeat(20_000)}}`]
  ] as const) {
    it.effect(`refuses ${name}`, () =>
      Effect.gen(function* () {
        const result = yield* object(answer)
        assert.strictEqual(result._tag, "Failure")
      })
    )
  }

  it.effect("streams when the answer is there", () =>
    Effect.gen(function* () {
      const parts = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "x" })).pipe(
        Effect.provide(withModel(Scripted.make(() => Scripted.response("hi"))))
      )
      assert.deepStrictEqual(
        parts.map((part) => part.type),
        ["response-metadata", "text-start", "text-delta", "text-end", "finish"]
      )
    })
  )

  it.effect("adds up the turns of a step that calls tools (ai-sdk-provider#179)", () =>
    Effect.gen(function* () {
      const usages = [
        [100, 20],
        [150, 10],
        [190, 40]
      ] as const
      const model = Scripted.make((_, index) =>
        Scripted.response("done", {
          usage: Usage.fromInclusive({ input: usages[index]![0], output: usages[index]![1] })!,
          ...(index < 2
            ? {
                finishReason: "tool-calls" as const,
                parts: [{ type: "tool-call" as const, id: `t${index}`, name: "next", params: {} }]
              }
            : {})
        })
      )
      const toolkit = Toolkit.make(Tool.make("next", { success: Schema.String }))
      const totals = RunTotals.make()
      const turn = Effect.flatMap(toolkit, (toolkit) => LanguageModel.generateText({ prompt: "go", toolkit }))
      yield* Effect.all([turn, turn, turn]).pipe(
        Effect.provide(toolkit.toLayer({ next: () => Effect.succeed("ok") })),
        Effect.provide(
          ToLanguageModel.layer.pipe(
            Layer.provide(Stack.make(Ledger.layer, model.layer)),
            Layer.provide(Host.layerMemory)
          )
        ),
        RunHooks.provide({ onEntry: totals.record })
      )
      assert.strictEqual(Usage.inputTokens(totals.total().usage), 440)
      assert.strictEqual(Usage.outputTokens(totals.total().usage), 70)
    })
  )

  it.effect("of another provider is the bottom of a stack", () =>
    Effect.gen(function* () {
      const theirs = Layer.effect(
        LanguageModel.LanguageModel,
        LanguageModel.make({
          generateText: (options) =>
            Effect.succeed([
              { type: "text", text: options.responseFormat.type === "json" ? '{"a":1}' : "theirs" },
              { type: "finish", reason: "stop", usage: { inputTokens: { total: 7 }, outputTokens: { total: 3 } } }
            ]),
          streamText: () => Stream.empty
        })
      )
      const stack = Stack.make(
        FromLanguageModel.layer({ provider: "openai", model: "gpt-4o-mini" }).pipe(Layer.provide(theirs))
      )
      const text = yield* Effect.provide(
        ModelClient.send(ModelRequest.completion({ messages: [{ role: "user", content: "x" }] })),
        stack
      )
      assert.strictEqual(ModelResponse.text(text), "theirs")
      assert.strictEqual(Usage.totalTokens(text.usage!), 10)
      const object = yield* LanguageModel.generateObject({
        schema: Schema.Struct({ a: Schema.Int }),
        prompt: "x"
      }).pipe(Effect.provide(ToLanguageModel.layer.pipe(Layer.provide(stack))))
      assert.deepStrictEqual(object.value, { a: 1 })
      const refused = yield* Effect.flip(
        Effect.provide(ModelClient.send(ModelRequest.completion({ messages: [], settings: { seed: 1 } })), stack)
      )
      assert.include(refused.message, "seed")
    })
  )
})

describe("a provider of effect/ai with a form of its own", () => {
  interface Tree {
    readonly name: string
    readonly children: ReadonlyArray<Tree>
  }
  const Tree = Schema.Struct({
    name: Schema.String,
    children: Schema.Array(Schema.suspend((): Schema.Codec<Tree> => Tree))
  }).annotate({ identifier: "Tree" })

  for (const [name, schema, answer, expected] of [
    [
      "a record",
      Schema.Struct({ r: Schema.Record(Schema.String, Schema.Finite) }),
      { r: [{ 0: "a", 1: 1 }] },
      { r: { a: 1 } }
    ],
    ["a missing field", Schema.Struct({ a: Schema.optionalKey(Schema.String) }), { a: null }, {}],
    [
      "a date",
      Schema.Struct({ at: Schema.Date }),
      { at: "2026-03-05T10:00:00Z" },
      { at: new Date("2026-03-05T10:00:00Z") }
    ],
    ["a schema that contains itself", Tree, { name: "a", children: [] }, { name: "a", children: [] }]
  ] as const) {
    it.effect(`reads ${name}`, () =>
      Effect.gen(function* () {
        const theirs = Layer.effect(
          LanguageModel.LanguageModel,
          LanguageModel.make({
            codecTransformer: OpenAiStructuredOutput.toCodecOpenAI,
            generateText: () =>
              Effect.succeed([
                { type: "text", text: JSON.stringify(answer) },
                { type: "finish", reason: "stop", usage: new Response.Usage({ inputTokens: {}, outputTokens: {} }) }
              ] as never),
            streamText: () => Stream.empty
          })
        )
        const stack = FromLanguageModel.layer({ provider: "openai", model: "gpt-4o-mini" }).pipe(Layer.provide(theirs))
        const { value } = yield* LanguageModel.generateObject({
          schema: schema as unknown as Schema.Codec<unknown, Record<string, unknown>>,
          prompt: "x"
        }).pipe(Effect.provide(ToLanguageModel.layer.pipe(Layer.provide(stack))))
        assert.deepStrictEqual(value, expected)
      })
    )
  }
})

/** A provider of vectors that counts its calls. */
const embedder = () => {
  const calls: Array<ReadonlyArray<string>> = []
  const layer = Layer.sync(ModelClient.ModelClient, () =>
    ModelClient.provider({
      name: "openai",
      send: ((request: ModelRequest.Embedding) =>
        Effect.sync((): ModelResponse.EmbeddingResponse => {
          calls.push(request.inputs)
          return {
            _tag: "EmbeddingResponse",
            provider: "openai",
            model: "text-embedding-3-small",
            requestedModel: "text-embedding-3-small",
            usage: Usage.fromInclusive({ input: request.inputs.length * 7, output: 0 })!,
            vectors: request.inputs.map((input) => [input.length]),
            origin: "provider"
          }
        })) as ModelClient.Send
    })
  )
  return { calls, layer }
}

describe("EmbeddingModel", () => {
  it.effect("sends what is called together as one request", () =>
    Effect.gen(function* () {
      const { calls, layer } = embedder()
      const model = yield* Effect.provide(Effect.flatMap(ModelClient.ModelClient, ToEmbeddingModel.make), layer)
      const vectors = yield* Effect.forEach(["a", "bb", "ccc"], (input) => model.embed(input), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        vectors.map(({ vector }) => vector),
        [[1], [2], [3]]
      )
      assert.deepStrictEqual(calls, [["a", "bb", "ccc"]])
      assert.deepStrictEqual(
        (yield* Effect.provide(
          EmbeddingModel.EmbeddingModel.use((m) => m.embedMany(["dd"])),
          ToEmbeddingModel.layer.pipe(Layer.provide(layer))
        )).embeddings[0]!.vector,
        [2]
      )
    })
  )
})

describe("Coalesce", () => {
  it.effect("merges embeddings, and gives each caller its vectors and its share of the tokens", () =>
    Effect.gen(function* () {
      const { calls, layer } = embedder()
      const fiber = yield* Effect.forkChild(
        Effect.provide(
          Effect.forEach([["a", "bb"], ["ccc"]], (inputs) => ModelClient.send(ModelRequest.embedding({ inputs })), {
            concurrency: "unbounded"
          }),
          Stack.make(Coalesce.layer({ size: 10 }), layer)
        )
      )
      yield* TestClock.adjust("1 second")
      const [first, second] = yield* Fiber.join(fiber)
      assert.strictEqual(calls.length, 1)
      assert.deepStrictEqual([first!.vectors, second!.vectors], [[[1], [2]], [[3]]])
      assert.deepStrictEqual([Usage.inputTokens(first!.usage!), Usage.inputTokens(second!.usage!)], [14, 7])
    })
  )

  it.effect("sends completions in groups of its size, with its concurrency, each with its own end (Effect#7610)", () =>
    Effect.gen(function* () {
      let now = 0
      let most = 0
      const model = Scripted.make((request) =>
        Effect.gen(function* () {
          most = Math.max(most, ++now)
          yield* Effect.sleep("10 millis")
          now--
          return ModelRequest.text(request) === "3"
            ? yield* Effect.die("defect of 3")
            : Scripted.response(ModelRequest.text(request))
        })
      )
      const fiber = yield* Effect.forkChild(
        Effect.provide(
          Effect.forEach(
            Array.from({ length: 20 }, (_, i) => String(i)),
            (content) =>
              Effect.exit(ModelClient.send(ModelRequest.completion({ messages: [{ role: "user", content }] }))),
            { concurrency: "unbounded" }
          ),
          Stack.make(Coalesce.layer({ size: 10, concurrency: 5, wait: 0 }), model.layer)
        )
      )
      yield* TestClock.adjust("1 minute")
      const exits = yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        exits.map((exit) => (exit._tag === "Success" ? ModelResponse.text(exit.value) : "failed")),
        Array.from({ length: 20 }, (_, i) => (i === 3 ? "failed" : String(i)))
      )
      assert.strictEqual(most, 5)
    })
  )
})

describe("Concurrency", () => {
  it.effect("lets this many calls through at once", () =>
    Effect.gen(function* () {
      let now = 0
      let most = 0
      const model = Scripted.make(() =>
        Effect.gen(function* () {
          most = Math.max(most, ++now)
          yield* Effect.yieldNow
          now--
          return Scripted.response("x")
        })
      )
      yield* Effect.provide(
        Effect.forEach(Array.from({ length: 30 }), () => ModelClient.send(ModelRequest.completion({ messages: [] })), {
          concurrency: "unbounded"
        }),
        Stack.make(Concurrency.layer(4), model.layer)
      )
      assert.strictEqual(most, 4)
    })
  )
})

describe("Router", () => {
  it.effect("chooses by the rule, leaves a named model alone, and says what would have been sent", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() => Scripted.response("x"))
      const send = (content: string, named?: string) =>
        Effect.provide(
          ModelClient.send(
            ModelRequest.completion({
              messages: [
                { role: "system", content: "long system text" },
                { role: "user", content }
              ],
              ...(named === undefined ? {} : { model: named })
            })
          ),
          Stack.make(Router.layer({ cheap: "cheap", strong: "strong", when: Router.promptShorterThan(5) }), model.layer)
        )
      // Four code points in eight UTF-16 units.
      assert.deepInclude(yield* send("🍋🍋🍋🍋"), { model: "cheap", baselineModel: "strong" })
      assert.deepInclude(yield* send("long enough"), { model: "strong", baselineModel: "strong" })
      assert.isUndefined((yield* send("x", "named")).baselineModel)
    })
  )

  it.effect("sends each model to its provider", () =>
    Effect.gen(function* () {
      const [a, b] = [Scripted.make(() => Scripted.response("a")), Scripted.make(() => Scripted.response("b"))]
      const stack = Stack.make(Router.providers({ models: "claude-", layer: a.layer }, { models: "", layer: b.layer }))
      const ask = (model: string) =>
        Effect.map(
          Effect.provide(ModelClient.send(ModelRequest.completion({ model, messages: [] })), stack),
          ModelResponse.text
        )
      assert.deepStrictEqual(yield* Effect.all([ask("claude-x"), ask("gpt-4o")]), ["a", "b"])
    })
  )
})
