/**
 * What every store of runs holds to: keyed answers, runs and who has them, the ledger to the picodollar, failed rows, the
 * cache, and the lines of batches.
 *
 * **Example** (the store of SQLite)
 *
 * ```ts
 * import { StoreContract } from "@pipe/core/testing"
 * import { NodeHost } from "@pipe/plugins"
 * import { Layer } from "effect"
 *
 * // A file that the cases share, in their order.
 * const store = Layer.provide(NodeHost.existingStore("contract.db"), NodeHost.layerMemory)
 *
 * const cases = StoreContract.cases({ store })
 * cases.length // => 7
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import * as LedgerEntry from "../ledger/LedgerEntry.ts"
import * as Money from "../price/Money.ts"
import * as Store from "../store/Store.ts"
import * as Case from "./Case.ts"

/** What is tested. */
export interface Options<E> {
  /** Opens the store. Each opening finds what earlier ones wrote: it is the same file or database. */
  readonly store: Layer.Layer<Store.Store, E>
}

type Open = <A, E>(f: (store: Store.Service) => Effect.Effect<A, E>) => Effect.Effect<A, unknown>

const opening =
  <E>({ store }: Options<E>): Open =>
  (f) =>
    Effect.scoped(
      Effect.flatMap(Layer.build(Layer.fresh(store)), (context) =>
        Effect.provideContext(Effect.flatMap(Store.Store, f), context)
      )
    )

/** Tests some fields of a value. */
const includes = (value: object | undefined, fields: object): void =>
  deepStrictEqual(Object.fromEntries(Object.keys(fields).map((name) => [name, value?.[name as never]])), fields)

const key = (n: number) => n.toString(16).padStart(32, "0")

const answer = (n: number, value = `v${n}`, expires: number | null = null) => ({
  key: key(n),
  value,
  model: n % 2 === 0 ? "even" : "odd",
  created_at: 1_000 + n,
  expires_at: expires
})

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

const finds = (open: Open) =>
  Effect.gen(function* () {
    yield* open((store) =>
      Effect.gen(function* () {
        for (let n = 0; n < 40_000; n++) store.answers.append(answer(n))
        store.answers.append(answer(7, "newer"))
        strictEqual((yield* store.answers.get(key(7)))?.value, "newer")
        yield* store.commit
        strictEqual((yield* store.answers.get(key(7)))?.value, "newer")
        strictEqual(undefined, yield* store.answers.get(key(40_001)))
      })
    )
    yield* open((store) =>
      Effect.gen(function* () {
        strictEqual((yield* store.answers.get(key(7)))?.value, "newer")
        for (const n of [0, 1, 2, 3, 39_999, 20_000, 20_001, 20_002])
          strictEqual((yield* store.answers.get(key(n)))?.value, `v${n}`)
        store.answers.append(answer(3, "again"))
        strictEqual((yield* store.answers.get(key(3)))?.value, "again")
      })
    )
  })

const shares = (open: Open) =>
  Effect.gen(function* () {
    yield* open((one) =>
      open((other) =>
        Effect.gen(function* () {
          yield* other.answers.get(key(100_000))
          one.answers.append(answer(100_000, "shared"))
          yield* one.commit
          // Another process sees it a moment later.
          yield* Effect.sleep(150)
          strictEqual((yield* other.answers.get(key(100_000)))?.value, "shared")
        })
      )
    )
  })

