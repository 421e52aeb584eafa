/** A cheaper service tier for single calls, and the ordinary one for those that it has no room for. */
import { assert, describe, it } from "@effect/vitest"
import {
  Flow,
  Ledger,
  ModelClient,
  Money,
  Plan,
  RateLimit,
  Retry,
  Runner,
  ServiceTier,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect, Fiber, Layer, Logger } from "effect"
import { LanguageModel } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Wire from "./Wire.ts"

const KEY = "sk-test-0123456789abcdef"

// developers.openai.com/api/docs/pricing, 2026-11-30: gpt-5-mini 0.25 and 2 USD, and half of each in flex.
const PICODOLLARS = { input: 250_000n, output: 2_000_000n }

const billOf = (simulator: Simulator.Simulator): bigint =>
  simulator.bill().reduce((sum, { input, output, serviceTier }) => {
    const whole = BigInt(input) * PICODOLLARS.input + BigInt(output) * PICODOLLARS.output
    return sum + (serviceTier === "flex" ? whole / 2n : whole)
  }, 0n)

const answersIn = (simulator: Simulator.Simulator, tier: string | undefined): number =>
  simulator.bill().reduce((sum, { answers, serviceTier }) => sum + (serviceTier === tier ? answers : 0), 0)

const flowOf = (
  url: string,
  options: { readonly tier?: ServiceTier.Options; readonly model?: string; readonly rows?: number } = {}
) => {
  const rows = Source.fromIterable(
    "rows",
    Array.from({ length: options.rows ?? 40 }, (_, at) => `question ${at}`)
  )
  const reply = Flow.step("reply", { rows }, ({ rows }) =>
    Effect.map(LanguageModel.generateText({ prompt: rows }), ({ text }) => text)
  )
  return Flow.make("tiers", {
    outputs: [Sink.forEach("out", reply, () => Effect.void)],
    stack: Stack.make(
      Ledger.layer,
      Retry.layer({ base: 1 }),
      ServiceTier.layer(options.tier ?? { use: "flex", otherwise: "default" }),
      RateLimit.layer(),
      OpenAi.layer({ apiKey: KEY, baseUrl: url, model: options.model ?? "gpt-5-mini" })
    )
  })
}

