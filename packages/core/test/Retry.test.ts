/** Every case of kind `retry` that needs no server, and the limits. */
import { assert, describe, it } from "@effect/vitest"
import {
  Fallback,
  ModelClient,
  ModelFailure,
  ModelRequest,
  ModelResponse,
  Notice,
  RateLimit,
  RateLimitHeaders,
  Retry,
  Stack,
  Usage
} from "@pipe/core"
import { Clock, Duration, Effect, Fiber } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as Scripted from "./ScriptedModel.ts"

const request = ModelRequest.completion({ model: "gpt-4o-mini", messages: [{ role: "user", content: "x" }] })

const error = (reason: AiError.AiErrorReason) => AiError.make({ module: "test", method: "send", reason })
const server = error(new AiError.InternalProviderError({ description: "down" }))
const limited = (wait?: Duration.Input) =>
  error(new AiError.RateLimitError(wait === undefined ? {} : { retryAfter: Duration.fromInputUnsafe(wait) }))

/** Milliseconds of the test clock that a call takes under a stack, and how it ends. */
const timed = (model: Scripted.Scripted, options?: Retry.Options) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(
      Effect.gen(function* () {
        const exit = yield* Effect.exit(ModelClient.send(request))
        return { exit, millis: yield* Clock.currentTimeMillis }
      }).pipe(Effect.provide(Stack.make(Retry.layer(options), model.layer)))
    )
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.join(fiber)
  })

