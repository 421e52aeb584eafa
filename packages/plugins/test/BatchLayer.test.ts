/** Half the price for the same answers: gathered, sent, lost, found again, collected and recorded once. */
import { assert, describe, it } from "@effect/vitest"
import {
  Batch,
  Batches,
  Cache,
  Cascade,
  Concurrency,
  Endpoint,
  Flow,
  Ledger,
  ModelClient,
  ModelRequest,
  Money,
  Plan,
  Price,
  Pricing,
  RateLimit,
  Retry,
  Runner,
  type RunEvent,
  Sink,
  Source,
  Stack,
  Store,
  Usage
} from "@pipe/core"
import * as BatchSplit from "../../core/src/batch/BatchSplit.ts"
import { Anthropic, NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Context, Effect, Fiber, Layer, Logger, Option, Schema, Stream } from "effect"
import { EmbeddingModel, LanguageModel, Tool, Toolkit } from "effect/ai"
import * as fc from "fast-check"
import { createHash } from "node:crypto"
import { existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Soak from "../../../test/Soak.ts"

const wires = ["openai", "anthropic"] as const

type Wire = (typeof wires)[number]

/**
 * Batch prices in picodollars a token: gpt-4o-mini 0.075 and 0.30 USD, claude-haiku-4-5 0.50 and 2.50 USD per million
 * (the batch columns of platform.openai.com/docs/pricing and docs.anthropic.com pricing, 2026-11-25).
 */
const rates = { openai: [75_000n, 300_000n], anthropic: [500_000n, 2_500_000n] } as const

const provider = (wire: Wire, simulator: Simulator.Simulator) =>
  wire === "openai"
    ? OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "k" })
    : Anthropic.layer({ model: "claude-haiku-4-5", baseUrl: simulator.anthropicUrl, apiKey: "k" })

/** What the simulator would charge for all that it has answered in batches. */
const batchBill = (wire: Wire, simulator: Simulator.Simulator): bigint => {
  const [input, output] = rates[wire]
  return simulator
    .bill()
    .filter((bill) => bill.serviceTier === "batch")
    .reduce((sum, bill) => sum + BigInt(bill.input) * input + BigInt(bill.output) * output, 0n)
}

const answersIn = (simulator: Simulator.Simulator, tier: "batch" | undefined): number =>
  simulator
    .bill()
    .filter((bill) => bill.serviceTier === tier)
    .reduce((sum, bill) => sum + bill.answers, 0)

const rows = (n: number, prefix = "word") =>
  Source.fromIterable(
    "rows",
    Array.from({ length: n }, (_, i) => `${prefix} ${i}`)
  )

const ask = (prompt: string) => Effect.map(LanguageModel.generateText({ prompt }), (r) => r.text)

const fast: Batch.Options = { polling: { first: "30 millis", most: "100 millis" } }

const newStore = () => join(mkdtempSync(join(tmpdir(), "pipe-batch-")), "pipe.db")

interface Ran {
  readonly out: ReadonlyArray<unknown>
  readonly summary: RunEvent.RunFinished
  readonly warnings: ReadonlyArray<string>
  readonly failure: string | undefined
}

/** Runs a node of a flow over a wire, and gathers what comes out. */
const run = (
  node: (out: Array<unknown>) => Flow.Any,
  options: { readonly store?: string; readonly run?: Runner.Options } = {}
) =>
  Effect.suspend(() => {
    const out: Array<unknown> = []
    const warnings: Array<string> = []
    return Effect.result(
      Runner.run(node(out) as Flow.Flow<never>, {
        errorsFile: join(tmpdir(), `pipe-batch-${process.pid}.errors.jsonl`),
        ...options.run
      })
    ).pipe(
      Effect.provide(NodeHost.layer({ store: options.store ?? newStore() })),
      Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))])),
      Effect.map((result): Ran => {
        const failure = result._tag === "Failure" ? result.failure : undefined
        if (failure !== undefined && failure._tag !== "RunFailed") throw failure
        return {
          out,
          warnings,
          summary: result._tag === "Success" ? result.success : (failure as Runner.RunFailed).summary,
          failure: failure?.message
        }
      })
    )
  })

const stackOf = (wire: Wire, simulator: Simulator.Simulator) =>
  Stack.make(
    Ledger.layer,
    Cache.layer(),
    Retry.layer({ base: "10 millis", reasks: 9 }),
    RateLimit.layer({ requestsPerMinute: 600 }),
    provider(wire, simulator)
  )

const simple =
  (wire: Wire, simulator: Simulator.Simulator, n = 40) =>
  (out: Array<unknown>) =>
    Flow.make("simple", {
      outputs: [
        Sink.forEach(
          "out",
          Flow.step("a", { row: rows(n) }, ({ row }) => ask(row)),
          (value) => Effect.sync(() => out.push(value))
        )
      ],
      stack: stackOf(wire, simulator)
    })

