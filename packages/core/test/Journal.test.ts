/** What is run again, and what is not: every case of kind `resume`, and the rules of content keys. */
import { assert, describe, it } from "@effect/vitest"
import {
  Cache,
  Flow,
  Ledger,
  ModelClient,
  type ModelRequest,
  type Node,
  Router,
  type RunEvent,
  Runner,
  Sink,
  Source,
  Stack,
  Store
} from "@pipe/core"
import * as StoredValue from "../src/encoding/StoredValue.ts"
import { Fiber, Deferred, Effect, Layer, Logger, Option } from "effect"
import { AiError, EmbeddingModel, LanguageModel } from "effect/ai"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Host from "./Host.ts"
import * as Scripted from "./ScriptedModel.ts"

const folder = () => mkdtempSync(join(tmpdir(), "pipe-journal-"))

/** The last user message of a request: what was sent. */
const asked = (model: Scripted.Scripted) => model.requests.map((request) => Scripted.prompt(request))

const echo = () => Scripted.make((request) => Scripted.response(Scripted.prompt(request).toUpperCase()))

/** Runs a flow over a store file without an exact cache, so that every run of a step's function asks. */
const run = (
  at: string,
  model: Scripted.Scripted,
  output: (collect: (rows: unknown) => void) => ReadonlyArray<Sink.Any>,
  options: Runner.Options & {
    readonly layers?: Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient>
  } = {}
) =>
  Effect.suspend(() => {
    const out: Array<unknown> = []
    const { layers, ...rest } = options
    const flow = Flow.make("test", {
      concurrency: 4,
      outputs: output((row) => void out.push(row)) as ReadonlyArray<Sink.Sink<never, never>>,
      stack: layers === undefined ? model.layer : (Stack.make(layers, model.layer) as never)
    })
    return Runner.run(flow as Flow.Flow, { errorsFile: join(at, "errors.jsonl"), ...rest }).pipe(
      Effect.provide(Host.layer({ store: join(at, "pipe.db") })),
      Effect.map((summary) => ({ summary, out, asked: asked(model) }))
    )
  })

const ask = (prompt: string) => Effect.map(LanguageModel.generateText({ prompt }), (response) => response.text)

const collect = (node: Node.Any) => (push: (row: unknown) => void) =>
  [Sink.forEach("out", node, (row) => Effect.sync(() => push(row)))] as ReadonlyArray<Sink.Any>

const reused = (summary: RunEvent.RunFinished, node: string) => summary.nodes.find(({ name }) => name === node)!.reused

const cache = Cache.layer() as unknown as Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient>

const numbers = (n: number) => Array.from({ length: n }, (_, i) => `row ${i}`)

/** a → b → c → d, one of which may be written otherwise. */
const chain = (changed: string | undefined, rows: ReadonlyArray<string>, steps = ["a", "b", "c", "d"]) => {
  let last: Node.Any = Source.fromIterable("rows", rows)
  for (const name of steps) {
    const input = last
    last =
      name === changed
        ? Flow.step(name, { input }, ({ input }) => ask(`${name}! ${input}`))
        : Flow.step(name, { input }, ({ input }) => ask(`${name} ${input}`))
  }
  return last
}

describe("a run without earlier results", () => {
  it.live("reuses what it has done itself when it is resumed, though the store has older results of the rows", () =>
    Effect.gen(function* () {
      const at = folder()
      const rows = Source.fromIterable("rows", numbers(40))
      const labels = Flow.step("labels", { row: rows }, ({ row }) => ask(row))
      const model = echo()
      yield* run(at, model, collect(labels))
      // The account has credit for thirty calls of the second run.
      const noCredit = AiError.make({ module: "test", method: "send", reason: new AiError.QuotaExhaustedError({}) })
      const cut = Scripted.make((request, index) =>
        index < 30 ? Scripted.response(Scripted.prompt(request)) : noCredit
      )
      const stopped = yield* Effect.flip(run(at, cut, collect(labels), { cache: false, concurrency: 1 }))
      assert.strictEqual(stopped._tag, "RunFailed")
      if (stopped._tag !== "RunFailed") return
      const rest = echo()
      const resumed = yield* run(at, rest, collect(labels), {
        cache: false,
        concurrency: 1,
        resume: stopped.summary.run
      })
      assert.deepStrictEqual(resumed.asked, numbers(40).slice(30))
    })
  )
})