describe("Retry", () => {
  it.effect("waits just as long as the provider asks", () =>
    Effect.gen(function* () {
      const model = Scripted.make((_, index) => (index === 0 ? limited("2 seconds") : Scripted.response("ok")))
      assert.strictEqual((yield* timed(model)).millis, 2_000)
    })
  )

  it.effect("treats 0 as now, and nothing as back-off (remnic#657)", () =>
    Effect.gen(function* () {
      const zero = Scripted.make((_, index) => (index === 0 ? limited(0) : Scripted.response("ok")))
      assert.strictEqual((yield* timed(zero)).millis, 0)
    })
  )

  it.effect("backs off, jittered by a fifth, where nothing is asked", () =>
    Effect.gen(function* () {
      const model = Scripted.make((_, index) => (index < 2 ? server : Scripted.response("ok")))
      const { millis } = yield* timed(model)
      // 500 and 1,000 ms, each ± 20 %.
      assert.isAtLeast(millis, 1_200)
      assert.isAtMost(millis, 1_800)
    })
  )

  it.effect("does not wait longer than maxWait: the call fails and says when the limit resets (pi#6911)", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() => limited("30 days"))
      const { exit, millis } = yield* timed(model)
      assert.strictEqual(millis, 0)
      assert.strictEqual(exit._tag, "Failure")
      assert.include(ModelFailure.message(limited("30 days")), "30d")
      assert.strictEqual(model.requests.length, 1)
    })
  )

  const once: ReadonlyArray<readonly [string, AiError.AiErrorReason]> = [
    ["a wrong request", new AiError.InvalidRequestError({ description: "400" })],
    ["a wrong key", new AiError.AuthenticationError({ kind: "InvalidKey" })],
    ["a refusal", new AiError.ContentPolicyError({ description: "no" })],
    ["exhausted quota (curator#295)", new AiError.QuotaExhaustedError({})],
    [
      "a context that is too long (litellm#10793)",
      new AiError.InvalidRequestError({ constraint: ModelFailure.contextWindow })
    ]
  ]
  for (const [what, reason] of once) {
    it.effect(`does not try ${what} again`, () =>
      Effect.gen(function* () {
        const model = Scripted.make(() => error(reason))
        yield* timed(model)
        assert.strictEqual(model.requests.length, 1)
      })
    )
  }

  /** Requests that are sent until a call under a stack fails, and how it fails. */
  const requestsOf = (model: Scripted.Scripted, options: Retry.Options, above: Retry.Options = { attempts: 1 }) =>
    Effect.gen(function* () {
      const stack = Stack.make(Retry.layer(above), Retry.layer(options), model.layer)
      const fiber = yield* Effect.forkChild(
        ModelClient.send(request).pipe(
          Effect.match({ onFailure: ({ reason }) => reason._tag, onSuccess: () => "an answer" }),
          Effect.provideService(ModelClient.Accept, (response) =>
            response._tag === "CompletionResponse" && ModelResponse.text(response).startsWith("wrong")
              ? "it is wrong"
              : undefined
          ),
          Effect.provide(stack)
        )
      )
      yield* TestClock.adjust("1 hour")
      return { failure: yield* Fiber.join(fiber), requests: model.requests.length }
    })

  it.effect("has budgets of their own for failures and for wrong answers (instructor#1946)", () =>
    Effect.gen(function* () {
      // Two failures and three wrong answers are within both budgets; the fourth wrong answer is one too many.
      const mixed = Scripted.make((_, index) => (index % 2 === 0 ? server : Scripted.response(`wrong ${index}`)))
      const { failure, requests } = yield* requestsOf(mixed, { attempts: 5, reasks: 3 })
      assert.strictEqual(requests, 8)
      assert.strictEqual(failure, "StructuredOutputError")
      // Five failures, and two wrong answers that took nothing of their budget.
      const down = Scripted.make((_, index) =>
        index === 1 || index === 3 ? Scripted.response(`wrong ${index}`) : server
      )
      const second = yield* requestsOf(down, { attempts: 5, reasks: 2 })
      assert.strictEqual(second.requests, 7)
      assert.strictEqual(second.failure, "InternalProviderError")
    })
  )

  it.effect("requests a wrong answer twice more by default, and not at all with one attempt", () =>
    Effect.gen(function* () {
      const other = () => Scripted.make((_, index) => Scripted.response(`wrong ${index}`))
      assert.strictEqual((yield* requestsOf(other(), {})).requests, 3)
      assert.strictEqual((yield* requestsOf(other(), { attempts: 1 })).requests, 1)
      assert.strictEqual((yield* requestsOf(other(), { attempts: 2 })).requests, 2)
      assert.strictEqual((yield* requestsOf(other(), { attempts: 1, reasks: 1 })).requests, 2)
      assert.strictEqual((yield* requestsOf(other(), { reasks: 0 })).requests, 1)
    })
  )

  it("refuses budgets that are none", () => {
    for (const options of [{ attempts: 0 }, { attempts: 1.5 }, { reasks: -1 }, { reasks: Number.NaN }]) {
      assert.throws(() => Retry.layer(options), /is a whole number from/)
    }
  })

  it.effect("ends where the same wrong answer comes twice, with failures between them too", () =>
    Effect.gen(function* () {
      const same = Scripted.make(() => Scripted.response("wrong"))
      assert.strictEqual((yield* requestsOf(same, { reasks: 5 })).requests, 2)
      const between = Scripted.make((_, index) => (index === 1 ? server : Scripted.response("wrong")))
      assert.strictEqual((yield* requestsOf(between, { reasks: 5 })).requests, 3)
    })
  )

  it.effect("does not multiply where it stands twice in a stack", () =>
    Effect.gen(function* () {
      const other = Scripted.make((_, index) => Scripted.response(`wrong ${index}`))
      assert.strictEqual((yield* requestsOf(other, { reasks: 2 }, { reasks: 5, attempts: 9 })).requests, 3)
      const down = Scripted.make(() => server)
      assert.strictEqual((yield* requestsOf(down, { attempts: 3 }, { attempts: 9 })).requests, 3)
    })
  )

  it.effect("does not let the prompt grow with each wrong answer (instructor#2232)", () =>
    Effect.gen(function* () {
      const model = Scripted.make((_, index) => Scripted.response(`${"wrong ".repeat(4_000)}${index}`))
      yield* Effect.exit(ModelClient.send(request)).pipe(
        Effect.provideService(ModelClient.Accept, () => "wrong"),
        Effect.provide(Stack.make(Retry.layer({ reasks: 3 }), model.layer))
      )
      assert.strictEqual(model.requests.length, 4)
      for (const { messages } of model.requests) assert.isBelow(JSON.stringify(messages).length, 2_500)
    })
  )

  it.effect("stops at once when it is interrupted in its pause (langchainjs#11592)", () =>
    Effect.gen(function* () {
      const model = Scripted.make(() => limited("30 seconds"))
      const fiber = yield* Effect.forkChild(
        Effect.provide(ModelClient.send(request), Stack.make(Retry.layer(), model.layer))
      )
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(model.requests.length, 1)
    })
  )
})