describe("a flow in batches", () => {
  for (const wire of wires) {
    it.live(`gives what it gives online, at the price of the table, and costs nothing again (${wire})`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "100 millis" } })
        const online = yield* run(simple(wire, simulator))
        const store = newStore()
        const batch = yield* run(simple(wire, simulator), { store, run: { batch: fast } })
        assert.deepStrictEqual(batch.out, online.out)
        assert.strictEqual(answersIn(simulator, "batch"), 40)
        assert.strictEqual(batch.summary.cost, batchBill(wire, simulator))
        assert.strictEqual(batch.summary.cost * 2n, online.summary.cost)
        assert.strictEqual(batch.summary.savings.serviceTier, batch.summary.cost)
        assert.strictEqual(batch.summary.baseline, online.summary.cost)
        assert.deepStrictEqual(
          batch.summary.steps.map(({ attempts, serviceTier }) => [serviceTier, attempts]),
          [["batch", 40]]
        )
        // Either way round: whoever ran first has paid.
        const before = answersIn(simulator, undefined)
        for (const again of [
          yield* run(simple(wire, simulator), { store }),
          yield* run(simple(wire, simulator), { store, run: { batch: fast } })
        ]) {
          assert.deepStrictEqual(again.out, online.out)
          assert.strictEqual(again.summary.cost, 0n)
        }
        assert.strictEqual(answersIn(simulator, undefined), before)
        assert.strictEqual(simulator.batches().length, 1)
      })
    )

    it.live(`fills the exact cache that other flows read (${wire})`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "50 millis" } })
        const store = newStore()
        yield* run(simple(wire, simulator), { store, run: { batch: fast } })
        const other = (out: Array<unknown>) =>
          Flow.make("other", {
            outputs: [
              Sink.forEach(
                "out",
                Flow.step("b", { row: rows(40) }, ({ row }) => ask(row)),
                (value) => Effect.sync(() => out.push(value))
              )
            ],
            stack: stackOf(wire, simulator)
          })
        const read = yield* run(other, { store })
        assert.strictEqual(read.summary.calls.answers.cache, 40)
        assert.strictEqual(read.summary.cost, 0n)
      })
    )
  }

  it.live("reads its source twice where its outputs are files, and once more for an output of its own", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "20 millis" } })
      const folder = mkdtempSync(join(tmpdir(), "pipe-batch-"))
      const file = join(folder, "answers.txt")
      const seen: Array<string> = []
      const reads = Effect.fnUntraced(function* (hasOwn: boolean) {
        let opened = 0
        const source = Source.fromStream(
          "rows",
          Stream.unwrap(
            Effect.sync(() => {
              opened++
              return Stream.range(0, 4)
            })
          )
        )
        const answer = Flow.step("answer", { source }, ({ source }) => ask(`row ${source}`))
        const own = Sink.forEach("own", answer, (text) => Effect.sync(() => void seen.push(text)))
        yield* run(
          () =>
            Flow.make("replays", {
              outputs: [Sink.jsonl(file, answer), ...(hasOwn ? [own] : [])],
              stack: Stack.make(Ledger.layer, provider("openai", simulator))
            }),
          { run: { batch: fast } }
        )
        return opened
      })
      assert.strictEqual(yield* reads(false), 2)
      assert.lengthOf(readFileSync(file, "utf8").trim().split("\n"), 5)
      assert.deepStrictEqual(readdirSync(folder), ["answers.txt"])
      assert.strictEqual(yield* reads(true), 3)
      assert.lengthOf(seen, 5)
    }).pipe(Effect.scoped)
  )

  it.live("goes past what paces single calls, wherever the layer is put by the run", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "50 millis" } })
      const flow = (out: Array<unknown>) =>
        Flow.make("paced", {
          outputs: [
            Sink.forEach(
              "out",
              Flow.step("a", { row: rows(50) }, ({ row }) => ask(row)),
              (value) => Effect.sync(() => out.push(value))
            )
          ],
          stack: Stack.make(
            Ledger.layer,
            RateLimit.layer({ requestsPerMinute: 2 }),
            Concurrency.layer(1),
            provider("openai", simulator)
          )
        })
      const { out } = yield* run(flow, { run: { batch: fast } })
      assert.strictEqual(out.length, 50)
      assert.strictEqual(simulator.requests(), 0)
    })
  )

  it.live("keeps the order and the values of expansions, groups, joins, filters and several steps", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "30 millis" } })
      const flow = (out: Array<unknown>) => {
        const source = rows(12)
        const first = Flow.step("first", { row: source }, ({ row }) => ask(`first ${row}`))
        const kept = Flow.filter("kept", { row: source, first }, ({ row }) =>
          Effect.map(ask(`keep ${row}?`), (text) => text.length % 3 !== 0)
        )
        const words = Flow.expand("words", { kept }, ({ kept }) => kept.first.split(" ").slice(0, 3))
        const each = Flow.step("each", { word: words, row: source }, ({ row, word }) =>
          Effect.all([ask(`a ${word}`), ask(`b ${word}`)], { concurrency: "unbounded" }).pipe(
            Effect.flatMap(([a, b]) => ask(`${row} ${a} ${b}`))
          )
        )
        const counted = Flow.reduce(
          "counted",
          { each, row: source },
          {
            by: ({ row }) => row.slice(-1),
            initial: (): ReadonlyArray<string> => [],
            step: (all, { each }) => [...all, each],
            finish: (all, key) => Effect.map(ask(`sum ${key} ${all.length}`), (text) => `${key}: ${all.length} ${text}`)
          }
        )
        return Flow.make("shapes", {
          outputs: [
            Sink.forEach("each", each, (value) => Effect.sync(() => out.push(["each", value]))),
            Sink.forEach("counted", counted, (value) => Effect.sync(() => out.push(["counted", value])))
          ],
          stack: stackOf("openai", simulator)
        })
      }
      const sort = (out: ReadonlyArray<unknown>) =>
        [...(out as ReadonlyArray<[string, string]>)].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      const online = yield* run(flow)
      const batch = yield* run(flow, { run: { batch: fast } })
      assert.deepStrictEqual(sort(batch.out), sort(online.out))
      assert.strictEqual(batch.summary.cost, batchBill("openai", simulator))
      // The ledger say the same of answers, however often a row was started.
      assert.strictEqual(batch.summary.baseline, online.summary.baseline)
      assert.deepStrictEqual(
        batch.summary.nodes.map(({ done, failed, name, reused }) => ({ name, done, failed, reused })),
        online.summary.nodes.map(({ done, failed, name, reused }) => ({ name, done, failed, reused }))
      )
    })
  )

  it.live("asks the same for samples, embeddings and structured answers that do not fit at first", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ faults: { wrongSchema: 0.4 }, batches: { latency: "30 millis" } })
      const Verdict = Schema.Struct({ good: Schema.Boolean })
      const flow = (out: Array<unknown>) => {
        const source = rows(20)
        const verdict = Flow.step("verdict", { row: source }, ({ row }) =>
          Effect.map(LanguageModel.generateObject({ prompt: `judge ${row}`, schema: Verdict }), (r) => r.value)
        )
        const three = Flow.step("three", { row: source }, ({ row }) => ask(`sample ${row}`), {
          samples: 3,
          settings: { temperature: 1 }
        })
        const vector = Flow.step(
          "vector",
          { row: source },
          ({ row }) =>
            Effect.map(
              EmbeddingModel.EmbeddingModel.use((model) => model.embed(row)),
              ({ vector }) => vector.length
            ),
          {
            model: "text-embedding-3-small"
          }
        )
        return Flow.make("kinds", {
          outputs: [Sink.forEach("out", { verdict, three, vector }, (value) => Effect.sync(() => out.push(value)))],
          stack: stackOf("openai", simulator)
        })
      }
      const { out, summary } = yield* run(flow, { run: { batch: fast } })
      assert.strictEqual(out.length, 20)
      assert.isTrue(
        (out as Array<{ readonly three: ReadonlyArray<string>; readonly vector: number }>).every(
          ({ three, vector }) => three.length === 3 && vector === 64
        )
      )
      assert.deepStrictEqual([...new Set(simulator.batches().map(({ endpoint }) => endpoint))].sort(), [
        "/v1/chat/completions",
        "/v1/embeddings"
      ])
      assert.isAbove(summary.calls.attempts, 100, "no answer was sent again")
      assert.strictEqual(answersIn(simulator, undefined), 0)
    })
  )

  it.live("has requests of one endpoint, where a model needs the responses API for some", () =>
    Effect.gen(function* () {
      // A batch with lines of another endpoint is refused (openai-python#2497), as the simulator does.
      const simulator = yield* Simulator.start({ batches: { latency: "30 millis" } })
      const Look = Tool.make("look", { parameters: Schema.Struct({ word: Schema.String }), success: Schema.String })
      const toolkit = Toolkit.make(Look)
      const tools = toolkit.toLayer({ look: () => Effect.succeed("found") })
      const source = rows(10)
      const plain = Flow.step("plain", { row: source }, ({ row }) => ask(`plain ${row}`))
      const tooled = Flow.step("tooled", { row: source }, ({ row }) =>
        Effect.map(LanguageModel.generateText({ prompt: `look ${row}`, toolkit }), ({ text }) => text).pipe(
          Effect.provide(tools)
        )
      )
      const { out, summary } = yield* run(
        (out: Array<unknown>) =>
          Flow.make("endpoints", {
            outputs: [Sink.forEach("out", { plain, tooled }, (value) => Effect.sync(() => out.push(value)))],
            stack: Stack.make(Ledger.layer, OpenAi.layer({ apiKey: "k", model: "gpt-5.5" }))
          }),
        { run: { batch: fast } }
      ).pipe(Effect.provideService(Endpoint.Overrides, { openai: { baseUrl: simulator.openAiUrl, apiKey: "k" } }))
      assert.strictEqual(out.length, 10)
      assert.strictEqual(summary.rows.failed, 0)
      assert.deepStrictEqual([...new Set(simulator.batches().map(({ endpoint }) => endpoint))].sort(), [
        "/v1/chat/completions",
        "/v1/responses"
      ])
    })
  )

  it.live("is for one step where the layer in the stack says so, and waits outside of a run too", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "50 millis" } })
      const flow = (out: Array<unknown>) => {
        const source = rows(10)
        const a = Flow.step("a", { row: source }, ({ row }) => ask(`a ${row}`))
        const b = Flow.step("b", { row: source }, ({ row }) => ask(`b ${row}`))
        return Flow.make("steps", {
          outputs: [Sink.forEach("out", { a, b }, (value) => Effect.sync(() => out.push(value)))],
          stack: Stack.make(Ledger.layer, Batch.layer({ ...fast, steps: ["b"] }), provider("openai", simulator))
        })
      }
      const both = yield* run(flow)
      assert.strictEqual(both.out.length, 10)
      assert.deepStrictEqual(
        both.summary.steps.map(({ attempts, serviceTier, step }) => [step, serviceTier, attempts]).sort(),
        [
          ["a", undefined, 10],
          ["b", "batch", 10]
        ]
      )
      const off = yield* run(flow, { run: { batch: "off" } })
      assert.deepStrictEqual(
        off.summary.steps.map(({ serviceTier }) => serviceTier),
        [undefined, undefined]
      )

      const outside = Effect.forEach(
        ["one", "two"],
        (text) => ModelClient.send(ModelRequest.completion({ messages: [{ role: "user", content: text }] })),
        { concurrency: "unbounded" }
      )
      const responses = yield* outside.pipe(
        Effect.provide(Stack.make(Batch.layer(fast), provider("openai", simulator))),
        Effect.provide(NodeHost.layer({ store: newStore() }))
      )
      assert.deepStrictEqual(
        responses.map(({ origin, serviceTier }) => [origin, serviceTier]),
        [
          ["provider", "batch"],
          ["provider", "batch"]
        ]
      )
    })
  )

  it.live("says so where a provider has no batches, and where a source cannot be read again", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "30 millis" } })
      const none = yield* run(
        (out) =>
          Flow.make("none", {
            outputs: [
              Sink.forEach(
                "out",
                Flow.step("a", { row: rows(2) }, ({ row }) => ask(row)),
                (value) => Effect.sync(() => out.push(value))
              )
            ],
            stack: Stack.make(
              Ledger.layer,
              Layer.succeed(
                ModelClient.ModelClient,
                ModelClient.provider({ name: "own", send: () => Effect.die("asked") })
              )
            )
          }),
        { run: { batch: fast } }
      )
      assert.match(none.failure ?? "", /own has no batch API/)
      const generator = (function* () {
        yield "a"
        yield "b"
      })()
      const once = yield* run(
        (out) =>
          Flow.make("once", {
            outputs: [
              Sink.forEach(
                "out",
                Flow.step("a", { row: Source.fromIterable("rows", generator) }, ({ row }) => ask(row)),
                (value) => Effect.sync(() => out.push(value))
              )
            ],
            stack: stackOf("openai", simulator)
          }),
        { run: { batch: fast } }
      )
      assert.match(once.failure ?? "", /source rows gave 2 rows, then 0/)
    })
  )
})