const claims = (open: Open) =>
  Effect.gen(function* () {
    yield* open((store) =>
      Effect.gen(function* () {
        const run = yield* begin(store)
        strictEqual(run.status, "running")
        deepStrictEqual(run.options, { file: "flow.ts", limit: 3 })
        const second = yield* Effect.result(begin(store))
        strictEqual(second._tag === "Failure" && second.failure._tag === "RunError" ? second.failure.kind : "", "busy")
        yield* store.runs.finish(run, { status: "interrupted", at: 5, summary: { a: 1 } })
        const ended = yield* store.runs.find(run.name.slice(0, 17))
        includes(ended, { status: "interrupted", endedAt: 5, summary: { a: 1 }, tries: 1 })
        const claims = yield* Effect.all(
          [Effect.result(store.runs.claim(ended)), Effect.result(store.runs.claim(ended))],
          { concurrency: 2 }
        )
        deepStrictEqual(claims.map(({ _tag }) => _tag).sort(), ["Failure", "Success"])
        strictEqual((yield* store.runs.find(run.name)).tries, 2)
        includes(yield* store.runs.latest("x"), { name: run.name })
        yield* store.runs.savePlan("x", { plan: 1 })
        yield* store.runs.savePlan("x", { plan: 2 })
        yield* store.runs.finish(run, { status: "done", at: 6, summary: {} })
        deepStrictEqual((yield* begin(store)).plan, { plan: 2 })
        ok((yield* store.runs.list(10)).length >= 2)
      })
    )
  })