describe("a run that is done again", () => {
  it.live("runs nothing, and gives the same", () =>
    Effect.gen(function* () {
      const at = folder()
      const first = yield* run(at, echo(), collect(chain(undefined, numbers(20))))
      const again = yield* run(at, echo(), collect(chain(undefined, numbers(20))))
      assert.strictEqual(first.asked.length, 80)
      assert.deepStrictEqual(again.asked, [])
      assert.deepStrictEqual(again.out, first.out)
      assert.strictEqual(reused(again.summary, "d"), 20)
    })
  )

  it.live("runs a changed step and what comes after it (distilabel#766)", () =>
    Effect.gen(function* () {
      const at = folder()
      yield* run(at, echo(), collect(chain(undefined, numbers(3))))
      const { asked, summary } = yield* run(at, echo(), collect(chain("c", numbers(3))))
      assert.deepStrictEqual(new Set(asked.map((text) => text.split(" ")[0])), new Set(["c!", "d"]))
      assert.strictEqual(asked.length, 6)
      assert.deepStrictEqual(
        ["a", "b", "c", "d"].map((name) => reused(summary, name)),
        [3, 3, 0, 0]
      )
    })
  )

  it.effect("computes again what has expired, also where the store has read it ahead", () => {
    const model = echo()
    const n = Source.fromIterable("n", numbers(5))
    const step = Flow.step("step", { n }, ({ n }) => ask(n))
    const flow = Flow.make("test", {
      outputs: [Sink.forEach("out", { step }, () => Effect.void)],
      stack: Stack.make(Ledger.layer, Cache.layer({ timeToLive: "1 hour" }), model.layer)
    })
    return Effect.gen(function* () {
      const counts: Array<number> = []
      for (const wait of ["59 minutes", "2 minutes", "1 minute"] as const) {
        yield* Runner.run(flow, { errorsFile: false })
        counts.push(model.requests.length)
        yield* TestClock.adjust(wait)
      }
      yield* Runner.run(flow, { errorsFile: false })
      assert.deepStrictEqual([...counts, model.requests.length], [5, 5, 10, 10])
    }).pipe(Effect.provide(Host.layerMemory))
  })

  it.live("runs only a step that was added (distilabel#790)", () =>
    Effect.gen(function* () {
      const at = folder()
      yield* run(at, echo(), collect(chain(undefined, numbers(3), ["a", "b", "c"])))
      const { asked } = yield* run(at, echo(), collect(chain(undefined, numbers(3))))
      assert.deepStrictEqual(
        asked.map((text) => text.split(" ")[0]),
        ["d", "d", "d"]
      )
    })
  )

  it.live("runs the 10 rows that were added to 1,000, wherever they stand (curator#143)", () =>
    Effect.gen(function* () {
      const at = folder()
      yield* run(at, echo(), collect(chain(undefined, numbers(1_000), ["a"])))
      const more = [
        ...Array.from({ length: 5 }, (_, i) => `first ${i}`),
        ...numbers(1_000),
        ...Array.from({ length: 5 }, (_, i) => `last ${i}`)
      ]
      const { asked, out } = yield* run(at, echo(), collect(chain(undefined, more, ["a"])))
      assert.strictEqual(asked.length, 10)
      assert.deepStrictEqual(
        out,
        more.map((text) => `a ${text}`.toUpperCase())
      )
    })
  )

  it.live("finds rows by content, not by place, and runs failed ones again (promptfoo#7606)", () =>
    Effect.gen(function* () {
      const at = folder()
      const failing = Scripted.make((request) =>
        Scripted.prompt(request).includes("r2") ? Scripted.broken("down") : Scripted.response("ok")
      )
      const first = yield* run(at, failing, collect(chain(undefined, ["r1", "r2", "r3"], ["a"])))
      assert.strictEqual(first.summary.rows.failed, 1)
      const { asked } = yield* run(at, echo(), collect(chain(undefined, ["r3", "r0", "r2", "r1"], ["a"])))
      assert.deepStrictEqual(asked.sort(), ["a r0", "a r2"])
    })
  )

  it.live("runs no row when only a reduce has changed", () =>
    Effect.gen(function* () {
      const at = folder()
      const rows = Source.fromIterable("rows", numbers(50))
      const label = () => Flow.step("label", { row: rows }, ({ row }) => ask(row))
      const total = (step: (state: number, text: string) => number) =>
        Flow.reduce("total", { text: label() }, { initial: () => 0, step: (state, { text }) => step(state, text) })
      yield* run(at, echo(), collect(total((n) => n + 1)))
      const { asked, out } = yield* run(at, echo(), collect(total((n, text) => n + text.length)))
      assert.deepStrictEqual(asked, [])
      assert.deepStrictEqual(out, [numbers(50).join("").length])
    })
  )

  it.live(
    "asks nothing when only what is done with the answer has changed, where answers are cached (curator#408)",
    () =>
      Effect.gen(function* () {
        const { Cache } = yield* Effect.promise(() => import("@pipe/core"))
        const at = folder()
        const rows = Source.fromIterable("rows", numbers(5))
        const layers = Cache.layer() as never
        yield* run(
          at,
          echo(),
          collect(Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), (text) => text.length))),
          { layers }
        )
        const { asked, out } = yield* run(
          at,
          echo(),
          collect(Flow.step("a", { row: rows }, ({ row }) => Effect.map(ask(row), (text) => text.slice(0, 3)))),
          { layers }
        )
        assert.deepStrictEqual(asked, [])
        assert.deepStrictEqual(out, ["ROW", "ROW", "ROW", "ROW", "ROW"])
      })
  )

  it.live("notices that a step asks something else, though its source is the same (curator#127, quodeq#291)", () =>
    Effect.gen(function* () {
      const at = folder()
      // As with a template in a file: the function's text does not show it.
      const step = (template: string) =>
        Flow.step("a", { row: Source.fromIterable("rows", numbers(8)) }, ({ row }) => ask(template + row))
      yield* run(at, echo(), collect(step("Sum up: ")))
      const { asked, out } = yield* run(at, echo(), collect(step("Sum up in 5 words: ")))
      assert.strictEqual(asked.length, 8)
      assert.strictEqual(out[0], "SUM UP IN 5 WORDS: ROW 0")
      // Both wordings are kept.
      assert.deepStrictEqual((yield* run(at, echo(), collect(step("Sum up: ")))).asked, [])
      assert.deepStrictEqual((yield* run(at, echo(), collect(step("Sum up in 5 words: ")))).asked, [])
    })
  )

  it.live("takes rows over though a step never asks the same twice", () =>
    Effect.gen(function* () {
      const at = folder()
      let n = 0
      const step = () =>
        Flow.step("a", { row: Source.fromIterable("rows", numbers(8)) }, ({ row }) => ask(`${row} ${n++}`))
      yield* run(at, echo(), collect(step()))
      assert.deepStrictEqual((yield* run(at, echo(), collect(step()))).asked, [])
    })
  )

  it.live("runs a step again whose version, model, settings or stack has changed", () =>
    Effect.gen(function* () {
      const at = folder()
      const step = (policy: Node.NodePolicy) =>
        collect(Flow.step("a", { row: Source.fromIterable("rows", numbers(2)) }, ({ row }) => ask(row), policy))
      yield* run(at, echo(), step({}))
      for (const policy of [{ version: "2" }, { model: "gpt-4o" }, { settings: { temperature: 1 } }]) {
        assert.strictEqual((yield* run(at, echo(), step(policy))).asked.length, 2, JSON.stringify(policy))
        assert.strictEqual((yield* run(at, echo(), step(policy))).asked.length, 0, JSON.stringify(policy))
      }
      const layers = ModelClient.mapRequest((request) => ({ ...request, model: "gpt-4.1" })) as never
      assert.strictEqual((yield* run(at, echo(), step({}), { layers })).asked.length, 2)
    })
  )

  const equal = ["x", "y", "x", "x", "y"]
  /** Answers that differ each time, as those of a model at a temperature do. */
  const varied = () => Scripted.make((request, index) => Scripted.response(`${Scripted.prompt(request)} ${index}`))

  it.live("computes equal rows once where a cache gives them one answer, or the temperature is 0 (C5)", () =>
    Effect.gen(function* () {
      const cached = yield* run(folder(), varied(), collect(chain(undefined, equal, ["a"])), { layers: cache })
      assert.strictEqual(cached.asked.length, 2)
      const cold = (rows: ReadonlyArray<string>) =>
        Flow.step("a", { row: Source.fromIterable("rows", rows) }, ({ row }) => ask(row), {
          settings: { temperature: 0 }
        })
      const once = yield* run(folder(), varied(), collect(cold(equal)))
      assert.strictEqual(once.asked.length, 2)
      assert.strictEqual(new Set(once.out).size, 2)
    })
  )

  it.live("gives equal rows an answer each elsewhere, and every one its own again in later runs (C5)", () =>
    Effect.gen(function* () {
      const at = folder()
      const first = yield* run(at, varied(), collect(chain(undefined, equal, ["a", "b"])))
      assert.strictEqual(first.asked.length, 10)
      assert.strictEqual(new Set(first.out).size, 5)
      const again = yield* run(at, varied(), collect(chain(undefined, equal, ["a", "b"])))
      assert.deepStrictEqual(again.asked, [])
      assert.deepStrictEqual(new Set(again.out as ReadonlyArray<string>), new Set(first.out as ReadonlyArray<string>))
      // One more of a kind is one more call of each step.
      const more = yield* run(at, varied(), collect(chain(undefined, ["x", ...equal], ["a", "b"])))
      assert.strictEqual(more.asked.length, 2)
      // --no-cache: nothing is shared.
      const none = yield* run(at, varied(), collect(chain(undefined, equal, ["a"])), { cache: false, layers: cache })
      assert.strictEqual(none.asked.length, 5)
      assert.strictEqual(new Set(none.out).size, 5)
    })
  )

  it.live("says what a result that cannot be kept costs again: an answer of the cache, or a call", () =>
    Effect.gen(function* () {
      class Answer {
        readonly text: string
        constructor(text: string) {
          this.text = text
        }
      }
      for (const [layers, words] of [
        [undefined, "and their calls are paid again"],
        [Cache.layer().pipe(Layer.provide(Store.layerCache)) as never, "with answers from the cache"]
      ] as const) {
        const said: Array<string> = []
        const rows = Source.fromIterable("rows", ["a"])
        const made = Flow.step("made", { rows }, ({ rows }) => Effect.map(ask(rows), (text) => new Answer(text)))
        yield* run(
          folder(),
          echo(),
          (collect) => [Sink.forEach("out", made, (row) => Effect.sync(() => collect(row)))],
          {
            ...(layers === undefined ? undefined : { layers })
          }
        ).pipe(
          Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void said.push(String(message)))]))
        )
        assert.include(said.join("\n"), words)
      }
    })
  )

  it.live("keeps each sample under its number (promptfoo#360, #1431)", () =>
    Effect.gen(function* () {
      const at = folder()
      const model = () => Scripted.make((request, index) => Scripted.response(`${request.sample}/${index}`))
      const step = (samples: number) =>
        collect(Flow.step("a", { row: Source.fromIterable("rows", ["x"]) }, ({ row }) => ask(row), { samples }))
      const first = yield* run(at, model(), step(5))
      assert.strictEqual(new Set(first.out[0] as Array<string>).size, 5)
      const again = yield* run(at, model(), step(5))
      assert.deepStrictEqual(again.asked, [])
      assert.deepStrictEqual(again.out, first.out)
      // Two more are two more calls.
      assert.strictEqual((yield* run(at, model(), step(7))).asked.length, 2)
    })
  )

  it.live("uses nothing of other runs without the cache", () =>
    Effect.gen(function* () {
      const at = folder()
      yield* run(at, echo(), collect(chain(undefined, numbers(3), ["a"])))
      assert.strictEqual(
        (yield* run(at, echo(), collect(chain(undefined, numbers(3), ["a"])), { cache: false })).asked.length,
        3
      )
    })
  )

  it.live("says why a row was not reused", () =>
    Effect.gen(function* () {
      const at = folder()
      const why = (node: Node.Any) =>
        Effect.suspend(() => {
          const reasons: Array<string> = []
          return Effect.as(
            run(at, echo(), collect(node), {
              explain: true,
              observe: (event) =>
                Effect.sync(
                  () => event._tag === "RowMissing" && reasons.push(`${event.node} ${event.position}: ${event.reason}`)
                )
            }),
            reasons
          )
        })
      assert.deepStrictEqual(yield* why(chain(undefined, ["x"], ["a"])), ["a rows[0]: step a has not run before"])
      assert.include((yield* why(chain(undefined, ["x", "z"], ["a"])))[0], "a rows[1]: no earlier run had these inputs")
      assert.deepStrictEqual(yield* why(chain("a", ["x"], ["a"])), ["a rows[0]: step a has other code"])
      // The last run has the same code: only what differs from it counts (B16).
      assert.deepStrictEqual(yield* why(chain("a", ["y"], ["a"])), [
        "a rows[0]: no earlier run had these inputs: the row is new, it or its inputs have changed, or it failed"
      ])
    })
  )
})

