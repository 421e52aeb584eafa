/** The simulator, spoken to by the official SDKs; its bill against our ledger. */
import AnthropicSdk from "@anthropic-ai/sdk"
import { assert, describe, it } from "@effect/vitest"
import { Cache, Flow, Ledger, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { Anthropic, NodeHost, OpenAi, Simulator, Tiktoken } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import OpenAiSdk from "openai"
import { get_encoding } from "tiktoken"

const errorsFile = () => join(mkdtempSync(join(tmpdir(), "pipe-sim-")), "errors.jsonl")

describe("the simulator", () => {
  it.live("speaks to the official SDKs, the same for a seed", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const texts: Array<string | null> = []
        for (const seed of ["a", "a", "b"]) {
          const simulator = yield* Simulator.start({ seed })
          const openai = new OpenAiSdk({ apiKey: "k", baseURL: simulator.openAiUrl, maxRetries: 0 })
          const chat = yield* Effect.promise(() =>
            openai.chat.completions.create({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] })
          )
          const streamed = yield* Effect.promise(() =>
            openai.chat.completions
              .stream({
                model: "gpt-4o-mini",
                messages: [{ role: "user", content: "hello" }],
                stream_options: { include_usage: true }
              })
              .finalChatCompletion()
          )
          assert.strictEqual(streamed.choices[0]!.message.content, chat.choices[0]!.message.content)
          assert.deepStrictEqual(streamed.usage, chat.usage)
          texts.push(chat.choices[0]!.message.content)
          const claude = new AnthropicSdk({ apiKey: "k", baseURL: simulator.anthropicUrl, maxRetries: 0 })
          const message = yield* Effect.promise(() =>
            claude.messages.create({
              model: "claude-haiku-4-5",
              max_tokens: 100,
              messages: [{ role: "user", content: "hello" }]
            })
          )
          assert.strictEqual(message.stop_reason, "end_turn")
          const vectors = yield* Effect.promise(() =>
            openai.embeddings.create({ model: "text-embedding-3-small", input: ["a", "b"], dimensions: 8 })
          )
          assert.deepStrictEqual(
            vectors.data.map(({ embedding }) => embedding.length),
            [8, 8]
          )
        }
        assert.strictEqual(texts[0], texts[1])
        assert.notStrictEqual(texts[0], texts[2])
      })
    )
  )

  it.live("bills what our ledger say, under faults of every kind, for both providers", () =>
    Effect.scoped(
      Effect.gen(function* () {
        for (const [provider, model] of [
          [OpenAi.layer, "gpt-4o-mini"],
          [Anthropic.layer, "claude-haiku-4-5"]
        ] as const) {
          const simulator = yield* Simulator.start({ faults: { rateLimit: 0.1, serverError: 0.1, wrongSchema: 0.1 } })
          const baseUrl = model.startsWith("gpt") ? simulator.openAiUrl : simulator.anthropicUrl
          const rows = Source.fromIterable(
            "row",
            Array.from({ length: 60 }, (_, index) => index % 50)
          )
          const label = Flow.step("label", { row: rows }, ({ row }) =>
            LanguageModel.generateObject({ schema: Schema.Struct({ even: Schema.Boolean }), prompt: `Is ${row} even?` })
          )
          const flow = Flow.make("bill", {
            outputs: [Sink.forEach("out", label, () => Effect.void)],
            settings: { model },
            stack: Stack.make(
              Ledger.layer,
              Cache.layer(),
              Retry.layer({ attempts: 10, reasks: 9, base: 1 }),
              provider({ baseUrl, apiKey: "test-key-0123" })
            )
          })
          const summary = yield* Runner.run(flow, { errorsFile: errorsFile() }).pipe(
            Effect.provide(NodeHost.layerMemory)
          )
          assert.strictEqual(summary.rows.failed, 0)
          const [bill] = simulator.bill()
          assert.isAbove(bill!.answers, 50)
          assert.strictEqual(summary.tokens.uncachedInput + summary.tokens.cacheRead, bill!.input)
          assert.strictEqual(summary.tokens.output + summary.tokens.reasoning, bill!.output)
          assert.strictEqual(summary.calls.attempts, simulator.requests())
          // Equal rows that are active together are one call, and no answer of the cache.
          assert.isAtMost(summary.calls.answers.cache + summary.calls.answers.shared, 10)
        }
      })
    )
  )

  it.live("limits, cuts at the output limit, and calls tools", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ requestsPerMinute: 2 })
        const openai = new OpenAiSdk({ apiKey: "k", baseURL: simulator.openAiUrl, maxRetries: 0 })
        const create = (fields: object) =>
          Effect.tryPromise(() =>
            openai.chat.completions.create({
              model: "gpt-4o-mini",
              messages: [{ role: "user", content: "x" }],
              ...fields
            } as OpenAiSdk.ChatCompletionCreateParamsNonStreaming)
          )
        const cut = yield* create({ max_tokens: 2 })
        assert.strictEqual(cut.choices[0]!.finish_reason, "length")
        const tool = yield* create({
          tools: [
            {
              type: "function",
              function: { name: "f", parameters: { type: "object", properties: { n: { type: "integer" } } } }
            }
          ]
        })
        const [call] = tool.choices[0]!.message.tool_calls!
        assert.isNumber(call!.type === "function" ? JSON.parse(call!.function.arguments).n : undefined)
        const limited = yield* Effect.flip(create({}))
        assert.strictEqual((limited.cause as InstanceType<typeof OpenAiSdk.RateLimitError>).status, 429)
      })
    )
  )
})

describe("Tiktoken", () => {
  const rows = readFileSync(join(import.meta.dirname, "../../../examples/data/sentences.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))

  it.effect("counts as tiktoken does, special tokens as text", () =>
    Effect.gen(function* () {
      const { count, encode } = yield* Tiktoken.make
      const oracle = get_encoding("o200k_base")
      for (const text of [...rows.flatMap((row) => [row.zh, row.en]), "a <|endoftext|> b", "", "word ".repeat(3_000)]) {
        assert.strictEqual(count(text), oracle.encode_ordinary(text).length, text.slice(0, 40))
      }
      assert.deepStrictEqual(encode("bees fly"), Array.from(oracle.encode_ordinary("bees fly")))
      oracle.free()
    })
  )

  it.effect(
    "is not slowed down by long runs",
    () =>
      Effect.gen(function* () {
        const { count } = yield* Tiktoken.make
        // 100,000 equal letters took 3 s, and these 90,000 characters 24 s, when they were encoded at once.
        assert.isAbove(count("a".repeat(100_000)), 10_000)
        assert.isAbove(count("中文字".repeat(30_000)), 10_000)
      }),
    5_000
  )
})
