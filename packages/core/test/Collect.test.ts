/** Flows run from code: the values of a node, as a list or a stream, over rows of the program's own. */
import { assert, describe, it } from "@effect/vitest"
import { Concurrency, Flow, RateLimit, Runner, Sink, Source, Stack } from "@pipe/core"
import { TestModel } from "@pipe/core/testing"
import { Deferred, Effect, Fiber, Layer, Schema, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import { TestClock } from "effect/testing"
import { existsSync, mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Host from "./Host.ts"

const folder = mkdtempSync(join(tmpdir(), "pipe-collect-"))
const out = join(folder, "out.jsonl")

const Row = Schema.Struct({ id: Schema.String, n: Schema.Number })
const rows = Source.jsonl("rows", { path: join(folder, "absent.jsonl"), schema: Row })
const checked = Flow.step("checked", { row: rows }, ({ row }) =>
  row.n < 0 ? Effect.fail(new Error(`${row.id} is below 0`)) : Effect.succeed(row.n)
)
const doubled = Flow.map("doubled", { n: checked }, ({ n }) => n * 2)
const flow = (allowFailedRows = 0) =>
  Flow.make("doubles", { outputs: [Sink.jsonl(out, { row: rows, doubled })], allowFailedRows })

const given = (...numbers: ReadonlyArray<number>) => [
  Source.given(
    rows,
    numbers.map((n, at) => ({ id: `r${at}`, n }))
  )
]

describe("Runner.collect", () => {
  it.effect("returns the values of a node in order, without outputs, over given rows", () =>
    Effect.gen(function* () {
      const values = yield* Runner.collect(flow(), doubled, { sources: given(3, 1, 2) })
      assert.deepStrictEqual(values, [6, 2, 4])
      assert.isFalse(existsSync(out))
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.effect("runs only what the node needs", () =>
    Effect.gen(function* () {
      let runs = 0
      const counted = Flow.step("counted", { n: doubled }, ({ n }) => Effect.sync(() => (runs++, n)))
      const wide = Flow.make("wide", { outputs: [Sink.jsonl(out, { doubled, counted })] })
      assert.deepStrictEqual(yield* Runner.collect(wide, doubled, { sources: given(1) }), [2])
      assert.strictEqual(runs, 0)
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.effect("fails with the first failed row, unless the flow allows it", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Runner.collect(flow(), doubled, { sources: given(1, -1, 2) }))
      assert.strictEqual(error._tag, "RunFailed")
      assert.strictEqual(error.message, "1 of 3 rows failed, the first: rows[1]: checked: r1 is below 0")
      if (error._tag === "RunFailed") assert.strictEqual(error.summary.rows.failed, 1)
      assert.deepStrictEqual(yield* Runner.collect(flow(1), doubled, { sources: given(1, -1, 2) }), [2, 4])
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.effect("takes a stream for a source, and says when a flow does not read it", () =>
    Effect.gen(function* () {
      const sources = [Source.given(rows, Stream.make({ id: "a", n: 1 }, { id: "b", n: 2 }))]
      assert.deepStrictEqual(yield* Runner.collect(flow(), doubled, { sources }), [2, 4])
      const other = Source.given(Source.fromIterable("other", [1]), [2])
      const error = yield* Effect.flip(Runner.collect(flow(), doubled, { sources: [other] }))
      assert.strictEqual(error.message, "flow doubles does not read other")
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.effect("runs several at once over one store, each with its own rows", () =>
    Effect.gen(function* () {
      const all = yield* Effect.forEach(
        Array.from({ length: 40 }, (_, n) => n),
        (n) => Runner.collect(flow(), doubled, { sources: given(n, n + 1) }),
        { concurrency: 10 }
      )
      assert.deepStrictEqual(
        all,
        Array.from({ length: 40 }, (_, n) => [2 * n, 2 * n + 2])
      )
    }).pipe(Effect.provide(Host.layerMemory))
  )
})

describe("Runner.stream", () => {
  it.effect("gives the values as they come, and reads no further than a window beyond its consumer", () =>
    Effect.gen(function* () {
      let read = 0
      const endless = Stream.map(Stream.range(0, 1_000_000), (n) => {
        read++
        return { id: `r${n}`, n }
      })
      const values = yield* Runner.stream(flow(), doubled, {
        sources: [Source.given(rows, endless)],
        concurrency: 4
      }).pipe(Stream.take(5), Stream.runCollect)
      assert.deepStrictEqual(values, [0, 2, 4, 6, 8])
      assert.isBelow(read, 10_000)
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.effect("ends its run when it is interrupted", () =>
    Effect.gen(function* () {
      const started = Deferred.makeUnsafe<void>()
      let ended = false
      const slow = Flow.step("slow", { row: rows }, () =>
        Effect.onInterrupt(Effect.andThen(Deferred.succeed(started, undefined), Effect.never), () =>
          Effect.sync(() => {
            ended = true
          })
        )
      )
      const flow = Flow.make("slow", { outputs: [Sink.jsonl(out, { slow })] })
      const fiber = yield* Effect.forkChild(Stream.runDrain(Runner.stream(flow, slow, { sources: given(1) })))
      yield* Deferred.await(started)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(ended)
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.effect("fails after the values of the rows that went well", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const error = yield* Runner.stream(flow(), doubled, { sources: given(1, -1, 2) }).pipe(
        Stream.runForEach((n) => Effect.sync(() => void seen.push(n))),
        Effect.flip
      )
      assert.deepStrictEqual(seen, [2, 4])
      assert.strictEqual(error._tag, "RunFailed")
    }).pipe(Effect.provide(Host.layerMemory))
  )
})

describe("Runner.events", () => {
  it.effect("gives what happens in a run, and its summary at the end", () =>
    Effect.gen(function* () {
      const events = yield* Stream.runCollect(Runner.events(flow(1), { sources: given(1, -1), errorsFile: false }))
      const tags = events.map(({ _tag }) => _tag)
      assert.strictEqual(tags[0], "RunStarted")
      assert.include(tags, "RowFailed")
      const last = events.at(-1)!
      assert.strictEqual(last._tag, "RunFinished")
      if (last._tag === "RunFinished") assert.deepInclude(last.rows, { read: 2, failed: 1 })
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.effect("fails after its events when the run cannot start or stops", () =>
    Effect.gen(function* () {
      const missing = Flow.make("missing", { outputs: [Sink.forEach("out", rows, () => Effect.void)] })
      const tags: Array<string> = []
      const error = yield* Runner.events(missing, { errorsFile: false }).pipe(
        Stream.runForEach(({ _tag }) => Effect.sync(() => void tags.push(_tag))),
        Effect.flip
      )
      assert.include(error.message, "absent.jsonl")
      assert.isTrue(tags.every((tag) => tag !== "RowFailed"))
    }).pipe(Effect.provide(Host.layerMemory))
  )
})

describe("a stream of events that is left", () => {
  const failing = Flow.step("failing", { row: rows }, () => Effect.fail(new Error("no")))
  const many = Flow.make("many", { outputs: [Sink.forEach("out", failing, () => Effect.void)] })
  const sources = given(...Array.from({ length: 200 }, (_, n) => n))

  it.live("ends its run, however many events it has not read", () =>
    Effect.gen(function* () {
      const events = Runner.events(many, { sources, errorsFile: false, rowEvents: true })
      assert.strictEqual((yield* Stream.runCollect(Stream.take(events, 1))).length, 1)
      const stuck = yield* Effect.forkChild(Stream.runForEach(events, () => Effect.never))
      yield* Effect.sleep("50 millis")
      yield* Fiber.interrupt(stuck)
    }).pipe(Effect.provide(Host.layerMemory))
  )
})

describe("runs at the same time in one process", () => {
  const questions = Source.fromIterable("questions", ["a", "b"])
  const answers = (model: TestModel.TestModel, limit: ReturnType<typeof Concurrency.layer>) => {
    const answer = Flow.step("answer", { question: questions }, ({ question }) =>
      Effect.map(LanguageModel.generateText({ prompt: question }), ({ text }) => text)
    )
    const stack = Stack.make(limit, model.layer)
    return Flow.make("answers", { outputs: [Sink.forEach("out", answer, () => Effect.void)], stack })
  }

  /** Waits in real time until a condition holds. */
  const until = (condition: () => boolean) =>
    Effect.promise(async () => {
      for (let time = 0; time < 1_000 && !condition(); time++) await new Promise((resolve) => setTimeout(resolve, 5))
    })

  it.effect("share a rate limit", () =>
    Effect.gen(function* () {
      const model = TestModel.make(() => "yes")
      const flow = answers(model, RateLimit.layer({ requestsPerMinute: 2 }))
      // Neither reuses what the other has.
      const run = Runner.run(flow, { cache: false })
      const fiber = yield* Effect.forkChild(Effect.all([run, run], { concurrency: 2 }))
      yield* until(() => model.calls().length >= 2)
      // Limits of their own would let all four go at once.
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 50)))
      assert.strictEqual(model.calls().length, 2)
      yield* TestClock.adjust("5 minutes")
      yield* Fiber.join(fiber)
      assert.strictEqual(model.calls().length, 4)
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.live("take no turn of a rate limit when they are interrupted while they wait", () =>
    Effect.gen(function* () {
      const model = TestModel.make(() => "yes")
      const flow = answers(model, RateLimit.layer({ requestsPerMinute: 600 }))
      const many = Source.fromIterable(
        "questions",
        Array.from({ length: 900 }, (_, n) => `q${n}`)
      )
      const crowd = Flow.make("crowd", {
        outputs: [
          Sink.forEach(
            "out",
            Flow.step("answer", { question: many }, ({ question }) =>
              Effect.map(LanguageModel.generateText({ prompt: question }), ({ text }) => text)
            ),
            () => Effect.void
          )
        ],
        concurrency: 900,
        stack: Stack.make(RateLimit.layer({ requestsPerMinute: 600 }), model.layer)
      })
      const fiber = yield* Effect.forkChild(Runner.run(crowd))
      yield* until(() => model.calls().length >= 600)
      yield* Fiber.interrupt(fiber)
      const before = model.calls().length
      // The turns of those that waited would take half a minute.
      const summary = yield* Effect.timeout(Runner.run(flow), "10 seconds")
      assert.strictEqual(summary.status, "done")
      assert.strictEqual(model.calls().length, before + 2)
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.live("share a limit of calls in flight", () =>
    Effect.gen(function* () {
      let most = 0
      let inFlight = 0
      const model = TestModel.make(() =>
        Effect.suspend(() => {
          most = Math.max(most, ++inFlight)
          return Effect.as(Effect.sleep("10 millis"), "yes").pipe(Effect.ensuring(Effect.sync(() => inFlight--)))
        })
      )
      const flow = answers(model, Concurrency.layer(1))
      yield* Effect.all([Runner.run(flow), Runner.run(flow, { cache: false })], { concurrency: 2 })
      assert.deepStrictEqual([most, model.calls().length], [1, 4])
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.effect("of other stores have limits of their own", () =>
    Effect.gen(function* () {
      const model = TestModel.make(() => "yes")
      const run = Effect.provide(
        Runner.run(answers(model, RateLimit.layer({ requestsPerMinute: 2 }))),
        Layer.fresh(Host.layerMemory)
      )
      yield* Effect.all([run, run], { concurrency: 2 })
      assert.strictEqual(model.calls().length, 4)
    })
  )
})