describe("faults of batches", () => {
  const faults: { readonly [name: string]: Simulator.BatchOptions } = {
    "refused requests": { errors: 0.2 },
    "requests that fail for now": { serverErrors: 0.4 },
    expiry: { expired: 0.4 },
    "results that are missing": { missing: 0.3 },
    "results that come twice": { duplicates: 0.5 },
    "all at once": { errors: 0.1, serverErrors: 0.2, expired: 0.2, missing: 0.1, duplicates: 0.2 },
    "a creation whose answer is lost": { lostCreations: 1 },
    "a download that ends in its middle": { cutDownloads: 2 },
    "an upload that fails": { failedUploads: 1 }
  }
  for (const wire of wires) {
    for (const [name, batches] of Object.entries(faults)) {
      if (wire === "anthropic" && batches.failedUploads !== undefined) continue
      // "all at once" has each of them; the others are tried by themselves where there is time.
      const isShort = wire === "openai" || name === "all at once"
      it.live.skipIf(!Soak.isSoak && !isShort)(
        `${name}: each row ends once, and each answer is paid once (${wire})`,
        () =>
          Effect.gen(function* () {
            const simulator = yield* Simulator.start({ batches: { latency: "60 millis", ...batches } })
            const calm = yield* Simulator.start()
            const online = yield* run(simple(wire, calm, 60))
            const { out, summary } = yield* run(simple(wire, simulator, 60), { run: { batch: fast } })
            const refused = summary.rows.failed
            assert.strictEqual(out.length + refused, 60)
            assert.isTrue(out.every((value) => online.out.includes(value)))
            assert.deepStrictEqual(
              out,
              online.out.filter((value) => out.includes(value)),
              "the order of the source"
            )
            if (batches.errors === undefined) assert.strictEqual(refused, 0)
            else assert.isAbove(refused, 0)
            // What was answered in a batch and had no result is paid for, and sent again; nothing else is.
            if (batches.missing === undefined)
              assert.strictEqual(answersIn(simulator, "batch") + answersIn(simulator, undefined), out.length)
            const online2 = summary.steps
              .filter(({ serviceTier }) => serviceTier === undefined)
              .reduce((sum, { cost }) => sum + cost, 0n)
            assert.strictEqual(summary.cost - online2, batchBill(wire, simulator))
            if (batches.lostCreations !== undefined)
              assert.strictEqual(simulator.batches().length, 1, "the batch was created twice")
          })
      )
    }
  }

  it.live("a batch that is found invalid: the request at fault fails alone, the others are sent again", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "50 millis", invalid: 1 } })
      const { out, summary } = yield* run(simple("openai", simulator, 20), { run: { batch: fast } })
      assert.strictEqual(out.length, 19)
      assert.strictEqual(summary.rows.failed, 1)
      assert.deepStrictEqual(
        simulator.batches().map(({ requests, status }) => [requests, status]),
        [
          [20, "failed"],
          [19, "completed"]
        ]
      )
    })
  )

  it.live(
    "the tokens that an account may have waiting: batches wait for one another, and one that is too large is split",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "300 millis", enqueuedTokens: 250 } })
        const { out, summary, warnings } = yield* run(simple("openai", simulator, 60), { run: { batch: fast } })
        assert.strictEqual(out.length, 60)
        assert.strictEqual(summary.cost, batchBill("openai", simulator))
        const done = simulator.batches().filter(({ status }) => status === "completed")
        assert.isAbove(done.length, 1)
        const said = `${simulator
          .batches()
          .map(({ id, metadata, requests, status }) => `${id} ${JSON.stringify(metadata)} ${requests} ${status}`)
          .join(
            "\n"
          )}\n${warnings.join("\n")}\n${JSON.stringify(summary.steps.map(({ attempts, failedAttempts, serviceTier }) => [serviceTier, attempts, failedAttempts]))}`
        assert.strictEqual(
          done.reduce((sum, { requests }) => sum + requests, 0),
          60,
          said
        )
      })
  )

  it.live("a single request that never has room is called at once in the end", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "50 millis", enqueuedTokens: 1 } })
      const { out, summary } = yield* run(simple("openai", simulator, 2), {
        run: { batch: { polling: { first: "5 millis" } } }
      })
      assert.strictEqual(out.length, 2)
      assert.deepStrictEqual(
        summary.steps.map(({ attempts, serviceTier }) => [serviceTier, attempts]),
        [[undefined, 2]]
      )
    })
  )

  it.live("a single request that is too large is called at once, and said", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "30 millis" } })
      const flow = (out: Array<unknown>) =>
        Flow.make("long", {
          outputs: [
            Sink.forEach(
              "out",
              Flow.step("a", { row: rows(5) }, ({ row }) => ask(row.endsWith("3") ? "x".repeat(5_000) : row)),
              (value) => Effect.sync(() => out.push(value))
            )
          ],
          stack: stackOf("openai", simulator)
        })
      const { out, summary, warnings } = yield* run(flow, { run: { batch: { ...fast, maxBytes: 3_000 } } })
      assert.strictEqual(out.length, 5)
      assert.deepStrictEqual(
        summary.steps.map(({ attempts, serviceTier }) => [serviceTier, attempts]).sort(),
        [
          [undefined, 1],
          ["batch", 4]
        ].sort()
      )
      assert.isTrue(
        warnings.some((warning) => /too large, or an unsupported kind/.test(warning)),
        warnings.join("\n")
      )
    })
  )
})

