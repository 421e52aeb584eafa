/** What answers and results are known by: another server, another way to tell a schema, another limit are another answer. */
import { assert, describe, it } from "@effect/vitest"
import { Cache, Flow, type ModelClient, Runner, Sink, Source, Stack } from "@pipe/core"
import { Anthropic, NodeHost, OpenAi } from "@pipe/plugins"
import { Effect, type Layer } from "effect"
import { type AiError, LanguageModel } from "effect/ai"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Wire from "./Wire.ts"

const server = (text: string) =>
  Wire.serve(() => ({
    body: {
      id: "1",
      object: "chat.completion",
      model: "llama3",
      choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
      usage: { prompt_tokens: 12, completion_tokens: 4, total_tokens: 16 }
    }
  }))

type Provider = Layer.Layer<ModelClient.ModelClient, AiError.AiError, Flow.Host>

/** A run of one row over a store; `version`: another one has nothing of the journal, so that only the cache can answer. */
const run = (store: string, provider: Provider, version = "1") =>
  Effect.gen(function* () {
    const out: Array<unknown> = []
    const row = Source.fromIterable("row", ["x"])
    const step = Flow.step(
      "answer",
      { row },
      ({ row }) => Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => text),
      { version }
    )
    const flow = Flow.make("identity", {
      outputs: [Sink.forEach("out", step, (value) => Effect.sync(() => void out.push(value)))],
      stack: Stack.make(Cache.layer(), provider)
    })
    yield* Runner.run(flow as Flow.Flow, { errorsFile: false }).pipe(Effect.provide(NodeHost.layer({ store })))
    return out[0]
  })

const newStore = () => join(mkdtempSync(join(tmpdir(), "pipe-identity-")), "pipe.db")

const openAi = (url: string, options: OpenAi.Options = {}): Provider =>
  OpenAi.layer({ baseUrl: `${url}/v1`, apiKey: "k", model: "llama3", provider: "openai", ...options })

describe("the same model at another address (cache-01)", () => {
  it.live("is called, and not answered by the first, in journal and cache", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* server("from A"), yield* server("from B")]
      const store = newStore()
      assert.strictEqual(yield* run(store, openAi(a.url)), "from A")
      assert.strictEqual(yield* run(store, openAi(b.url)), "from B")
      assert.strictEqual(yield* run(store, openAi(b.url), "2"), "from B")
      assert.strictEqual(yield* run(store, openAi(a.url), "2"), "from A")
      assert.deepStrictEqual([a.seen.length, b.seen.length], [1, 1])
    })
  )

  it.live("is the same where its author says so", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* server("from A"), yield* server("from B")]
      const store = newStore()
      assert.strictEqual(yield* run(store, openAi(a.url, { endpoint: "llama" })), "from A")
      assert.strictEqual(yield* run(store, openAi(b.url, { endpoint: "llama" })), "from A")
      assert.strictEqual(b.seen.length, 0)
    })
  )

  it.live("holds for Anthropic, and for the output limit of a layer (C1)", () =>
    Effect.gen(function* () {
      const layer = (url: string, maxTokens = 100): Provider =>
        Anthropic.layer({ baseUrl: url, apiKey: "k", model: "m", maxTokens })
      const answer = (text: string) =>
        Wire.serve(() => ({
          body: {
            type: "message",
            role: "assistant",
            model: "m",
            content: [{ type: "text", text }],
            stop_reason: "end_turn",
            usage: { input_tokens: 1, output_tokens: 1 }
          }
        }))
      const [a, b] = [yield* answer("from A"), yield* answer("from B")]
      const store = newStore()
      assert.strictEqual(yield* run(store, layer(a.url)), "from A")
      assert.strictEqual(yield* run(store, layer(b.url)), "from B")
      yield* run(store, layer(b.url, 200))
      assert.strictEqual(b.seen.length, 2)
    })
  )
})