/** Entries of a run: large amounts, an unknown price, an estimate, an answer of the cache, and calls in progress. */
const record = (store: Store.Service, id: number) =>
  Effect.gen(function* () {
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
    yield* store.ledger.begin({ run: id, attempt: undefined }, 1, {
      caller: { run: "", step: "s", row: 5 },
      at: 1,
      provider: "openai",
      model: "m",
      inputTokens: 3,
      outputTokens: 4,
      cost: 11n
    })
    yield* store.ledger.begin({ run: id, attempt: undefined }, 2, {
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
  })

const addsUp = (open: Open) =>
  Effect.gen(function* () {
    yield* open((store) =>
      Effect.gen(function* () {
        const { id } = yield* begin(store, "books")
        yield* record(store, id)
        // The attempts of the step that failed, for the row that it failed for.
        strictEqual(yield* store.ledger.failedRows(id, 0), 7n)
        const sums = yield* store.ledger.sums(id)
        const mini = sums.find(({ model }) => model === "gpt-4o-mini")!
        strictEqual(mini.spent, 900_719_925_474_099_300n + 7n + 2n)
        includes(mini, {
          reaskSpent: 2n,
          fees: 1n,
          attempts: 103,
          failedAttempts: 1,
          estimated: 1,
          estimatedSpent: 7n,
          answers: { provider: 0, cache: 1, shared: 0, semantic: 0 }
        })
        // The estimated one is not counted among the tokens.
        strictEqual(mini.usage.uncachedInput, 1_020)
        strictEqual(mini.savings.cache, 10n)
        strictEqual(sums.find(({ model }) => model === "nova")!.unpriced, 1)
        const moments = yield* store.ledger.timeline(id, 10)
        strictEqual(Money.sum(moments.map(({ cost }) => cost)), mini.spent)
        strictEqual((yield* Stream.runCollect(store.ledger.attempts(id))).length, 104)
        const [sample] = (yield* store.ledger.outputs("f")).filter(({ model }) => model === "gpt-4o-mini")
        includes(sample, { step: "s", mean: 6, deviation: 0, most: 6 })
        // The call that never ended is recorded at the most that it can have cost, once.
        deepStrictEqual(yield* store.ledger.unsettled, [id])
        yield* store.ledger.settle(id, 2)
        deepStrictEqual(yield* store.ledger.unsettled, [id])
        yield* Effect.all([store.ledger.settle(id), store.ledger.settle(id)], { concurrency: 2 })
        deepStrictEqual(yield* store.ledger.unsettled, [])
        const cut = (yield* store.ledger.sums(id)).filter(({ model }) => model === "m")
        deepStrictEqual(
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

const setsAside = (open: Open) =>
  Effect.gen(function* () {
    // More than a column of 64 bits holds.
    const unfit = 2n ** 70n
    const warnings: Array<string> = []
    yield* open((store) =>
      Effect.gen(function* () {
        const { id } = yield* begin(store, "aside")
        for (let row = 0; row < 1_000; row++) {
          store.ledger.append(id, attempt(row, row === 77 || row === 78 || row === 900 ? { cost: unfit } : {}))
          store.answers.append({ ...answer(row + 20_000), ...(row === 500 ? { created_at: unfit as never } : {}) })
        }
        yield* store.commit
        const [sum] = yield* store.ledger.sums(id)
        strictEqual(sum?.attempts, 997)
        // Alone in its group.
        store.ledger.append(id, attempt(1_001, { cost: unfit }))
        yield* store.commit
        store.ledger.append(id, attempt(1_002))
        yield* store.commit
        strictEqual((yield* store.ledger.sums(id))[0]?.attempts, 998)
        strictEqual(undefined, store.failure())
        // Rows after one that was put aside are found under their own keys.
        for (const n of [20_000, 20_499, 20_501, 20_999]) {
          strictEqual((yield* store.answers.get(key(n)))?.value, `v${n}`)
        }
      })
    ).pipe(
      Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))]))
    )
    strictEqual(warnings.filter((text) => text.includes("set aside in the table aside")).length, 5, warnings.join("\n"))
  })

const keeps = (open: Open) =>
  Effect.gen(function* () {
    yield* open((store) =>
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
        strictEqual((yield* Stream.runCollect(store.rows.failures(id))).length, 1_200)
        store.rows.clearFailures(id, 0)
        yield* store.commit
        strictEqual((yield* Stream.runCollect(store.rows.failures(id))).length, 0)
        yield* store.cache.clear
        for (let n = 0; n < 10; n++) store.answers.append(answer(n))
        store.answers.append(answer(1, "newer"))
        store.answers.append(answer(50, "gone", 1))
        yield* store.commit
        includes(yield* store.cache.stats, { entries: 12, expired: 1 })
        // The expired one, and the one that was replaced.
        deepStrictEqual(yield* store.cache.prune({}), { entries: 2, results: 0, reusable: 0 })
        strictEqual((yield* store.answers.get(key(1)))?.value, "newer")
        strictEqual((yield* store.cache.prune({ model: "even", before: 1_003 })).entries, 2)
        strictEqual(undefined, yield* store.answers.get(key(2)))
        strictEqual((yield* store.answers.get(key(4)))?.value, "v4")
        const exported = yield* Stream.runCollect(store.cache.exportAll)
        strictEqual(exported.length, 8)
        yield* store.cache.clear
        for (const entry of exported) strictEqual(true, yield* store.cache.importOne(entry))
        strictEqual(false, yield* store.cache.importOne(exported[0]!))
        yield* store.commit
        strictEqual((yield* store.cache.stats).entries, 8)
      })
    )
  })

const late = (open: Open) =>
  open((store) =>
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
      deepStrictEqual(
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
      deepStrictEqual([...(yield* take("one"))], [0, 1])
      deepStrictEqual([...(yield* take("two"))], [])
      const lines = yield* store.batches.lines(batch.id)
      deepStrictEqual(
        lines.map(({ state }) => state),
        ["again", "answered"]
      )
      yield* store.commit
      const sums = yield* store.ledger.sums(run.id)
      strictEqual(
        sums.reduce((sum, { attempts }) => sum + attempts, 0),
        2
      )
    })
  )

/** The contract, as tests. They share the store: run them in their order, one at a time. */
export const cases = <E>(options: Options<E>): ReadonlyArray<Case.Case> => {
  const open = opening(options)
  return [
    Case.make("finds the newest row of a key, in this process and in the next, among many", finds(open)),
    Case.make("is shared: what one process writes another finds", shares(open)),
    Case.make("gives a run to one who claims it, and tells the others", claims(open)),
    Case.make(
      "adds up the ledger to the picodollar, however large, and knows the calls that are in progress",
      addsUp(open)
    ),
    Case.make("puts a row aside that the database does not take, and writes all others", setsAside(open)),
    Case.make("keeps failed rows and the cache's entries, and prunes them", keeps(open)),
    Case.make("ledger an answer once that comes after its request was given up, and forgets no bound", late(open))
  ]
}
