/** Runs whose rows several processes compute: the outputs, the failed rows, the bill and the limits are those of one process. */
import { assert, describe, it } from "@effect/vitest"
import { Budget, Cache, Flow, Ledger, RateLimit, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Deferred, Effect, Exit, Fiber, Layer, Logger } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Servers from "../../../test/Servers.ts"
import { open } from "./StoreContract.ts"
import * as Wire from "./Wire.ts"
import * as Soak from "../../../test/Soak.ts"

const billed = (simulator: Simulator.Simulator): bigint =>
  simulator.bill().reduce((sum, { input, output }) => sum + 150_000n * BigInt(input) + 600_000n * BigInt(output), 0n)

const ask = (prompt: string) => Effect.map(LanguageModel.generateText({ prompt }), ({ text }) => text)

const provider = (simulator: Pick<Simulator.Simulator, "openAiUrl">, apiKey = "none") =>
  OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey })

/** An answer of a server that is not the simulator. */
const completion: Wire.Reply = {
  body: {
    id: "r",
    object: "chat.completion",
    created: 0,
    model: "gpt-4o-mini",
    choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "ok" } }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 }
  }
}

/** Every kind of node: steps that depend on each other, a filter, an expansion, groups with calls, a join, failing rows. */
const everyKind = (simulator: Simulator.Simulator, out: { labels: Array<string>; words: Array<string> }) => {
  const order = Source.fromIterable(
    "orders",
    Array.from({ length: 120 }, (_, n) => ({ id: n, customer: `c${n % 7}`, text: `order ${n}` }))
  )
  const customer = Source.fromIterable(
    "customers",
    Array.from({ length: 7 }, (_, n) => ({ key: `c${n}`, name: `Customer ${n}` }))
  )
  const kept = Flow.filter("kept", { order }, ({ order }) =>
    Effect.map(ask(`keep ${order.text}?`), () => order.id % 5 !== 0)
  )
  const joined = Flow.join("joined", { kept }, { customer }, { on: [({ order }) => order.customer, ({ key }) => key] })
  const label = Flow.step("label", { joined }, ({ joined }) =>
    joined.kept.order.id % 11 === 3
      ? Effect.fail(new Error(`no label for ${joined.kept.order.id}`))
      : ask(`label ${joined.kept.order.text} of ${joined.customer.name}`)
  )
  const words = Flow.expand("words", { label }, ({ label }) => label.split(" ").slice(0, 2))
  const loud = Flow.step("loud", { words, joined }, ({ joined, words }) => ask(`${words} of ${joined.customer.name}`))
  return Flow.make("every-kind", {
    outputs: [
      Sink.forEach("out", { joined, label }, (row) => Effect.sync(() => void out.labels.push(JSON.stringify(row)))),
      Sink.forEach("loud", { words, loud }, (row) => Effect.sync(() => void out.words.push(JSON.stringify(row))))
    ],
    concurrency: 8,
    allowFailedRows: 1_000,
    stopAfterFailedRows: 1_000,
    stack: Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), provider(simulator))
  })
}

const simple = (
  simulator: Pick<Simulator.Simulator, "openAiUrl">,
  out: Array<string>,
  options: { readonly rows: number; readonly rate?: number; readonly prompt?: string; readonly apiKey?: string }
) => {
  const row = Source.fromIterable(
    "rows",
    Array.from({ length: options.rows }, (_, n) => `row ${n}`)
  )
  const text = Flow.step("text", { row }, ({ row }) => ask(`${options.prompt ?? "say"} ${row}`))
  const stack =
    options.rate === undefined
      ? Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), provider(simulator, options.apiKey))
      : Stack.make(
          Ledger.layer,
          Cache.layer(),
          Retry.layer(),
          RateLimit.layer({ requestsPerMinute: options.rate }),
          provider(simulator)
        )
  return Flow.make("simple", {
    outputs: [Sink.forEach("out", { row, text }, (row) => Effect.sync(() => void out.push(JSON.stringify(row))))],
    concurrency: 8,
    stack
  })
}

const host = (store: string) => Layer.fresh(NodeHost.layer({ store }))

/** Starts workers, as other processes would; each ends when its fiber is interrupted. */
const workers = <E>(flow: () => Flow.Flow<E>, store: string, count: number, options: Runner.WorkOptions = {}) =>
  Effect.forEach(Array.from({ length: count }), () =>
    Effect.forkScoped(Runner.work(flow(), options).pipe(Effect.provide(host(store))))
  )