const chat = (tier: string, model = "gpt-5-mini") => ({
  body: {
    model,
    choices: [{ message: { content: "yes" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 1_000, completion_tokens: 100 },
    service_tier: tier
  }
})

const full = {
  status: 429,
  body: { error: { message: "Resource unavailable", type: "rate_limit_error", code: "resource_unavailable" } }
}

const tierIn = (body: string): string | undefined => JSON.parse(body).service_tier

describe("ServiceTier", () => {
  it.live("halves the price, as plan, bill and report say alike", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ seed: "flex" })
      const flow = flowOf(simulator.openAiUrl)
      const plan = yield* Plan.make(flow)
      assert.strictEqual(plan.lines[0]!.serviceTier, "flex")
      assert.isTrue(plan.lines[0]!.cost!.high >= 2n * plan.lines[0]!.cost!.expected)
      const without = plan.strategies.find(({ name }) => name === "without a service tier")!
      assert.strictEqual(without.cost, 2n * plan.cost.expected)
      const summary = yield* Runner.run(flow, { errorsFile: false })
      assert.strictEqual(answersIn(simulator, "flex"), 40)
      assert.strictEqual(summary.cost, billOf(simulator))
      assert.deepStrictEqual(
        summary.steps.map(({ serviceTier }) => serviceTier),
        ["flex"]
      )
      assert.strictEqual(summary.savings.serviceTier, summary.cost)
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("uses the ordinary tier at once for what it has no room for, and bills each by the tier of its answer", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ seed: "full", faults: { flexUnavailable: 0.4 } })
      const summary = yield* Runner.run(flowOf(simulator.openAiUrl), { errorsFile: false })
      assert.strictEqual(summary.rows.failed, 0)
      const [flex, ordinary] = [answersIn(simulator, "flex"), answersIn(simulator, undefined)]
      assert.strictEqual(flex + ordinary, 40)
      assert.isAbove(flex, 0)
      assert.isAbove(ordinary, 0)
      assert.strictEqual(summary.cost, billOf(simulator))
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("prices the tier that the answer names, whatever was requested; an unknown one has no price", () =>
    Effect.gen(function* () {
      const costs: Array<bigint> = []
      for (const tier of ["flex", "default", "FLEX"]) {
        const server = yield* Wire.serve(() => chat(tier))
        const { sums } = yield* Wire.over(
          OpenAi.layer({ apiKey: KEY, baseUrl: `${server.url}/v1`, model: "gpt-5-mini" }),
          ModelClient.send(Wire.question("x", { providerOptions: { openai: { service_tier: "flex" } } }))
        )
        costs.push(sums.spent)
      }
      // 1,000 tokens at 0.25 USD a million, and 100 at 2.
      assert.deepStrictEqual(costs, [225_000_000n, 450_000_000n, 225_000_000n])
      const server = yield* Wire.serve(() => chat("hyper"))
      const { sums } = yield* Wire.over(
        OpenAi.layer({ apiKey: KEY, baseUrl: `${server.url}/v1`, model: "gpt-5-mini" }),
        ModelClient.send(Wire.question("x"))
      )
      assert.strictEqual(sums.unpriced, 1)
      assert.strictEqual(sums.spent, 0n)
    }).pipe(Effect.scoped)
  )

  it.live("calls models without the tier in the ordinary one, which it says once; an author's own tier stays", () =>
    Effect.gen(function* () {
      const said: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => void said.push(String(message)))])
      const server = yield* Wire.serve((body) => chat("default", JSON.parse(body).model))
      for (const model of ["gpt-4o-mini", "gpt-6.2-sol", "llama3"])
        yield* Effect.provide(Runner.run(flowOf(`${server.url}/v1`, { model, rows: 3 }), { errorsFile: false }), logger)
      assert.isTrue(server.seen.every(({ body }) => tierIn(body) === undefined))
      assert.lengthOf(
        said.filter((text) => text.includes("has no service tier flex for gpt-4o-mini")),
        1
      )
      yield* Effect.provide(
        ModelClient.send(Wire.question("x", { providerOptions: { openai: { service_tier: "priority" } } })),
        Stack.make(
          ServiceTier.layer({ use: "flex" }),
          OpenAi.layer({ apiKey: KEY, baseUrl: `${server.url}/v1`, model: "gpt-5-mini" })
        )
      )
      assert.strictEqual(tierIn(server.seen.at(-1)!.body), "priority")
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("leaves a model that refuses the tier itself, and does not request it again", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve((body) =>
        tierIn(body) === "flex"
          ? {
              status: 400,
              body: { error: { message: "Unsupported service_tier: flex", type: "invalid_request_error" } }
            }
          : chat("default")
      )
      const summary = yield* Runner.run(flowOf(`${server.url}/v1`, { rows: 6 }), { errorsFile: false, concurrency: 1 })
      assert.strictEqual(summary.rows.failed, 0)
      assert.strictEqual(server.seen.filter(({ body }) => tierIn(body) === "flex").length, 1)
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("keeps the limits of the tiers apart: one that is used up holds no call of the other", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve((body) =>
        tierIn(body) === "flex"
          ? {
              ...full,
              headers: {
                "retry-after": "600",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "10m"
              }
            }
          : { ...chat("default"), headers: { "x-ratelimit-limit-requests": "100000" } }
      )
      // Ten minutes of a limit that were not waited for.
      const summary = yield* Runner.run(flowOf(`${server.url}/v1`, { rows: 12 }), {
        errorsFile: false,
        concurrency: 1
      }).pipe(Effect.timeout("20 seconds"))
      assert.strictEqual(summary.rows.failed, 0)
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.effect("waits fifteen minutes for an answer, and no longer than the deadline of the run for the tier", () =>
    Effect.gen(function* () {
      const seen: Array<string | undefined> = []
      const slow = ModelClient.provider({
        name: "slow",
        resolve: (request) => ({ ...request, model: "slow-1" }),
        serviceTiers: {
          options: (tier) => ({ slow: { tier } }),
          of: ({ providerOptions }) => (providerOptions["slow"] as { readonly tier?: string } | undefined)?.tier
        },
        completion: (request) => {
          const { tier } = (request.providerOptions["slow"] ?? {}) as { readonly tier?: string }
          seen.push(tier)
          return tier === "flex"
            ? Effect.never
            : Effect.succeed({
                _tag: "CompletionResponse",
                provider: "slow",
                model: "slow-1",
                requestedModel: "slow-1",
                parts: [{ type: "text", text: "late" }],
                finishReason: "stop",
                origin: "provider"
              })
        }
      })
      const send = yield* Effect.map(
        Effect.provide(
          ModelClient.ModelClient,
          Stack.make(
            ServiceTier.layer({ use: "flex", deadline: "1 hour" }),
            Layer.succeed(ModelClient.ModelClient, slow)
          )
        ),
        (client) => client.send(Wire.question("x"))
      )
      const first = yield* Effect.forkChild(send)
      yield* TestClock.adjust("14 minutes")
      assert.isUndefined(first.pollUnsafe())
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(first)
      assert.deepStrictEqual(seen, ["flex", undefined])
      yield* TestClock.adjust("45 minutes")
      yield* send
      assert.deepStrictEqual(seen, ["flex", undefined, undefined])
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("uses the ordinary tier where the cheap one fails, and fails the row where its prompt is refused", () =>
    Effect.gen(function* () {
      const answers = (status: number, message: string) =>
        Wire.serve((body) =>
          tierIn(body) === "flex" ? { status, body: { error: { message, type: "error" } } } : chat("default")
        )
      for (const [status, message] of [
        [500, "internal error"],
        [503, "overloaded"],
        [403, "the project has no access to flex processing"]
      ] as const) {
        const server = yield* answers(status, message)
        const { rows } = yield* Runner.run(flowOf(server.url, { rows: 4 }), { errorsFile: false, concurrency: 1 })
        assert.strictEqual(rows.failed, 0, `${status} ${message}`)
      }
      const server = yield* answers(400, "Invalid prompt: the word flex")
      const { rows } = yield* Runner.run(flowOf(server.url, { rows: 3 }), { errorsFile: false, concurrency: 1 })
      assert.strictEqual(rows.failed, 3)
      assert.isTrue(server.seen.every(({ body }) => tierIn(body) === "flex"))
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("learns that answers are in a dearer tier than asked, so that a budget holds", () =>
    Effect.gen(function* () {
      // A project whose default is priority: 1.8 times the price. 1,000 and 100 tokens.
      const picodollars = (1_000n * 450_000n + 100n * 3_600_000n) as bigint
      let billed = 0n
      const server = yield* Wire.serve(() => {
        billed += picodollars
        return chat("priority")
      })
      const rows = Source.fromIterable(
        "rows",
        Array.from({ length: 40 }, (_, at) => `${"x".repeat(900)} ${at}`)
      )
      const reply = Flow.step(
        "reply",
        { rows },
        ({ rows }) => Effect.map(LanguageModel.generateText({ prompt: rows }), ({ text }) => text),
        { settings: { maxTokens: 120 } }
      )
      const flow = Flow.make("dearer", {
        outputs: [Sink.forEach("out", reply, () => Effect.void)],
        prices: { "gpt-5-mini": { input: 0.25, output: 2, tiers: { priority: { input: 0.45, output: 3.6 } } } },
        stack: Stack.make(
          Ledger.layer,
          Retry.layer({ base: 1 }),
          ServiceTier.layer({ use: "flex" }),
          OpenAi.layer({ apiKey: KEY, baseUrl: `${server.url}/v1`, model: "gpt-5-mini" })
        )
      })
      const cap = 4_500_000_000n
      const error = yield* Effect.flip(
        Runner.run(flow, { errorsFile: false, concurrency: 32, budget: { usd: "0.0045" } })
      )
      assert.strictEqual(error._tag, "RunFailed")
      assert.isAbove(server.seen.length, 1)
      assert.isTrue(billed <= cap, `${Money.format(billed)} of $0.0045`)
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("keeps a budget by the ordinary price, and batches their own", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({
        seed: "budget",
        faults: { flexUnavailable: 0.5 },
        batches: { latency: 0 }
      })
      const cap = 10_000_000_000n
      const error = yield* Effect.flip(
        Runner.run(flowOf(simulator.openAiUrl), { errorsFile: false, budget: { usd: "0.01" } })
      )
      assert.strictEqual(error._tag, "RunFailed")
      assert.isTrue(billOf(simulator) <= cap, `${Money.format(billOf(simulator))} of $0.01`)
      const batched = yield* Runner.run(flowOf(simulator.openAiUrl, { rows: 5 }), {
        errorsFile: false,
        batch: { polling: { first: "10 millis" } }
      }).pipe(Effect.provide(Layer.fresh(NodeHost.layerMemory)))
      assert.deepStrictEqual(
        batched.steps.map(({ serviceTier }) => serviceTier),
        ["batch"]
      )
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.effect("does not start above a retry, and rejects options that are none", () =>
    Effect.gen(function* () {
      const wrong = Stack.make(
        ServiceTier.layer({ use: "flex" }),
        Retry.layer(),
        OpenAi.layer({ apiKey: KEY, model: "gpt-5-mini" })
      )
      const exit = yield* Effect.exit(Effect.provide(ModelClient.ModelClient, wrong))
      assert.include(String(exit), "Put Retry above ServiceTier")
      assert.throws(() => ServiceTier.layer({ use: "flex", timeOut: "1 minute" } as never), "timeOut")
    }).pipe(Effect.provide(NodeHost.layerMemory))
  )
})
