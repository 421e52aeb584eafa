/** Only whole answers count, what is made of a failure is not kept, and shared work lives as long as one waits for it (faults C1, C2, C4). */
import { assert, describe, it } from "@effect/vitest"
import {
  Cache,
  Flow,
  type ModelClient,
  type ModelResponse,
  ModelSettings,
  Plan,
  Retry,
  Runner,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import * as ReportText from "../../cli/src/view/ReportText.ts"
import { Deferred, Effect, Fiber, type Layer, Logger, Schema } from "effect"
import { type AiError, type EmbeddingModel, LanguageModel } from "effect/ai"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Host from "./Host.ts"
import * as Scripted from "./ScriptedModel.ts"

const newStore = () => join(mkdtempSync(join(tmpdir(), "pipe-whole-")), "pipe.db")

const ask = (prompt: string) => Effect.map(LanguageModel.generateText({ prompt }), ({ text }) => text)

type Body = (
  row: string
) => Effect.Effect<unknown, unknown, LanguageModel.LanguageModel | EmbeddingModel.EmbeddingModel>

/** A run of one step over some rows; what came, what failed and what was warned of. */
const run = (
  store: string,
  stack: Layer.Layer<ModelClient.ModelClient, AiError.AiError, Flow.Host>,
  body: Body,
  { rows = ["a"], ...policy }: { readonly rows?: ReadonlyArray<string> } & Parameters<typeof Flow.step>[3] = {}
) =>
  Effect.suspend(() => {
    const out: Array<unknown> = []
    const failed: Array<string> = []
    const warnings: Array<string> = []
    const row = Source.fromIterable("row", rows)
    const step = Flow.step("step", { row }, ({ row }) => body(row), policy)
    const flow = Flow.make("whole", {
      settings: { model: "gpt-4o-mini" },
      outputs: [Sink.forEach("out", step, (value) => Effect.sync(() => void out.push(value)))],
      stack
    })
    return Runner.run(flow as Flow.Flow, {
      errorsFile: false,
      observe: (event) => Effect.sync(() => (event._tag === "RowFailed" ? void failed.push(event.message) : undefined))
    }).pipe(
      Effect.provide(Host.layer({ store })),
      Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))])),
      Effect.map((summary) => ({ summary, out, failed, warnings }))
    )
  })

describe("a text answer that is not whole", () => {
  const cut = Scripted.response("The three steps are: 1) open the", { finishReason: "length" })
  const odd: ReadonlyArray<readonly [what: string, answer: ModelResponse.CompletionResponse, says: RegExp]> = [
    ["cut at its limit", cut, /truncated at its output limit|raise maxTokens/],
    ["empty", Scripted.response(""), /the answer is empty/],
    [
      "empty, with thoughts",
      Scripted.response("", { parts: [{ type: "reasoning", text: "hm" }] }),
      /the answer is empty/
    ],
    ["filtered", Scripted.response("Half of", { finishReason: "content-filter" }), /./]
  ]
  for (const [what, answer, says] of odd) {
    it.live(`fails where it is ${what}, and is requested again by the next run (C1)`, () =>
      Effect.gen(function* () {
        const store = newStore()
        const model = Scripted.make((_, index) => (index === 0 ? answer : Scripted.response("whole")))
        const stack = Stack.make(Cache.layer(), model.layer)
        const first = yield* run(store, stack, ask)
        assert.deepStrictEqual(first.out, [])
        assert.match(first.failed[0]!, says)
        // It was paid all the same.
        assert.isTrue(first.summary.cost > 0n)
        const second = yield* run(store, stack, ask)
        assert.deepStrictEqual(second.out, ["whole"])
        assert.strictEqual(model.requests.length, 2)
      })
    )
  }

  it.live("counts, and is kept, where the step says so (C1)", () =>
    Effect.gen(function* () {
      const store = newStore()
      const model = Scripted.make(() => cut)
      const stack = Stack.make(Cache.layer(), model.layer)
      const first = yield* run(store, stack, ask, { truncated: "keep" })
      const second = yield* run(store, stack, ask, { truncated: "keep" })
      assert.deepStrictEqual(
        [first.out, second.out],
        [["The three steps are: 1) open the"], ["The three steps are: 1) open the"]]
      )
      assert.strictEqual(model.requests.length, 1)
      // A step that does not say so takes nothing of it.
      const third = yield* run(store, stack, ask)
      assert.deepStrictEqual(third.out, [])
      assert.strictEqual(model.requests.length, 2)
    })
  )

  for (const parts of [[], [{ type: "text" as const, text: "" }]]) {
    it.live(`counts where it is empty and the step says so, in the form of either API: ${JSON.stringify(parts)}`, () =>
      Effect.gen(function* () {
        const model = Scripted.make(() => Scripted.response("", { parts }))
        const { out } = yield* run(newStore(), model.layer, ask, { truncated: "keep" })
        assert.deepStrictEqual(out, [""])
        const { failed } = yield* run(newStore(), model.layer, ask)
        assert.match(failed[0]!, /the answer is empty.*truncated: "keep"/)
      })
    )
  }

  it.live("is whole where nothing is said of its end (C1)", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() => Scripted.response("text", { finishReason: "unknown" }))
      const { out } = yield* run(newStore(), model.layer, ask)
      assert.deepStrictEqual(out, ["text"])
    })
  )

  it.live("is not requested again with the same limit, and is with another (C1)", () =>
    Effect.gen(function* () {
      const store = newStore()
      const model = Scripted.make((request) =>
        request.settings.maxTokens === 1_000 ? Scripted.response("whole") : cut
      )
      const first = yield* run(store, model.layer, ask, { settings: { maxTokens: 10 } })
      const second = yield* run(store, model.layer, ask, { settings: { maxTokens: 1_000 } })
      assert.deepStrictEqual([first.out, second.out], [[], ["whole"]])
      assert.strictEqual(model.requests.length, 2)
    })
  )
})