describe("Fallback", () => {
  it.effect("asks the next model with everything unchanged, and the answer says who gave it", () =>
    Effect.gen(function* () {
      const model = Scripted.make((r) =>
        r.model === "a" ? error(new AiError.ContentPolicyError({ description: "no" })) : Scripted.response("B")
      )
      const tools = [{ name: "t", parameters: {} }]
      const response = yield* Effect.provide(
        ModelClient.send(
          ModelRequest.completion({ messages: [{ role: "user", content: "x" }], tools, settings: { temperature: 0 } })
        ),
        Stack.make(Fallback.layer(["a", "b"]), Retry.layer(), model.layer)
      )
      assert.strictEqual(response.model, "b")
      assert.deepStrictEqual(
        model.requests.map((r) => [r.model, r.tools, r.settings]),
        [
          ["a", tools, { temperature: 0 }],
          ["b", tools, { temperature: 0 }]
        ]
      )
    })
  )
})

const headers =
  (values: { readonly [name: string]: string }): RateLimitHeaders.Get =>
  (name) =>
    values[name]
const now = Date.UTC(2026, 11, 1)

describe("headers", () => {
  it("reads Retry-After strictly: seconds, an HTTP date, milliseconds; anything else is none (mastra#23778)", () => {
    const wait = (value: string) => RateLimitHeaders.retryAfterMillis(headers({ "retry-after": value }), now)
    // RFC 9110, 10.2.3; the values of the report.
    const expected = {
      soon: undefined,
      "-3": undefined,
      "+3": undefined,
      "1.5": 1_500,
      "": undefined,
      " 7 ": 7_000,
      "1e3": undefined,
      "0x10": undefined,
      "0": 0,
      "2": 2_000,
      "Tue, 01 Dec 2026 00:01:30 GMT": 90_000
    }
    for (const [value, millis] of Object.entries(expected)) assert.strictEqual(wait(value), millis, value)
    assert.strictEqual(
      RateLimitHeaders.retryAfterMillis(headers({ "retry-after-ms": "1500", "retry-after": "9" }), now),
      1_500
    )
    assert.isUndefined(RateLimitHeaders.retryAfterMillis(headers({}), now))
  })

  it("reads resets in every form (cortex-code#407)", () => {
    // The values of the report.
    const values = ["6m0s", "1m30s", "20ms", "1h0m1.5s", "45", "1796083260", "2026-12-01T00:02:00Z", "later"]
    assert.deepStrictEqual(
      values.map((value) => RateLimitHeaders.resetMillis(value, now)),
      [360_000, 90_000, 20, 3_601_500, 45_000, 60_000, 120_000, undefined]
    )
  })

  it("never gives a wait that is negative or no number", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const wait of [
          RateLimitHeaders.resetMillis(text, now),
          RateLimitHeaders.retryAfterMillis(headers({ "retry-after": text }), now)
        ]) {
          if (wait !== undefined) assert.isTrue(wait >= 0 && Number.isFinite(wait), text)
        }
      })
    )
  })

  it("learns both dimensions of both providers", () => {
    assert.deepStrictEqual(
      RateLimitHeaders.observe(
        headers({
          "x-ratelimit-limit-requests": "500",
          "x-ratelimit-remaining-requests": "0",
          "x-ratelimit-reset-requests": "6m0s",
          "x-ratelimit-limit-tokens": "200000"
        }),
        200,
        now
      ),
      { requests: { limit: 500, remaining: 0, resetMillis: 360_000 }, tokens: { limit: 200_000 } }
    )
    assert.deepStrictEqual(
      RateLimitHeaders.observe(
        headers({
          "anthropic-ratelimit-requests-limit": "50",
          "anthropic-ratelimit-requests-reset": "2026-12-01T00:01:00Z"
        }),
        200,
        now
      ),
      { requests: { limit: 50, resetMillis: 60_000 } }
    )
  })
})

