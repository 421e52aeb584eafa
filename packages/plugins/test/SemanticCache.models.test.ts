/** Reuse by meaning with vectors of the local embedder, over a real store: every semantic case that users reported elsewhere. */
import { assert, describe, it } from "@effect/vitest"
import {
  CallContext,
  Embedder,
  Flow,
  Ledger,
  ModelClient,
  ModelRequest,
  type ModelResponse,
  Retry,
  Runner,
  SemanticCache,
  Sink,
  Source,
  Stack,
  type Varying
} from "@pipe/core"
import { LocalEmbedder, NodeHost, OpenAi, Simulator, Usearch } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { EmbeddingModel, LanguageModel } from "effect/ai"
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Scripted from "../../core/test/ScriptedModel.ts"
import * as Soak from "../../../test/Soak.ts"
import { ask, type Asked, askAll, embedder, folder, logged, model, questions, topicOf, within } from "./Questions.ts"

// The tests share a store, in their order.
describe("SemanticCache", { concurrent: false }, () => {
  const store = join(folder(), "pipe.db")

  it.live(
    "asks while there is no evidence, then reuses answers that are right",
    () =>
      Effect.gen(function* () {
        const scripted = model()
        const answers = yield* within(store, scripted, askAll(questions))
        assert.isTrue(answers.slice(0, 200).every(({ origin }) => origin === "provider"))
        const late = answers.slice(300).filter(({ origin }) => origin === "semantic")
        assert.isAbove(late.length / (answers.length - 300), 0.5)
        const wrong = answers.filter(
          (answer, at) => answer.origin === "semantic" && text(answer) !== questions[at]!.topic
        )
        assert.isAtMost(wrong.length / answers.filter(({ origin }) => origin === "semantic").length, 0.05)
        assert.strictEqual(scripted.requests.length, answers.filter(({ origin }) => origin === "provider").length)
      }),
    60_000
  )

  it.live(
    "resumes what the store knows in the next process",
    () =>
      Effect.gen(function* () {
        const scripted = model()
        const answers = yield* within(
          store,
          scripted,
          askAll([{ text: "good evening, where is my card" }, { text: "good evening, my pin is blocked" }])
        )
        assert.deepStrictEqual(
          answers.map(({ origin }) => origin),
          ["semantic", "semantic"]
        )
        assert.strictEqual(scripted.requests.length, 0)
      }),
    60_000
  )

  const never: ReadonlyArray<readonly [string, string, string]> = [
    ["sem-02", "convert 250 USD to EUR at 0.9", "convert 260 USD to EUR at 0.9"],
    ["sem-02", "convert 250 USD to EUR at 0.9", "convert 250 USD to EUR at 0.8"],
    ["sem-02", "convert 250 USD to EUR at 0.9", "convert 250 EUR to USD at 0.9"],
    [
      "sem-03",
      `${"the document says this. ".repeat(500)} Write a haiku about rain`,
      `${"the document says this. ".repeat(500)} Delete all invoices older than a year`
    ],
    ["opposites", "how do I enable notifications in my app", "how do I disable notifications in my app"],
    ["opposites", "can I take the medicine with milk", "can I not take the medicine with milk"],
    ["names", "what is the capital of Peru", "what is the capital of Chile"],
    ["quotations", 'how do I say "good morning" politely', 'how do I say "good night" politely'],
    ["another language", "我喜欢苹果", "今天天气很好"],
    ["another language", "wo ist meine neue Karte geblieben", "wie kann ich meine neue Karte sperren"],
    ["nothing", "", " "]
  ]
  it.live(
    "never takes the answer of an opposite, another number, name, language, long beginning or nothing",
    () =>
      Effect.gen(function* () {
        const scripted = model()
        yield* within(
          store,
          scripted,
          Effect.forEach(never, ([kind, cached, asked]) =>
            Effect.gen(function* () {
              yield* ask(cached)
              const answer = yield* ask(asked)
              assert.strictEqual(answer.origin, "provider", `${kind}: ${asked.slice(-60)}`)
            })
          )
        )
        assert.isAtLeast(scripted.requests.length, 2 * never.length - 3)
      }),
    60_000
  )

  it.live(
    "crosses no template, model, system prompt, earlier turn, tool, format, setting, sample, step or namespace (cache-04, cache-05, sem-05)",
    () =>
      Effect.gen(function* () {
        const known = "good evening, where is my card"
        const tool = { name: "find", description: "finds", parameters: { type: "object" } }
        const others: ReadonlyArray<readonly [string, Asked]> = [
          ["template", { template: (t) => `Reply in one word. Question: ${t}` }],
          ["another input of the step", { template: (t) => `Since 2099-01-01. Question: ${t}` }],
          ["model", { fields: { model: "gpt-4o" } }],
          [
            "system prompt",
            {
              fields: {
                messages: [
                  { role: "system", content: "In French." },
                  { role: "user", content: `Question: ${known}` }
                ]
              }
            }
          ],
          ["earlier turn", { before: ["Who wrote Emma?"] }],
          ["tool", { fields: { tools: [tool] } }],
          ["format", { fields: { responseFormat: { type: "json", name: "a", schema: { type: "object" } } } }],
          ["setting", { fields: { settings: { maxTokens: 5 } } }],
          ["sample", { fields: { sample: 1 } }],
          ["step", { step: "other" }]
        ]
        const scripted = model()
        yield* within(
          store,
          scripted,
          Effect.gen(function* () {
            assert.strictEqual((yield* ask(known)).origin, "semantic")
            for (const [what, asked] of others) assert.strictEqual((yield* ask(known, asked)).origin, "provider", what)
          })
        )
        assert.strictEqual((yield* within(store, scripted, ask(known), { namespace: "acme" })).origin, "provider")
      }),
    60_000
  )

  it.live("makes no vector for a step that does not ask for it, nor where the cache is off", () =>
    Effect.gen(function* () {
      let embedded = 0
      const embedder = Layer.succeed(Embedder.Embedder, {
        name: "counting",
        unfit: () => undefined,
        embed: () =>
          Effect.sync(() => {
            embedded++
            return new Float32Array(4).fill(0.5)
          })
      })
      const scripted = model()
      yield* Effect.gen(function* () {
        yield* ask("where is my card", { reuse: "off" })
        yield* ModelClient.send(ModelRequest.completion({ messages: [{ role: "user", content: "x" }] }))
        yield* CallContext.provide({ cache: "off" })(ask("where is my card"))
        assert.strictEqual(embedded, 0)
        yield* ask("where is my card")
        assert.strictEqual(embedded, 1)
      }).pipe(
        Effect.provide(
          Stack.make(SemanticCache.layer().pipe(Layer.provide(embedder)), scripted.layer).pipe(
            Layer.provide(NodeHost.layerMemory)
          )
        )
      )
    })
  )

  it.live(
    "audits a share, and switches itself off where too many are wrong",
    () =>
      Effect.gen(function* () {
        let changed = false
        let number = 0
        const scripted = Scripted.make((request) => {
          const asked = Scripted.prompt(request).split("Question: ").at(-1)!
          // The world has changed: no two questions have the same answer any more.
          return Scripted.response(changed ? String(number++) : (topicOf.get(asked) ?? asked))
        })
        const lines: Array<string> = []
        const reuse = { maxErrorRate: 0.05, audit: 0.5 }
        yield* within(
          join(folder(), "pipe.db"),
          scripted,
          Effect.gen(function* () {
            assert.isAbove((yield* askAll(questions)).filter(({ origin }) => origin === "semantic").length, 50)
            changed = true
            const answers = yield* askAll(
              questions.slice(0, 300).map(({ text }) => ({ text: `${text} again` })),
              { reuse }
            )
            assert.strictEqual(answers.slice(-150).filter(({ origin }) => origin === "semantic").length, 0)
          })
        ).pipe(Effect.provide(logged(lines)))
        assert.isTrue(
          lines.some((line) => line.includes("stops reusing answers") && line.includes("maxErrorRate of 5.0 %")),
          lines.join("\n")
        )
      }),
    60_000
  )

  it.live("warns where the prompt does not have the text as it is, and asks", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      yield* within(
        join(folder(), "pipe.db"),
        model(),
        ask("where is my card", { template: (t) => t.toUpperCase() })
      ).pipe(Effect.provide(logged(lines)))
      assert.isTrue(lines.some((line) => line.includes("does not occur in a user message of its prompt")))
    })
  )

  it.live(
    "counts what matters of an answer, where the author says what",
    () =>
      Effect.gen(function* () {
        let number = 0
        const scripted = Scripted.make((request) =>
          Scripted.response(
            JSON.stringify({
              intent: topicOf.get(Scripted.prompt(request).split("Question: ").at(-1)!),
              reason: `reason ${number++}`
            })
          )
        )
        const reused = (reuse: Varying.Reuse) =>
          Effect.map(
            within(join(folder(), "pipe.db"), scripted, askAll(questions, { reuse })),
            (answers) => answers.filter(({ origin }) => origin === "semantic").length
          )
        assert.strictEqual(yield* reused({ maxErrorRate: 0.05, audit: 0 }), 0)
        assert.isAbove(
          yield* reused({ maxErrorRate: 0.05, audit: 0, answer: (answer) => JSON.parse(answer).intent }),
          100
        )
      }),
    60_000
  )
})