describe.skipIf(!Servers.hasPostgres)("a run with workers", () => {
  it.live(
    "gives the outputs, the failed rows and the bill of one process",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const folder = mkdtempSync(join(tmpdir(), "pipe-workers-"))
        const run = (name: string, more: Runner.Options) =>
          Effect.gen(function* () {
            const simulator = yield* Simulator.start({ latency: "10 millis" })
            const out = { labels: [], words: [] }
            const store = more.workers === true ? url : join(folder, "pipe.db")
            if (more.workers === true) yield* workers(() => everyKind(simulator, { labels: [], words: [] }), url, 3)
            const errorsFile = join(folder, `${name}.jsonl`)
            const { calls, cost, nodes, rows } = yield* Runner.run(everyKind(simulator, out), {
              errorsFile,
              ...more
            }).pipe(Effect.provide(host(store)))
            assert.strictEqual(cost, billed(simulator))
            const { answers, attempts } = calls
            // Which of two equal calls waits for the other is a matter of time.
            const counts = { attempts, paid: answers.provider, again: answers.cache + answers.shared }
            return {
              out,
              rows,
              counts,
              cost,
              // Rows are written as they fail.
              errors: readFileSync(errorsFile, "utf8").split("\n").sort(),
              nodes,
              requests: simulator.requests()
            }
          }).pipe(Effect.scoped)
        const one = yield* run("one", {})
        const many = yield* run("many", { workers: true })
        assert.deepStrictEqual(many, one)
        assert.isAbove(one.rows.failed, 0)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live.skipIf(!Soak.isSoak)(
    "keeps its budget over all processes, and uses nearly all of it",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const simulator = yield* Simulator.start({ latency: "5 millis" })
        const flow = () => simple(simulator, [], { rows: 800 })
        yield* workers(flow, url, 3)
        const exit = yield* Effect.exit(
          Runner.run(flow(), { workers: true, errorsFile: false, budget: { usd: "0.004" } }).pipe(
            Effect.provide(host(url))
          )
        )
        assert.include(
          String(Exit.isFailure(exit) ? exit.cause : ""),
          "the budget of $0.004 is spent by the processes of the run"
        )
        // Calls of workers that were in flight have ended.
        yield* Effect.sleep(500)
        const bill = billed(simulator)
        assert.isTrue(bill <= 4_000_000_000n, String(bill))
        assert.isTrue(bill >= 3_600_000_000n, String(bill))
        const costs = yield* open(url, (store) => store.ledger.costs([1]))
        assert.strictEqual(costs.get(1)!.cost, bill)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "keeps one rate limit over all processes",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const simulator = yield* Simulator.start({ latency: "1 millis" })
        // Twelve at once, then about ten a second.
        const flow = () => simple(simulator, [], { rows: 40, rate: 600 })
        yield* workers(flow, url, 3)
        const started = Date.now()
        yield* Runner.run(flow(), { workers: true, errorsFile: false }).pipe(Effect.provide(host(url)))
        assert.strictEqual(simulator.requests(), 40)
        // The last 28 wait for 2.9 s; with a bucket of its own each process would be done in 0.2 s.
        assert.isAbove(Date.now() - started, 2_500)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "pauses all processes when the provider refuses a call of one",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const at: Array<number> = []
        const server = yield* Wire.serve((_, index) => {
          at.push(Date.now())
          return index === 0
            ? { status: 429, headers: { "retry-after": "4" }, body: { error: { message: "slow down" } } }
            : completion
        })
        const flow = () => simple({ openAiUrl: `${server.url}/v1` }, [], { rows: 4, rate: 60 })
        yield* workers(flow, url, 2)
        const summary = yield* Runner.run(flow(), { workers: true, errorsFile: false }).pipe(Effect.provide(host(url)))
        assert.strictEqual(summary.rows.failed, 0)
        // At 60 a minute another process would send its call after a second.
        const [first, second] = at
        assert.isAtLeast(second! - first!, 3_900)
        assert.lengthOf(at, 5)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live.skipIf(!Soak.isSoak)(
    "continues without a worker whose key is refused, and says so",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const server: Wire.Served = yield* Wire.serve((_, index) =>
          server.seen[index]!.headers.authorization === "Bearer revoked"
            ? { status: 401, body: { error: { message: "Incorrect API key provided", code: "invalid_api_key" } } }
            : completion
        )
        const of = (apiKey: string, out: Array<string> = []) =>
          simple({ openAiUrl: `${server.url}/v1` }, out, { rows: 40, apiKey })
        const warnings: Array<string> = []
        const logger = Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))
        const notices: Array<string> = []
        yield* workers(() => of("revoked"), url, 1, {
          onNotice: (text) => Effect.sync(() => void notices.push(text))
        })
        const refused = /worker .* gets no rows of this run: step text: .*Incorrect API key provided/
        const out: Array<string> = []
        const run = yield* Effect.forkScoped(
          Runner.run(of("valid", out), { workers: true, errorsFile: false }).pipe(
            Effect.provide(host(url)),
            Effect.provide(Logger.layer([logger]))
          )
        )
        yield* Effect.repeat(Effect.sleep(20), { until: () => refused.test(warnings.join("\n")) })
        yield* workers(() => of("valid"), url, 1)
        const summary = yield* Fiber.join(run)
        assert.deepStrictEqual([summary.status, summary.rows.failed, out.length], ["done", 0, 40])
        assert.isTrue(notices.some((text) => text.includes("Incorrect API key provided")))
      }).pipe(Effect.scoped),
    60_000
  )

  it.live.skipIf(!Soak.isSoak)(
    "gives no rows to a worker with other code, and says what differs; without workers it computes them itself",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const simulator = yield* Simulator.start()
        const warnings: Array<string> = []
        const logger = Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))
        const notices: Array<string> = []
        yield* workers(() => simple(simulator, [], { rows: 10, prompt: "shout" }), url, 1, {
          onNotice: (text) => Effect.sync(() => void notices.push(text))
        })
        const out: Array<string> = []
        const summary = yield* Runner.run(simple(simulator, out, { rows: 10, prompt: "say" }), {
          workers: true,
          errorsFile: false
        }).pipe(Effect.provide(host(url)), Effect.provide(Logger.layer([logger])))
        assert.strictEqual(summary.status, "done")
        assert.lengthOf(out, 10)
        assert.match(notices.join("\n"), /run \S+: other code: step text captures other values \(/)
        assert.isTrue(
          warnings.some((text) =>
            /^worker .* gets no rows of this run: other code: step text captures other values/.test(text)
          ),
          warnings.join("\n")
        )
        assert.include(warnings.join("\n"), "no worker is there: the rows are computed by this process until one joins")
        assert.isTrue(simulator.requests() === 10)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "loses and doubles nothing when workers come and go",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const simulator = yield* Simulator.start({ latency: "30 millis" })
        const flow = (out: Array<string>) => simple(simulator, out, { rows: 400 })
        const out: Array<string> = []
        const leaving = yield* Deferred.make<void>()
        const [first] = yield* workers(() => flow([]), url, 1, { drain: Deferred.await(leaving) })
        yield* workers(() => flow([]), url, 1)
        const run = yield* Effect.forkScoped(
          Runner.run(flow(out), { workers: true, errorsFile: false }).pipe(Effect.provide(host(url)))
        )
        yield* Effect.repeat(Effect.sleep(10), { until: () => simulator.requests() > 60 })
        // One that has to end finishes its calls and gives the rest back at once; another one joins.
        yield* Deferred.succeed(leaving, undefined)
        const done = yield* Fiber.join(first!)
        assert.isAbove(done, 0)
        yield* workers(() => flow([]), url, 1)
        const summary = yield* Fiber.join(run)
        assert.strictEqual(summary.cost, billed(simulator))
        assert.deepStrictEqual(
          out.map((line) => JSON.parse(line).row),
          Array.from({ length: 400 }, (_, n) => `row ${n}`)
        )
        assert.strictEqual(simulator.requests(), 400)
        const [left] = yield* open(url, ({ database }) =>
          database.query(
            "SELECT (SELECT count(*) FROM chunks) + (SELECT count(*) FROM jobs) + (SELECT count(*) FROM calls) AS n"
          )
        )
        assert.strictEqual(Number(left!["n"]), 0)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live("is refused in words where it cannot be", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start()
      const flow = simple(simulator, [], { rows: 1 })
      const onFile = host(join(mkdtempSync(join(tmpdir(), "pipe-workers-")), "pipe.db"))
      const run = yield* Effect.flip(
        Runner.run(flow, { workers: true, errorsFile: false }).pipe(Effect.provide(onFile))
      )
      assert.include(run.message, "workers need a store that they share")
      const worker = yield* Effect.flip(Runner.work(flow).pipe(Effect.provide(onFile)))
      assert.include(worker.message, "a worker needs a store that it shares with the run")
      const url = yield* Servers.postgres
      const capped = Flow.make("capped", {
        outputs: [
          Sink.forEach(
            "out",
            Flow.step("text", { row: Source.fromIterable("rows", ["a"]) }, ({ row }) => ask(row)),
            () => Effect.void
          )
        ],
        stack: Stack.make(Ledger.layer, Budget.layer({ usd: 1 }), provider(simulator))
      })
      const budget = yield* Effect.flip(
        Runner.run(capped, { workers: true, errorsFile: false }).pipe(Effect.provide(host(url)))
      )
      assert.include(budget.message, "Budget.layer counts the calls of one process")
      assert.strictEqual(simulator.requests(), 0)
    }).pipe(Effect.scoped)
  )
})
