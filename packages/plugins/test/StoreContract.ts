/** What every store of runs holds to, as tests. */
import { assert, it } from "@effect/vitest"
import { Cache, Flow, Ledger, Money, Retry, Runner, Sink, Source, Stack, Store } from "@pipe/core"
import * as LedgerEntry from "../../core/src/ledger/LedgerEntry.ts"
import type * as RunRepo from "../../core/src/run/RunRepo.ts"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect, Layer, Logger, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import { tmpdir } from "node:os"
import { join } from "node:path"

export const key = (n: number) => n.toString(16).padStart(32, "0")

export const answer = (n: number, value = `v${n}`, expires: number | null = null) => ({
  key: key(n),
  value,
  model: n % 2 === 0 ? "even" : "odd",
  created_at: 1_000 + n,
  expires_at: expires
})

export const open = <A, E>(location: string, f: (store: Store.Service) => Effect.Effect<A, E>) =>
  Effect.scoped(
    Effect.flatMap(Layer.build(Layer.fresh(NodeHost.existingStore(location))), (context) =>
      Effect.provideContext(Effect.flatMap(Store.Store, f), context)
    )
  )

const usage = { uncachedInput: 10, cacheRead: 4, cacheWrite: 0, cacheWrite1h: 0, output: 5, reasoning: 1 }

const attempt = (row: number, fields: object = {}) => ({
  _tag: "Attempt" as const,
  caller: { run: "", step: "s", row },
  at: 1_764_000_000_000 + row,
  milliseconds: 5,
  provider: "openai",
  model: "gpt-4o-mini",
  usage,
  cost: 4_500_000n,
  ...fields
})

const begin = (store: Store.Service, identity = "x") =>
  store.runs.create({ flow: "f", identity, options: { file: "flow.ts", limit: 3 }, graph: [] })

