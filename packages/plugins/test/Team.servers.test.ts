/** A store that a team shares: a real PostgreSQL that stops, hangs and cuts, and several processes on it. */
import { assert, describe, it } from "@effect/vitest"
import { Cache, Flow, Ledger, Retry, Runner, Sink, Source, Stack, Store } from "@pipe/core"
import { NodeHost, OpenAi, Postgres, Simulator } from "@pipe/plugins"
import { Effect, Exit, Fiber, Layer, Logger } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Servers from "../../../test/Servers.ts"
import * as Soak from "../../../test/Soak.ts"
import { open } from "./StoreContract.ts"

const billed = (simulator: Simulator.Simulator): bigint =>
  simulator.bill().reduce((sum, { input, output }) => sum + 150_000n * BigInt(input) + 600_000n * BigInt(output), 0n)

/** A flow of one call a row, what it wrote, and a host of its own: as another process has it. */
const member = (
  simulator: Simulator.Simulator,
  url: string,
  rows: number,
  options: {
    readonly cache?: boolean
    readonly prefix?: string
    readonly host?: Layer.Layer<Flow.Host, Store.StoreError>
  } = {}
) => {
  const out: Array<string> = []
  const warnings: Array<string> = []
  const logger = Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))
  const row = Source.fromIterable(
    "rows",
    Array.from({ length: rows }, (_, n) => `${options.prefix ?? "row"} ${n}`)
  )
  const text = Flow.step("text", { row }, ({ row }) =>
    Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => text)
  )
  const provider = OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "none" })
  const flow = Flow.make("team", {
    outputs: [Sink.forEach("out", { row, text }, ({ row, text }) => Effect.sync(() => out.push(`${row}: ${text}`)))],
    concurrency: 16,
    stack:
      options.cache === false
        ? Stack.make(Ledger.layer, Retry.layer(), provider)
        : Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), provider)
  })
  const run = (more: Runner.Options = {}) =>
    Runner.run(flow, { errorsFile: false, ...more }).pipe(
      Effect.provide(
        Layer.fresh(
          Layer.provideMerge(
            options.host ?? NodeHost.layer({ store: url, patience: "1 minutes" }),
            Logger.layer([logger])
          )
        )
      )
    )
  return { out, run, warnings }
}

/** Waits until calls are made. */
const underWay = (simulator: Simulator.Simulator) =>
  Effect.repeat(Effect.sleep(10), { until: () => simulator.requests() > 50 })

/** Ends all connections of the store at the server. */
const cutAll = (url: string) =>
  Effect.ignore(
    open(url, (store) =>
      store.database.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = 'pipe'"
      )
    )
  )

const rows = Soak.times(200, 20_000)