describe("a structured answer that is cut at its limit", () => {
  it.live("is requested once, says so, and costs what was counted (stream-01)", () =>
    Effect.gen(function* () {
      const Label = Schema.Struct({ label: Schema.String })
      const body: Body = (row) => LanguageModel.generateObject({ prompt: row, schema: Label })
      const model = Scripted.make(() => Scripted.response('{"lab', { finishReason: "length" }))
      const { failed, summary } = yield* run(newStore(), Stack.make(Retry.layer({ base: 1 }), model.layer), body)
      assert.match(failed[0]!, /truncated at its output limit.*raise maxTokens/)
      assert.strictEqual(model.requests.length, 1)
      assert.strictEqual(summary.cost, 4_500_000n)
      assert.strictEqual(summary.estimatedCalls, 0)
    })
  )
})

describe("a tool that nobody has", () => {
  const call = Scripted.response("", {
    parts: [{ type: "tool-call", id: "a", name: "search", params: {} }],
    finishReason: "tool-calls"
  })
  it.live("called in place of a text is no answer, and nothing of it is kept", () =>
    Effect.gen(function* () {
      const store = newStore()
      let isOdd = true
      const model = Scripted.make(() => (isOdd ? call : Scripted.response("whole")))
      const stack = Stack.make(Cache.layer(), model.layer)
      const first = yield* run(store, stack, ask)
      assert.deepStrictEqual(first.out, [])
      assert.match(first.failed[0]!, /there is no tool "search": the request has none/)
      isOdd = false
      const second = yield* run(store, stack, ask)
      assert.deepStrictEqual(second.out, ["whole"])
    })
  )
})

describe("what a step makes of a call that failed", () => {
  const down = Scripted.broken("down")
  const bodies: ReadonlyArray<readonly [what: string, body: Body, value: unknown]> = [
    ["an empty text", (row) => Effect.catch(ask(row), () => Effect.succeed("")), ""],
    ["null", (row) => Effect.catch(ask(row), () => Effect.succeed(null)), null],
    [
      "a text of two, one of which failed",
      (row) =>
        Effect.map(Effect.all([Effect.catch(ask(`${row}!`), () => Effect.succeed("none")), ask(row)]), (texts) =>
          texts.join()
        ),
      "none,whole"
    ]
  ]
  for (const [what, body, value] of bodies) {
    it.live(`is not kept: ${what} (C2)`, () =>
      Effect.gen(function* () {
        const store = newStore()
        let isDown = true
        const model = Scripted.make((request) =>
          isDown && (value !== "none,whole" || Scripted.prompt(request).endsWith("!"))
            ? down
            : Scripted.response("whole")
        )
        const first = yield* run(store, model.layer, body, { rows: ["a", "b"] })
        assert.deepStrictEqual(first.out, [value, value])
        assert.strictEqual(first.warnings.filter((text) => text.includes("is not kept")).length, 1)
        isDown = false
        const second = yield* run(store, model.layer, body, { rows: ["a", "b"] })
        assert.isTrue(second.out.every((text) => String(text).includes("whole") && text !== value))
        // What has come of no failure is kept.
        const sent = model.requests.length
        const third = yield* run(store, model.layer, body, { rows: ["a", "b"] })
        assert.deepStrictEqual(third.out, second.out)
        assert.strictEqual(model.requests.length, sent)
      })
    )
  }

  const recovered: ReadonlyArray<readonly [what: string, body: Body]> = [
    ["tries again by itself", (row) => Effect.retry(ask(row), { times: 2 })],
    [
      "calls another model",
      (row) =>
        Effect.catch(ask(row), () =>
          Effect.provideService(ask(row), ModelSettings.ModelSettings, { model: "gpt-4.1-mini" })
        )
    ]
  ]
  for (const [what, body] of recovered) {
    it.live(`is kept where the step ${what}, and that succeeds (C2)`, () =>
      Effect.gen(function* () {
        const store = newStore()
        const model = Scripted.make((_, index) => (index === 0 ? down : Scripted.response("whole")))
        const first = yield* run(store, model.layer, body)
        const second = yield* run(store, model.layer, body)
        assert.deepStrictEqual([first.out, second.out], [["whole"], ["whole"]])
        assert.strictEqual(model.requests.length, 2)
        assert.deepStrictEqual(first.warnings, [])
      })
    )
  }
})

