/** What is recorded of a stack, however its layers are put together. */
import { assert, describe, it } from "@effect/vitest"
import { Cache, Flow, Ledger, ModelClient, ModelRequest, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Scripted from "../../core/test/ScriptedModel.ts"

const folder = () => mkdtempSync(join(tmpdir(), "pipe-ledger-"))

// gpt-4o-mini: 0.15 and 0.60 USD per million tokens (platform.openai.com/docs/pricing), for 10 and 5 tokens.
const CALL = 10n * 150_000n + 5n * 600_000n

type Built = Layer.Layer<ModelClient.ModelClient, never, Flow.Host>

const stackOf = (...layers: ReadonlyArray<unknown>): Built =>
  Stack.make(...(layers as unknown as Parameters<typeof Stack.make>)) as unknown as Built

const flowOf = (stack: Built, rows: ReadonlyArray<string> = ["a", "b", "c", "d"]) => {
  const row = Source.fromIterable("row", rows)
  const reply = Flow.step("reply", { row }, ({ row }) =>
    Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => text)
  )
  return Flow.make("booked", {
    outputs: [Sink.forEach("out", reply, () => Effect.void)],
    settings: { model: "gpt-4o-mini" },
    stack
  })
}

const run = (flow: ReturnType<typeof flowOf>, options: Runner.Options = {}) =>
  Runner.run(flow, { errorsFile: join(folder(), "errors.jsonl"), ...options })

describe("a stack", () => {
  for (const [name, above] of [
    ["without a ledger", []],
    ["with a ledger", [Ledger.layer]],
    ["with two ledgers", [Ledger.layer, Ledger.layer]],
    ["with a ledger below another layer", [Retry.layer(), Ledger.layer]]
  ] as const) {
    it.live(`${name} is recorded once`, () =>
      Effect.gen(function* () {
        const model = Scripted.make(() => Scripted.response("x"))
        const summary = yield* run(flowOf(stackOf(...above, model.layer))).pipe(Effect.provide(NodeHost.layerMemory))
        assert.strictEqual(summary.calls.attempts, 4)
        assert.strictEqual(summary.calls.answers.provider, 4)
        assert.strictEqual(summary.cost, 4n * CALL)
      })
    )
  }

  it.live("records no call for a request that its provider cannot express: it is not sent (B12)", () =>
    Effect.gen(function* () {
      const dir = folder()
      const row = Source.fromIterable("row", ["a", "b"])
      const film = Flow.step("film", { row }, ({ row }) =>
        Effect.map(
          LanguageModel.generateText({
            prompt: [
              {
                role: "user",
                content: [{ type: "file", mediaType: "video/x", data: new Uint8Array([1]), options: {} }]
              }
            ]
          }),
          ({ text }) => `${row}${text}`
        )
      )
      const flow = Flow.make("films", {
        outputs: [Sink.forEach("out", film, () => Effect.void)],
        stack: Stack.make(
          OpenAi.layer({ apiKey: "sk-test-0123456789abcdef", model: "gpt-4o-mini", baseUrl: "http://127.0.0.1:9" })
        )
      })
      const host = NodeHost.layer({ store: join(dir, "store.db") })
      const summary = yield* Runner.run(flow, { errorsFile: join(dir, "errors.jsonl") }).pipe(Effect.provide(host))
      assert.strictEqual(summary.rows.failed, 2)
      assert.strictEqual(summary.calls.attempts, 0)
      assert.strictEqual(summary.cost, 0n)
      // Nothing is left in flight for the next process to record.
      const store = yield* Effect.promise(() => import("node:sqlite"))
      const database = new store.DatabaseSync(join(dir, "store.db"))
      assert.deepStrictEqual(database.prepare("SELECT * FROM calls").all(), [])
      database.close()
    })
  )

  it.live("with two layers of retries has one budget of attempts", () =>
    Effect.gen(function* () {
      for (const layers of [
        [],
        [Retry.layer({ attempts: 4, base: 1 })],
        [Retry.layer({ attempts: 9, base: 1 }), Ledger.layer]
      ] as const) {
        const model = Scripted.make(() => Scripted.broken("down"))
        const one = stackOf(Retry.layer({ attempts: 4, base: 1 }), model.layer)
        const stack = layers.reduceRight<Built>((below, above) => Layer.provide(above, below) as unknown as Built, one)
        const question = ModelRequest.completion({ messages: [{ role: "user", content: "x" }] })
        yield* Effect.result(ModelClient.send(question)).pipe(
          Effect.provide(Layer.provide(stack, NodeHost.layerMemory))
        )
        assert.strictEqual(model.requests.length, 4, `${layers.length} layers`)
      }
    })
  )
})