const text = (response: ModelResponse.CompletionResponse): string =>
  response.parts.map((part) => (part.type === "text" ? part.text : "")).join("")

/** Vectors without a model: fast, and each text its own. */
const hashed = Layer.succeed(Embedder.Embedder, {
  name: "hashed",
  unfit: () => undefined,
  embed: (text) =>
    Effect.sync(() => {
      let state = 7
      for (const character of text) state = Math.imul(state ^ character.charCodeAt(0), 16_777_619)
      return Embedder.unit(
        Array.from({ length: 32 }, () => {
          state = Math.imul(state ^ (state >>> 15), 2_246_822_519) + 1
          return (state >>> 0) / 2 ** 32 - 0.5
        })
      )
    })
})

describe("the index", () => {
  it.live.skipIf(!Soak.isSoak)(
    "is kept, follows the store, and is made again from it where it is damaged or of another store",
    () =>
      Effect.gen(function* () {
        const at = folder()
        const run = <A, E>(store: string, effect: Effect.Effect<A, E, ModelClient.ModelClient>) =>
          Effect.scoped(
            Effect.flatMap(
              Layer.build(
                Layer.fresh(
                  Stack.make(SemanticCache.layer().pipe(Layer.provide([hashed, Usearch.layer])), model().layer)
                ).pipe(Layer.provide(Layer.fresh(NodeHost.layer({ store }))))
              ),
              (context) => Effect.provideContext(effect, context)
            )
          )
        const some = (from: number, count: number) =>
          Array.from({ length: count }, (_, n) => ({ text: `text of number ${from + n}` }))
        const store = join(at, "pipe.db")
        yield* run(store, askAll(some(0, 1_200)))
        const vectors = join(at, "vectors")
        const file = join(
          vectors,
          readdirSync(vectors).find((name) => name.endsWith(".usearch"))!
        )
        const whole = readFileSync(file)
        yield* run(store, askAll(some(1_200, 5)))
        assert.isAbove(readFileSync(file).length, whole.length)

        const entries = (size: number) =>
          Effect.sync(() => assert.strictEqual(JSON.parse(readFileSync(`${file}.json`, "utf8")).size, size))
        yield* entries(1_205)
        // Damaged: a byte, the end, all of it.
        for (const damaged of [
          Buffer.from(whole).fill(0xff, 5_000, 5_001),
          whole.subarray(0, 10_000),
          Buffer.from("no index")
        ]) {
          writeFileSync(file, damaged)
          yield* run(store, askAll(some(2_000 + damaged.length, 1)))
        }
        yield* entries(1_208)
        // A store that knows nothing of it.
        const other = join(at, "other.db")
        yield* run(other, askAll(some(0, 1)))
        assert.isTrue(existsSync(file))
      }),
    120_000
  )
})

