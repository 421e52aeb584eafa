/** What a row cost: the provider's bill, row by row, in outputs and in failed rows. */
import { assert, describe, it } from "@effect/vitest"
import { Cache, Flow, Ledger, Money, type Node, Retry, Sink, Source, Stack, Runner } from "@pipe/core"
import { TestFlow, TestModel } from "@pipe/core/testing"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect, Layer, Option } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const ask = (prompt: string) => Effect.map(LanguageModel.generateText({ prompt }), ({ text }) => text)

const openai = OpenAi.layer({ apiKey: "k", model: "gpt-4o-mini" })

const flowOf = (nodes: Node.Inputs, stack: NonNullable<Flow.Flow["stack"]> = Stack.make(Ledger.layer, openai)) =>
  Flow.make("costs", {
    outputs: [Sink.forEach("out", nodes as { readonly it: Node.Node<unknown> }, () => Effect.void)],
    stack
  })

const usd = (cost: Flow.Cost): Money.Money => Option.getOrThrow(Money.fromUsd(cost.usd ?? "unknown"))

const words = (...texts: ReadonlyArray<string>) => Source.fromIterable("word", texts)

describe("the cost of a row", () => {
  it.live("is what the provider bills for it, retries included, and its sum is the bill", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ faults: { rateLimit: 0.3 } })
      const word = words(...Array.from({ length: 40 }, (_, at) => `word ${at}`))
      const one = Flow.step("one", { word }, ({ word }) => ask(`one ${word}`))
      const two = Flow.step("two", { one }, ({ one }) => Effect.all([ask(`two ${one}`), ask(`three ${one}`)]))
      const out: Array<{ readonly both: Flow.Cost; readonly first: Flow.Cost }> = []
      const flow = Flow.make("costs", {
        outputs: [
          Sink.forEach("out", { both: Flow.cost(one, two), first: Flow.cost(one) }, (row) =>
            Effect.sync(() => void out.push(row))
          )
        ],
        stack: Stack.make(
          Ledger.layer,
          Retry.layer({ base: 1, attempts: 20 }),
          OpenAi.layer({ endpoint: "simulator", baseUrl: simulator.openAiUrl, apiKey: "k", model: "gpt-4o-mini" })
        )
      })
      const summary = yield* Runner.run(flow, { errorsFile: false })
      assert.lengthOf(out, 40)
      assert.strictEqual(Money.sum(out.map(({ both }) => usd(both))), summary.cost)
      assert.strictEqual(
        out.reduce((sum, { both }) => sum + both.calls!, 0),
        simulator.requests()
      )
      assert.isTrue(out.some(({ both }) => both.calls! > 3))
      assert.isTrue(out.every(({ both, first }) => usd(first) < usd(both) && both.milliseconds! >= first.milliseconds!))
      // What the simulator has counted, at 0.15 and 0.6 USD per million tokens (openai.com/api/pricing, 2026-11).
      const [bill] = simulator.bill()
      assert.strictEqual(summary.cost, BigInt(bill!.input) * 150_000n + BigInt(bill!.output) * 600_000n)
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("is kept with its value: a reused row has the cost of the run that computed it", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(NodeHost.layerMemory)
      const host = Layer.succeedContext(context)
      const make = (isAsked: boolean) => {
        const word = words("a", "b", "a")
        const one = Flow.step("one", { word }, ({ word }) => ask(word))
        const cost = Flow.cost(one)
        return {
          cost,
          flow: flowOf(isAsked ? { one, cost } : { one }, Stack.make(Ledger.layer, Cache.layer(), openai))
        }
      }
      const model = TestModel.make({ one: ({ prompt }) => prompt.repeat(50) })
      const first = make(true)
      const run = yield* TestFlow.run(first.flow, { model, host })
      const costs = run.rows(first.cost)
      assert.lengthOf(model.calls(), 2)
      // Equal rows share a value, and what it cost.
      assert.deepStrictEqual(costs[0], costs[2])
      assert.strictEqual(costs[0]!.calls, 1)
      const again = make(true)
      assert.deepStrictEqual((yield* TestFlow.run(again.flow, { model, host })).rows(again.cost), costs)
      assert.lengthOf(model.calls(), 2)
      // Read for the first time, when the value was kept without it.
      const other = yield* Layer.build(NodeHost.layerMemory)
      yield* TestFlow.run(make(false).flow, { model, host: Layer.succeedContext(other) })
      const later = make(true)
      const unknown = yield* TestFlow.run(later.flow, { model, host: Layer.succeedContext(other) })
      assert.deepStrictEqual(
        unknown.rows(later.cost),
        costs.map(() => ({ usd: null, calls: null, milliseconds: null }))
      )
    }).pipe(Effect.scoped)
  )

  it.live("is that of a list, of a group, of a filter, and of a row above", () =>
    Effect.gen(function* () {
      const word = words("a", "b")
      const list = Flow.expand("list", { word }, ({ word }) => Effect.map(ask(`list ${word}`), () => [1, 2]))
      const kept = Flow.filter("kept", { list }, () => Effect.map(ask("keep"), () => true))
      const group = Flow.group("group", { kept, list }, { by: ({ list }) => list }, ({ key }) => ask(`group ${key}`))
      const run = yield* TestFlow.run(flowOf({ ofList: Flow.cost(list), ofBoth: Flow.cost(list, kept) }), {
        model: TestModel.make(() => "x")
      })
      assert.deepStrictEqual(
        run.rows(Flow.cost(list)).map(({ calls }) => calls),
        [1, 1, 1, 1]
      )
      assert.deepStrictEqual(
        run.rows(Flow.cost(list, kept)).map(({ calls }) => calls),
        [2, 2, 2, 2]
      )
      const groups = yield* TestFlow.run(flowOf({ group, cost: Flow.cost(group) }), {
        model: TestModel.make(() => "x")
      })
      assert.deepStrictEqual(
        groups.rows(Flow.cost(group)).map(({ calls }) => calls),
        [1, 1]
      )
    })
  )

  it.live("is unknown where a price is, and nothing where nothing was called", () =>
    Effect.gen(function* () {
      const word = words("a", "b")
      const one = Flow.step("one", { word }, ({ word }) => ask(word), {
        model: "unpriced",
        when: ({ word }) => word === "a"
      })
      const cost = Flow.cost(one)
      const run = yield* TestFlow.run(flowOf({ cost }), { model: TestModel.make(() => "x") })
      assert.deepStrictEqual(
        run.rows(cost).map(({ calls, usd }) => ({ calls, usd })),
        [
          { calls: 1, usd: null },
          { calls: 0, usd: "0" }
        ]
      )
    })
  )

  it.live("is unknown in batches, whose calls have no row, also for rows that failed", () =>
    Effect.gen(function* () {
      const errorsFile = join(mkdtempSync(join(tmpdir(), "pipe-costs-")), "errors.jsonl")
      const word = words("a", "b")
      const one = Flow.step("one", { word }, ({ word }) =>
        Effect.flatMap(ask(word), (text) => (word === "a" ? Effect.fail(new Error("no")) : Effect.succeed(text)))
      )
      const cost = Flow.cost(one)
      const run = yield* TestFlow.run(flowOf({ one, cost }), {
        model: TestModel.make(() => "x"),
        host: NodeHost.layerMemory,
        batch: {},
        errorsFile
      })
      const unknown = { usd: null, calls: null, milliseconds: null }
      assert.deepStrictEqual(run.rows(cost), [unknown])
      assert.deepStrictEqual(JSON.parse(readFileSync(errorsFile, "utf8")).$cost, unknown)
    })
  )

  it.live("includes what an earlier attempt of the run has spent on it", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(NodeHost.layerMemory)
      const host = Layer.succeedContext(context)
      const word = words("a", "b", "c")
      const usage = { uncachedInput: 1_000, output: 0 }
      let isOpen = false
      const one = Flow.step("one", { word }, ({ word }) =>
        Effect.flatMap(ask(word), (first) =>
          word === "b" && !isOpen ? Effect.fail(new Error("no")) : ask(`${first} ${word}`)
        )
      )
      const cost = Flow.cost(one)
      const model = TestModel.make(({ prompt }) => TestModel.response({ text: prompt, usage }))
      const flow = flowOf({ one, cost })
      const { summary } = yield* TestFlow.run(flow, { model, host })
      isOpen = true
      const run = yield* TestFlow.run(flow, { model, host, resume: summary.run, retry: true })
      // 0.15 USD per million tokens (openai.com/api/pricing, 2026-11): two calls, and the three of the row that failed.
      assert.deepStrictEqual(
        run.rows(cost).map(({ calls, usd }) => ({ calls, usd })),
        [
          { calls: 2, usd: "0.0003" },
          { calls: 3, usd: "0.00045" },
          { calls: 2, usd: "0.0003" }
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.live("is in the errors file of a row that failed", () =>
    Effect.gen(function* () {
      const errorsFile = join(mkdtempSync(join(tmpdir(), "pipe-costs-")), "errors.jsonl")
      const word = words("a")
      const one = Flow.step("one", { word }, ({ word }) => Effect.andThen(ask(word), Effect.fail(new Error("no"))))
      yield* TestFlow.run(flowOf({ one, cost: Flow.cost(one) }), {
        errorsFile,
        host: NodeHost.layerMemory,
        model: TestModel.make(() => TestModel.response({ text: "x", usage: { uncachedInput: 1_000, output: 0 } }))
      })
      const failed = JSON.parse(readFileSync(errorsFile, "utf8"))
      assert.deepInclude(failed, { node: "one", message: "no" })
      assert.deepInclude(failed.$cost, { usd: "0.00015", calls: 1 })
    })
  )

  it("is that of nodes that can call", () => {
    const word = words("a")
    assert.throws(() => Flow.cost(word), "word calls no model")
    assert.throws(() => Flow.cost(Flow.map("m", { word }, () => 1)), "m calls no model")
    assert.throws(() => Flow.cost(), "names no node")
    assert.throws(() => Flow.cost(Flow.embed("vector", { word }, ({ word }) => word)), "no row has a cost of its own")
  })
})