describe("an unchanged run that is done again", () => {
  it.live("asks nothing where a router goes by the row", () =>
    Effect.gen(function* () {
      const at = folder()
      const rows = Source.fromIterable("rows", [
        { n: 1, strong: true },
        { n: 2, strong: false }
      ])
      const reply = Flow.step("reply", { row: rows }, ({ row }) => ask(`say ${row.n}`))
      const layers = Router.layer({ cheap: "cheap", strong: "strong", when: Router.where(({ row }) => row.strong) })
      for (const asks of [2, 0, 0]) {
        const model = echo()
        const { asked, out } = yield* run(at, model, collect(reply), { layers })
        assert.strictEqual(asked.length, asks)
        assert.deepStrictEqual(out, ["SAY 1", "SAY 2"])
        if (asks > 0)
          assert.sameMembers(
            model.requests.map(({ model }) => model),
            ["strong", "cheap"]
          )
      }
    })
  )

  it.live("embeds nothing, whichever texts went together", () =>
    Effect.gen(function* () {
      const at = folder()
      const texts = Source.fromIterable("texts", numbers(30))
      const vector = Flow.step("vector", { text: texts }, ({ text }) =>
        Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) =>
          Effect.map(model.embed(text), ({ vector }) => vector.length)
        )
      )
      let requests = 0
      const model = Layer.succeed(
        ModelClient.ModelClient,
        ModelClient.provider({
          name: "openai",
          send: ((request: ModelRequest.Embedding) =>
            Effect.sync(() => {
              requests++
              return {
                _tag: "EmbeddingResponse",
                provider: "openai",
                model: "text-embedding-3-small",
                requestedModel: "text-embedding-3-small",
                origin: "provider",
                vectors: request.inputs.map(() => [1, 2, 3])
              }
            })) as unknown as ModelClient.Send
        })
      )
      const once = () => run(at, { requests: [], layer: model }, collect(vector))
      assert.deepStrictEqual(
        (yield* once()).out,
        numbers(30).map(() => 3)
      )
      const first = requests
      assert.isAtMost(first, 8)
      for (let i = 0; i < 3; i++) assert.strictEqual((yield* once()).out.length, 30)
      assert.strictEqual(requests, first)
    })
  )

  it.live("notices that a step's second call asks something else", () =>
    Effect.gen(function* () {
      const at = folder()
      let second = "and then"
      const node = Flow.step("a", { row: Source.fromIterable("rows", numbers(5)) }, ({ row }) =>
        Effect.flatMap(ask(`first ${row}`), (answer) => ask(`${second} ${answer}`))
      )
      const before = yield* run(at, echo(), collect(node))
      assert.strictEqual(before.asked.length, 10)
      assert.strictEqual((yield* run(at, echo(), collect(node))).asked.length, 0)
      second = "now"
      const after = yield* run(at, echo(), collect(node))
      assert.strictEqual(after.asked.length, 10)
      assert.deepStrictEqual(after.out[0], "NOW FIRST ROW 0")
    })
  )

  it.live("runs no row again whose condition has changed, but those that it lets in", () =>
    Effect.gen(function* () {
      const at = folder()
      const n = Source.fromIterable("n", [1, 2, 3, 4])
      const step = (when: (values: { readonly n: number }) => boolean) =>
        collect(Flow.step("a", { n }, ({ n }) => ask(`say ${n}`), { when }))
      assert.deepStrictEqual(
        (yield* run(
          at,
          echo(),
          step(({ n }) => n > 2)
        )).asked,
        ["say 3", "say 4"]
      )
      assert.deepStrictEqual(
        (yield* run(
          at,
          echo(),
          step(({ n }) => n > 1)
        )).asked,
        ["say 2"]
      )
    })
  )

  it.live("leaves what is looked up whole under a limit, so that its rows are reused", () =>
    Effect.gen(function* () {
      const at = folder()
      const corpus = Flow.step("read", { text: Source.fromIterable("corpus", numbers(6)) }, ({ text }) =>
        ask(`read ${text}`)
      )
      const all = Flow.group("all", { text: corpus }, { by: () => "all" }, ({ rows }) =>
        Effect.succeed(rows.map(({ text }) => text))
      )
      const question = Source.fromIterable("questions", ["q1", "q2", "q3"])
      const found = Flow.join("found", { question }, { all }, { on: [() => "all", () => "all"] })
      const answer = Flow.step("answer", { found }, ({ found }) => ask(`${found.question} of ${found.all.length}`))
      const limited = yield* run(at, echo(), collect(answer), { limit: 1 })
      assert.deepStrictEqual(limited.out, ["Q1 OF 6"])
      assert.strictEqual((yield* run(at, echo(), collect(answer))).asked.length, 2)
    })
  )
})

