/** Flows as they run: order, bounds, failures, events; the cases of kind `batching` among them. */
import { assert, describe, it } from "@effect/vitest"
import { Flow, ModelRequest, type Node, Parameter, Retry, RunEvent, Runner, Sink, Source, Stack } from "@pipe/core"
import { Deferred, Effect, Exit, Fiber, Schema, Stream } from "effect"
import { AiError, LanguageModel } from "effect/ai"
import * as fc from "fast-check"
import { mkdtempSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Host from "./Host.ts"
import * as Scripted from "./ScriptedModel.ts"

const temp = () => join(mkdtempSync(join(tmpdir(), "pipe-run-")), "errors.jsonl")

const numbers = (count: number) =>
  Source.fromIterable(
    "n",
    Array.from({ length: count }, (_, index) => index)
  )

/** An output that keeps what comes. */
const collect = <A, E, R>(node: Node.Node<A, E, R>, into: Array<A>) =>
  Sink.forEach("collect", node, (value) => Effect.sync(() => into.push(value as A)))

const run = <E>(flow: Flow.Flow<E>, options: Parameters<typeof Runner.run>[1] = {}) =>
  Runner.run(flow, { errorsFile: temp(), ...options }).pipe(Effect.provide(Host.layerMemory))

const failedRows = (file: string) =>
  readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))

const refused = AiError.make({
  module: "t",
  method: "send",
  reason: new AiError.InvalidRequestError({ description: "no" })
})
const down = AiError.make({
  module: "t",
  method: "send",
  reason: new AiError.InternalProviderError({ description: "down" })
})

const text = (request: ModelRequest.Completion) => ModelRequest.text(request)