describe("embeddings of a provider", () => {
  it.live(
    "are priced, recorded, and made once for a text (cost-10)",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const simulator = yield* Simulator.start({
            answer: ({ prompt }) => topicOf.get(prompt.split("Question: ").at(-1)!)
          })
          const store = join(folder(), "pipe.db")
          const out: Array<string> = []
          const rows = Source.fromIterable(
            "question",
            questions.slice(0, 150).map(({ text }) => text)
          )
          const answer = Flow.step(
            "answer",
            { question: rows },
            ({ question }) =>
              Effect.map(LanguageModel.generateText({ prompt: `Question: ${question}` }), (response) => response.text),
            {
              varies: ({ question }) => question,
              reuse: { maxErrorRate: 0.05 }
            }
          )
          const flow = Flow.make("remote", {
            outputs: [Sink.forEach("out", answer, (value) => Effect.sync(() => void out.push(value)))],
            settings: { model: "gpt-4o-mini" },
            stack: Stack.make(
              Ledger.layer,
              SemanticCache.layerModel({ model: "text-embedding-3-small" }),
              Retry.layer(),
              OpenAi.layer({ baseUrl: simulator.openAiUrl, apiKey: "test-key-0123" })
            )
          })
          const run = Runner.run(flow, { errorsFile: join(folder(), "errors.jsonl") }).pipe(
            Effect.provide(Layer.fresh(NodeHost.layer({ store })))
          )
          const first = yield* run
          const bill = simulator.bill().find(({ model }) => model === "text-embedding-3-small")!
          const line = first.steps.find(({ model }) => model === "text-embedding-3-small")!
          assert.strictEqual(line.tokens.uncachedInput, bill.input)
          // openai.com/api/pricing: text-embedding-3-small at 0.02 USD per million tokens.
          assert.strictEqual(line.cost, BigInt(bill.input) * 20_000n)
          assert.strictEqual(first.reuse?.[0]?.lookups, 150)
          yield* run
          assert.strictEqual(
            simulator.bill().find(({ model }) => model === "text-embedding-3-small")!.input,
            bill.input
          )
        })
      ),
    60_000
  )
})