describe("a store that is damaged", () => {
  for (const [name, sql] of [
    ["is no JSON", "UPDATE results SET value = 'x' WHERE id IN (2, 3)"],
    ["says something else", "UPDATE results SET value = '\"other\"' WHERE id IN (2, 3)"],
    // A version before checksums has written it.
    ["is no JSON, without a checksum", "UPDATE results SET value = '{', checksum = NULL WHERE id IN (2, 3)"]
  ] as const) {
    it.live(`computes a result again that ${name}`, () =>
      Effect.gen(function* () {
        const at = folder()
        const output = collect(chain(undefined, numbers(4), ["a"]))
        const before = yield* run(at, echo(), output)
        const db = new DatabaseSync(join(at, "pipe.db"))
        db.exec(sql)
        db.close()
        const after = yield* run(at, echo(), output)
        assert.deepStrictEqual(after.out, before.out)
        assert.strictEqual(after.asked.length, 2)
      })
    )
  }
})

describe("a run that is resumed", () => {
  it.live("runs the step that failed with the input that was kept, and no other (mastra#4630, #16051)", () =>
    Effect.gen(function* () {
      const at = folder()
      const nodes = () => chain(undefined, ["x"], ["s1", "s2", "s3"])
      const reached = yield* Deferred.make<void>()
      const hanging = Scripted.make((request) =>
        Scripted.prompt(request).startsWith("s3")
          ? Effect.andThen(Deferred.succeed(reached, undefined), Effect.never)
          : Scripted.response(`<${Scripted.prompt(request)}>`)
      )
      const fiber = yield* Effect.forkChild(run(at, hanging, collect(nodes())))
      yield* Deferred.await(reached)
      yield* Fiber.interrupt(fiber)
      const last = yield* lastRun(at)
      assert.strictEqual(last.status, "interrupted")
      const { asked, summary } = yield* run(at, echo(), collect(nodes()), { resume: last.name })
      assert.deepStrictEqual(asked, ["s3 <s2 <s1 x>>"])
      assert.strictEqual(summary.run, last.name)
      assert.strictEqual(summary.try, 2)
    })
  )

  it.live("has the ledger of all its tries (curator#287, #196)", () =>
    Effect.gen(function* () {
      const at = folder()
      const { Ledger } = yield* Effect.promise(() => import("@pipe/core"))
      const layers = Ledger.layer as never
      const crashing = Scripted.make((request) =>
        Scripted.prompt(request) === "a row 2" ? Effect.interrupt : Scripted.response("ok")
      )
      yield* Effect.exit(run(at, crashing, collect(chain(undefined, numbers(3), ["a"])), { layers, concurrency: 1 }))
      const last = yield* lastRun(at)
      const { summary } = yield* run(at, echo(), collect(chain(undefined, numbers(3), ["a"])), {
        layers,
        resume: last.name
      })
      const whole = yield* run(folder(), echo(), collect(chain(undefined, numbers(3), ["a"])), { layers })
      // Two answers before, one cut call as an estimate, one answer now.
      assert.strictEqual(summary.calls.attempts, 4)
      assert.strictEqual(summary.estimatedCalls, 1)
      assert.strictEqual(summary.cost - summary.estimatedCost, whole.summary.cost)
      assert.deepStrictEqual(
        summary.nodes.find(({ name }) => name === "a"),
        { name: "a", kind: "Step", running: 0, done: 3, reused: 2, failed: 0, skipped: 0, total: 3 }
      )
    })
  )

  it.live("is refused to a second who wants the same (mastra#20443)", () =>
    Effect.gen(function* () {
      const at = folder()
      const asked = yield* Deferred.make<void>()
      const refused = yield* Deferred.make<void>()
      const slow = Scripted.make(() =>
        Deferred.succeed(asked, undefined).pipe(
          Effect.andThen(Deferred.await(refused)),
          Effect.as(Scripted.response("ok"))
        )
      )
      yield* Effect.exit(
        run(
          at,
          Scripted.make(() => Effect.interrupt),
          collect(chain(undefined, ["x"], ["a"]))
        )
      )
      const { name } = yield* lastRun(at)
      const both = yield* Effect.all(
        [
          Effect.result(run(at, slow, collect(chain(undefined, ["x"], ["a"])), { resume: name })),
          Deferred.await(asked).pipe(
            Effect.andThen(run(at, slow, collect(chain(undefined, ["x"], ["a"])), { resume: name })),
            Effect.result,
            Effect.ensuring(Deferred.succeed(refused, undefined))
          )
        ],
        { concurrency: 2 }
      )
      assert.strictEqual(both[0]._tag, "Success")
      assert.strictEqual(both[1]._tag, "Failure")
      if (both[1]._tag === "Failure") assert.include(both[1].failure.message, "is active already")
    })
  )

  it.live("writes its outputs again: half a line of a crash is not built upon (verifiers#803)", () =>
    Effect.gen(function* () {
      const at = folder()
      const file = join(at, "out.jsonl")
      const flow = () => (_: unknown) =>
        [Sink.jsonl(file, chain(undefined, ["r1", "r2"], ["a"]))] as unknown as ReadonlyArray<Sink.Any>
      yield* run(
        at,
        echo(),
        (_) =>
          [Sink.jsonl(join(at, "other.jsonl"), chain(undefined, ["r1"], ["a"]))] as unknown as ReadonlyArray<Sink.Any>
      )
      writeFileSync(`${file}.partial`, '"A R1"\n"A R')
      const { asked } = yield* run(at, echo(), flow())
      assert.deepStrictEqual(asked, ["a r2"])
      assert.strictEqual(readFileSync(file, "utf8"), '"A R1"\n"A R2"\n')
      assert.isFalse(existsSync(`${file}.partial`))
    })
  )
})

