/** Every case of kind `retry` that needs no server, and the limits. */
import { assert, describe, it } from "@effect/vitest"
import {
  RunHooks,
  CallContext,
  Concurrency,
  Fallback,
  Flow,
  ModelClient,
  ModelFailure,
  ModelRequest,
  ModelResponse,
  RateLimit,
  Retry,
  Stack,
  Usage,
  Coalesce
} from "@pipe/core"
import * as RateLimitHeaders from "../src/resilience/RateLimitHeaders.ts"
import { Layer, Cause, Clock, Duration, Effect, Exit, Fiber } from "effect"
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

  it.effect("does not spin on a wait of nothing: the back-off holds (D2, remnic#657)", () =>
    Effect.gen(function* () {
      const zero = Scripted.make((_, index) => (index === 0 ? limited(0) : Scripted.response("ok")))
      const { millis } = yield* timed(zero)
      // 500 ms ± 20 %.
      assert.isAtLeast(millis, 400)
      assert.isAtMost(millis, 600)
    })
  )

  it.effect("does what the provider says of trying again (x-should-retry)", () =>
    Effect.gen(function* () {
      const said = (shouldRetry: boolean) => ({ [ModelFailure.shouldRetryKey]: shouldRetry })
      const no = Scripted.make(() => error(new AiError.RateLimitError({ metadata: said(false) })))
      yield* timed(no)
      assert.strictEqual(no.requests.length, 1)
      const yes = Scripted.make((_, index) =>
        index === 0 ? error(new AiError.InvalidRequestError({ metadata: said(true) })) : Scripted.response("ok")
      )
      assert.strictEqual((yield* timed(yes)).exit._tag, "Success")
    })
  )

  it.effect("backs off, jittered by a fifth, where nothing is called", () =>
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
      const failed = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined
      // Every other call would meet the same: the run stops, and is resumed later.
      assert.isTrue(ModelFailure.isHopeless(failed!))
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
  const requestsOf = (model: Scripted.Scripted, options: Retry.Options, above?: Retry.Options) =>
    Effect.gen(function* () {
      const one = Stack.make(Retry.layer(options), model.layer)
      const stack = above === undefined ? one : Layer.provide(Retry.layer(above), one)
      const fiber = yield* Effect.forkChild(
        ModelClient.send(request).pipe(
          Effect.match({ onFailure: ({ reason }) => reason._tag, onSuccess: () => "an answer" }),
          CallContext.provide({
            accept: (response) => (ModelResponse.text(response).startsWith("wrong") ? "it is wrong" : undefined)
          }),
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
      assert.throws(() => Retry.layer(options), /expected an integer from/)
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

  it.effect("does not multiply when a stack with one is below another one", () =>
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
        CallContext.provide({ accept: () => "wrong" }),
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
      // A wait of nothing is none: the back-off holds (D2).
      "0": undefined,
      "2": 2_000,
      "Tue, 01 Dec 2026 00:01:30 GMT": 90_000,
      "Tue, 01 Dec 2026 00:01:30 UTC": 90_000,
      "Tuesday, 01-Dec-26 00:01:30 GMT": 90_000,
      "Tue Dec  1 00:01:30 2026": 90_000,
      "Mon, 30 Nov 2026 00:00:00 GMT": undefined,
      "2026-12-01T00:00:05Z": 5_000,
      "5, 5": 5_000,
      "6m0s": 360_000,
      "20s": 20_000,
      // Unix seconds and milliseconds.
      "1796083205": 5_000,
      "1796083205000": 5_000,
      "1e9": undefined,
      inf: undefined
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
    const values = {
      "6m0s": 360_000,
      "1m30s": 90_000,
      "20ms": 20,
      "1h0m1.5s": 3_601_500,
      "45": 45_000,
      "1796083260": 60_000,
      // OpenRouter, in milliseconds (rate-01); microseconds.
      "1796083200500": 500,
      "1796083200500000": 500,
      "2026-12-01T00:02:00Z": 120_000,
      "2026-12-01T01:02:00+01:00": 120_000,
      "Tue, 01 Dec 2026 00:02:00 GMT": 120_000,
      // Go, and what others write.
      "120µs": 1,
      "1500us": 2,
      "23h58m33s": 86_313_000,
      "1d2h": 93_600_000,
      "43 seconds": 43_000,
      later: undefined,
      "-1": undefined,
      None: undefined,
      "2026-12-01T00:02:00": undefined
    }
    for (const [value, millis] of Object.entries(values)) {
      assert.strictEqual(RateLimitHeaders.resetMillis(value, now), millis, value)
    }
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

  it("reads a time by the server's own clock", () => {
    // It is an hour behind ours, or ahead.
    for (const [date, reset] of [
      ["Mon, 30 Nov 2026 23:00:00 GMT", "2026-11-30T23:00:30Z"],
      ["Tue, 01 Dec 2026 01:00:00 GMT", "2026-12-01T01:00:30Z"]
    ] as const) {
      const observed = RateLimitHeaders.observe(
        headers({ date, "anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": reset }),
        200,
        now
      )
      assert.deepStrictEqual(observed?.requests, { remaining: 0, resetMillis: 30_000 })
      const at = new Date(Date.parse(date) + 7_000).toUTCString()
      assert.strictEqual(RateLimitHeaders.retryAfterMillis(headers({ date, "retry-after": at }), now), 7_000)
    }
    // An answer that was kept in progress has a Date of then.
    const kept = headers({
      age: "3600",
      date: "Mon, 30 Nov 2026 23:00:00 GMT",
      "retry-after": "Tue, 01 Dec 2026 00:00:07 GMT"
    })
    assert.strictEqual(RateLimitHeaders.retryAfterMillis(kept, now), 7_000)
  })

  // Names and values as providers and gateways send them.
  const seen: ReadonlyArray<
    readonly [who: string, given: { readonly [name: string]: string }, is: RateLimitHeaders.Observed]
  > = [
    [
      "Anthropic's outputs (rate-02)",
      {
        "anthropic-ratelimit-tokens-remaining": "9000",
        "anthropic-ratelimit-output-tokens-limit": "16000",
        "anthropic-ratelimit-output-tokens-remaining": "0",
        "anthropic-ratelimit-output-tokens-reset": "2026-12-01T00:00:03Z"
      },
      { tokens: { remaining: 9_000 }, others: [{ limit: 16_000, remaining: 0, resetMillis: 3_000 }] }
    ],
    [
      "OpenRouter (rate-04)",
      { "x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1796083202000" },
      { requests: { limit: 20, remaining: 0, resetMillis: 2_000 } }
    ],
    [
      "Cerebras",
      {
        "x-ratelimit-limit-tokens-minute": "60000",
        "x-ratelimit-remaining-tokens-minute": "0",
        "x-ratelimit-reset-tokens-minute": "11.382867",
        "x-ratelimit-remaining-requests-day": "0",
        "x-ratelimit-reset-requests-day": "33011.382867"
      },
      {
        tokens: { limit: 60_000, remaining: 0, resetMillis: 11_383 },
        others: [{ remaining: 0, resetMillis: 33_011_383 }]
      }
    ],
    [
      "Mistral",
      { "x-ratelimit-limit-req-minute": "30", "x-ratelimit-remaining-req-minute": "23" },
      { requests: { limit: 30, remaining: 23 } }
    ],
    [
      "Azure without a limit",
      { "x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "-1" },
      { tokens: {} }
    ],
    [
      "Azure, over its limit",
      { "x-ratelimit-remaining-tokens": "-27689", "x-ratelimit-reset-tokens": "64" },
      { tokens: { remaining: 0, resetMillis: 64_000 } }
    ],
    ["Hugging Face", { ratelimit: '"api";r=0;t=55' }, { others: [{ remaining: 0, resetMillis: 55_000 }] }],
    [
      "LiteLLM before another",
      { "llm_provider-retry-after": "7", "llm_provider-x-ratelimit-remaining-requests": "0" },
      { requests: { remaining: 0 } }
    ]
  ]
  for (const [who, given, is] of seen) {
    it(`reads what ${who} says`, () => {
      assert.deepStrictEqual(RateLimitHeaders.observe(headers(given), 200, now), is)
    })
  }

  it("reads whether a call may be tried again", () => {
    assert.strictEqual(RateLimitHeaders.shouldRetry(headers({ "x-should-retry": "true" })), true)
    assert.strictEqual(RateLimitHeaders.shouldRetry(headers({ "x-should-retry": " False" })), false)
    assert.isUndefined(RateLimitHeaders.shouldRetry(headers({ "x-should-retry": "1" })))
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

  /** When calls are sent, one after the other, where the first meets a limit; and how it ends. */
  const after = (
    observed: RateLimitHeaders.Observed,
    options: RateLimit.Options = {},
    first: AiError.AiError | undefined = undefined
  ) =>
    Effect.gen(function* () {
      const at: Array<number> = []
      const model = Scripted.make((_, index) =>
        Effect.withFiber((fiber) => {
          if (index === 0) fiber.getRef(RunHooks.RunHooks).onLimits?.(observed)
          return Effect.flatMap(Clock.currentTimeMillis, (millis) => {
            at.push(millis)
            return index === 0 && first !== undefined ? Effect.fail(first) : Effect.succeed(Scripted.response("x"))
          })
        })
      )
      const fiber = yield* Effect.forkChild(
        Effect.provide(
          Effect.andThen(Effect.exit(ModelClient.send(request)), Effect.exit(ModelClient.send(request))),
          Stack.make(RateLimit.layer(options), model.layer)
        )
      )
      yield* TestClock.adjust("1 hour")
      const exit = yield* Fiber.join(fiber)
      return { at: at.map((millis) => millis - at[0]!), exit }
    })

  it.effect("waits for all when the provider says that nothing is left, just that long", () =>
    Effect.gen(function* () {
      const { at } = yield* after({ requests: { remaining: 0, resetMillis: 36_000 } })
      assert.deepStrictEqual(at, [0, 36_000])
      const outputs = yield* after({ others: [{ remaining: 0, resetMillis: 3_000 }] })
      assert.deepStrictEqual(outputs.at, [0, 3_000])
    })
  )

  it.effect("asks after a minute where the limit of a day is said to be used up, which need not be so", () =>
    Effect.gen(function* () {
      const day = { requests: { remaining: 0, resetMillis: 86_313_000 } }
      assert.deepStrictEqual((yield* after(day)).at, [0, 60_000])
      // Groq, refused: it says itself when to come back.
      const refused = yield* after({ ...day, isRefused: true, retryAfterMillis: 86_000 })
      assert.deepStrictEqual(refused.at, [0, 86_000])
    })
  )

  it.effect("waits as long as a refusal says in its body", () =>
    Effect.gen(function* () {
      const { at } = yield* after({}, {}, limited("34 seconds"))
      assert.deepStrictEqual(at, [0, 34_000])
    })
  )

  for (const [what, observed, first] of [
    ["retry-after: 1e9 (D1)", { isRefused: true, retryAfterMillis: 1e12 }, undefined],
    ["a reset in thousands of years", { isRefused: true, requests: { remaining: 0, resetMillis: 1.8e15 } }, undefined],
    ["a limit of 3 hours in a body", {}, limited("3 hours")]
  ] as const) {
    it.effect(`does not wait for longer than it may (${what}): the run stops, and says why`, () =>
      Effect.gen(function* () {
        const { at, exit } = yield* after(observed, {}, first)
        assert.deepStrictEqual(at, [0])
        const failed = Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason)?.error : undefined
        assert.isDefined(failed)
        assert.isTrue(ModelFailure.isHopeless(failed!))
        assert.match(
          ModelFailure.message(failed!),
          /allows no call.*longer than 10m.*the limit resets in (?:3h|more than a year)/
        )
      })
    )
  }

  it("refuses what is no duration, when it is built", () => {
    for (const wrong of [Number.NaN, -5, "soon", "-3 seconds"]) {
      assert.throws(() => RateLimit.layer({ maxWait: wrong as Duration.Input }), /expected a duration/)
      assert.throws(() => Retry.layer({ base: wrong as Duration.Input }), /expected a duration/)
      assert.throws(() => Retry.layer({ within: wrong as Duration.Input }), /expected a duration/)
    }
    Retry.layer({ maxWait: "Infinity" })
  })

  it("refuses numbers with which no call would begin, when it is built (D3)", () => {
    for (const build of [
      () => RateLimit.layer({ requestsPerMinute: 0 }),
      () => RateLimit.layer({ tokensPerMinute: -1 }),
      () => RateLimit.layer({ requestsPerMinute: Number.NaN }),
      () => Concurrency.layer(0),
      () => Concurrency.layer(1.5),
      () => Coalesce.layer({ concurrency: 0 }),
      () => Retry.layer({ attempts: 0 }),
      () => RateLimit.layerShared({ requestsPerMinute: Number.NaN }),
      () => Flow.step("a", {}, () => Effect.succeed(1), { concurrency: 0 }),
      () => Flow.step("a", {}, () => Effect.succeed(1), { samples: 0 }),
      () => Flow.step("a", {}, () => Effect.succeed(1), { settings: { maxTokens: 0 } })
    ]) {
      assert.throws(build, /; expected an? (?:integer|number) (?:above 0|from 1 on)/)
    }
  })
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