describe("a run with batches", () => {
  it.live.skipIf(!Soak.isSoak)(
    "audits too: the answers that come back are counted as such",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const simulator = yield* Simulator.start({
            answer: ({ prompt }) => topicOf.get(prompt.split("Question: ").at(-1)!),
            batches: { latency: "50 millis" }
          })
          const store = join(folder(), "pipe.db")
          const run = (from: number, to: number, audit: number, batch: boolean) => {
            const rows = Source.fromIterable(
              "question",
              questions.slice(from, to).map(({ text }) => text)
            )
            const answer = Flow.step(
              "answer",
              { question: rows },
              ({ question }) =>
                Effect.map(
                  LanguageModel.generateText({ prompt: `Question: ${question}` }),
                  (response) => response.text
                ),
              {
                varies: ({ question }) => question,
                reuse: { maxErrorRate: 0.05, audit }
              }
            )
            const flow = Flow.make("batched", {
              outputs: [Sink.forEach("out", answer, () => Effect.void)],
              stack: Stack.make(
                Ledger.layer,
                SemanticCache.layer().pipe(Layer.provide([embedder, Usearch.layer])),
                Retry.layer(),
                OpenAi.layer({ baseUrl: simulator.openAiUrl, apiKey: "test-key-0123", model: "gpt-4o-mini" })
              )
            })
            return Runner.run(flow, {
              errorsFile: join(folder(), "errors.jsonl"),
              ...(batch ? { batch: {} } : undefined)
            }).pipe(Effect.provide(Layer.fresh(NodeHost.layer({ store }))))
          }
          yield* run(0, 350, 0, false)
          const batched = yield* run(350, questions.length, 0.5, true)
          const [reuse] = batched.reuse!
          assert.isAbove(reuse!.reused, 20)
          assert.isAbove(reuse!.audited, 20)
          assert.isAtMost(reuse!.wrong, 5)
          assert.strictEqual(batched.rows.failed, 0)
        })
      ),
    120_000
  )
})