describe("an answer that this run has paid for this row", () => {
  it.live("is no saving when the row runs again under a larger budget", () =>
    Effect.gen(function* () {
      const store = join(folder(), "pipe.db")
      const host = Layer.fresh(NodeHost.layer({ store }))
      let second = 0
      const model = Scripted.make((request) => {
        if (Scripted.prompt(request).startsWith("second")) second++
        return Scripted.response("x")
      })
      const row = Source.fromIterable("row", ["a", "b", "c", "d", "e", "f"])
      const both = Flow.step(
        "both",
        { row },
        ({ row }) =>
          Effect.gen(function* () {
            yield* LanguageModel.generateText({ prompt: `first ${row}` })
            return (yield* LanguageModel.generateText({ prompt: `second ${row}` })).text
          }),
        { settings: { maxTokens: 5 } }
      )
      const flow = Flow.make("again", {
        outputs: [Sink.forEach("out", both, () => Effect.void)],
        settings: { model: "gpt-4o-mini" },
        stack: Stack.make(Ledger.layer, Cache.layer(), model.layer)
      })
      const options = { errorsFile: join(folder(), "errors.jsonl"), concurrency: 6 }
      const first = yield* Effect.flip(
        Runner.run(flow, { ...options, budget: { usd: "0.00004" } }).pipe(Effect.provide(host))
      )
      assert.strictEqual(first._tag, "RunFailed")
      if (first._tag !== "RunFailed") return
      const summary = yield* Runner.run(flow, { ...options, resume: first.summary.run, budget: { usd: 1 } }).pipe(
        Effect.provide(host)
      )
      assert.isAbove(second, 0)
      assert.strictEqual(summary.rows.failed, 0)
      // Twelve calls, each paid once, and nothing saved by the cache.
      assert.strictEqual(summary.cost, 12n * CALL)
      assert.strictEqual(summary.savings.cache, 0n)
    })
  )

  it.live(
    "is no saving in a later pass of a batch, and with a cache rows that send the same while it is gathered share a line",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "50 millis" } })
        const provider = OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "k" })
        const stack = stackOf(Cache.layer(), provider)
        const rows = Array.from({ length: 40 }, (_, n) => `question ${n % 20}`)
        const summary = yield* run(flowOf(stack, rows), {
          batch: { polling: { first: "20 millis" } },
          concurrency: 40
        }).pipe(Effect.provide(NodeHost.layer({ store: join(folder(), "pipe.db") })))
        assert.strictEqual(simulator.batches().length, 1)
        assert.strictEqual(simulator.batches()[0]!.requests, 20)
        // What the provider bills is what is recorded.
        const billed = simulator
          .bill()
          .reduce((sum, { input, output }) => sum + 75_000n * BigInt(input) + 300_000n * BigInt(output), 0n)
        assert.strictEqual(summary.cost, billed)
      })
  )
})

describe("a row that runs again", () => {
  it.live("has its answers, and what they saved, counted once", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start()
      let isBroken = true
      const rows = Source.fromIterable("row", ["a", "b", "c"])
      const flow = (version: string) =>
        Flow.make("again", {
          outputs: [
            Sink.forEach(
              "out",
              Flow.step(
                "reply",
                { row: rows },
                ({ row }) =>
                  Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => {
                    if (isBroken && row === "b") throw new Error("broken")
                    return text
                  }),
                { version }
              ),
              () => Effect.void
            )
          ],
          stack: Stack.make(
            Ledger.layer,
            Cache.layer(),
            OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "k" })
          )
        })
      yield* Effect.gen(function* () {
        for (const [version, origin] of [
          ["1", "provider"],
          ["2", "cache"]
        ] as const) {
          isBroken = true
          const first = yield* run(flow(version))
          assert.strictEqual(first.rows.failed, 1)
          assert.strictEqual(first.calls.answers[origin], 3)
          isBroken = false
          const again = yield* run(flow(version), { resume: first.run, retry: true })
          assert.strictEqual(again.rows.failed, 0)
          assert.strictEqual(again.calls.answers[origin], 3, "its answer is counted")
          assert.strictEqual(again.cost, first.cost)
          assert.deepStrictEqual(again.savings, first.savings)
        }
      }).pipe(Effect.provide(NodeHost.layer({ store: join(folder(), "pipe.db") })))
      assert.strictEqual(
        simulator.bill().reduce((sum, { answers }) => sum + answers, 0),
        3
      )
    })
  )
})
