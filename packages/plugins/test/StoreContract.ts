/** What every store of runs holds to, as tests: the public contract, and whole runs over real HTTP. */
import { assert, it } from "@effect/vitest"
import { Cache, Flow, Ledger, Retry, Runner, Sink, Source, Stack, Store } from "@pipe/core"
import { StoreContract } from "@pipe/core/testing"
import type * as RunRepo from "../../core/src/run/RunRepo.ts"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { LanguageModel } from "effect/ai"
import { tmpdir } from "node:os"
import { join } from "node:path"

export const open = <A, E>(location: string, f: (store: Store.Service) => Effect.Effect<A, E>) =>
  Effect.scoped(
    Effect.flatMap(Layer.build(Layer.fresh(NodeHost.existingStore(location))), (context) =>
      Effect.provideContext(Effect.flatMap(Store.Store, f), context)
    )
  )

/** What a store holds to, whatever its database. */
export const contract = (location: () => string) => {
  const store = Layer.suspend(() => NodeHost.existingStore(location()))
  for (const { name, run } of StoreContract.cases({ store })) it(name, run, 60_000)

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