describe("rows", () => {
  it("come out in order whatever their speed, at any concurrency", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat({ max: 12 }), { maxLength: 60 }),
        fc.integer({ min: 1, max: 64 }),
        async (yields, concurrency) => {
          const out: Array<number> = []
          const slow = Flow.step("slow", { n: numbers(yields.length) }, ({ n }) =>
            Effect.as(
              Effect.forEach(Array.from({ length: yields[n]! }), () => Effect.yieldNow, { discard: true }),
              n
            )
          )
          await Effect.runPromise(run(Flow.make("order", { outputs: [collect(slow, out)] }), { concurrency }))
          assert.deepStrictEqual(
            out,
            yields.map((_, index) => index)
          )
        }
      ),
      { numRuns: 40 }
    ))

  it.effect("are not read further ahead than the window (promptfoo#672)", () =>
    Effect.gen(function* () {
      let read = 0
      const gate = yield* Deferred.make<void>()
      const source = Source.fromStream(
        "n",
        Stream.map(Stream.rechunk(Stream.range(0, 99_999), 1), (n) => (read++, n))
      )
      const first = Flow.step("first", { n: source }, ({ n }) =>
        n === 0 ? Effect.as(Deferred.await(gate), n) : Effect.succeed(n)
      )
      const fiber = yield* Effect.forkChild(
        run(Flow.make("window", { outputs: [collect(first, [])] }), { concurrency: 8 })
      )
      // The first row waits for the store: its writes are no steps of this fiber.
      yield* Effect.repeat(Effect.yieldNow, { until: () => read >= 8 })
      for (let i = 0; i < 5_000; i++) yield* Effect.yieldNow
      assert.isAtMost(read, 256 + 16)
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("keep to the concurrency of their flow and of each step", () =>
    Effect.gen(function* () {
      const most = { flow: 0, step: 0 }
      const now = { flow: 0, step: 0 }
      const count = (what: "flow" | "step") =>
        Effect.gen(function* () {
          most[what] = Math.max(most[what], ++now[what])
          yield* Effect.yieldNow
          yield* Effect.yieldNow
          now[what]--
        })
      const n = numbers(200)
      const a = Flow.step("a", { n }, () => count("flow"))
      const b = Flow.step("b", { n, a }, () => count("step"), { concurrency: 3 })
      yield* run(Flow.make("bounds", { concurrency: 10, outputs: [collect(b, [])] }))
      assert.isAtMost(most.flow, 10)
      assert.isAbove(most.flow, 3)
      assert.strictEqual(most.step, 3)
    })
  )

  it.effect("keep their place through retries; one failure loses nobody else (langchain#21326, distilabel#587)", () =>
    Effect.gen(function* () {
      const tries = new Map<string, number>()
      const model = Scripted.make((request) => {
        const row = text(request)
        const attempt = (tries.get(row) ?? 0) + 1
        tries.set(row, attempt)
        return row === "d"
          ? refused
          : (row === "a" || row === "c") && attempt === 1
            ? down
            : Scripted.response(row.toUpperCase())
      })
      const rows = Source.fromIterable("row", ["a", "b", "c", "d"])
      const upper = Flow.step("upper", { row: rows }, ({ row }) =>
        Effect.map(LanguageModel.generateText({ prompt: row }), (r) => r.text)
      )
      const out: Array<unknown> = []
      const errorsFile = temp()
      const flow = Flow.make("retry", {
        outputs: [Sink.forEach("out", { row: rows, upper }, (row) => Effect.sync(() => out.push(row)))],
        stack: Stack.make(Retry.layer({ base: 0 }), model.layer)
      })
      const summary = yield* run(flow, { errorsFile })
      assert.deepStrictEqual(out, [
        { row: "a", upper: "A" },
        { row: "b", upper: "B" },
        { row: "c", upper: "C" }
      ])
      assert.strictEqual(summary.rows.failed, 1)
      assert.deepInclude(failedRows(errorsFile)[0], {
        row: 3,
        position: "row[3]",
        node: "upper",
        error: "InvalidRequestError",
        input: { row: "d" }
      })
    })
  )

  it.effect("that fail together are all in the errors file, each on a line of its own", () =>
    Effect.gen(function* () {
      const errorsFile = temp()
      const bad = Flow.step("bad", { n: numbers(200) }, ({ n }) => Effect.fail(`no ${n}`))
      yield* run(Flow.make("f", { concurrency: 64, outputs: [collect(bad, [])] }), { errorsFile })
      assert.deepStrictEqual(
        failedRows(errorsFile).map(({ row }) => row),
        Array.from({ length: 200 }, (_, n) => n)
      )
    })
  )

  it.effect("that failed go into no later step (promptfoo#345)", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const n = numbers(3)
      const first = Flow.step("first", { n }, ({ n }) => (n === 1 ? Effect.fail("broken") : Effect.succeed(n)))
      const second = Flow.map("second", { first }, ({ first }) => (seen.push(first), first))
      yield* run(Flow.make("f", { outputs: [collect(second, [])] }))
      assert.deepStrictEqual(seen, [0, 2])
    })
  )

  it.effect("are kept, dropped, or stop the run, as the step says", () =>
    Effect.gen(function* () {
      const flow = (onError: Node.OnError) => {
        const bad = Flow.step(
          "bad",
          { n: numbers(10) },
          ({ n }) => (n % 2 === 1 ? Effect.fail(new Error(`odd ${n}`)) : Effect.succeed(n)),
          { onError }
        )
        return run(Flow.make("f", { concurrency: 1, outputs: [collect(bad, [])] }))
      }
      assert.deepInclude((yield* flow("keep")).rows, { failed: 5, dropped: 0 })
      assert.deepInclude((yield* flow("skip")).rows, { failed: 0, dropped: 5 })
      const error = yield* Effect.flip(flow("fail"))
      assert.include(error.message, "odd 1")
    })
  )

  it.effect("that an author's function throws for are failed rows with its words", () =>
    Effect.gen(function* () {
      const boom = (what: string) => (): never => {
        throw new Error(`${what} boom`)
      }
      const n = numbers(1)
      const nodes: ReadonlyArray<Node.Node<unknown>> = [
        Flow.map("map", { n }, boom("map")),
        Flow.filter("filter", { n }, boom("filter")),
        Flow.expand("expand", { n }, boom("expand")),
        Flow.reduce("reduce", { n }, { initial: () => 0, step: boom("reduce") })
      ]
      for (const node of nodes) {
        const errorsFile = temp()
        yield* run(Flow.make("f", { outputs: [collect(node, [])] }), { errorsFile })
        assert.include(failedRows(errorsFile)[0].message, `${node.name} boom`)
      }
    })
  )

  it.effect("stop the run when no other can succeed, with as many calls as were in flight (curator#295)", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() =>
        AiError.make({ module: "t", method: "send", reason: new AiError.QuotaExhaustedError({}) })
      )
      const ask = Flow.step("ask", { n: numbers(50) }, ({ n }) => LanguageModel.generateText({ prompt: String(n) }))
      const error = yield* Effect.flip(
        run(
          Flow.make("f", { concurrency: 4, outputs: [collect(ask, [])], stack: Stack.make(Retry.layer(), model.layer) })
        )
      )
      assert.isAtMost(model.requests.length, 4)
      assert.include(error.message, "Quota")
    })
  )

  it.effect("stop when too many fail", () =>
    Effect.gen(function* () {
      const bad = Flow.step("bad", { n: numbers(100) }, () => Effect.fail("no"))
      const error = yield* Effect.flip(
        run(Flow.make("f", { concurrency: 1, stopAfterFailedRows: 5, outputs: [collect(bad, [])] }))
      )
      assert.include(error.message, "6 rows failed")
    })
  )

  it.effect("start no new call after an interruption (langchainjs#11592)", () =>
    Effect.gen(function* () {
      const model = Scripted.make((_, index) => (index < 10 ? Scripted.response("x") : Effect.never))
      const ask = Flow.step("ask", { n: numbers(100) }, ({ n }) => LanguageModel.generateText({ prompt: String(n) }))
      const fiber = yield* Effect.forkChild(
        run(
          Flow.make("f", { concurrency: 4, outputs: [collect(ask, [])], stack: Stack.make(Retry.layer(), model.layer) })
        )
      )
      while (model.requests.length < 14) yield* Effect.yieldNow
      const exit = yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))
      assert.isTrue(Exit.isFailure(exit))
      for (let i = 0; i < 100; i++) yield* Effect.yieldNow
      assert.strictEqual(model.requests.length, 14)
    })
  )
})