describe("the ledger of a run", () => {
  it.live("have a line for what was requested again, and one for failed rows (B7)", () =>
    Effect.gen(function* () {
      const store = newStore()
      const Verdict = Schema.Struct({ good: Schema.Boolean })
      const body: Body = (row) =>
        Effect.map(LanguageModel.generateObject({ prompt: row, schema: Verdict }), ({ value }) => value.good)
      const model = Scripted.make((request, index) =>
        Scripted.response(
          Scripted.prompt(request).startsWith("stubborn") || request.messages.length === 1
            ? `no ${index}`
            : '{"good":true}'
        )
      )
      const stack = Stack.make(Retry.layer({ base: 1 }), model.layer)
      const { out, summary } = yield* run(store, stack, body, { rows: ["stubborn", "willing"] })
      assert.deepStrictEqual(out, [true])
      assert.strictEqual(model.requests.length, 5)
      // gpt-4o-mini: 10 × 0.15 + 5 × 0.60 USD a million for each call (platform.openai.com/docs/pricing).
      const each = 4_500_000n
      assert.strictEqual(summary.cost, 5n * each)
      // Twice for the row that failed, once for the other.
      assert.strictEqual(summary.calls.reaskCost, 3n * each)
      assert.strictEqual(summary.calls.failedRowsCost, 3n * each)
      const text = ReportText.render(summary)
      assert.match(text, /for re-asks +\$0.0000135/)
      assert.match(text, /for failed rows +\$0.0000135/)
    })
  )
})

describe("a plan", () => {
  it.live("has the fee of each request in it", () =>
    Effect.gen(function* () {
      const row = Source.fromIterable("row", ["a", "b", "c"])
      const step = Flow.step("step", { row }, ({ row }) => ask(row))
      const flow = Flow.make("fees", {
        settings: { model: "sonar-mine", maxTokens: 10 },
        prices: { "sonar-mine": { input: 1, output: 1, perRequest: 0.005 } },
        outputs: [Sink.forEach("out", step, () => Effect.void)],
        stack: Scripted.make(() => Scripted.response("x")).layer
      })
      const plan = yield* Plan.make(flow).pipe(Effect.provide(Host.layerMemory))
      assert.isTrue(plan.cost.low > 3n * 5_000_000_000n)
      assert.isTrue(plan.cost.high < 3n * 5_100_000_000n)
    })
  )
})

describe("work that is shared", () => {
  it.live("continues where one sample fails: the others are not paid again (C4)", () =>
    Effect.gen(function* () {
      const store = newStore()
      let isDown = true
      const model = Scripted.make((_, index) =>
        isDown && index === 0
          ? Effect.delay(Effect.fail(Scripted.broken("down")), 1)
          : Effect.delay(Effect.succeed(Scripted.response(`sample ${index}`)), 20)
      )
      const policy = { samples: 3, settings: { temperature: 1 } }
      const first = yield* run(store, model.layer, ask, policy)
      assert.strictEqual(first.failed.length, 1)
      assert.strictEqual(model.requests.length, 3)
      isDown = false
      const second = yield* run(store, model.layer, ask, policy)
      assert.strictEqual((second.out[0] as ReadonlyArray<string>).length, 3)
      assert.strictEqual(model.requests.length, 4)
    })
  )

  it.live("lives on when the row that began it is cut (C4)", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const model = Scripted.make(() =>
        Effect.andThen(Deferred.succeed(begun, undefined), Effect.as(Deferred.await(go), Scripted.response("whole")))
      )
      // The first row has no time, the second all that it wants.
      const body: Body = (row) => (row === "hasty" ? Effect.timeout(ask("the same"), 50) : ask("the same"))
      const fiber = yield* Effect.forkChild(
        run(newStore(), Stack.make(Cache.layer(), model.layer), body, { rows: ["hasty", "patient"] })
      )
      yield* Deferred.await(begun)
      yield* Effect.sleep(100)
      yield* Deferred.succeed(go, undefined)
      const { failed, out } = yield* Fiber.join(fiber)
      assert.deepStrictEqual(out, ["whole"])
      assert.strictEqual(failed.length, 1)
      assert.strictEqual(model.requests.length, 1)
    })
  )
})