describe("a deadline", () => {
  for (const wire of wires) {
    it.live(`has what is not back cancelled and asked at once; the report says what each part cost (${wire})`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "8 seconds" } })
        const calm = yield* Simulator.start()
        const online = yield* run(simple(wire, calm, 60))
        const { out, summary, warnings } = yield* run(simple(wire, simulator, 60), {
          run: { batch: { ...fast, deadline: "3 seconds" } }
        })
        assert.deepStrictEqual(out, online.out)
        const parts = new Map(summary.steps.map((step) => [step.serviceTier, step]))
        assert.isAbove(parts.get("batch")!.attempts, 0)
        assert.isAbove(parts.get(undefined)!.attempts, 0)
        assert.strictEqual(parts.get("batch")!.attempts + parts.get(undefined)!.attempts, 60)
        assert.strictEqual(parts.get("batch")!.cost, batchBill(wire, simulator))
        assert.strictEqual(answersIn(simulator, "batch") + answersIn(simulator, undefined), 60)
        assert.deepStrictEqual(
          simulator.batches().map(({ status }) => status),
          ["cancelled"]
        )
        assert.isTrue(warnings.some((warning) => /deadline/.test(warning)))
      })
    )
  }
})

describe("a run that is left", () => {
  it.live(
    "is picked up by its name: nothing is sent again, and the answers are recorded once however often they are looked for",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "700 millis" } })
        const store = newStore()
        const left = yield* run(simple("openai", simulator), { store, run: { batch: fast, detach: true } })
        assert.strictEqual(left.summary.status, "waiting")
        assert.strictEqual(left.summary.batches?.open, 1)
        assert.strictEqual(left.out.length, 0)
        const again = yield* run(simple("openai", simulator), {
          store,
          run: { batch: fast, detach: true, resume: left.summary.run }
        })
        assert.strictEqual(again.summary.status, "waiting")
        const done = yield* run(simple("openai", simulator), { store, run: { batch: fast, resume: left.summary.run } })
        assert.strictEqual(done.summary.status, "done")
        assert.strictEqual(done.out.length, 40)
        assert.strictEqual(done.summary.cost, batchBill("openai", simulator))
        assert.strictEqual(done.summary.try, 3)
        assert.strictEqual(simulator.batches().length, 1)
        assert.deepStrictEqual(readdirSync(join(store, "../batches")), [])
      })
  )

  it.live("is reused by another run with the same requests, which pays nothing", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "500 millis" } })
      const store = newStore()
      yield* run(simple("openai", simulator), { store, run: { batch: fast, detach: true } })
      const other = yield* run(simple("openai", simulator, 45), { store, run: { batch: fast } })
      assert.strictEqual(other.out.length, 45)
      assert.deepStrictEqual(
        simulator.batches().map(({ requests }) => requests),
        [40, 5]
      )
      assert.strictEqual(other.summary.calls.attempts, 5, "only what it has asked is on its bill")
    })
  )

  it.live("is not sent again when its batch is gone: it says which, with whose key, and what to do (bapi-11)", () =>
    Effect.gen(function* () {
      const store = newStore()
      const port = yield* Effect.scoped(
        Effect.gen(function* () {
          const simulator = yield* Simulator.start({ seed: "first", batches: { latency: "10 seconds" } })
          yield* run(simple("openai", simulator), { store, run: { batch: fast, detach: true } })
          return Number(new URL(simulator.url).port)
        })
      )
      const simulator = yield* Simulator.start({ seed: "second", port, batches: { latency: "50 millis" } })
      const { failure } = yield* run(simple("openai", simulator), { store, run: { batch: fast } })
      assert.match(
        failure ?? "",
        /batch batch_\w+ .*was not found at openai with the key from the options \(fingerprint [0-9a-f]{8}\).*pipe batches forget pb-/
      )
      assert.strictEqual(simulator.batches().length, 0, "it was sent again without a word")
      assert.notInclude(failure ?? "", "apiKey")
    })
  )
})

