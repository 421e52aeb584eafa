/** The Anthropic plugin over real HTTP: against a mock server that someone else wrote, and against answers of our own. */
import { LLMock } from "@copilotkit/aimock"
import { assert, describe, it } from "@effect/vitest"
import { ModelFailure, ModelResponse, Money, Usage } from "@pipe/core"
import { Anthropic } from "@pipe/plugins"
import { Effect } from "effect"
import * as Wire from "./Wire.ts"

const provider = (url: string, options: Anthropic.Options = {}) =>
  Anthropic.layer({ model: "claude-sonnet-4-20250514", apiKey: "sk-ant-test-0123456789", baseUrl: url, ...options })

const message = (fields: object = {}) => ({
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: "claude-sonnet-4-20250514",
  content: [{ type: "text", text: "hi" }],
  stop_reason: "end_turn",
  stop_sequence: null,
  usage: { input_tokens: 10, output_tokens: 5, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 },
  ...fields
})

describe("against aimock", () => {
  it.live("answers, plain and streamed, and reads tool calls", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Effect.acquireRelease(
          Effect.promise(() => LLMock.create({ port: 0, logLevel: "silent" })),
          (mock) => Effect.promise(() => mock.stop())
        )
        server.onMessage("hello", {
          content: "hi there",
          usage: { prompt_tokens: 11, completion_tokens: 3, total_tokens: 14 }
        })
        server.onMessage("tool", { toolCalls: [{ name: "find", arguments: '{"q":1}', id: "t1" }] })
        for (const stream of [false, true]) {
          const { error, value } = yield* Wire.ask(provider(server.url, { stream }), Wire.question("hello"))
          assert.isUndefined(error)
          assert.strictEqual(ModelResponse.text(value!), "hi there")
          assert.strictEqual(value!.finishReason, "stop")
        }
        const { value } = yield* Wire.ask(
          provider(server.url),
          Wire.question("tool", { tools: [{ name: "find", parameters: { type: "object", properties: {} } }] })
        )
        assert.deepInclude(value!.parts[0], { type: "tool-call", name: "find", params: { q: 1 } })
        assert.strictEqual(value!.finishReason, "tool-calls")
      })
    )
  )

  it.live("sends one request an attempt: the SDK's retries are off", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => ({
          status: 529,
          body: { type: "error", error: { type: "overloaded_error", message: "busy" } }
        }))
        const { error } = yield* Wire.ask(provider(server.url), Wire.question("x"), { attempts: 3 })
        assert.strictEqual(ModelFailure.kind(error!), "transient")
        assert.strictEqual(server.seen.length, 3)
      })
    )
  )
})

describe("the wire", () => {
  it.live("charges the cache's classes apart, five minutes and one hour (litellm#9812)", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => ({
          body: message({
            usage: {
              input_tokens: 5,
              output_tokens: 300,
              cache_read_input_tokens: 2_000,
              cache_creation_input_tokens: 8_000,
              cache_creation: { ephemeral_5m_input_tokens: 7_000, ephemeral_1h_input_tokens: 1_000 }
            }
          })
        }))
        const { sums, value } = yield* Wire.ask(provider(server.url), Wire.question("x"))
        assert.deepStrictEqual(value!.usage, {
          ...Usage.zero,
          uncachedInput: 5,
          cacheRead: 2_000,
          cacheWrite: 7_000,
          cacheWrite1h: 1_000,
          output: 300
        })
        // claude-sonnet-4: 5 × 3 + 2,000 × 0.30 + 7,000 × 3.75 + 1,000 × 6 + 300 × 15 USD per million (anthropic.com/pricing).
        assert.strictEqual(Money.toUsd(sums.spent), "0.037365")
      })
    )
  )

  const strict = { type: "object", properties: { a: { type: "string" } }, required: ["a"], additionalProperties: false }

  it.live("sends system text, output limit, cache breakpoints and schema in their places", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => ({ body: message() }))
        yield* Wire.ask(
          provider(server.url, { maxTokens: 99 }),
          Wire.question("x", {
            messages: [
              { role: "system", content: "be brief", options: { anthropic: { cacheControl: { type: "ephemeral" } } } },
              { role: "user", content: "a" },
              { role: "user", content: "b" }
            ],
            responseFormat: { type: "json", name: "n", schema: strict },
            settings: { temperature: 0 }
          })
        )
        assert.deepInclude(JSON.parse(server.seen[0]!.body), {
          system: [{ type: "text", text: "be brief", cache_control: { type: "ephemeral" } }],
          max_tokens: 99,
          temperature: 0,
          messages: [
            {
              role: "user",
              content: [
                { type: "text", text: "a" },
                { type: "text", text: "b" }
              ]
            }
          ],
          output_config: { format: { type: "json_schema", schema: strict } }
        })
        assert.include(server.seen[0]!.headers.authorization, "sk-ant-test-0123456789")
      })
    )
  )

  it.live("sorts failures by what they are", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const cases = [
          [400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", "overflow"],
          [400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API", "quota"],
          [401, "authentication_error", "invalid x-api-key", "auth"],
          [429, "rate_limit_error", "slow down", "rate"],
          [500, "api_error", "down", "transient"]
        ] as const
        for (const [status, type, text, kind] of cases) {
          const server = yield* Wire.serve(() => ({ status, body: { type: "error", error: { type, message: text } } }))
          const { error } = yield* Wire.ask(provider(server.url), Wire.question("x"))
          assert.strictEqual(ModelFailure.kind(error!), kind)
          assert.include(ModelFailure.message(error!), text)
        }
        const refusing = yield* Wire.serve(() => ({
          body: message({
            content: [],
            stop_reason: "refusal",
            stop_details: { type: "refusal", category: null, explanation: "no" }
          })
        }))
        const { error, sums } = yield* Wire.ask(provider(refusing.url), Wire.question("x"))
        assert.strictEqual(ModelFailure.kind(error!), "refused")
        assert.isAbove(Number(sums.spent), 0)
      })
    )
  )

  it.live("refuses what the API does not know, before it is sent", () =>
    Effect.gen(function* () {
      const { error } = yield* Wire.ask(provider("http://127.0.0.1:9"), Wire.question("x", { settings: { seed: 1 } }))
      assert.include(ModelFailure.message(error!), "has no seed")
    })
  )
})