/** What every store has to do. */
/** What a store holds to, whatever its database. */
export const contract = (location: () => string) => {
  it.live(
    "finds the newest row of a key, in this process and in the next, among many",
    () =>
      Effect.gen(function* () {
        yield* open(location(), (store) =>
          Effect.gen(function* () {
            for (let n = 0; n < 40_000; n++) store.answers.append(answer(n))
            store.answers.append(answer(7, "newer"))
            assert.strictEqual((yield* store.answers.get(key(7)))?.value, "newer")
            yield* store.commit
            assert.strictEqual((yield* store.answers.get(key(7)))?.value, "newer")
            assert.isUndefined(yield* store.answers.get(key(40_001)))
          })
        )
        yield* open(location(), (store) =>
          Effect.gen(function* () {
            assert.strictEqual((yield* store.answers.get(key(7)))?.value, "newer")
            for (const n of [0, 1, 2, 3, 39_999, 20_000, 20_001, 20_002])
              assert.strictEqual((yield* store.answers.get(key(n)))?.value, `v${n}`)
            store.answers.append(answer(3, "again"))
            assert.strictEqual((yield* store.answers.get(key(3)))?.value, "again")
          })
        )
      }),
    60_000
  )

  it.live("is shared: what one process writes another finds", () =>
    Effect.gen(function* () {
      yield* open(location(), (one) =>
        open(location(), (other) =>
          Effect.gen(function* () {
            yield* other.answers.get(key(100_000))
            one.answers.append(answer(100_000, "shared"))
            yield* one.commit
            yield* Effect.sleep(150)
            assert.strictEqual((yield* other.answers.get(key(100_000)))?.value, "shared")
          })
        )
      )
    })
  )

  it.live("gives a run to one who claims it, and tells the others", () =>
    Effect.gen(function* () {
      yield* open(location(), (store) =>
        Effect.gen(function* () {
          const run = yield* begin(store)
          assert.strictEqual(run.status, "running")
          assert.deepStrictEqual(run.options, { file: "flow.ts", limit: 3 })
          const second = yield* Effect.result(begin(store))
          assert.strictEqual(
            second._tag === "Failure" && second.failure._tag === "RunError" ? second.failure.kind : "",
            "busy"
          )
          yield* store.runs.finish(run, { status: "interrupted", at: 5, summary: { a: 1 } })
          const ended = yield* store.runs.find(run.name.slice(0, 17))
          assert.deepInclude(ended, { status: "interrupted", endedAt: 5, summary: { a: 1 }, tries: 1 })
          const claims = yield* Effect.all(
            [Effect.result(store.runs.claim(ended)), Effect.result(store.runs.claim(ended))],
            { concurrency: 2 }
          )
          assert.deepStrictEqual(claims.map(({ _tag }) => _tag).sort(), ["Failure", "Success"])
          assert.strictEqual((yield* store.runs.find(run.name)).tries, 2)
          assert.deepInclude(yield* store.runs.latest("x"), { name: run.name })
          yield* store.runs.savePlan("x", { plan: 1 })
          yield* store.runs.savePlan("x", { plan: 2 })
          yield* store.runs.finish(run, { status: "done", at: 6, summary: {} })
          assert.deepStrictEqual((yield* begin(store)).plan, { plan: 2 })
          assert.isAtLeast((yield* store.runs.list(10)).length, 2)
        })
      )
    })
  )

  it.live("adds up the ledger to the picodollar, however large, and knows the calls that are in progress", () =>
    Effect.gen(function* () {
      yield* open(location(), (store) =>
        Effect.gen(function* () {
          const { id } = yield* begin(store, "books")
          for (let row = 0; row < 100; row++) store.ledger.append(id, attempt(row, { cost: 9_007_199_254_740_993n }))
          store.ledger.append(id, attempt(100, { cost: undefined, unknown: "price", model: "nova" }))
          store.ledger.append(id, attempt(101, { cost: 7n, estimated: true, error: "cut" }))
          store.ledger.append(id, attempt(102, { cost: 2n, reask: true, fees: 1n }))
          const failure = { source: "rows", position: "rows[101]", error: "E", message: "m", input: "1" }
          store.rows.fail(id, { ...failure, row: 101, node: "s" })
          store.rows.fail(id, { ...failure, row: 100, node: "another" })
          store.ledger.append(id, {
            _tag: "Answer",
            caller: { run: "", step: "s", row: 1 },
            request: "Completion",
            at: 1,
            milliseconds: 1,
            origin: "cache",
            provider: "openai",
            model: "gpt-4o-mini",
            attempts: 0,
            baseline: 10n,
            savings: { ...LedgerEntry.noSavings, cache: 10n }
          })
          yield* store.ledger.begin(id, 1, {
            caller: { run: "", step: "s", row: 5 },
            at: 1,
            provider: "openai",
            model: "m",
            inputTokens: 3,
            outputTokens: 4,
            cost: 11n
          })
          yield* store.ledger.begin(id, 2, {
            caller: { run: "", step: "s", row: 6 },
            at: 1,
            provider: "openai",
            model: "m",
            inputTokens: 3,
            outputTokens: 4,
            cost: 12n
          })
          store.ledger.append(id, attempt(5, { call: 1, cost: 0n }))
          yield* store.commit
          // The attempts of the step that failed, for the row that it failed for.
          assert.strictEqual(yield* store.ledger.failedRows(id, 0), 7n)
          const sums = yield* store.ledger.sums(id)
          const mini = sums.find(({ model }) => model === "gpt-4o-mini")!
          assert.strictEqual(mini.spent, 900_719_925_474_099_300n + 7n + 2n)
          assert.deepInclude(mini, {
            reaskSpent: 2n,
            fees: 1n,
            attempts: 103,
            failedAttempts: 1,
            estimated: 1,
            estimatedSpent: 7n,
            answers: { provider: 0, cache: 1, shared: 0, semantic: 0 }
          })
          // The estimated one is not counted among the tokens.
          assert.strictEqual(mini.usage.uncachedInput, 1_020)
          assert.strictEqual(mini.savings.cache, 10n)
          assert.strictEqual(sums.find(({ model }) => model === "nova")!.unpriced, 1)
          const moments = yield* store.ledger.timeline(id, 10)
          assert.strictEqual(Money.sum(moments.map(({ cost }) => cost)), mini.spent)
          assert.strictEqual((yield* Stream.runCollect(store.ledger.attempts(id))).length, 104)
          const [sample] = (yield* store.ledger.outputs("f")).filter(({ model }) => model === "gpt-4o-mini")
          assert.deepInclude(sample, { step: "s", mean: 6, deviation: 0, most: 6 })
          // The call that never ended is recorded at the most that it can have cost, once.
          assert.deepStrictEqual(yield* store.ledger.unsettled, [id])
          yield* store.ledger.settle(id, 2)
          assert.deepStrictEqual(yield* store.ledger.unsettled, [id])
          yield* Effect.all([store.ledger.settle(id), store.ledger.settle(id)], { concurrency: 2 })
          assert.deepStrictEqual(yield* store.ledger.unsettled, [])
          const cut = (yield* store.ledger.sums(id)).filter(({ model }) => model === "m")
          assert.deepStrictEqual(
            cut.map(({ attempts, estimated, estimatedSpent, estimatedTokens, spent }) => ({
              attempts,
              estimated,
              estimatedSpent,
              estimatedTokens,
              spent
            })),
            [{ attempts: 1, estimated: 1, estimatedSpent: 12n, estimatedTokens: 7, spent: 12n }]
          )
        })
      )
    })
  )

  it.live("puts a row aside that the database does not take, and writes all others", () =>
    Effect.gen(function* () {
      // More than a column of 64 bits holds.
      const unfit = 2n ** 70n
      const warnings: Array<string> = []
      yield* open(location(), (store) =>
        Effect.gen(function* () {
          const { id } = yield* begin(store, "aside")
          for (let row = 0; row < 1_000; row++) {
            store.ledger.append(id, attempt(row, row === 77 || row === 78 || row === 900 ? { cost: unfit } : {}))
            store.answers.append({ ...answer(row + 20_000), ...(row === 500 ? { created_at: unfit as never } : {}) })
          }
          yield* store.commit
          const [sum] = yield* store.ledger.sums(id)
          assert.strictEqual(sum?.attempts, 997)
          // Alone in its group.
          store.ledger.append(id, attempt(1_001, { cost: unfit }))
          yield* store.commit
          store.ledger.append(id, attempt(1_002))
          yield* store.commit
          assert.strictEqual((yield* store.ledger.sums(id))[0]?.attempts, 998)
          assert.isUndefined(store.failure())
          // Rows after one that was put aside are found under their own keys.
          for (const n of [20_000, 20_499, 20_501, 20_999]) {
            assert.strictEqual((yield* store.answers.get(key(n)))?.value, `v${n}`)
          }
        })
      ).pipe(
        Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))]))
      )
      assert.strictEqual(
        warnings.filter((text) => text.includes("set aside in the table aside")).length,
        5,
        warnings.join("\n")
      )
    })
  )

  it.live("keeps failed rows and the cache's entries, and prunes them", () =>
    Effect.gen(function* () {
      yield* open(location(), (store) =>
        Effect.gen(function* () {
          const { id } = yield* begin(store, "rows")
          for (let row = 0; row < 1_200; row++)
            store.rows.fail(id, {
              source: "s",
              row,
              position: `s[${row}]`,
              node: "n",
              error: "E",
              message: "m",
              input: "{}"
            })
          yield* store.commit
          assert.strictEqual((yield* Stream.runCollect(store.rows.failures(id))).length, 1_200)
          store.rows.clearFailures(id, 0)
          yield* store.commit
          assert.strictEqual((yield* Stream.runCollect(store.rows.failures(id))).length, 0)
          yield* store.cache.clear
          for (let n = 0; n < 10; n++) store.answers.append(answer(n))
          store.answers.append(answer(1, "newer"))
          store.answers.append(answer(50, "gone", 1))
          yield* store.commit
          assert.deepInclude(yield* store.cache.stats, { entries: 12, expired: 1 })
          // The expired one, and the one that was replaced.
          assert.deepStrictEqual(yield* store.cache.prune({}), { entries: 2, results: 0, reusable: 0 })
          assert.strictEqual((yield* store.answers.get(key(1)))?.value, "newer")
          assert.strictEqual((yield* store.cache.prune({ model: "even", before: 1_003 })).entries, 2)
          assert.isUndefined(yield* store.answers.get(key(2)))
          assert.strictEqual((yield* store.answers.get(key(4)))?.value, "v4")
          const exported = yield* Stream.runCollect(store.cache.exportAll)
          assert.strictEqual(exported.length, 8)
          yield* store.cache.clear
          for (const entry of exported) assert.isTrue(yield* store.cache.importOne(entry))
          assert.isFalse(yield* store.cache.importOne(exported[0]!))
          yield* store.commit
          assert.strictEqual((yield* store.cache.stats).entries, 8)
        })
      )
    })
  )

  it.live(
    "carries a run: interrupted, resumed, claimed by another process",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start()
        const flow = (rows: number) => {
          const row = Source.fromIterable(
            "rows",
            Array.from({ length: rows }, (_, i) => `row ${i}`)
          )
          const text = Flow.step("text", { row }, ({ row }) =>
            Effect.map(LanguageModel.generateText({ prompt: row }), (r) => r.text)
          )
          return Flow.make("carried", {
            outputs: [Sink.forEach("out", text, () => Effect.void)],
            stack: Stack.make(
              Ledger.layer,
              Cache.layer(),
              Retry.layer(),
              OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "none" })
            )
          })
        }
        const run = (rows: number, options: Runner.Options = {}) =>
          Runner.run(flow(rows), { errorsFile: join(tmpdir(), "pipe-stores.errors.jsonl"), ...options }).pipe(
            Effect.provide(Layer.fresh(NodeHost.layer({ store: location() })))
          )
        const first = yield* run(50, { budget: { usd: "0.0003" } }).pipe(Effect.flip)
        assert.strictEqual(first._tag === "RunFailed" ? first.summary.status : first.message, "budget")
        const name = first._tag === "RunFailed" ? first.summary.run : ""
        const summary = yield* run(50, { resume: name })
        assert.strictEqual(simulator.requests(), 50)
        const billed = simulator
          .bill()
          .reduce((sum, { input, output }) => sum + 150_000n * BigInt(input) + 600_000n * BigInt(output), 0n)
        assert.strictEqual(summary.cost, billed)
        assert.strictEqual((yield* run(55)).nodes.find(({ name }) => name === "text")!.reused, 50)
        assert.strictEqual(simulator.requests(), 55)
        const stored: RunRepo.StoredRun = yield* open(location(), (store) => store.runs.find(name))
        assert.deepInclude(stored, { status: "done", tries: 2 })
      }),
    60_000
  )

  it.live("ledger an answer once that comes after its request was given up, and forgets no bound", () =>
    open(location(), (store) =>
      Effect.gen(function* () {
        const run = yield* begin(store, "late")
        const most = { input: 9_007_199_254, output: 50, cost: 2n ** 60n }
        const batch = yield* store.batches.create(
          {
            name: `pb-late-${run.id}`,
            run: run.id,
            provider: "openai",
            account: "a",
            endpoint: "/v1/chat/completions",
            model: "gpt-4o-mini",
            file: "x.jsonl",
            requests: 2,
            bytes: 10,
            tokens: 10,
            expected: 1n,
            held: { money: 1n, tokens: 1 },
            createdAt: 1
          },
          [0, 1].map((n) => ({ key: key(n), step: "s", row: n, tries: 1, limited: true, most }))
        )
        assert.deepStrictEqual(
          (yield* store.batches.lines(batch.id)).map((line) => line.most),
          [most, most]
        )
        yield* store.batches.release(batch.id, "uncounted")
        const late = (number: number, state: "again" | "answered" | "failed") => ({
          number,
          state,
          value: state === "again" ? undefined : "{}",
          attempt: attempt(number)
        })
        const take = (token: string) => store.batches.take(batch, [late(0, "again"), late(1, "answered")], token)
        // Cut by the budget's limit: paid, and no result. Read again after a crash it is not paid again.
        assert.deepStrictEqual([...(yield* take("one"))], [0, 1])
        assert.deepStrictEqual([...(yield* take("two"))], [])
        const lines = yield* store.batches.lines(batch.id)
        assert.deepStrictEqual(
          lines.map(({ state }) => state),
          ["again", "answered"]
        )
        yield* store.commit
        const sums = yield* store.ledger.sums(run.id)
        assert.strictEqual(
          sums.reduce((sum, { attempts }) => sum + attempts, 0),
          2
        )
      })
    )
  )

  it.live(
    "carries batches: left, looked for twice, recorded once",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({
          batches: { latency: "600 millis", expired: 0.2, errors: 0.1, duplicates: 0.2 }
        })
        const row = Source.fromIterable(
          "rows",
          Array.from({ length: 150 }, (_, i) => `batched ${i}`)
        )
        const out: Array<string> = []
        const text = Flow.step("text", { row }, ({ row }) =>
          Effect.map(LanguageModel.generateText({ prompt: row }), (r) => r.text)
        )
        const flow = Flow.make("batched", {
          outputs: [Sink.forEach("out", text, (value) => Effect.sync(() => out.push(value)))],
          stack: Stack.make(
            Ledger.layer,
            Cache.layer(),
            Retry.layer(),
            OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "none" })
          )
        })
        const run = (options: Runner.Options) =>
          Runner.run(flow, {
            errorsFile: join(tmpdir(), "pipe-stores.errors.jsonl"),
            batch: { polling: { first: "50 millis" } },
            ...options
          }).pipe(Effect.provide(Layer.fresh(NodeHost.layer({ store: location() }))))
        const left = yield* run({ detach: true }).pipe(Effect.flip)
        const name = left._tag === "RunFailed" ? left.summary.run : left.message
        const summary = yield* run({ resume: name })
        assert.strictEqual(out.length + summary.rows.failed, 150)
        // Batch prices; what was in three batches in vain is called at once, at twice that.
        const billed = simulator
          .bill()
          .reduce(
            (sum, { input, output, serviceTier }) =>
              sum + (75_000n * BigInt(input) + 300_000n * BigInt(output)) * (serviceTier === "batch" ? 1n : 2n),
            0n
          )
        assert.strictEqual(summary.cost, billed)
        const sums = yield* open(location(), (store) =>
          Effect.flatMap(store.runs.find(name), (found) => store.ledger.sums(found.id))
        )
        assert.strictEqual(
          sums.reduce((sum, { spent }) => sum + spent, 0n),
          billed
        )
      }),
    60_000
  )
}