describe("a batch that is given up", () => {
  it.live("is recorded as the most that it can cost: the provider may answer it all the same", () =>
    Effect.gen(function* () {
      const store = newStore()
      const simulator = yield* Simulator.start({ batches: { latency: "1 hour" } })
      const left = yield* run(simple("openai", simulator), { store, run: { batch: fast, detach: true } })
      const own = Context.get(yield* Layer.build(Layer.fresh(NodeHost.existingStore(store))), Store.Store)
      const [batch] = yield* own.batches.list(1)
      yield* Batches.forget(own, batch!)
      const sums = yield* own.ledger.sums(batch!.run!)
      assert.strictEqual(sums[0]?.estimated, 40)
      const again = yield* run(simple("openai", simulator), { store, run: { batch: "off", resume: left.summary.run } })
      assert.strictEqual(again.out.length, 40)
      // Both the batch and what took its place.
      simulator.endBatches()
      assert.isTrue(again.summary.cost >= 2n * batchBill("openai", simulator))
      assert.isAbove(again.summary.estimatedCalls, 0)
    }).pipe(Effect.scoped)
  )
})

describe("a row that is gone through again", () => {
  it.live("has saved nothing by the answers that it has paid itself", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "50 millis" } })
      const { summary } = yield* run(
        (out) =>
          Flow.make("doubted", {
            outputs: [
              Sink.forEach(
                "out",
                Flow.step("a", { row: rows(12) }, ({ row }) => ask(row), { quality: { check: () => false } }),
                (value) => Effect.sync(() => out.push(value))
              )
            ],
            // Without a cache: each row's first answer is in the batch alone.
            stack: Stack.make(
              Ledger.layer,
              Cascade.layer({ models: ["gpt-4o-mini", "gpt-4o"] }),
              provider("openai", simulator)
            )
          }),
        { run: { batch: fast } }
      )
      assert.strictEqual(answersIn(simulator, "batch"), 24)
      assert.strictEqual(summary.savings.cache, 0n)
      assert.strictEqual(summary.calls.answers.cache + summary.calls.answers.shared, 0)
      // gpt-4o in the ordinary class: 2.50 and 10 USD per million tokens (platform.openai.com/docs/pricing, 2026-11-28).
      const strong = simulator
        .bill()
        .filter(({ model }) => model === "gpt-4o")
        .reduce((sum, { input, output }) => sum + BigInt(input) * 2_500_000n + BigInt(output) * 10_000_000n, 0n)
      assert.strictEqual(summary.baseline, strong)
    })
  )
})

describe("equal rows without a cache", () => {
  class Row extends Schema.Class<Row>("@app/Row")({ id: Schema.Int, text: Schema.String }) {}

  for (const [name, all] of [
    ["differ in what is not sent", [1, 2, 3].map((id) => ({ id, text: "bee" }))],
    ["are instances of a class", [1, 1, 1].map((id) => new Row({ id, text: "bee" }))]
  ] as const) {
    it.live(`get separate answers where they ${name}, with one step or two`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator.start({ batches: { latency: "50 millis" } })
        const { summary } = yield* run(
          (out) => {
            const row = Source.fromIterable("rows", all)
            const a = Flow.step("a", { row }, ({ row }) => ask(row.text))
            const b = Flow.step("b", { row }, ({ row }) => ask(row.text))
            return Flow.make("equal", {
              outputs: [Sink.forEach("out", { a, b }, (value) => Effect.sync(() => out.push(value)))],
              stack: Stack.make(Ledger.layer, provider("openai", simulator))
            })
          },
          { run: { batch: fast } }
        )
        assert.strictEqual(answersIn(simulator, "batch"), 6)
        assert.deepInclude(summary.calls.answers, { provider: 6, shared: 0 })
      })
    )
  }

  it.live("are each paid once a step, whichever of their batches is back first", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({
        answer: () => "yes",
        batches: { latency: (batch) => (batch === 1 ? 400 : 30) }
      })
      const { out, summary } = yield* run(
        (out) => {
          const source = Source.fromIterable("rows", ["bee", "bee", "bee", "bee"])
          const first = Flow.step("first", { row: source }, ({ row }) => ask(`first ${row}`))
          const second = Flow.step("second", { row: source, first }, ({ first, row }) => ask(`second ${row} ${first}`))
          return Flow.make("equal", {
            outputs: [Sink.forEach("out", second, (value) => Effect.sync(() => out.push(value)))],
            stack: Stack.make(Ledger.layer, provider("openai", simulator))
          })
        },
        { run: { batch: { ...fast, maxRequests: 2 } } }
      )
      assert.lengthOf(out, 4)
      assert.strictEqual(answersIn(simulator, "batch"), 8)
      assert.strictEqual(summary.cost, batchBill("openai", simulator))
    }).pipe(Effect.scoped)
  )

  it.live("are not paid again where the step's input is renamed, and one that is unique is found by a cache", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "300 millis" } })
      const store = newStore()
      const flow = (name: string, cached: boolean) => (out: Array<unknown>) =>
        Flow.make("equal", {
          outputs: [
            Sink.forEach(
              "out",
              Flow.step("a", { [name]: Source.fromIterable("rows", ["bee", "ant", "bee"]) }, (given) =>
                ask(String(given[name]))
              ),
              (value) => Effect.sync(() => out.push(value))
            )
          ],
          stack: cached
            ? Stack.make(Ledger.layer, Cache.layer(), provider("openai", simulator))
            : Stack.make(Ledger.layer, provider("openai", simulator))
        })
      const left = yield* run(flow("row", false), { store, run: { batch: fast, detach: true } })
      const renamed = yield* run(flow("r", false), {
        store,
        run: { batch: fast, detach: true, resume: left.summary.run }
      })
      assert.strictEqual(renamed.summary.status, "waiting")
      const { out, summary } = yield* run(flow("r", true), { store, run: { batch: fast, resume: left.summary.run } })
      assert.strictEqual(summary.status, "done")
      assert.lengthOf(out, 3)
      assert.strictEqual(answersIn(simulator, "batch"), 3)
    })
  )

  const equal = (simulator: Simulator.Simulator, shout: boolean) => (out: Array<unknown>) =>
    Flow.make("equal", {
      outputs: [
        Sink.forEach(
          "out",
          Flow.step("a", { row: Source.fromIterable("rows", ["bee", "ant", "bee", "bee"]) }, ({ row }) =>
            Effect.map(ask(row), (text) => (shout ? text.toUpperCase() : text))
          ),
          (value) => Effect.sync(() => out.push(value))
        )
      ],
      stack: Stack.make(Ledger.layer, provider("openai", simulator))
    })

  it.live("get separate answers, as single calls do and the plan says", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "50 millis" } })
      const store = newStore()
      const plan = yield* Effect.provide(Plan.make(equal(simulator, false)([])), NodeHost.layer({ store }))
      const { out, summary } = yield* run(equal(simulator, false), { store, run: { batch: fast } })
      assert.strictEqual(plan.lines[0]?.calls, 4)
      assert.strictEqual(answersIn(simulator, "batch"), 4)
      assert.deepInclude(summary.calls.answers, { provider: 4, cache: 0, shared: 0 })
      assert.strictEqual(summary.cost, batchBill("openai", simulator))
      assert.strictEqual(summary.savings.cache, 0n)
      assert.lengthOf(out, 4)
    })
  )

  it.live("have each its own answer when the run is resumed, by a step whose code has changed too", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "300 millis" } })
      const store = newStore()
      const left = yield* run(equal(simulator, false), { store, run: { batch: fast, detach: true } })
      assert.strictEqual(left.summary.status, "waiting")
      const { out, summary } = yield* run(equal(simulator, true), {
        store,
        run: { batch: fast, resume: left.summary.run }
      })
      assert.strictEqual(summary.status, "done")
      assert.lengthOf(out, 4)
      for (const text of out) assert.strictEqual(text, String(text).toUpperCase())
      assert.strictEqual(simulator.batches().length, 1)
      assert.strictEqual(answersIn(simulator, "batch"), 4)
      assert.strictEqual(summary.cost, batchBill("openai", simulator))
    })
  )
})

