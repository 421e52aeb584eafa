/** Bounded loops: tools until the model answers, and answers that are reviewed; what a plan and a report say of them. */
import { assert, describe, it } from "@effect/vitest"
import { Agent, Flow, Ledger, type Node, Plan, Sink, Source, Stack } from "@pipe/core"
import { TestFlow, TestModel } from "@pipe/core/testing"
import { NodeHost, OpenAi } from "@pipe/plugins"
import { Effect, Layer, Schema } from "effect"
import { type LanguageModel, Tool, Toolkit } from "effect/ai"

const Weather = Tool.make("weather", {
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.String,
  failure: Schema.String,
  failureMode: "return"
})
const toolkit = Toolkit.make(Weather)
const handlers = toolkit.toLayer({
  weather: ({ city }) => (city === "Atlantis" ? Effect.fail("no such city") : Effect.succeed(`sunny in ${city}`))
})

const questions = Source.fromIterable("question", ["Oslo", "Bonn", "Atlantis", "nothing"])

const flowOf = <A, E>(node: Node.Node<A, E, LanguageModel.LanguageModel>) =>
  Flow.make("agent", {
    outputs: [Sink.forEach("out", { it: node }, () => Effect.void)],
    stack: Stack.make(Ledger.layer, OpenAi.layer({ apiKey: "k", model: "gpt-4o-mini" }))
  })

const answer = (steps: number) =>
  Flow.step("answer", { question: questions }, ({ question }) =>
    Agent.run({ prompt: question, toolkit, steps }).pipe(Effect.provide(handlers))
  )

const wants = (city: string) =>
  TestModel.response({
    parts: [{ type: "tool-call", id: "c", name: "weather", params: { city } }],
    finishReason: "tool-calls"
  })

/** Calls the tool as often as the question says, and answers with what it has heard. */
const model = (times: (question: string) => number) =>
  TestModel.make(({ request, values }) => {
    if (request._tag !== "Completion") return ""
    const heard = request.messages.filter(({ role }) => role === "tool").length
    const question = String(values["question"])
    return heard < times(question) && request.toolChoice !== "none" ? wants(question) : `heard ${heard}`
  })

describe("Agent.run", () => {
  it.live("runs tools until the model answers, and returns their parameters and results", () =>
    Effect.gen(function* () {
      const node = answer(5)
      const run = yield* TestFlow.run(flowOf(node), { model: model((question) => (question === "nothing" ? 0 : 2)) })
      const use = { name: "weather", params: { city: "Oslo" }, result: "sunny in Oslo", isFailure: false }
      assert.deepStrictEqual(run.rows(node)[0], { text: "heard 2", steps: 3, finished: true, tools: [use, use] })
      assert.deepInclude(run.rows(node)[2]!.tools[0], { result: "no such city", isFailure: true })
      assert.deepStrictEqual(run.rows(node)[3], { text: "heard 0", steps: 1, finished: true, tools: [] })
      assert.strictEqual(run.summary.calls.attempts, 10)
      assert.deepStrictEqual(run.summary.nodes.find(({ name }) => name === "answer")!.loops, {
        rows: 4,
        calls: 10,
        most: 5,
        unfinished: 0
      })
    })
  )

  it.live("makes no more calls than it may: the last one has to answer", () =>
    Effect.gen(function* () {
      const node = answer(3)
      const endless = model(() => 100)
      const run = yield* TestFlow.run(flowOf(node), { model: endless })
      for (const { finished, steps, text, tools } of run.rows(node)) {
        assert.deepStrictEqual({ finished, steps, text }, { finished: false, steps: 3, text: "heard 2" })
        assert.lengthOf(tools, 2)
      }
      assert.lengthOf(endless.calls(), 12)
      assert.strictEqual(run.summary.nodes.find(({ name }) => name === "answer")!.loops!.unfinished, 4)
    })
  )

  it.live("is planned with its fewest and most calls, and then as earlier runs were", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(NodeHost.layerMemory)
      const flow = flowOf(answer(5))
      const first = yield* Effect.provideContext(Plan.make(flow), context)
      assert.deepInclude(first.lines[0], { calls: 4, least: 4, counted: "guessed" })
      assert.include(first.notes!.join("\n"), "a row of answer makes 1 to 5 calls")
      const { summary } = yield* TestFlow.run(flow, { model: model(() => 2), host: Layer.succeedContext(context) })
      assert.strictEqual(summary.calls.attempts, 12)
      const second = yield* Effect.provideContext(Plan.make(flow, { cache: false }), context)
      assert.strictEqual(second.lines[0]!.calls, 12)
    }).pipe(Effect.scoped)
  )

  it.live("sends nothing where nothing handles the tools, and says what to provide (B13)", () =>
    Effect.gen(function* () {
      const answers = model(() => 1)
      const bare = Agent.run({ prompt: "x", toolkit, steps: 2 }) as Effect.Effect<
        unknown,
        never,
        LanguageModel.LanguageModel
      >
      const run = yield* TestFlow.run(flowOf(Flow.step("answer", { question: questions }, () => bare)), {
        model: answers
      })
      assert.lengthOf(answers.calls(), 0)
      assert.include(run.failed[0]!.message, "nothing handles the tool weather, so nothing was sent")
    })
  )

  it.live("fails where its last answer, for which there are no tools, is another call of one", () =>
    Effect.gen(function* () {
      const stubborn = TestModel.make(() => wants("Oslo"))
      const run = yield* TestFlow.run(flowOf(answer(2)), { model: stubborn })
      assert.lengthOf(run.failed, 4)
      assert.include(run.failed[0]!.message, "in its last step")
      assert.lengthOf(stubborn.calls(), 8)
    })
  )

  it.live("ends in batches too, whose replays run the same tools again", () =>
    Effect.gen(function* () {
      const node = answer(5)
      const run = yield* TestFlow.run(flowOf(node), {
        model: model(() => 2),
        host: NodeHost.layerMemory,
        batch: {}
      })
      const use = { name: "weather", params: { city: "Oslo" }, result: "sunny in Oslo", isFailure: false }
      assert.deepStrictEqual(run.rows(node)[0], { text: "heard 2", steps: 3, finished: true, tools: [use, use] })
      assert.strictEqual(run.summary.calls.attempts, 12)
      assert.deepInclude(run.summary.nodes.find(({ name }) => name === "answer")!.loops, { rows: 4, calls: 12 })
    })
  )

  it.live("runs again where a tool is described otherwise", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(NodeHost.layerMemory)
      const host = Layer.succeedContext(context)
      const answers = model(() => 1)
      const flow = (description: string) => {
        const tools = Toolkit.make(
          Tool.make("weather", {
            description,
            parameters: Schema.Struct({ city: Schema.String }),
            success: Schema.String
          })
        )
        const handled = tools.toLayer({ weather: () => Effect.succeed("sunny") })
        return flowOf(
          Flow.step("answer", { question: questions }, ({ question }) =>
            Agent.run({ prompt: question, toolkit: tools, steps: 3 }).pipe(Effect.provide(handled))
          )
        )
      }
      yield* TestFlow.run(flow("today's weather"), { model: answers, host })
      assert.lengthOf(answers.calls(), 8)
      yield* TestFlow.run(flow("today's weather"), { model: answers, host })
      assert.lengthOf(answers.calls(), 8)
      yield* TestFlow.run(flow("tomorrow's weather"), { model: answers, host })
      assert.lengthOf(answers.calls(), 16)
    }).pipe(Effect.scoped)
  )

  it("refuses a number of steps that leaves no room for a tool", () => {
    for (const steps of [0, 1, 1.5, Number.NaN])
      assert.throws(() => Agent.run({ prompt: "", toolkit, steps }), "Agent.run")
  })
})