describe("RateLimit", () => {
  const starts = (options: RateLimit.Options, calls: number, answer = () => Scripted.response("x")) =>
    Effect.gen(function* () {
      const at: Array<number> = []
      const model = Scripted.make(() => Effect.map(Clock.currentTimeMillis, (millis) => (at.push(millis), answer())))
      const fiber = yield* Effect.forkChild(
        Effect.provide(
          Effect.forEach(Array.from({ length: calls }), () => ModelClient.send(request), { concurrency: "unbounded" }),
          Stack.make(RateLimit.layer(options), model.layer)
        )
      )
      yield* TestClock.adjust("1 hour")
      yield* Fiber.join(fiber)
      return at
    })

  it.effect("holds requests a minute for all steps together (langchainjs#3440)", () =>
    Effect.gen(function* () {
      const at = yield* starts({ requestsPerMinute: 100 }, 150)
      for (const start of at)
        assert.isAtMost(at.filter((other) => other >= start && other < start + 60_000).length, 200)
      assert.strictEqual(at.filter((millis) => millis === 0).length, 100)
      assert.isAtLeast(Math.max(...at), 29_000)
    })
  )

  it.effect("holds tokens a minute, and gives back what was not used", () =>
    Effect.gen(function* () {
      const at = yield* starts({ tokensPerMinute: 1_000 }, 12, () =>
        Scripted.response("x", { usage: { ...Usage.zero, uncachedInput: 90, output: 10 } })
      )
      assert.isAbove(Math.max(...at), 0)
      assert.isAtMost(Math.max(...at), 10 * 60_000)
    })
  )

  it.effect("waits for all when the provider says that nothing is left, just that long", () =>
    Effect.gen(function* () {
      const at: Array<number> = []
      const model = Scripted.make((_, index) =>
        Effect.withFiber((fiber) => {
          if (index === 0) fiber.getRef(Notice.Limits)?.({ requests: { remaining: 0, resetMillis: 360_000 } })
          return Effect.map(Clock.currentTimeMillis, (millis) => (at.push(millis), Scripted.response("x")))
        })
      )
      const fiber = yield* Effect.forkChild(
        Effect.provide(
          Effect.andThen(ModelClient.send(request), ModelClient.send(request)),
          Stack.make(RateLimit.layer(), model.layer)
        )
      )
      yield* TestClock.adjust("1 hour")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(at, [0, 360_000])
    })
  )
})

describe("Stack", () => {
  it.effect("applies a layer twice where it stands twice, from top to bottom", () =>
    Effect.gen(function* () {
      const order: Array<string> = []
      const mark = (name: string) => ModelClient.middleware((send) => (r) => (order.push(name), send(r)))
      const twice = mark("twice")
      const model = Scripted.make(() => Scripted.response("hi"))
      assert.strictEqual(
        ModelResponse.text(
          yield* Effect.provide(ModelClient.send(request), Stack.make(twice, mark("once"), twice, model.layer))
        ),
        "hi"
      )
      assert.deepStrictEqual(order, ["twice", "once", "twice"])
    })
  )
})
