/** A third party's provider with a batch API is seen like a built-in one. The vendor's own bill has the expected values. */
import { assert, describe, it } from "@effect/vitest"
import {
  type Batch,
  Batches,
  Cache,
  Flow,
  LayerAnnotations,
  Ledger,
  type ModelClient,
  ModelFailure,
  Money,
  Plan,
  Retry,
  Runner,
  type RunEvent,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import { NodeHost, Simulator } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { type AiError, LanguageModel } from "effect/ai"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Nimbus from "./Nimbus.ts"
import * as NimbusKit from "./NimbusKit.ts"

const ROWS = 20
const MODEL = "nimbus-1"
const server = { key: "nimbus-key-1", models: [MODEL, "nimbus-2"] }
/** USD per million tokens: an input token is 2,000,000 picodollars. */
const prices = { [MODEL]: { input: 2, output: 10, batch: { input: 1, output: 5 } } }

/** The same provider, twice. */
interface Plugin {
  readonly name: string
  readonly layer: (options: Nimbus.Options) => Layer.Layer<ModelClient.ModelClient, AiError.AiError>
  /** What it says of its key: where a key that is given comes from, and how it shows what it found. */
  readonly keyFrom: string
  readonly accepted: RegExp
  readonly rejected: RegExp
  readonly missing: RegExp
  readonly unreachable: RegExp
}

const plugins: ReadonlyArray<Plugin> = [
  {
    name: "by hand",
    layer: Nimbus.layer,
    keyFrom: "NIMBUS_API_KEY",
    accepted: /^2 models, nimbus-1 is one$/,
    rejected: /^the key is not valid$/,
    missing: /no key: set NIMBUS_API_KEY/,
    unreachable: /no connection to http:/
  },
  {
    name: "by the provider kit",
    layer: NimbusKit.layer,
    keyFrom: "the options",
    accepted: /^http:.* takes the key from the options$/,
    rejected: /does not take the key from the options \(401\)$/,
    missing: /NIMBUS_API_KEY is not set/,
    unreachable: /cannot connect to http:/
  }
]

const suite = (plugin: Plugin): void => {
  /** A flow of one step over twenty rows. Nothing else in the stack changes answers. */
  const flowOf = (url: string, options: Partial<Nimbus.Options> = {}, out: Array<string> = [], rows = ROWS) => {
    const topic = Source.fromIterable(
      "topics",
      Array.from({ length: rows }, (_, n) => `topic number ${n}`)
    )
    const reply = Flow.step("reply", { topic }, ({ topic }) =>
      Effect.map(LanguageModel.generateText({ prompt: topic }), ({ text }) => text)
    )
    return Flow.make("nimbus", {
      outputs: [Sink.forEach("out", reply, (text) => Effect.sync(() => void out.push(text)))],
      prices,
      stack: Stack.make(
        Ledger.layer,
        Cache.layer(),
        Retry.layer({ base: "1 millis" }),
        plugin.layer({ baseUrl: url, apiKey: "nimbus-key-1", model: MODEL, ...options })
      )
    })
  }

  /** A store in a file: a detached run needs one. */
  const stored = Layer.unwrap(
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "pipe-nimbus-"))),
        (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
      ),
      (folder) => NodeHost.layer({ store: join(folder, "pipe.db") })
    )
  )

  const batch: Batch.Options = { polling: { first: "10 millis", most: "20 millis" } }

  const callsOf = ({ lines }: Plan.Plan): number => lines.reduce((sum, { calls }) => sum + calls, 0)

  /** What a bill costs at the prices above, per token in USD per million. */
  const costOf = (
    { in: input, out: output }: Nimbus.Billed,
    price: { readonly input: number; readonly output: number }
  ) =>
    Money.times(Money.perMillionTokens(price.input), input) + Money.times(Money.perMillionTokens(price.output), output)

  const isBilled = ({ tokens }: Pick<RunEvent.RunFinished, "tokens">, billed: Nimbus.Billed): void => {
    assert.strictEqual(tokens.uncachedInput, billed.in)
    assert.strictEqual(tokens.output, billed.out)
    assert.strictEqual(tokens.total, billed.in + billed.out)
  }

  describe("single calls", () => {
    it.live("are planned, recorded as billed, priced, and reused", () =>
      Effect.gen(function* () {
        const vendor = yield* Nimbus.start(server)
        const out: Array<string> = []
        const flow = flowOf(vendor.url, {}, out)

        const before = yield* Plan.make(flow)
        assert.deepStrictEqual(
          before.lines.map(({ calls, model, provider, step }) => ({ calls, model, provider, step })),
          [{ calls: ROWS, model: MODEL, provider: "nimbus", step: "reply" }]
        )
        assert.deepStrictEqual(before.unpriced, [])
        assert.deepStrictEqual(vendor.seen, [])

        const summary = yield* Runner.run(flow)
        assert.strictEqual(vendor.single.calls, ROWS)
        assert.strictEqual(summary.calls.attempts, ROWS)
        assert.strictEqual(summary.calls.failedAttempts, 0)
        isBilled(summary, vendor.single)
        assert.strictEqual(summary.cost, costOf(vendor.single, prices[MODEL]))
        assert.strictEqual(summary.unpriced, 0)
        assert.strictEqual(summary.estimatedCalls, 0)
        assert.deepStrictEqual(out[3], "nimbus-1 on topic number 3")

        assert.strictEqual(callsOf(yield* Plan.make(flow)), 0)
        const again = yield* Runner.run(flow)
        assert.strictEqual(again.calls.attempts, 0)
        assert.strictEqual(vendor.single.calls, ROWS)
        assert.deepStrictEqual(out.slice(ROWS), out.slice(0, ROWS))
      }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
    )
  })

  /** Leaves the batches of a run at the vendor. */
  const detached = (flow: Flow.Any) =>
    Effect.gen(function* () {
      const left = yield* Effect.flip(Runner.run(flow, { batch, detach: true }))
      if (left._tag !== "RunFailed") return yield* Effect.die(left)
      assert.strictEqual(left.summary.status, "waiting")
      return left.summary
    })

  describe("batches", () => {
    it.live("go as one job, recorded as billed, at the batch's price", () =>
      Effect.gen(function* () {
        const vendor = yield* Nimbus.start(server)
        const out: Array<string> = []
        const flow = flowOf(vendor.url, {}, out)
        const summary = yield* Runner.run(flow, { batch })
        assert.strictEqual(vendor.jobs(), 1)
        assert.strictEqual(vendor.single.calls, 0)
        assert.strictEqual(vendor.batch.calls, ROWS)
        assert.strictEqual(summary.calls.attempts, ROWS)
        isBilled(summary, vendor.batch)
        assert.deepStrictEqual(
          summary.steps.map(({ attempts, provider, serviceTier, step }) => ({ attempts, provider, serviceTier, step })),
          [{ attempts: ROWS, provider: "nimbus", serviceTier: "batch", step: "reply" }]
        )
        assert.strictEqual(summary.cost, costOf(vendor.batch, prices[MODEL].batch))
        assert.strictEqual(summary.savings.serviceTier, costOf(vendor.batch, prices[MODEL]) - summary.cost)
        assert.strictEqual(out.length, ROWS)

        // A single call finds the answers of the batch, and the other way round.
        assert.strictEqual(callsOf(yield* Plan.make(flow)), 0)
        assert.strictEqual((yield* Runner.run(flow)).calls.attempts, 0)
      }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
    )

    it.live("send what expired or failed again in a smaller job", () =>
      Effect.gen(function* () {
        const vendor = yield* Nimbus.start({
          ...server,
          line: (prompt, job) => {
            if (job > 0) return undefined
            return prompt.endsWith(" 3") ? "expired" : prompt.endsWith(" 4") ? 500 : undefined
          }
        })
        const summary = yield* Runner.run(flowOf(vendor.url), { batch })
        assert.strictEqual(summary.rows.failed, 0)
        assert.strictEqual(vendor.jobs(), 2)
        assert.strictEqual(vendor.batch.calls, ROWS)
        isBilled(summary, vendor.batch)
        assert.strictEqual(summary.cost, costOf(vendor.batch, prices[MODEL].batch))
      }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
    )

    it.live("fail the row of a refused line, with the vendor's words", () =>
      Effect.gen(function* () {
        const vendor = yield* Nimbus.start({ ...server, line: (prompt) => (prompt.endsWith(" 3") ? 400 : undefined) })
        const failures: Array<string> = []
        const summary = yield* Runner.run(flowOf(vendor.url), {
          batch,
          errorsFile: false,
          observe: (event) => Effect.sync(() => void (event._tag === "RowFailed" && failures.push(event.message)))
        })
        assert.deepStrictEqual(
          failures.map((message) => message.replace(/^400 /, "")),
          ["line failed with 400"]
        )
        assert.strictEqual(summary.rows.failed, 1)
        assert.strictEqual(vendor.jobs(), 1)
        isBilled(summary, vendor.batch)
      }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
    )

    it.live("find a job whose creation was not confirmed: it is not created twice", () =>
      Effect.gen(function* () {
        const vendor = yield* Nimbus.start({ ...server, dropsJob: (job) => job === 0 })
        const summary = yield* Runner.run(flowOf(vendor.url), { batch })
        assert.strictEqual(vendor.jobs(), 1)
        assert.strictEqual(vendor.batch.calls, ROWS)
        isBilled(summary, vendor.batch)
      }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
    )

    it.live("are collected by a later run", () =>
      Effect.gen(function* () {
        let isBusy = true
        const vendor = yield* Nimbus.start({ ...server, isBusy: () => isBusy })
        const flow = flowOf(vendor.url)
        const left = yield* detached(flow)
        isBusy = false
        assert.strictEqual(left.batches?.running, ROWS)
        const summary = yield* Runner.run(flow, { batch, resume: left.run })
        assert.strictEqual(summary.status, "done")
        assert.strictEqual(vendor.jobs(), 1)
        assert.strictEqual(summary.calls.attempts, ROWS)
        isBilled(summary, vendor.batch)
      }).pipe(Effect.scoped, Effect.provide(stored))
    )

    it.live("return what they have answered when the vendor stops them; the next run sends the others", () =>
      Effect.gen(function* () {
        const vendor = yield* Nimbus.start({ ...server, stopsJob: (job) => job === 0 })
        const stopped = yield* Runner.run(flowOf(vendor.url), { batch, errorsFile: false })
        assert.strictEqual(vendor.jobs(), 1)
        assert.strictEqual(vendor.batch.calls, ROWS / 2)
        assert.strictEqual(stopped.rows.failed, ROWS / 2)
        isBilled(stopped, vendor.batch)
        const rest = yield* Runner.run(flowOf(vendor.url), { batch })
        assert.strictEqual(rest.rows.failed, 0)
        assert.strictEqual(rest.calls.attempts, ROWS / 2)
        assert.strictEqual(vendor.jobs(), 2)
        assert.strictEqual(vendor.batch.calls, ROWS)
      }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
    )

    it.live("are listed and cancelled without a run", () =>
      Effect.gen(function* () {
        let isBusy = true
        const vendor = yield* Nimbus.start({ ...server, isBusy: () => isBusy })
        const flow = flowOf(vendor.url)
        const left = yield* detached(flow)
        const batches = yield* Batches.open(flow)
        const open = yield* batches.list
        assert.deepStrictEqual(
          open.map(({ provider, requests }) => ({ provider, requests })),
          [{ provider: "nimbus", requests: ROWS }]
        )
        yield* Effect.forEach(open, batches.cancel)
        assert.include(vendor.seen, "POST /v1/jobs/job-0/cancel")
        isBusy = false
        // Nothing was answered, and no run waited: the run that is resumed sends the requests again.
        const summary = yield* Runner.run(flow, { batch, resume: left.run })
        assert.strictEqual(summary.rows.failed, 0)
        assert.strictEqual(vendor.jobs(), 2)
        isBilled(summary, vendor.batch)
      }).pipe(Effect.scoped, Effect.provide(stored))
    )
  })

  describe("faults", () => {
    it.live("are sent again, and cost what the vendor billed", () =>
      Effect.gen(function* () {
        const vendor = yield* Nimbus.start({
          ...server,
          fault: (call) => (call % 5 === 1 ? 429 : call % 7 === 2 ? 500 : undefined)
        })
        const summary = yield* Runner.run(flowOf(vendor.url))
        const sent = vendor.seen.filter((one) => one === "POST /v1/answer").length
        assert.strictEqual(summary.status, "done")
        assert.strictEqual(summary.rows.failed, 0)
        assert.strictEqual(summary.calls.attempts, sent)
        assert.strictEqual(summary.calls.failedAttempts, sent - ROWS)
        assert.isAbove(sent, ROWS)
        assert.strictEqual(vendor.single.calls, ROWS)
        isBilled(summary, vendor.single)
        assert.strictEqual(summary.cost, costOf(vendor.single, prices[MODEL]))
        assert.strictEqual(summary.estimatedCalls, 0)
      }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
    )

    it.live("without an answer are recorded at the most that they may cost", () =>
      Effect.gen(function* () {
        const vendor = yield* Nimbus.start({ ...server, fault: (call) => (call === 2 ? "drop" : undefined) })
        const summary = yield* Runner.run(flowOf(vendor.url))
        assert.strictEqual(summary.rows.failed, 0)
        assert.strictEqual(vendor.single.calls, ROWS + 1)
        assert.strictEqual(summary.calls.attempts, ROWS + 1)
        assert.strictEqual(summary.estimatedCalls, 1)
        assert.isAbove(Number(summary.cost), Number(costOf(vendor.single, prices[MODEL])))
      }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
    )

    it.live("of the address or the key stop the run at once, and cost nothing", () =>
      Effect.gen(function* () {
        const closed = yield* Effect.scoped(Effect.map(Nimbus.start(server), ({ url }) => url))
        const vendor = yield* Nimbus.start(server)
        const failures: ReadonlyArray<readonly [string, Partial<Nimbus.Options>, RegExp]> = [
          [closed, {}, plugin.unreachable],
          [vendor.url, { apiKey: "nimbus-key-3" }, /the key is not valid/],
          [vendor.url, { apiKey: "" }, plugin.missing]
        ]
        for (const [url, options, message] of failures) {
          const stopped = yield* Effect.flip(Runner.run(flowOf(url, options), { errorsFile: false, concurrency: 1 }))
          assert.match(stopped.message, message)
          if (stopped._tag !== "RunFailed") continue
          assert.strictEqual(stopped.summary.cost, Money.zero)
          assert.strictEqual(stopped.summary.unpriced, 0)
        }
        assert.strictEqual(vendor.seen.length, 1)
      }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
    )
  })

  describe("a simulated run", () => {
    const simulate = (options: Runner.Options) =>
      Effect.gen(function* () {
        const vendor = yield* Nimbus.start(server)
        const out: Array<string> = []
        const summary = yield* Runner.run(flowOf(vendor.url, {}, out), options).pipe(
          Effect.provide(Layer.mergeAll(NodeHost.layerMemory, Simulator.layer({ answer: () => "simulated" })))
        )
        assert.deepStrictEqual(vendor.seen, [])
        assert.strictEqual(summary.status, "done")
        assert.deepStrictEqual(out, Array<string>(ROWS).fill("simulated"))
        assert.deepStrictEqual(
          summary.steps.map(({ attempts, model, provider }) => ({ attempts, model, provider })),
          [{ attempts: ROWS, model: MODEL, provider: "nimbus" }]
        )
        assert.isAbove(Number(summary.cost), 0)
      }).pipe(Effect.scoped)

    it.live("sends nothing to the vendor", () => simulate({}))

    it.live("sends nothing to the vendor in batches", () => simulate({ batch }))

    it.live("needs no key", () =>
      Effect.gen(function* () {
        const summary = yield* Runner.run(flowOf("http://127.0.0.1:1", { apiKey: "" })).pipe(
          Effect.provide(Layer.mergeAll(NodeHost.layerMemory, Simulator.layer({ answer: () => "simulated" })))
        )
        assert.strictEqual(summary.status, "done")
      })
    )
  })

  describe("the check of the provider", () => {
    const check = (url: string, apiKey: string) =>
      Effect.gen(function* () {
        const providers = LayerAnnotations.providers(yield* Plan.layers(flowOf(url, { apiKey })))
        assert.deepStrictEqual(
          providers.map(({ credentials, name }) => [name, credentials]),
          [["nimbus", { name: apiKey === "" ? "NIMBUS_API_KEY" : plugin.keyFrom, isSet: apiKey !== "" }]]
        )
        return yield* providers[0]?.check ?? Effect.die("no check")
      }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))

    it.live("accepts the right key, rejects a wrong one, and bills nothing", () =>
      Effect.gen(function* () {
        const vendor = yield* Nimbus.start(server)
        assert.match(yield* check(vendor.url, "nimbus-key-1"), plugin.accepted)
        const rejected: ReadonlyArray<readonly [string, RegExp]> = [
          ["nimbus-key-4", plugin.rejected],
          ["", plugin.missing]
        ]
        for (const [key, message] of rejected) {
          const error = yield* Effect.flip(check(vendor.url, key))
          assert.strictEqual(error._tag, "AiError")
          if (error._tag !== "AiError") continue
          assert.strictEqual(ModelFailure.kind(error), "auth")
          assert.match(ModelFailure.message(error), message)
        }
        assert.deepStrictEqual(vendor.seen, ["GET /v1/models", "GET /v1/models"])
        assert.strictEqual(vendor.single.calls, 0)
      }).pipe(Effect.scoped)
    )
  })

  describe("results", () => {
    const others: ReadonlyArray<readonly [string, Partial<Nimbus.Options>, string]> = [
      ["another model", { model: "nimbus-2" }, "nimbus-2 on topic number 0"],
      ["another edition, which only `answers` shows", { edition: "winter" }, "winter nimbus-1 on topic number 0"]
    ]
    for (const [what, options, first] of others) {
      it.live(`of ${what} are not reused`, () =>
        Effect.gen(function* () {
          const vendor = yield* Nimbus.start(server)
          yield* Runner.run(flowOf(vendor.url))
          const out: Array<string> = []
          const flow = flowOf(vendor.url, options, out)
          assert.strictEqual(callsOf(yield* Plan.make(flow)), ROWS)
          const summary = yield* Runner.run(flow)
          assert.strictEqual(summary.calls.attempts, ROWS)
          assert.strictEqual(vendor.single.calls, 2 * ROWS)
          assert.strictEqual(out[0], first)
          // The first one's are still there.
          assert.strictEqual((yield* Runner.run(flowOf(vendor.url))).calls.attempts, 0)
        }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
      )
    }

    it.live("of another address are not reused", () =>
      Effect.gen(function* () {
        const vendor = yield* Nimbus.start(server)
        const other = yield* Nimbus.start(server)
        yield* Runner.run(flowOf(vendor.url))
        yield* Runner.run(flowOf(other.url))
        assert.strictEqual(other.single.calls, ROWS)
      }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
    )

    it.live("of another key are reused", () =>
      Effect.gen(function* () {
        const vendor = yield* Nimbus.start(server)
        yield* Runner.run(flowOf(vendor.url))
        assert.strictEqual((yield* Runner.run(flowOf(vendor.url, { apiKey: "nimbus-key-2" }))).calls.attempts, 0)
      }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
    )
  })
}

for (const plugin of plugins)
  describe(plugin.name, () => {
    suite(plugin)
  })