const Themes = Schema.Struct({ themes: Schema.Array(Schema.String) })

const themes = (rounds?: number) =>
  Flow.step("themes", { question: Source.fromIterable("question", ["text"]) }, () =>
    Agent.refine({
      schema: Themes,
      prompt: "Name the themes",
      review: "Are all themes there?",
      ...(rounds === undefined ? undefined : { rounds })
    })
  )

/** Has another theme each time, and is content with some number of them. */
const glean = (enough: number) => {
  let themes: ReadonlyArray<string> = []
  return TestModel.make(({ prompt, request }) => {
    if (request._tag === "Completion" && prompt.trimEnd().endsWith("missing or wrong.")) {
      return { complete: themes.length >= enough, missing: `theme ${themes.length + 1}` }
    }
    themes = [...themes, `theme ${themes.length + 1}`]
    return { themes }
  })
}

describe("Agent.refine", () => {
  it.live("asks for what a review finds missing, until nothing is", () =>
    Effect.gen(function* () {
      for (const [rounds, enough, expected, calls] of [
        [undefined, 1, { rounds: 0, finished: true, value: 1 }, 2],
        [3, 2, { rounds: 1, finished: true, value: 2 }, 4],
        [2, 9, { rounds: 2, finished: false, value: 3 }, 5]
      ] as const) {
        const node = themes(rounds)
        const answers = glean(enough)
        const run = yield* TestFlow.run(flowOf(node), { model: answers })
        const [result] = run.rows(node)
        assert.deepStrictEqual({ ...result, value: result!.value.themes.length }, expected)
        assert.lengthOf(answers.calls(), calls)
        assert.strictEqual(run.summary.nodes.find(({ name }) => name === "themes")!.loops!.calls, calls)
        const last = answers.calls().findLast(({ prompt }) => prompt.includes("This was missing or wrong"))
        if (expected.rounds > 0) assert.include(last!.prompt, `theme ${expected.rounds + 1}`)
      }
    })
  )

  it.live("is planned as what it makes at least", () =>
    Effect.gen(function* () {
      const plan = yield* Plan.make(flowOf(themes(2)))
      assert.strictEqual(plan.lines[0]!.counted, "guessed")
      assert.strictEqual(plan.lines[0]!.least, 2)
      assert.include(plan.notes!.join("\n"), "a row of themes makes 2 to 5 calls")
    }).pipe(Effect.provide(NodeHost.layerMemory))
  )

  it.live("fails its row with the answer that does not fit", () =>
    Effect.gen(function* () {
      const node = themes()
      const run = yield* TestFlow.run(flowOf(node), { model: TestModel.make({ themes: "no JSON" }) })
      assert.lengthOf(run.rows(node), 0)
      assert.lengthOf(run.failed, 1)
    })
  )
})