describe("a batch of a run that is active", () => {
  it.live("is not forgotten from under it", () =>
    Effect.gen(function* () {
      const store = newStore()
      const simulator = yield* Simulator.start({ batches: { latency: "1 hour" } })
      const working = yield* Effect.forkChild(run(simple("openai", simulator), { store, run: { batch: fast } }))
      const own = yield* Effect.map(
        Layer.build(Layer.fresh(NodeHost.existingStore(store))).pipe(Effect.eventually),
        (context) => Context.get(context, Store.Store)
      )
      const sent = Effect.flatMap(own.batches.list(1), ([batch]) =>
        batch?.state === "sent" ? Effect.succeed(batch) : Effect.fail("not yet")
      )
      const batch = yield* Effect.eventually(Effect.tapError(sent, () => Effect.sleep("20 millis")))
      const refused = yield* Effect.flip(Batches.forget(own, batch))
      assert.match(refused.message, /belongs to run \S+, which is active: stop that run first/)
      simulator.endBatches()
      const { out, summary } = yield* Fiber.join(working)
      assert.strictEqual(out.length, 40)
      assert.strictEqual(summary.cost, batchBill("openai", simulator))
    }).pipe(Effect.scoped)
  )
})

describe("a batch that is not found", () => {
  it.live("is collected when it is found again, with the right key at the right address", () =>
    Effect.gen(function* () {
      const store = newStore()
      const right = yield* Simulator.start({ batches: { latency: "100 millis" } })
      const wrong = yield* Simulator.start({ seed: "wrong" })
      const left = yield* run(simple("openai", right), { store, run: { batch: fast, detach: true } })
      const lost = yield* run(simple("openai", wrong), { store, run: { batch: fast, resume: left.summary.run } })
      assert.match(lost.failure ?? "", /was not found .*it was sent from another account/)
      const done = yield* run(simple("openai", right), { store, run: { batch: fast, resume: left.summary.run } })
      assert.strictEqual(done.out.length, 40)
      assert.strictEqual(done.summary.cost, batchBill("openai", right))
      assert.strictEqual(right.batches().length, 1)
      assert.strictEqual(wrong.batches().length, 0)
    })
  )
})

describe("a budget", () => {
  it.live("holds for batches at their price, and resumes with a larger one", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "50 millis" } })
      const flow = (out: Array<unknown>) =>
        Flow.make("capped", {
          outputs: [
            Sink.forEach(
              "out",
              Flow.step("a", { row: rows(60) }, ({ row }) => ask(row), { settings: { maxTokens: 40 } }),
              (value) => Effect.sync(() => out.push(value))
            )
          ],
          stack: stackOf("openai", simulator)
        })
      const store = newStore()
      const stopped = yield* run(flow, { store, run: { batch: fast, budget: { usd: "0.0002" } } })
      assert.strictEqual(stopped.summary.status, "budget")
      assert.isTrue(stopped.summary.cost <= 200_000_000n)
      assert.isTrue(stopped.summary.cost > 100_000_000n, "much less than the budget was used")
      // Rows that wait for room have sent nothing: they are no rows whose requests change.
      assert.strictEqual(answersIn(simulator, undefined), 0)
      assert.isFalse(stopped.warnings.some((text) => text.includes("each time it is replayed")))
      assert.strictEqual(stopped.summary.cost, batchBill("openai", simulator))
      const done = yield* run(flow, {
        store,
        run: { batch: fast, budget: { usd: "1" }, resume: stopped.summary.run }
      })
      assert.strictEqual(done.out.length, 60)
      assert.strictEqual(done.summary.cost, batchBill("openai", simulator))
      assert.strictEqual(answersIn(simulator, "batch"), 60)
    })
  )
})