describe("a step that asks for what no layer does", () => {
  it.live("is said, and every row is called", () =>
    Effect.gen(function* () {
      const scripted = model()
      const rows = Source.fromIterable("question", ["where is my card", "my pin is blocked"])
      const answer = Flow.step(
        "answer",
        { question: rows },
        ({ question }) =>
          Effect.map(LanguageModel.generateText({ prompt: `Question: ${question}` }), (response) => response.text),
        {
          varies: ({ question }) => question,
          reuse: { maxErrorRate: 0.05 },
          pack: { size: 5 }
        }
      )
      const lines: Array<string> = []
      const flow = Flow.make("bare", {
        outputs: [Sink.forEach("out", answer, () => Effect.void)],
        stack: Stack.make(Ledger.layer, scripted.layer)
      })
      yield* Runner.run(flow, { errorsFile: join(folder(), "errors.jsonl") }).pipe(
        Effect.provide(NodeHost.layerMemory),
        Effect.provide(logged(lines))
      )
      assert.strictEqual(scripted.requests.length, 2)
      assert.isTrue(
        lines.some((line) => line.includes("SemanticCache.layer()"))
          && lines.some((line) => line.includes("Pack.layer()")),
        lines.join("\n")
      )
    })
  )

  it("is refused where the options make no sense", () => {
    const rows = Source.fromIterable("question", ["x"])
    const make = (options: object) => () =>
      Flow.step("answer", { question: rows }, ({ question }) => Effect.succeed(question), options)
    assert.throws(make({ reuse: { maxErrorRate: 0.02 } }), /reuse needs `varies`/)
    assert.throws(make({ varies: () => "x", reuse: { maxErrorRate: 2 } }), /`maxErrorRate` between 0 and 1/)
    assert.throws(make({ varies: () => "x", pack: { size: 0 } }), /`size` from 1 to 1,000/)
    assert.throws(make({ pack: { size: 5 } }), /pack needs `varies`/)
  })
})

describe("LocalEmbedder", () => {
  it.live("gives vectors of length 1, nearer for the same meaning; and says which texts it cannot compare", () =>
    Effect.gen(function* () {
      const embedder = yield* Embedder.Embedder
      const [a, b, c] = yield* Effect.forEach(
        ["Where is my card?", "My card has not arrived.", "The weather is fine today."],
        embedder.embed,
        { concurrency: 3 }
      )
      const cosine = (x: Float32Array, y: Float32Array) => x.reduce((sum, value, at) => sum + value * y[at]!, 0)
      assert.closeTo(cosine(a!, a!), 1, 1e-5)
      assert.isAbove(cosine(a!, b!), cosine(a!, c!))
      assert.isDefined(embedder.unfit("我喜欢苹果"))
      assert.isDefined(embedder.unfit("word ".repeat(200)))
      assert.isDefined(embedder.unfit("12345"))
      assert.isUndefined(embedder.unfit("Where is my card?"))
      const model = yield* EmbeddingModel.EmbeddingModel
      assert.strictEqual((yield* model.embed("Where is my card?")).vector.length, 512)
    }).pipe(Effect.provide([LocalEmbedder.layer, LocalEmbedder.layerModel]))
  )
})
