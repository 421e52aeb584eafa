/** How providers and gateways say that a call has to wait, in headers and bodies, as they were seen to (over HTTP). */
import { assert, describe, it } from "@effect/vitest"
import { ModelFailure } from "@pipe/core"
import { Duration, Effect } from "effect"
import * as Apis from "./Apis.ts"
import * as Wire from "./Wire.ts"

/** The failure of a call that meets a refusal. */
const failureOf = (api: Apis.Api, way: Apis.Way, reply: Wire.Reply) =>
  Effect.scoped(
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => reply)
      const { error } = yield* Wire.ask(
        Apis.layerOf(api, Apis.baseOf(api, server.url), way),
        Wire.question("x", { settings: { maxTokens: 50 } })
      )
      return error!
    })
  )

const waitOf = (error: Parameters<typeof ModelFailure.retryAfter>[0]): number | undefined => {
  const wait = ModelFailure.retryAfter(error)
  return wait === undefined ? undefined : Duration.toMillis(wait)
}

const pool: Apis.Way = { transport: "pool", stream: false }

const openAi = (message: string, more: object = {}) => ({
  error: { message, type: "tokens", code: "rate_limit_exceeded", param: null, ...more }
})

/** Milliseconds that are waited after a 429 with this body. */
const bodies: ReadonlyArray<readonly [who: string, body: object, millis: number | undefined]> = [
  ["OpenAI", openAi("Rate limit reached … Please try again in 1.898s. Visit https://x"), 1_898],
  ["OpenAI, in milliseconds", openAi("Please try again in 634ms."), 634],
  ["OpenAI, in minutes", openAi("Please try again in 6m0s."), 360_000],
  ["Groq", openAi("Please try again in 1m30.951s. Need more tokens?"), 90_951],
  ["Azure", openAi("Please retry after 43 seconds."), 43_000],
  ["Moonshot", openAi("please try again after 1 seconds"), 1_000],
  ["API Management", { statusCode: 429, message: "Quota will be replenished in 00:30:02." }, 1_802_000],
  [
    "Gemini's RetryInfo",
    {
      error: {
        code: 429,
        status: "RESOURCE_EXHAUSTED",
        message: "You exceeded your current quota.",
        details: [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "34s" }]
      }
    },
    35_000
  ],
  ["Gemini's words", { error: { code: 429, message: "Please retry in 58.934310785s." } }, 58_935],
  ["LLM7", { error: { message: "slow down" }, retry_after: 7 }, 7_000],
  ["nothing", openAi("Rate limit reached for requests"), undefined],
  ["a wait of 0", openAi("Please wait 0 seconds before retrying."), undefined]
]

describe("the body of a refusal", () => {
  for (const [who, body, millis] of bodies) {
    it.live(`says how long to wait (${who})`, () =>
      Effect.gen(function* () {
        const error = yield* failureOf("chat", pool, { status: 429, body })
        assert.strictEqual(ModelFailure.kind(error), "rate")
        assert.strictEqual(waitOf(error), millis)
      })
    )
  }

  it.live("says it by headers of its own (OpenRouter, rate-04-n1)", () =>
    Effect.gen(function* () {
      const headers = {
        "X-RateLimit-Limit": "15",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": String(Date.now() + 30_000)
      }
      const body = { error: { message: "Rate limit exceeded", code: 429, metadata: { headers } } }
      const wait = waitOf(yield* failureOf("chat", pool, { status: 429, body }))
      assert.isAbove(wait ?? 0, 20_000)
      assert.isAtMost(wait ?? 0, 30_000)
    })
  )

  it.live("is read in time whatever it says", () =>
    Effect.gen(function* () {
      for (const text of ["retry ".repeat(100_000), `try again in ${"1".repeat(500_000)}`, "1s".repeat(200_000)]) {
        yield* failureOf("chat", pool, { status: 429, body: openAi(text) })
      }
    })
  )
})

describe("the headers of a refusal", () => {
  for (const api of Apis.apis) {
    for (const way of Apis.ways) {
      it.live(`are read (${api} ${Apis.nameOf(way)})`, () =>
        Effect.gen(function* () {
          const given = { status: 429, body: { error: { message: "slow down" } } }
          const seconds = yield* failureOf(api, way, { ...given, headers: { "retry-after": "7" } })
          assert.strictEqual(waitOf(seconds), 7_000)
          // A server whose clock is an hour behind.
          const date = new Date(Date.now() - 3_600_000)
          const dated = yield* failureOf(api, way, {
            ...given,
            headers: { date: date.toUTCString(), "retry-after": new Date(date.getTime() + 9_000).toUTCString() }
          })
          assert.strictEqual(waitOf(dated), 9_000)
          const no = yield* failureOf(api, way, { ...given, headers: { "x-should-retry": "false" } })
          assert.isFalse(ModelFailure.isRetryable(no))
          const yes = yield* failureOf(api, way, { ...given, status: 400, headers: { "x-should-retry": "true" } })
          assert.isTrue(ModelFailure.isRetryable(yes))
        })
      )
    }
  }

  it.live("say when what is used up is there again (rate-03, rate-04)", () =>
    Effect.gen(function* () {
      for (const [headers, millis] of [
        [{ "x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "6m0s" }, 2_000],
        [{ "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2s" }, 2_000],
        [
          { "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "7s", "x-ratelimit-reset-requests": "1s" },
          7_000
        ]
      ] as const) {
        const error = yield* failureOf("chat", pool, { status: 429, headers, body: openAi("slow down") })
        assert.strictEqual(waitOf(error), millis)
      }
      // What it asks for outright counts, at once too: a bucket is whole again long after a call fits.
      const atOnce = { "retry-after": "0", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s" }
      assert.isUndefined(
        waitOf(yield* failureOf("chat", pool, { status: 429, headers: atOnce, body: openAi("slow down") }))
      )
      const past = { "x-ratelimit-reset": String(Date.now() + 30_000) }
      const wait = waitOf(yield* failureOf("chat", pool, { status: 429, headers: past, body: openAi("slow down") }))
      assert.isAbove(wait ?? 0, 20_000)
    })
  )

  it.live("count where the refusal comes as a stream under success (Azure)", () =>
    Effect.gen(function* () {
      const error = yield* failureOf(
        "chat",
        { transport: "pool", stream: true },
        {
          headers: { "content-type": "text/event-stream", "retry-after": "4" },
          body: `event: error\ndata: ${JSON.stringify(openAi("Rate limit is exceeded"))}\n\n`
        }
      )
      assert.strictEqual(ModelFailure.kind(error), "rate")
      assert.strictEqual(waitOf(error), 4_000)
    })
  )

  for (const code of [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_usage_limit_exceeded",
    "project_spend_limit_exceeded"
  ]) {
    it.live(`an account that is spent is not tried again (${code})`, () =>
      Effect.gen(function* () {
        const error = yield* failureOf("chat", pool, { status: 429, body: openAi("no credit", { code }) })
        assert.strictEqual(ModelFailure.kind(error), "quota")
      })
    )
  }
})