const lastRun = (at: string) =>
  Effect.flatMap(Store.Store, (store) => store.runs.find(undefined)).pipe(
    Effect.provide(Layer.fresh(Host.existingStore(join(at, "pipe.db"))))
  )

describe("kept values", () => {
  const plain = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.constant(undefined),
    fc.bigInt(),
    fc.date({ noInvalidDate: false }),
    fc.uint8Array(),
    fc.webUrl().map((url) => new URL(url))
  )
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      plain,
      tie("list"),
      tie("record"),
      tie("map"),
      tie("set"),
      tie("option")
    ),
    list: fc.array(tie("value")),
    record: fc.dictionary(
      fc.oneof(fc.string(), fc.constant("~")).filter((key) => !(key in {})),
      tie("value"),
      { noNullPrototype: true }
    ),
    map: fc.array(fc.tuple(fc.string(), tie("value"))).map((entries) => new Map(entries)),
    set: fc.array(fc.string()).map((items) => new Set(items)),
    option: tie("value").map((inner) => Option.some(inner))
  }))

  it("come back as they went", () => {
    fc.assert(
      fc.property(value, (kept) => {
        const text = StoredValue.encode(kept)
        assert.isDefined(text)
        assert.deepStrictEqual(StoredValue.decode(text!), Option.some(kept))
      }),
      { numRuns: 2_000 }
    )
  })

  it("are told apart, whatever the order of their fields", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), value), (record) => {
        const shuffled = Object.fromEntries(Object.entries(record).reverse())
        assert.strictEqual(StoredValue.canonical(shuffled), StoredValue.canonical(record))
      })
    )
    assert.notStrictEqual(StoredValue.canonical(new Date(0)), StoredValue.canonical(new Date(1)))
    assert.notStrictEqual(StoredValue.canonical({ a: undefined }), StoredValue.canonical({}))
    assert.notStrictEqual(StoredValue.canonical(new Map([["a", 1]])), StoredValue.canonical({ a: 1 }))
    assert.notStrictEqual(StoredValue.canonical(1n), StoredValue.canonical(1))
  })

  it("are told apart in large parts too, whose content is read once for all rows that share them (B1)", () => {
    const large = (seed: number, last: unknown) => [...Array.from({ length: 5_000 }, (_, at) => at * seed), last]
    fc.assert(
      fc.property(fc.integer(), fc.integer(), fc.dictionary(fc.string(), value), (seed, other, record) => {
        const [one, same] = [
          { list: large(seed, record), row: 1 },
          { row: 1, list: large(seed, { ...record }) }
        ]
        assert.strictEqual(StoredValue.content(one), StoredValue.content(same))
        assert.strictEqual(StoredValue.content(one), StoredValue.content(one))
        assert.strictEqual(
          StoredValue.content({ list: large(seed, record), row: 1 })
            === StoredValue.content({ list: large(other, record), row: 1 }),
          seed === other
        )
        assert.notStrictEqual(StoredValue.content(one), StoredValue.content({ ...one, row: 2 }))
        assert.strictEqual(StoredValue.content(record), StoredValue.canonical(record))
      }),
      { numRuns: 50 }
    )
    let reads = 0
    const shared = Array.from({ length: 5_000 }, (_, at) => at)
    const right = Object.defineProperty([...shared], 17, { enumerable: true, get: () => ++reads && 17 })
    const counted = { pair: { right } }
    StoredValue.share(right)
    for (let row = 0; row < 100; row++) StoredValue.content({ row, ...counted })
    assert.isBelow(reads, 10)
  })

  it("leave out what would come back as something else", () => {
    class Point {
      readonly x = 1
    }
    for (const given of [new Point(), () => 1, Symbol("s"), { deep: [new Point()] }])
      assert.isUndefined(StoredValue.encode(given))
  })
})
