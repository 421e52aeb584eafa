/** A cap is a cap: whatever runs at once, is retried, sent again or falls back. */
import { assert, describe, it } from "@effect/vitest"
import {
  Budget,
  Fallback,
  Flow,
  Ledger,
  ModelClient,
  ModelFailure,
  type ModelRequest,
  Money,
  type Node,
  Pricing,
  Retry,
  Runner,
  Sink,
  Source,
  Stack,
  Store,
  Usage,
  Coalesce
} from "@pipe/core"
import { Effect, Layer, Logger, Schema } from "effect"
import { AiError, EmbeddingModel, LanguageModel } from "effect/ai"
import * as fc from "fast-check"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Host from "./Host.ts"
import * as Scripted from "./ScriptedModel.ts"

// gpt-4o-mini: 0.15 and 0.60 USD per million tokens (platform.openai.com/docs/pricing, 2026-11-25), in picodollars a token.
const INPUT = 150_000n
const OUTPUT = 600_000n
/** What a scripted answer costs: 10 tokens in, 5 out. */
const CALL = 10n * INPUT + 5n * OUTPUT

const usd = (amount: Money.Money) => Money.toUsd(amount)

const limited = AiError.make({ module: "test", method: "send", reason: new AiError.RateLimitError({}) })

/** What a provider would bill for its answers. */
const bill = (answers: number) => CALL * BigInt(answers)

const rows = (n: number) =>
  Source.fromIterable(
    "rows",
    Array.from({ length: n }, (_, i) => `r${i}`)
  )

const step = (n: number, policy: Node.NodePolicy = {}) =>
  Flow.step(
    "a",
    { row: rows(n) },
    ({ row }) => Effect.map(LanguageModel.generateText({ prompt: row }), (r) => r.text),
    { model: "gpt-4o-mini", ...policy }
  )

/** Runs rows, 64 at once, and says how the run ended. */
const run = (options: {
  readonly budget?: Omit<Budget.Options, "steps">
  readonly policy?: Node.NodePolicy
  readonly rows?: number
  readonly layers?: Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient>
  readonly provider: Layer.Layer<ModelClient.ModelClient>
  readonly run?: Runner.Options
  readonly store?: string
}) =>
  Effect.suspend(() => {
    const warnings: Array<string> = []
    const flow = Flow.make("test", {
      concurrency: 64,
      outputs: [Sink.forEach("out", step(options.rows ?? 64, options.policy), () => Effect.void)],
      ...(options.budget === undefined ? undefined : { budget: options.budget }),
      stack:
        options.layers === undefined
          ? Stack.make(Ledger.layer, options.provider)
          : Stack.make(Ledger.layer, options.layers, options.provider)
    })
    return Effect.result(
      Runner.run(flow, { errorsFile: join(tmpdir(), "pipe-budget.errors.jsonl"), ...options.run })
    ).pipe(
      Effect.provide(
        Host.layer({ store: options.store ?? join(mkdtempSync(join(tmpdir(), "pipe-budget-")), "pipe.db") })
      ),
      Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))])),
      Effect.map((result) => {
        const failure = result._tag === "Failure" ? result.failure : undefined
        const summary =
          result._tag === "Success" ? result.success : failure?._tag === "RunFailed" ? failure.summary : undefined
        return { summary: summary!, failure, warnings }
      })
    )
  })

/** Answers after a turn, so that calls are in flight together. */
const slow = (answer: (index: number) => ReturnType<typeof Scripted.response> | AiError.AiError) => {
  let answered = 0
  const model = Scripted.make((_, index) =>
    Effect.flatMap(Effect.sleep(1 + (index % 3)), () => {
      const made = answer(index)
      if ("reason" in made) return Effect.fail(made)
      answered++
      return Effect.succeed(made)
    })
  )
  return { ...model, answered: () => answered }
}