describe("nodes", () => {
  const values = <A, E>(node: Node.Node<A, E>, options?: Parameters<typeof Runner.run>[1]) =>
    Effect.gen(function* () {
      const out: Array<A> = []
      yield* run(Flow.make("f", { outputs: [collect(node, out)] }), options)
      return out
    })

  const n = numbers(6)
  const even = Flow.filter("even", { n }, ({ n }) => n % 2 === 0)
  const items = Flow.expand("items", { even }, ({ even }) => Array.from({ length: even.n }, (_, index) => index))

  it.effect("expand, with the values of the row they came from", () =>
    Effect.gen(function* () {
      const both = Flow.map("both", { n, item: items }, ({ item, n }) => `${n}.${item}`)
      assert.deepStrictEqual(yield* values(both), ["2.0", "2.1", "4.0", "4.1", "4.2", "4.3"])
    })
  )

  it.effect("run only when their condition holds, and are undefined otherwise", () =>
    Effect.gen(function* () {
      const sometimes = Flow.step("sometimes", { n }, ({ n }) => Effect.succeed(n * 10), { when: ({ n }) => n > 3 })
      assert.deepStrictEqual(yield* values(sometimes), [undefined, undefined, undefined, undefined, 40, 50])
    })
  )

  it.effect("group in the order of first rows, and reduce all to one, also of none", () =>
    Effect.gen(function* () {
      const parity = Flow.group(
        "parity",
        { n },
        { by: ({ n }) => (n % 2 === 0 ? "even" : "odd"), take: 2 },
        ({ count, key, rows }) => Effect.succeed([key, count, rows.map((row) => row.n)])
      )
      assert.deepStrictEqual(yield* values(parity), [
        ["even", 3, [0, 2]],
        ["odd", 3, [1, 3]]
      ])
      const sum = (of: Node.Node<number>) =>
        Flow.reduce("sum", { n: of }, { initial: () => 0, step: (total, { n }) => total + n })
      assert.deepStrictEqual(yield* values(sum(n)), [15])
      assert.deepStrictEqual(yield* values(sum(numbers(0))), [0])
    })
  )

  it.effect("join rows that come before the table is complete", () =>
    Effect.gen(function* () {
      const n = Source.fromIterable(
        "n",
        Array.from({ length: 100 }, (_, at) => at)
      )
      const names = Source.fromIterable(
        "names",
        Array.from({ length: 100 }, (_, id) => ({ id, name: `name ${id}` }))
      )
      const out: Array<string> = []
      const joined = Flow.map(
        "joined",
        { row: Flow.join("j", { n }, { x: names }, { on: [(n) => n, (x) => x.id] }) },
        ({ row }) => row.x.name
      )
      yield* Runner.run(
        Flow.make("joins", { outputs: [Sink.forEach("out", joined, (name) => Effect.sync(() => void out.push(name)))] })
      )
      assert.deepStrictEqual(
        out,
        Array.from({ length: 100 }, (_, id) => `name ${id}`)
      )
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.effect("join the rows whose keys can be made; the others have failed, on either side", () =>
    Effect.gen(function* () {
      const ids = (name: string, odd: number) =>
        Source.fromIterable(
          name,
          Array.from({ length: 6 }, (_, id) => (id === odd ? { id: undefined } : { id: { n: id } }))
        )
      const key = ({ id }: { readonly id: { readonly n: number } | undefined }) => id!.n
      const out: Array<number> = []
      const joined = Flow.map(
        "joined",
        { row: Flow.join("j", { a: ids("a", 1) }, { b: ids("b", 4) }, { on: [key, key] }) },
        ({ row }) => row.a.id!.n
      )
      const { rows } = yield* Runner.run(
        Flow.make("keys", { outputs: [Sink.forEach("out", joined, (id) => Effect.sync(() => void out.push(id)))] }),
        { errorsFile: join(mkdtempSync(join(tmpdir(), "pipe-keys-")), "errors.jsonl") }
      )
      assert.deepStrictEqual(out, [0, 2, 3, 5])
      assert.strictEqual(rows.failed, 2)
    }).pipe(Effect.provide(Host.layerMemory))
  )

  it.effect("join by key, inner and left, also with groups of the same rows", () =>
    Effect.gen(function* () {
      const names = Source.fromIterable("names", [
        { id: 1, name: "one" },
        { id: 4, name: "four" },
        { id: 4, name: "vier" }
      ])
      const on = [(n: number) => n, (x: { readonly id: number }) => x.id] as const
      const inner = Flow.map(
        "inner",
        { row: Flow.join("j", { n }, { x: names }, { on }) },
        ({ row }) => `${row.n} ${row.x.name}`
      )
      assert.deepStrictEqual(yield* values(inner), ["1 one", "4 four", "4 vier"])
      const left = Flow.map(
        "left",
        { row: Flow.join("j", { n }, { x: names }, { on, type: "left" }) },
        ({ row }) => row.x?.name
      )
      assert.deepStrictEqual(yield* values(left), [undefined, "one", undefined, undefined, "four", "vier", undefined])
      const sizes = Flow.group("sizes", { n }, { by: ({ n }) => String(n % 4) }, ({ count, key }) =>
        Effect.succeed({ id: Number(key), count })
      )
      const own = Flow.map(
        "own",
        { row: Flow.join("j", { n }, { x: sizes }, { on: [(n) => n % 4, (x) => x.id] }) },
        ({ row }) => row.x.count
      )
      assert.deepStrictEqual(yield* values(own), [2, 2, 1, 1, 2, 2])
    })
  )

  it.effect("ask for samples apart from each other", () =>
    Effect.gen(function* () {
      const model = Scripted.make((request) => Scripted.response(`sample ${request.sample}`))
      const three = Flow.step(
        "three",
        { n: numbers(1) },
        () => Effect.map(LanguageModel.generateText({ prompt: "x" }), (r) => r.text),
        { samples: 3 }
      )
      const out: Array<ReadonlyArray<string>> = []
      yield* run(Flow.make("f", { outputs: [collect(three, out)], stack: model.layer }))
      assert.deepStrictEqual(out, [["sample 0", "sample 1", "sample 2"]])
    })
  )

  it("of one name, or that share no rows, are refused with the way out", () => {
    const other = Source.fromIterable("other", [1])
    assert.throws(() => Flow.map("both", { n, other }, () => 0), /no rows in common: join them with Flow.join/)
    assert.throws(
      () =>
        Flow.make("f", {
          outputs: [
            collect(
              Flow.map("n", { n }, ({ n }) => n),
              []
            )
          ]
        }),
      /two nodes named n/
    )
  })

  it.effect("read parameters, checked and with defaults", () =>
    Effect.gen(function* () {
      const times = Parameter.make("times", Schema.Int, { default: 2 })
      const node = Flow.step("node", { n: numbers(2) }, ({ n }) => Effect.map(times, (t) => n * t))
      const out: Array<number> = []
      const flow = Flow.make("f", { parameters: [times], outputs: [collect(node, out)] })
      yield* run(flow)
      yield* run(flow, { parameters: { times: 5 } })
      assert.deepStrictEqual(out, [0, 2, 0, 5])
      assert.include((yield* Effect.flip(run(flow, { parameters: { times: "x" } }))).message, "parameter times")
      assert.include(
        (yield* Effect.flip(run(flow, { parameters: { tims: 1 } }))).message,
        "no parameter tims; it has times"
      )
    })
  )
})

describe("objects", () => {
  const Soup = Schema.Struct({ title: Schema.String, items: Schema.optional(Schema.Array(Schema.String)) })
  /** How an answer to a structured request ends, and in how many requests. */
  const ask = (answers: ReadonlyArray<Parameters<typeof Scripted.response>>) =>
    Effect.gen(function* () {
      const model = Scripted.make((_, index) => Scripted.response(...answers[Math.min(index, answers.length - 1)]!))
      const out: Array<unknown> = []
      const errorsFile = temp()
      const soup = Flow.step("soup", { n: numbers(1) }, () =>
        Effect.map(LanguageModel.generateObject({ schema: Soup, prompt: "soup" }), (r) => r.value)
      )
      yield* run(
        Flow.make("f", {
          outputs: [collect(soup, out)],
          stack: Stack.make(Retry.layer({ attempts: 4, base: 0 }), model.layer)
        }),
        { errorsFile }
      )
      return {
        value: out[0],
        requests: model.requests.length,
        error: out.length > 0 ? undefined : failedRows(errorsFile)[0]
      }
    })

  it.effect(
    "that were cut are an error, whatever of them parses, and are not sent again (mastra#24442, instructor#2232)",
    () =>
      Effect.gen(function* () {
        const { error, requests } = yield* ask([
          ['{"title":"Soup","items":["leek","potato"', { finishReason: "length" }]
        ])
        assert.include(error.message, "truncated at its output limit")
        assert.isAtMost(requests, 2)
      })
  )

  it.effect("are whole top-level values: no piece of broken text, not two values (Calliope#22)", () =>
    Effect.gen(function* () {
      for (const text of ['{"title":[{"n":1},{"n":2,]}', '{"title":"a"}\n{"title":"b"}']) {
        assert.strictEqual((yield* ask([[text]])).error.error, "StructuredOutputError")
      }
    })
  )

  it.effect("that were refused are not sent again (pydantic-ai#4310)", () =>
    Effect.gen(function* () {
      const { error, requests } = yield* ask([["", { refusal: "I can't help with that." }]])
      assert.strictEqual(requests, 1)
      assert.strictEqual(error.error, "ContentPolicyError")
    })
  )

  it.effect("that do not fit are sent again with what was wrong; a fence around them is taken off", () =>
    Effect.gen(function* () {
      const { requests, value } = yield* ask([['{"titel":1}'], ['```json\n{"title":"Leek"}\n```']])
      assert.deepStrictEqual(value, { title: "Leek" })
      assert.strictEqual(requests, 2)
    })
  )
})

describe("events", () => {
  it.effect("begin with RunStarted and end with the summary; each survives its JSON", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() => Scripted.response("x"))
      const events: Array<RunEvent.RunEvent> = []
      const ask = Flow.step("ask", { n: numbers(3) }, ({ n }) =>
        n === 1 ? Effect.fail(refused) : LanguageModel.generateText({ prompt: String(n) })
      )
      const summary = yield* run(Flow.make("f", { outputs: [collect(ask, [])], stack: model.layer }), {
        rowEvents: true,
        observe: (event) => Effect.sync(() => events.push(event))
      })
      assert.strictEqual(events[0]!._tag, "RunStarted")
      assert.deepStrictEqual(events.at(-1), summary)
      for (const event of events) {
        assert.deepStrictEqual(Schema.decodeUnknownSync(RunEvent.RunEvent)(JSON.parse(RunEvent.toJson(event))), event)
      }
      assert.deepStrictEqual(
        events.filter((event) => event._tag === "RowDone").map((event) => [event.row, event.status]),
        [
          [0, "ok"],
          [1, "failed"],
          [2, "ok"]
        ]
      )
    })
  )
})