describe.skipIf(!Servers.hasPostgres)("a server that is away", () => {
  const reference = Effect.gen(function* () {
    const simulator = yield* Simulator.start()
    const { out, run } = member(simulator, join(mkdtempSync(join(tmpdir(), "pipe-team-")), "pipe.db"), rows)
    yield* run()
    return out
  })

  const disturbed = (
    what: string,
    settings: ReadonlyArray<string>,
    disturb: (server: Servers.Postgres) => Effect.Effect<unknown>
  ) =>
    it.live.skipIf(!Soak.isSoak && what !== "restarts")(
      `loses and doubles nothing: ${what}`,
      () =>
        Effect.gen(function* () {
          const expected = yield* reference
          const server = yield* Servers.postgresServer(settings)
          const simulator = yield* Simulator.start({ latency: "20 millis" })
          const { out, run, warnings } = member(simulator, server.url, rows)
          const fiber = yield* Effect.forkScoped(run())
          yield* underWay(simulator)
          yield* disturb(server)
          const summary = yield* Fiber.join(fiber)
          assert.strictEqual(summary.status, "done", warnings.join("\n"))
          assert.deepStrictEqual(out, expected)
          assert.strictEqual(simulator.requests(), rows)
          assert.strictEqual(summary.cost, billed(simulator))
          // The ledger in the store says the same.
          const spent = yield* open(server.url, (store) => store.ledger.costs([1]))
          assert.strictEqual(spent.get(1)?.cost, billed(simulator))
          assert.isFalse(
            warnings.some((text) => text.includes("without the cache")),
            warnings.join("\n")
          )
        }).pipe(Effect.scoped),
      Soak.timeout(60_000)
    )

  disturbed("restarts", [], ({ start, stop }) =>
    Effect.repeat(Effect.andThen(Effect.andThen(stop, start), Effect.sleep(500)), { times: Soak.times(1, 4) })
  )
  disturbed("gone for a while", [], ({ start, stop }) =>
    Effect.andThen(stop, Effect.andThen(Effect.sleep(Soak.times(2_000, 30_000)), start))
  )
  disturbed("connections that are cut", [], ({ url }) =>
    Effect.repeat(Effect.andThen(Effect.sleep(200), cutAll(url)), { times: 5 })
  )

  it.live(
    "is waited for in words, and an interrupted run ends meanwhile",
    () =>
      Effect.gen(function* () {
        const server = yield* Servers.postgresServer()
        const simulator = yield* Simulator.start({ latency: "20 millis" })
        const { run, warnings } = member(simulator, server.url, 1_000)
        const fiber = yield* Effect.forkScoped(run())
        yield* underWay(simulator)
        yield* server.stop
        const said = /^postgres:.* is away \(.*\): waiting up to 1m for it$/
        yield* Effect.repeat(Effect.sleep(10), { until: () => warnings.some((text) => said.test(text)) })
        // Calls that were noted in time arrive.
        let before = -1
        yield* Effect.repeat(
          Effect.delay(
            Effect.sync(() => {
              const isStill = before === simulator.requests()
              before = simulator.requests()
              return isStill
            }),
            300
          ),
          { until: (isStill) => isStill }
        )
        yield* Effect.sleep(500)
        // No call is sent that could not be noted.
        assert.strictEqual(simulator.requests(), before)
        const started = Date.now()
        yield* Fiber.interrupt(fiber)
        assert.isBelow(Date.now() - started, 20_000)
        yield* server.start
        const [stored] = yield* open(server.url, (store) => store.runs.list(1))
        assert.include(["interrupted", "running"], stored!.status)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live.skipIf(!Soak.isSoak)(
    "that hangs is left after the deadline of a statement, and nothing is written twice when it wakes",
    () =>
      Effect.gen(function* () {
        const server = yield* Servers.postgresServer()
        const simulator = yield* Simulator.start({ latency: "20 millis" })
        const database = Postgres.layer({ url: server.url, deadline: "1 second" })
        const { out, run } = member(simulator, server.url, 300, {
          host: NodeHost.withStore(Store.layerDatabase.pipe(Layer.provide(database)))
        })
        const fiber = yield* Effect.forkScoped(run())
        yield* underWay(simulator)
        yield* server.signal("SIGSTOP")
        yield* Effect.sleep(3_500)
        yield* server.signal("SIGCONT")
        const summary = yield* Fiber.join(fiber)
        assert.strictEqual(out.length, 300)
        assert.strictEqual(summary.cost, billed(simulator))
        const spent = yield* open(server.url, (store) => store.ledger.costs([1]))
        assert.strictEqual(spent.get(1)?.cost, billed(simulator))
      }).pipe(Effect.scoped),
    60_000
  )
})

describe.skipIf(!Servers.hasPostgres)("what a server refuses", () => {
  it.live(
    "NUL and halves of surrogate pairs, in rows, prompts, answers and failures: nothing is set aside, and outputs are those of SQLite",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const odd = [
          "a\u0000b",
          "\ud83d",
          "\udc36 tail",
          "\u0000\ud83d\u0000",
          'quote " \\u0000 \\',
          "🐶 whole",
          "ends \ud83d"
        ]
        const simulator = yield* Simulator.start({ answer: ({ prompt }) => `${prompt}|\u0000` })
        const run = (store: string) =>
          Effect.gen(function* () {
            const out: Array<string> = []
            const row = Source.fromIterable("rows", odd)
            const text = Flow.step("text", { row }, ({ row }) =>
              Effect.flatMap(LanguageModel.generateText({ prompt: `say ${row}` }), ({ text }) =>
                row.includes("tail") ? Effect.fail(new Error(text)) : Effect.succeed(text)
              )
            )
            const flow = Flow.make("odd", {
              outputs: [
                Sink.forEach("out", { row, text }, (value) => Effect.sync(() => out.push(JSON.stringify(value))))
              ],
              allowFailedRows: 7,
              stack: Stack.make(
                Ledger.layer,
                Cache.layer(),
                OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "none" })
              )
            })
            const host = Layer.fresh(NodeHost.layer({ store }))
            const first = yield* Runner.run(flow, { errorsFile: false }).pipe(Effect.provide(host))
            const requests = simulator.requests()
            const again = yield* Runner.run(flow, { errorsFile: false }).pipe(Effect.provide(host))
            // Rows that the server cannot tell apart from others are still their own.
            assert.strictEqual(simulator.requests(), requests)
            const aside = yield* open(store, ({ database }) => database.query("SELECT * FROM aside"))
            assert.deepStrictEqual(aside, [])
            return { out, rows: first.rows, again: again.rows }
          })
        const sqlite = yield* run(join(mkdtempSync(join(tmpdir(), "pipe-team-")), "pipe.db"))
        const server = yield* run(url)
        assert.deepStrictEqual(server, sqlite)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "more connections than it takes: a run waits for one",
    () =>
      Effect.gen(function* () {
        const server = yield* Servers.postgresServer(["max_connections=6", "superuser_reserved_connections=0"])
        const simulator = yield* Simulator.start({ latency: "5 millis" })
        const members = ["a", "b", "c"].map((prefix) => member(simulator, server.url, 40, { prefix }))
        const summaries = yield* Effect.all(
          members.map(({ run }) => run()),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          summaries.map(({ status }) => status),
          ["done", "done", "done"]
        )
        assert.strictEqual(simulator.requests(), 120)
      }).pipe(Effect.scoped),
    60_000
  )
})

describe.skipIf(!Servers.hasPostgres)("several processes on one server", () => {
  it.live(
    "pay once for equal prompts, with a cache and without",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const count = Soak.times(150, 5_000)
        for (const cache of [true, false]) {
          const simulator = yield* Simulator.start({ latency: "20 millis", seed: String(cache) })
          const [one, other] = [member(simulator, url, count, { cache }), member(simulator, url, count, { cache })]
          yield* Effect.all([one.run(), other.run()], { concurrency: 2 })
          assert.strictEqual(simulator.requests(), count, `cache: ${cache}`)
          assert.deepStrictEqual(other.out, one.out)
          assert.strictEqual(one.out.length, count)
        }
      }).pipe(Effect.scoped),
    Soak.timeout(60_000)
  )

  it.live(
    "of those that start one run at once, one has it",
    () =>
      Effect.gen(function* () {
        const url = yield* Servers.postgres
        const simulator = yield* Simulator.start({ latency: "50 millis" })
        const pairs = Soak.times(5, 50)
        for (let pair = 0; pair < pairs; pair++) {
          const start = () =>
            Effect.exit(member(simulator, url, 20, { prefix: `pair ${pair}` }).run({ identity: `pair ${pair}` }))
          const exits = yield* Effect.all([start(), start()], { concurrency: 2 })
          const failed = exits.filter(Exit.isFailure)
          assert.strictEqual(failed.length, 1)
          assert.include(String(failed[0]!.cause), "is active already")
        }
        assert.strictEqual(simulator.requests(), pairs * 20)
        assert.strictEqual((yield* open(url, (store) => store.runs.list(1_000))).length, pairs)
      }).pipe(Effect.scoped),
    Soak.timeout(60_000)
  )
})