describe("a budget in money", () => {
  it.live("for 10.5 calls pays for 10 of 64 that come at once (litellm#34732, #40095)", () =>
    Effect.gen(function* () {
      const provider = slow(() => Scripted.response("x"))
      const budget = { usd: usd((CALL * 21n) / 2n) }
      const { summary } = yield* run({ budget, provider: provider.layer, policy: { settings: { maxTokens: 5 } } })
      assert.strictEqual(provider.answered(), 10)
      assert.strictEqual(summary.status, "budget")
      assert.strictEqual(summary.cost, bill(10))
      // What did not fit is not failed: it is not done yet.
      assert.strictEqual(summary.rows.failed, 0)
      assert.include(summary.failure, "nothing more fits")
    })
  )

  it.live("gives requests without an output limit one from what is left", () =>
    Effect.gen(function* () {
      const provider = slow(() => Scripted.response("x"))
      const { summary } = yield* run({ budget: { usd: usd((CALL * 21n) / 2n) }, provider: provider.layer })
      assert.isTrue(provider.answered() === 10, `${provider.answered()}`)
      assert.isTrue(summary.cost <= (CALL * 21n) / 2n)
      for (const request of provider.requests) assert.isAbove(request.settings.maxTokens!, 4)
    })
  )

  it.live("holds with 429s, retries, wrong answers sent again, and fallbacks", () =>
    Effect.gen(function* () {
      for (const seed of [1, 2, 3, 4]) {
        const provider = slow((index) =>
          (index * 7 + seed) % 5 === 0
            ? limited
            : (index * 3 + seed) % 4 === 0
              ? Scripted.broken("down")
              : Scripted.response("x")
        )
        const cap = (CALL * 21n) / 2n
        const { summary } = yield* run({
          budget: { usd: usd(cap) },
          provider: provider.layer,
          policy: { settings: { maxTokens: 5 } },
          layers: Stack.make(
            Fallback.layer(["gpt-4o-mini", "gpt-4o-mini-2024-07-18"]),
            Retry.layer({ attempts: 3, base: 1 }) as never
          ) as never
        })
        assert.isTrue(bill(provider.answered()) <= cap, `${provider.answered()} answers`)
        assert.isTrue(summary.cost <= cap)
        // A 5xx may be billed: it is charged at the most, beside what was answered.
        assert.strictEqual(summary.cost - summary.estimatedCost, bill(provider.answered()))
        assert.isAbove(summary.estimatedCalls, 0)
        assert.isAbove(Number(summary.cost), Number(cap) * 0.8)
      }
    })
  )

  it.live(
    "charges the whole limit where an answer hides what it used: thinking, refusals, tools of the provider's",
    () =>
      Effect.gen(function* () {
        for (const fields of [{}, { parts: [], refusal: "no" }, { parts: [] }, { finishReason: "unknown" as const }]) {
          const provider = slow(() => {
            const { usage: _, ...answer } = Scripted.response("x", fields)
            return answer
          })
          // 100 tokens of output are paid for each answer, and shown by none.
          const each = 2n * INPUT + 100n * OUTPUT
          const cap = each * 10n
          const { summary } = yield* run({
            budget: { usd: usd(cap) },
            provider: provider.layer,
            policy: { settings: { maxTokens: 100 } }
          })
          assert.isTrue(BigInt(provider.answered()) * each <= cap, `${provider.answered()} answers`)
          assert.isTrue(summary.cost >= BigInt(provider.answered()) * each)
          assert.strictEqual(summary.estimatedCalls, provider.requests.length)
        }
      })
  )

  it.live("refuses options that have the provider do work that no limit bounds", () =>
    Effect.gen(function* () {
      for (const options of [{ tools: [{ type: "web_search" }] }, { web_search_options: {} }, { plugins: ["web"] }]) {
        const provider = slow(() => Scripted.response("x"))
        const { failure } = yield* run({
          budget: { usd: "1" },
          provider: provider.layer,
          policy: { settings: { providerOptions: { openai: options } } }
        })
        assert.strictEqual(provider.requests.length, 0)
        assert.include(String(failure?.message), Object.keys(options)[0]!)
      }
    })
  )

  it.live("holds for two budgets, one above the other, that both set limits", () =>
    Effect.gen(function* () {
      const provider = slow(() => Scripted.response("x"))
      const cap = CALL * 100n
      const { summary } = yield* run({
        budget: { usd: "1" },
        rows: 200,
        layers: Stack.make(Budget.layer({ usd: usd(cap) })) as never,
        provider: provider.layer
      })
      assert.strictEqual(summary.status, "budget")
      assert.isTrue(summary.cost <= cap)
      assert.isAbove(Number(summary.cost), Number(cap) * 0.8)
    })
  )

  it.live(
    "lowers a limit that the model does not take, and never takes one that it has set for the end of an answer",
    () =>
      Effect.gen(function* () {
        const refusing = Scripted.make((request) => {
          const limit = request.settings.maxTokens!
          if (limit > 2_048) {
            return AiError.make({
              module: "test",
              method: "send",
              reason: new AiError.InvalidRequestError({
                description: `400 max_tokens is too large: ${limit}. This model supports at most 2048 completion tokens`,
                metadata: { [ModelFailure.outputLimitKey]: 2_048 }
              })
            })
          }
          const usage = Scripted.response("").usage!
          return limit < 1_500
            ? Scripted.response("cut", { finishReason: "length", usage: { ...usage, output: limit } })
            : Scripted.response("whole", { usage: { ...usage, output: 1_500 } })
        })
        const { summary } = yield* run({ budget: { usd: "1" }, rows: 20, provider: refusing.layer })
        assert.strictEqual(summary.status, "done")
        assert.strictEqual(summary.rows.failed, 0)
        assert.isTrue(refusing.requests.some(({ settings }) => settings.maxTokens! > 2_048))
      })
  )

  it.live(
    "for a model counts what was requested of it, whichever name answers, in the run and when it is resumed",
    () =>
      Effect.gen(function* () {
        const provider = slow(() => Scripted.response("x", { model: "gpt-4.1-nano", requestedModel: "gpt-4o-mini" }))
        const cap = CALL * 20n
        const store = join(mkdtempSync(join(tmpdir(), "pipe-budget-")), "pipe.db")
        const options = {
          budget: { models: { "gpt-4o-mini": { usd: usd(cap) } } },
          policy: { model: "gpt-4o-mini", settings: { maxTokens: 5 } },
          rows: 200,
          provider: provider.layer,
          store
        }
        const first = yield* run(options)
        assert.strictEqual(first.summary.status, "budget")
        const answered = provider.answered()
        for (let i = 0; i < 3; i++) {
          const { summary } = yield* run({ ...options, run: { resume: first.summary.run } })
          assert.strictEqual(summary.status, "budget")
          assert.isTrue(summary.cost <= cap)
        }
        assert.isAtMost(provider.answered() - answered, 1)
      })
  )

  it.live("for a step holds where a window sends its texts with those of others", () =>
    Effect.gen(function* () {
      const texts = rows(40)
      let sent = 0
      const provider = Layer.succeed(
        ModelClient.ModelClient,
        ModelClient.provider({
          name: "openai",
          send: ((request: ModelRequest.Embedding) =>
            Effect.sync(() => {
              sent += request.inputs.length
              return {
                _tag: "EmbeddingResponse",
                provider: "openai",
                model: "text-embedding-3-small",
                requestedModel: "text-embedding-3-small",
                origin: "provider",
                usage: { ...Usage.zero, uncachedInput: 10 * request.inputs.length },
                vectors: request.inputs.map(() => [1])
              }
            })) as unknown as ModelClient.Send
        })
      )
      const embed = (name: string, policy: Node.NodePolicy) =>
        Flow.step(
          name,
          { text: texts },
          ({ text }) => Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => model.embed(`${name} ${text}`)),
          { model: "text-embedding-3-small", ...policy }
        )
      const flow = Flow.make("windows", {
        outputs: [
          Sink.forEach("out", { e1: embed("e1", {}), e2: embed("e2", { budget: { tokens: 150 } }) }, () => Effect.void)
        ],
        stack: Stack.make(Ledger.layer, Coalesce.layer({ size: 8 }), provider)
      })
      const failure = yield* Effect.flip(
        Runner.run(flow, { errorsFile: join(tmpdir(), "pipe-budget.errors.jsonl") }).pipe(
          Effect.provide(Host.layerMemory)
        )
      )
      const steps = new Map((failure as Runner.RunFailed).summary.steps.map((step) => [step.step, step.tokens]))
      assert.isAtMost(steps.get("e2")?.uncachedInput ?? 0, 150)
      assert.isAbove(steps.get("e1")!.uncachedInput, 0)
      assert.isBelow(sent, 80)
    })
  )

  it.live("lowers a limit that the context window has no room for, for that request alone", () =>
    Effect.gen(function* () {
      const window = 8_192
      const refusing = Scripted.make((request) => {
        const limit = request.settings.maxTokens!
        const input = Scripted.prompt(request).endsWith("3") ? 5_096 : 100
        const usage = Scripted.response("").usage!
        return input + limit > window
          ? AiError.make({
              module: "test",
              method: "send",
              reason: new AiError.InvalidRequestError({
                constraint: ModelFailure.contextWindow,
                description: `400 maximum context length is ${window} tokens`,
                metadata: { [ModelFailure.outputLimitKey]: window - input }
              })
            })
          : Scripted.response("whole", { usage: { ...usage, uncachedInput: input } })
      })
      const { summary } = yield* run({ budget: { usd: "1" }, rows: 20, provider: refusing.layer })
      assert.strictEqual(summary.status, "done")
      assert.strictEqual(summary.rows.failed, 0)
      const limits = refusing.requests.map(({ settings }) => settings.maxTokens!)
      assert.isAbove(limits.filter((limit) => limit > 3_096).length, 18)
      assert.include(limits, 3_096)
    })
  )

  it.live("ends after the first answer in a class of service whose price is not known", () =>
    Effect.gen(function* () {
      const provider = slow(() => Scripted.response("x", { serviceTier: "priority" }))
      const { failure, warnings } = yield* run({ budget: { usd: "1" }, provider: provider.layer })
      assert.strictEqual(provider.answered(), 1)
      assert.include(String(failure?.message), "service tier priority")
      assert.include(warnings.join(), "in service tier priority")
    })
  )

  it.live("holds where a cheaper class of service is answered in the ordinary one", () =>
    Effect.gen(function* () {
      const provider = slow(() => Scripted.response("x"))
      const cap = CALL * 20n
      const { summary } = yield* run({
        budget: { usd: usd(cap) },
        provider: provider.layer,
        policy: { settings: { maxTokens: 5, providerOptions: { openai: { service_tier: "flex" } } } }
      })
      assert.isTrue(bill(provider.answered()) <= cap)
      assert.strictEqual(summary.cost, bill(provider.answered()))
    })
  )

  it.live("counts what a wrong answer cost, and sends again only if that fits too (instructor#2391)", () =>
    Effect.gen(function* () {
      const provider = slow(() => Scripted.response("not json"))
      const node = Flow.step(
        "a",
        { row: rows(4) },
        ({ row }) => LanguageModel.generateObject({ prompt: row, schema: Schema.Struct({ x: Schema.Int }) }),
        { model: "gpt-4o-mini", settings: { maxTokens: 5 } }
      )
      const flow = Flow.make("test", {
        outputs: [Sink.forEach("out", node, () => Effect.void)],
        budget: { usd: usd(CALL * 3n + CALL / 2n) },
        stack: Stack.make(Ledger.layer, Retry.layer({ attempts: 5 }), provider.layer)
      })
      const result = yield* Effect.result(
        Runner.run(flow, { errorsFile: join(tmpdir(), "pipe-budget.errors.jsonl") })
      ).pipe(Effect.provide(Host.layerMemory))
      assert.isAtMost(provider.answered(), 3)
      assert.strictEqual(
        result._tag === "Failure" && result.failure._tag === "RunFailed" ? result.failure.summary.status : "",
        "budget"
      )
    })
  )

  it.live("stops before the first call to a model of unknown price, with the line to add", () =>
    Effect.gen(function* () {
      const provider = slow(() => Scripted.response("x"))
      const { failure, summary } = yield* run({
        budget: { usd: 5 },
        provider: provider.layer,
        policy: { model: "nova-x-unlisted" }
      })
      assert.strictEqual(provider.requests.length, 0)
      assert.strictEqual(summary.status, "failed")
      assert.include(failure!.message, `prices: { "nova-x-unlisted": { input: 0.15, output: 0.6 } }`)
    })
  )

  it.live("of a step, and of a model, stops the run", () =>
    Effect.gen(function* () {
      for (const options of [
        { policy: { budget: { usd: usd((CALL * 5n) / 2n) }, settings: { maxTokens: 5 } } },
        {
          budget: { models: { "gpt-4o-mini": { usd: usd((CALL * 5n) / 2n) } } },
          policy: { settings: { maxTokens: 5 } }
        }
      ]) {
        const provider = slow(() => Scripted.response("x"))
        const { summary } = yield* run({ ...options, provider: provider.layer })
        assert.strictEqual(provider.answered(), 2)
        assert.strictEqual(summary.status, "budget")
      }
    })
  )

  it.live("may only warn, once", () =>
    Effect.gen(function* () {
      const provider = slow(() => Scripted.response("x"))
      const { summary, warnings } = yield* run({
        budget: { usd: usd(CALL), onExceeded: "warn" },
        provider: provider.layer,
        run: { concurrency: 2 }
      })
      assert.strictEqual(summary.status, "done")
      assert.strictEqual(provider.answered(), 64)
      assert.strictEqual(warnings.filter((text) => text.includes("only warns")).length, 1)
    })
  )

  it.live("counts what earlier tries of a run have spent, and continues under a larger one", () =>
    Effect.gen(function* () {
      const store = join(mkdtempSync(join(tmpdir(), "pipe-budget-")), "pipe.db")
      const provider = slow(() => Scripted.response("x"))
      const policy = { settings: { maxTokens: 5 } }
      const first = yield* run({ store, budget: { usd: usd((CALL * 21n) / 2n) }, provider: provider.layer, policy })
      const same = yield* run({
        store,
        budget: { usd: usd((CALL * 21n) / 2n) },
        provider: provider.layer,
        policy,
        run: { resume: first.summary.run }
      })
      assert.strictEqual(provider.answered(), 10)
      assert.strictEqual(same.summary.status, "budget")
      const more = yield* run({
        store,
        budget: { usd: usd(CALL * 100n) },
        provider: provider.layer,
        policy,
        run: { resume: first.summary.run }
      })
      assert.strictEqual(more.summary.status, "done")
      assert.strictEqual(provider.answered(), 64)
      assert.strictEqual(more.summary.cost, bill(64))
      const kept = yield* Effect.flatMap(Store.Store, (opened) => opened.ledger.sums(1)).pipe(
        Effect.provide(Layer.fresh(Host.existingStore(store)))
      )
      assert.strictEqual(Money.sum(kept.map(({ spent }) => spent)), bill(64))
    })
  )
})