describe("budgets of batches under random schedules", () => {
  const count = Soak.times(2, 100)
  it.live(
    `hold in ${count}, left and resumed, with every fault, and the ledger have no less than the bill`,
    () =>
      Effect.gen(function* () {
        for (let seed = 0; seed < count; seed++) {
          const draw = (name: string) =>
            createHash("sha256").update(`${seed} ${name}`).digest().readUInt32BE() / 2 ** 32
          const wire = wires[seed % 2]!
          const often = draw("faults") < 0.5 ? 0 : 0.2
          const long = draw("long") * 0.3
          const simulator = yield* Simulator.start({
            seed: String(seed),
            answer: ({ prompt }) => (draw(prompt) < long ? "word ".repeat(1_500) : "word ".repeat(20)),
            batches: {
              latency: "20 millis",
              errors: often,
              serverErrors: often,
              expired: often,
              missing: often / 4,
              duplicates: often,
              lostCreations: draw("lost") < 0.2 ? 1 : 0
            }
          })
          const n = 20 + Math.floor(draw("rows") * 60)
          const maxTokens = draw("limit") < 0.5 ? Math.ceil(40 + draw("tokens") * 2_000) : undefined
          // From a tenth of what all rows cost at most to all of it.
          const [input, output] = rates[wire]
          const row = 200n * input + BigInt(maxTokens ?? 4_096) * output
          const cap = (row * BigInt(n) * BigInt(Math.ceil(10 + 90 * draw("cap")))) / 100n
          const flow = (out: Array<unknown>) =>
            Flow.make("random", {
              outputs: [
                Sink.forEach(
                  "out",
                  Flow.step(
                    "a",
                    { row: rows(n) },
                    ({ row }) => ask(row),
                    maxTokens === undefined ? {} : { settings: { maxTokens } }
                  ),
                  (value) => Effect.sync(() => out.push(value))
                )
              ],
              stack: stackOf(wire, simulator)
            })
          const store = newStore()
          const options = { batch: fast, budget: { usd: Money.toUsd(cap) } }
          let ran = yield* run(flow, { store, run: { ...options, detach: draw("detach") < 0.5 } })
          for (let times = 0; ran.summary.status === "waiting" && times < 20; times++) {
            ran = yield* run(flow, {
              store,
              run: { ...options, resume: ran.summary.run, detach: draw(`${times}`) < 0.5 }
            })
          }
          const billed = simulator
            .bill()
            .reduce(
              (sum, one) =>
                sum
                + (BigInt(one.input) * input + BigInt(one.output) * output) * (one.serviceTier === "batch" ? 1n : 2n),
              0n
            )
          const text = `seed ${seed} (${wire}): billed ${Money.format(billed)}, recorded ${Money.format(ran.summary.cost)}, cap ${Money.format(cap)}, ${ran.summary.status}`
          assert.isTrue(billed <= cap, text)
          assert.isTrue(ran.summary.cost >= billed, text)
          // A batch of which nothing came may have answers that are late: it is for a person to say.
          if (!/counts \d+ answers? that its results do not have/.test(ran.failure ?? ""))
            assert.include(["done", "budget"], ran.summary.status, text)
        }
      }),
    Soak.timeout(120_000)
  )
})

describe("an output limit that a budget has set", () => {
  for (const wire of wires) {
    it.live(`makes no short answer a result: it is paid, and sent again with a larger one (${wire})`, () =>
      Effect.gen(function* () {
        const answer = "word ".repeat(700)
        const simulator = yield* Simulator.start({ answer: () => answer, batches: { latency: "50 millis" } })
        const { out, summary } = yield* run(
          (out) =>
            Flow.make("limited", {
              outputs: [
                Sink.forEach(
                  "out",
                  Flow.step("a", { row: rows(6) }, ({ row }) => ask(row)),
                  (value) => Effect.sync(() => out.push(value))
                )
              ],
              stack: stackOf(wire, simulator)
            }),
          { run: { batch: fast, budget: { usd: wire === "openai" ? "0.006" : "0.06" } } }
        )
        assert.deepStrictEqual(out, Array(6).fill(answer))
        assert.isAbove(simulator.batches().length, 1)
        assert.strictEqual(summary.cost, batchBill(wire, simulator))
      })
    )
  }
})

describe("what is in progress", () => {
  it.live("is held from the budget of the process that continues", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "1500 millis" } })
      const flow = (n: number) => (out: Array<unknown>) =>
        Flow.make("held", {
          outputs: [
            Sink.forEach(
              "out",
              Flow.step("a", { row: rows(n) }, ({ row }) => ask(row), { settings: { maxTokens: 40 } }),
              (value) => Effect.sync(() => out.push(value))
            )
          ],
          stack: stackOf("openai", simulator)
        })
      const store = newStore()
      // 20 requests hold some 20 × (30 × 0.075 + 40 × 0.30) microdollars; twice as many are too much.
      const budget = { usd: "0.0004" }
      const left = yield* run(flow(20), { store, run: { batch: fast, budget, detach: true } })
      assert.strictEqual(left.summary.status, "waiting")
      const again = yield* run(flow(60), {
        store,
        run: { batch: fast, budget, detach: true, resume: left.summary.run }
      })
      const waiting = simulator.batches().reduce((sum, { requests }) => sum + requests, 0)
      assert.isBelow(waiting, 45, "the requests in flight were forgotten")
      const done = yield* run(flow(60), {
        store,
        run: { batch: fast, budget: { usd: "1" }, resume: again.summary.run }
      })
      assert.strictEqual(done.out.length, 60)
      assert.strictEqual(done.summary.cost, batchBill("openai", simulator))
    })
  )
})

describe("prices of batches", () => {
  const usage = (input: number, cacheRead: number, output: number) => Usage.fromInclusive({ input, cacheRead, output })!
  it.effect("are those of the class of tokens and the length of the context (litellm#38341, #39861)", () =>
    Effect.gen(function* () {
      const pricing = yield* Pricing.Pricing
      const price = Option.getOrThrow(
        pricing.lookup({ model: "gpt-5.4", provider: "openai", at: Date.UTC(2026, 10, 25) })
      )
      // Above 272,000 tokens 5, 0.5 and 22.5 USD per million (LiteLLM's table of 2026-07-24), in batches half of each:
      // (150,000 × 5 + 150,000 × 0.5 + 1,000 × 22.5) / 2 microdollars.
      assert.strictEqual(Price.cost(price, usage(300_000, 150_000, 1_000), { serviceTier: "batch" }), 423_750_000_000n)
    }).pipe(Effect.provide(Pricing.layer()))
  )
  it.effect("are planned as they are charged, the author's own too", () =>
    Effect.gen(function* () {
      const source = rows(10)
      const flow = Flow.make("planned", {
        prices: { own: { input: 2, output: 8, batch: { input: 1, output: 3 } }, half: { input: 2, output: 8 } },
        outputs: [
          Sink.forEach(
            "own",
            Flow.step("own", { row: source }, ({ row }) => ask(row), { model: "own", settings: { maxTokens: 100 } }),
            () => Effect.void
          ),
          Sink.forEach(
            "half",
            Flow.step("half", { row: source }, ({ row }) => ask(row), { model: "half", settings: { maxTokens: 100 } }),
            () => Effect.void
          )
        ],
        stack: Stack.make(Ledger.layer, OpenAi.layer({ apiKey: "k", baseUrl: "http://127.0.0.1:9" }))
      })
      const plan = yield* Plan.make(flow, { batch: true }).pipe(Effect.provide(NodeHost.layerMemory))
      for (const line of plan.lines) {
        const [input, output] = line.step === "own" ? [1_000_000n, 3_000_000n] : [1_000_000n, 4_000_000n]
        assert.strictEqual(
          line.cost?.expected,
          BigInt(line.inputTokens) * input + BigInt(line.outputTokens.expected) * output,
          line.step
        )
      }
    })
  )
  it("are the author's own, class by class, where they are given", () => {
    const price = Price.fromUsdPerMillion("m", {
      input: 2,
      cacheRead: 0.5,
      output: 8,
      batch: { input: 1, cacheRead: 0.5, output: 3 }
    })
    assert.strictEqual(
      Price.cost(price, usage(1_000, 400, 100), { serviceTier: "batch" }),
      600_000_000n + 200_000_000n + 300_000_000n
    )
    assert.strictEqual(Price.cost(price, usage(1_000, 400, 100)), 1_200_000_000n + 200_000_000n + 800_000_000n)
  })
})