describe("a budget in tokens", () => {
  it.live("is held for models without a price, too", () =>
    Effect.gen(function* () {
      const provider = slow(() => Scripted.response("x", { model: "nova-x-unlisted" }))
      const { summary } = yield* run({
        budget: { tokens: 157 },
        provider: provider.layer,
        policy: { model: "nova-x-unlisted", settings: { maxTokens: 5 } }
      })
      assert.isTrue(summary.tokens.total <= 157 && summary.tokens.total >= 135, `${summary.tokens.total}`)
      assert.strictEqual(summary.status, "budget")
    })
  )
})

describe("amounts", () => {
  it("are read as people write them", () => {
    assert.deepStrictEqual(Budget.parse("5usd"), { usd: "5" })
    assert.deepStrictEqual(Budget.parse("$0.25"), { usd: "0.25" })
    assert.deepStrictEqual(Budget.parse("0.5 USD"), { usd: "0.5" })
    assert.deepStrictEqual(Budget.parse("200000tokens"), { tokens: 200_000 })
    assert.deepStrictEqual(Budget.parse("1.5Mtokens"), { tokens: 1_500_000 })
    for (const bad of ["5", "-5usd", "usd", "five", "5eur", "0usd", ""]) assert.isUndefined(Budget.parse(bad), bad)
  })

  it.live("that are none are said so before anything runs", () =>
    Effect.gen(function* () {
      const provider = slow(() => Scripted.response("x"))
      const { failure } = yield* run({ budget: { usd: "5 euros" }, provider: provider.layer })
      assert.strictEqual(failure?._tag, "BudgetError")
      assert.strictEqual(provider.requests.length, 0)
    })
  )
})

describe("the guard", () => {
  it.live("never lets more through than the limit, whatever calls cost and in whatever order they end", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({
              output: fc.integer({ min: 1, max: 50 }),
              wait: fc.integer({ min: 0, max: 4 }),
              fails: fc.boolean()
            }),
            { minLength: 1, maxLength: 40 }
          ),
          fc.integer({ min: 1, max: 400 }),
          (calls, calibre) =>
            Effect.runPromise(
              Effect.gen(function* () {
                const pricing = yield* Pricing.make({ m: { input: 1, output: 2 } })
                const limit = BigInt(calibre) * 1_000_000n
                let billed = 0n
                const provider = ModelClient.provider({
                  name: "openai",
                  send: ((request: { readonly sample: number; readonly settings: { readonly maxTokens: number } }) =>
                    Effect.flatMap(Effect.sleep(calls[request.sample]!.wait), () => {
                      const { fails, output: wanted } = calls[request.sample]!
                      const output = Math.min(wanted, request.settings.maxTokens)
                      if (fails) return Effect.fail(Scripted.broken("down"))
                      billed += 3n * 1_000_000n + BigInt(output) * 2_000_000n
                      return Effect.succeed(
                        Scripted.response("x", {
                          model: "m",
                          requestedModel: "m",
                          finishReason: output < wanted ? "length" : "stop",
                          usage: {
                            uncachedInput: 3,
                            cacheRead: 0,
                            cacheWrite: 0,
                            cacheWrite1h: 0,
                            output,
                            reasoning: 0
                          }
                        })
                      )
                    })) as never
                })
                const client = Stack.make(
                  Budget.layer({ usd: usd(limit) }),
                  Layer.succeed(ModelClient.ModelClient, provider)
                )
                yield* Effect.forEach(
                  calls,
                  (call, sample) =>
                    Effect.result(
                      ModelClient.send({
                        _tag: "Completion",
                        model: "m",
                        messages: [{ role: "user", content: "abcd" }],
                        tools: [],
                        toolChoice: "auto",
                        responseFormat: { type: "text" },
                        settings: { maxTokens: call.output },
                        providerOptions: {},
                        sample
                      })
                    ),
                  { concurrency: "unbounded" }
                ).pipe(Effect.provide(client), Effect.provideService(Pricing.Pricing, pricing))
                assert.isTrue(billed <= limit, `${billed} of ${limit}`)
              })
            )
        ),
        { numRuns: 150 }
      )
    )
  )
})