describe("splitting", () => {
  const frame = { head: '{"requests":[', separator: ",\n", tail: "]}" }
  const split = (
    lines: ReadonlyArray<{ readonly bytes: number; readonly tokens: number; readonly inputs: number }>,
    limits: BatchSplit.SplitLimits
  ) => {
    const parts: Array<BatchSplit.Fill> = []
    let fill = BatchSplit.empty(frame)
    for (const line of lines) {
      const next = BatchSplit.add(fill, line)
      if (BatchSplit.fits(next, limits)) fill = next
      else {
        parts.push(fill)
        fill = BatchSplit.add(BatchSplit.empty(frame), line)
      }
    }
    return [...parts, fill]
  }
  it("keeps every part within every limit, and loses nothing", () =>
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            bytes: fc.integer({ min: 1, max: 900 }),
            tokens: fc.integer({ min: 1, max: 300 }),
            inputs: fc.integer({ min: 0, max: 20 })
          }),
          { minLength: 1 }
        ),
        fc.record({
          requests: fc.integer({ min: 1, max: 30 }),
          bytes: fc.integer({ min: 1_000, max: 5_000 }),
          inputs: fc.integer({ min: 20, max: 60 }),
          tokens: fc.integer({ min: 310, max: 2_000 })
        }),
        (lines, limits) => {
          const parts = split(lines, limits)
          assert.isTrue(
            parts.every(
              (part) =>
                part.requests >= 1
                && part.requests <= limits.requests
                && part.bytes <= limits.bytes
                && part.inputs <= limits.inputs
                && part.tokens <= limits.tokens
            )
          )
          assert.strictEqual(
            parts.reduce((sum, { requests }) => sum + requests, 0),
            lines.length
          )
          // No part could have taken the first line of the next.
          let at = 0
          for (const part of parts.slice(0, -1)) {
            at += part.requests
            assert.isFalse(BatchSplit.fits(BatchSplit.add(part, lines[at]!), limits))
          }
        }
      )
    ))
  it("counts bytes of UTF-8 and not letters (bapi-05)", () => {
    assert.strictEqual(BatchSplit.byteLength("é".repeat(10)), 20)
    const big = { bytes: 90e6, tokens: 1, inputs: 0 }
    assert.strictEqual(split([big, big, big], { requests: 50_000, bytes: 200e6 }).length, 2)
    const one = { bytes: 100, tokens: 1, inputs: 0 }
    assert.strictEqual(
      split(
        Array.from({ length: 50_001 }, () => one),
        { requests: 50_000, bytes: 200e6 }
      ).length,
      2
    )
  })

  for (const [wire, parts] of [
    ["openai", [50_000, 50_000, 20_000]],
    ["anthropic", [100_000, 20_000]]
  ] as const) {
    // A fiftieth of the rows and of the provider's limit; the whole of both when soaking.
    const share = Soak.times(50, 1)
    const count = 120_000 / share
    it.live(
      `${count} rows go in ${parts.length} batches, every id of which is one that the provider takes (${wire}, bapi-05, bapi-07)`,
      () =>
        Effect.gen(function* () {
          const simulator = yield* Simulator.start({ batches: { latency: "1 hour" } })
          const { summary } = yield* run(simple(wire, simulator, count), {
            run: {
              batch: { ...fast, polling: {}, ...(share === 1 ? undefined : { maxRequests: parts[0] / share }) },
              detach: true
            }
          })
          assert.strictEqual(summary.status, "waiting")
          const batches = simulator.batches()
          assert.deepStrictEqual(
            batches.map(({ requests }) => requests).sort((a, b) => b - a),
            parts.map((part) => part / share)
          )
          const ids = new Set(batches.flatMap(({ customIds }) => customIds))
          assert.strictEqual(ids.size, count)
          assert.isTrue([...ids].every((id) => /^[A-Za-z0-9_-]{1,64}$/.test(id)))
        }),
      Soak.timeout(30_000)
    )
  }

  it.live("long rows are split by their bytes", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "50 millis" } })
      const flow = (out: Array<unknown>) =>
        Flow.make("long", {
          outputs: [
            Sink.forEach(
              "out",
              Flow.step("a", { row: rows(300, "é".repeat(2_000)) }, ({ row }) => ask(row)),
              (value) => Effect.sync(() => out.push(value))
            )
          ],
          stack: stackOf("openai", simulator)
        })
      const { out } = yield* run(flow, { run: { batch: { ...fast, maxBytes: 500_000 } } })
      assert.strictEqual(out.length, 300)
      assert.strictEqual(simulator.batches().length, 3)
      assert.isTrue(simulator.batches().every(({ bytes }) => bytes <= 500_000))
    })
  )
})

describe("the store", () => {
  it.live("holds no key, and nothing of the requests is left on disk when a run is done", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ batches: { latency: "30 millis" } })
      const store = newStore()
      const flow = (out: Array<unknown>) =>
        Flow.make("secret", {
          outputs: [
            Sink.forEach(
              "out",
              Flow.step("a", { row: rows(5) }, ({ row }) => ask(row)),
              (value) => Effect.sync(() => out.push(value))
            )
          ],
          stack: Stack.make(
            Ledger.layer,
            OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "sk-very-secret-0123456789" })
          )
        })
      yield* run(flow, { store, run: { batch: fast } })
      assert.notInclude(readFileSync(store).toString("latin1"), "sk-very-secret")
      assert.deepStrictEqual(existsSync(join(store, "../batches")) ? readdirSync(join(store, "../batches")) : [], [])
      const opened = yield* Effect.scoped(
        Effect.flatMap(Layer.build(NodeHost.existingStore(store)), (context) =>
          Effect.provideContext(
            Effect.flatMap(Store.Store, ({ batches }) => batches.list(10)),
            context
          )
        )
      )
      assert.deepStrictEqual(
        opened.map(({ answered, cost, state }) => [state, answered, Money.toUsd(cost)]),
        [["collected", 5, Money.toUsd(batchBill("openai", simulator))]]
      )
    })
  )
})
