/** The OpenAI plugin over real HTTP: against a mock server that someone else wrote, and against answers of our own. */
import { LLMock } from "@copilotkit/aimock"
import { assert, describe, it } from "@effect/vitest"
import {
  ModelClient,
  ModelFailure,
  ModelRequest,
  ModelResponse,
  Money,
  RateLimit,
  ToLanguageModel,
  Usage
} from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Fiber, Layer, Schema } from "effect"
import { Prompt, Tool, Toolkit } from "effect/ai"
import * as Wire from "./Wire.ts"

const mock = Effect.acquireRelease(
  Effect.promise(() => LLMock.create({ port: 0, logLevel: "silent" })),
  (mock) => Effect.promise(() => mock.stop())
)

const provider = (url: string, options: OpenAi.Options = {}) =>
  OpenAi.layer({ model: "gpt-4o-mini", apiKey: "sk-test-0123456789abcdef", baseUrl: url, ...options })

const transports = ["pool", "sdk"] as const

const completion = (content: string | null, fields: object = {}, message: object = {}) => ({
  id: "c1",
  object: "chat.completion",
  created: 1,
  model: "gpt-4o-mini-2024-07-18",
  choices: [
    {
      index: 0,
      message: { role: "assistant", content, refusal: null, ...message },
      logprobs: null,
      finish_reason: "stop"
    }
  ],
  usage: { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 },
  ...fields
})

describe("against aimock", () => {
  it.live("answers text with its usage and its price, the same by pool, SDK and stream", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* mock
        server.onMessage("hello", {
          content: "hi there",
          usage: { prompt_tokens: 11, completion_tokens: 3, total_tokens: 14 }
        })
        const answers = yield* Effect.forEach(
          [{ transport: "pool" }, { transport: "sdk" }, { stream: true }] as const,
          (options) => Wire.ask(provider(`${server.url}/v1`, options), Wire.question("hello"))
        )
        for (const { error, sums, value } of answers) {
          assert.isUndefined(error)
          const { id: _, ...rest } = value!
          const { id: __, ...first } = answers[0]!.value!
          assert.deepStrictEqual(rest, first)
          // 11 × 0.15 + 3 × 0.60 USD per million.
          assert.strictEqual(Money.toUsd(sums.spent), "0.00000345")
        }
        assert.strictEqual(ModelResponse.text(answers[0]!.value!), "hi there")
      })
    )
  )

  it.live("sends tools, images and the answer's schema, and reads tool calls", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* mock
        server.onMessage("weather", {
          toolCalls: [{ name: "get_weather", arguments: '{"city":"Porto"}', id: "call_1" }]
        })
        server.onMessage("object", { content: '{"answer":42}' })
        const GetWeather = Tool.make("get_weather", {
          description: "the weather",
          parameters: Schema.Struct({ city: Schema.String }),
          success: Schema.String
        })
        const toolkit = Toolkit.make(GetWeather)
        const handlers = toolkit.toLayer({ get_weather: ({ city }) => Effect.succeed(`sunny in ${city}`) })
        const program = Effect.gen(function* () {
          const model = yield* Effect.flatMap(ModelClient.ModelClient, ToLanguageModel.make)
          const called = yield* model.generateText({
            toolkit: yield* toolkit,
            prompt: [
              {
                role: "user",
                content: [
                  { type: "text", text: "weather?" },
                  { type: "file", mediaType: "image/png", data: new Uint8Array([1, 2, 3]) }
                ]
              }
            ]
          })
          const object = yield* model.generateObject({
            schema: Schema.Struct({ answer: Schema.Int }),
            prompt: Prompt.make("object")
          })
          return { results: called.toolResults.map((result) => result.result), object: object.value }
        }).pipe(Effect.provide(handlers))
        const { error, value } = yield* Wire.over(
          provider(`${server.url}/v1`),
          program as typeof program
            & Effect.Effect<
              { results: Array<unknown>; object: { readonly answer: number } },
              never,
              ModelClient.ModelClient
            >
        )
        assert.isUndefined(error)
        assert.deepStrictEqual(value, { results: ["sunny in Porto"], object: { answer: 42 } })
        const bodies = server.getRequests().map((entry) => JSON.stringify(entry.body))
        assert.include(bodies[0], "data:image/png;base64,AQID")
        assert.include(bodies[0], '"strict":true')
        assert.include(bodies[1], '"json_schema"')
      })
    )
  )

  it.live("speaks the responses API and embeddings", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* mock
        server.onMessage("hello", { content: "hi" })
        server.onEmbedding("bee", { embedding: [0.1, 0.2, 0.3] })
        const responses = yield* Wire.ask(provider(`${server.url}/v1`, { api: "responses" }), Wire.question("hello"))
        assert.strictEqual(ModelResponse.text(responses.value!), "hi")
        assert.strictEqual(responses.value!.finishReason, "stop")
        for (const transport of transports) {
          const { value } = yield* Wire.over(
            provider(`${server.url}/v1`, { transport }),
            ModelClient.send(ModelRequest.embedding({ model: "text-embedding-3-small", inputs: ["bee"] }))
          )
          assert.deepStrictEqual(
            value!.vectors.map((vector) => vector.map((x) => Math.round(x * 10))),
            [[1, 2, 3]]
          )
        }
      })
    )
  )

  for (const transport of transports) {
    it.live(`retries in one layer only: three requests for three attempts, by ${transport} (openaivec#186)`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* mock
          server.on(
            { userMessage: "always" },
            { error: { message: "down", type: "server_error", code: "x" }, status: 500 }
          )
          const { error } = yield* Wire.ask(provider(`${server.url}/v1`, { transport }), Wire.question("always"), {
            attempts: 3
          })
          assert.strictEqual(ModelFailure.kind(error!), "transient")
          assert.strictEqual(server.getRequests().length, 3)
        })
      )
    )

    it.live(`gets over 429 with Retry-After, 5xx, broken JSON and a dropped connection, by ${transport}`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* mock
          server.on(
            { userMessage: "seq", sequenceIndex: 0 },
            {
              error: { message: "slow down", type: "rate_limit_error", code: "rate_limit_exceeded" },
              status: 429,
              retryAfter: 0
            }
          )
          server.on(
            { userMessage: "seq", sequenceIndex: 1 },
            { error: { message: "overloaded", type: "overloaded_error" }, status: 529 }
          )
          server.on({ userMessage: "seq", sequenceIndex: 2 }, { content: "x" }, { chaos: { malformedRate: 1 } })
          server.on({ userMessage: "seq", sequenceIndex: 3 }, { content: "x" }, { chaos: { disconnectRate: 1 } })
          server.on({ userMessage: "seq" }, { content: "at last" })
          const { error, sums, value } = yield* Wire.ask(
            provider(`${server.url}/v1`, { transport }),
            Wire.question("seq"),
            { attempts: 6, maxPause: 5 }
          )
          assert.isUndefined(error)
          assert.strictEqual(ModelResponse.text(value!), "at last")
          assert.strictEqual(sums.failedAttempts, 4)
          // The broken and the dropped answer may have been billed.
          // The 5xx, the broken JSON and the dropped connection may have been billed.
          assert.strictEqual(sums.estimated, 3)
        })
      )
    )
  }
})

describe("the wire", () => {
  for (const transport of transports) {
    it.live(`counts cached and reasoning tokens once, by ${transport}`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* Wire.serve(() => ({
            body: completion("x", {
              usage: {
                prompt_tokens: 10_000,
                completion_tokens: 500,
                total_tokens: 10_500,
                prompt_tokens_details: { cached_tokens: 9_000 },
                completion_tokens_details: { reasoning_tokens: 400 }
              }
            })
          }))
          const { sums, value } = yield* Wire.ask(provider(`${server.url}/v1`, { transport }), Wire.question("x"))
          assert.deepStrictEqual(value!.usage, {
            ...Usage.zero,
            uncachedInput: 1_000,
            cacheRead: 9_000,
            output: 100,
            reasoning: 400
          })
          // gpt-4o-mini: 1,000 × 0.15 + 9,000 × 0.075 + 500 × 0.60 USD per million.
          assert.strictEqual(Money.toUsd(sums.spent), "0.001125")
          assert.strictEqual(value!.model, "gpt-4o-mini-2024-07-18")
        })
      )
    )
  }

  it.live("takes a refusal for an outcome of its own: one request, recorded (pydantic-ai#4310)", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => ({ body: completion(null, {}, { refusal: "I can't help with that." }) }))
        const { error, sums } = yield* Wire.ask(provider(`${server.url}/v1`), Wire.question("x"), { attempts: 3 })
        assert.strictEqual(ModelFailure.kind(error!), "refused")
        assert.strictEqual(server.seen.length, 1)
        assert.strictEqual(Money.toUsd(sums.spent), "0.000021")
      })
    )
  )

  const failures: ReadonlyArray<readonly [string, Wire.Reply, ModelFailure.Kind, string]> = [
    [
      "exhausted quota (langchainjs#1929)",
      { status: 429, body: { error: { message: "exceeded", type: "insufficient_quota", code: "insufficient_quota" } } },
      "quota",
      "add credit"
    ],
    [
      "a wrong key",
      { status: 401, body: { error: { message: "Incorrect API key provided: sk-test-0123456789abcdef" } } },
      "auth",
      "the key from the options"
    ],
    ["a forbidden model", { status: 403, body: { error: { message: "no access" } } }, "auth", "no access"],
    ["an unknown model", { status: 404, body: { error: { message: "no such model" } } }, "final", "no such model"],
    ["too large a request", { status: 413, body: { error: { message: "too large" } } }, "final", "too large"],
    [
      "a context that is too long",
      { status: 400, body: { error: { message: "too long", code: "context_length_exceeded" } } },
      "overflow",
      "too long"
    ],
    [
      "a context error in a server's own words (litellm#10793)",
      { status: 400, body: { error: { message: "Request of 9000 tokens does not fit the 8000-token window here." } } },
      "overflow",
      "does not fit"
    ],
    ["a web page", { body: "<html>hello</html>", headers: { "content-type": "text/html" } }, "final", "not JSON"]
  ]
  for (const [what, reply, kind, words] of failures) {
    it.live(`does not retry ${what}, and says what it is`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* Wire.serve(() => reply)
          const { error } = yield* Wire.ask(provider(`${server.url}/v1`), Wire.question("x"), { attempts: 3 })
          assert.strictEqual(ModelFailure.kind(error!), kind)
          assert.include(ModelFailure.message(error!), words)
          assert.notInclude(ModelFailure.message(error!), "sk-test-0123456789abcdef")
          assert.strictEqual(server.seen.length, 1)
        })
      )
    )
  }

  // In this order: the words of OpenAI (two APIs), Anthropic, Groq, vLLM and DeepSeek.
  for (const message of [
    "max_tokens is too large: 9000. This model supports at most 4096 completion tokens, whereas you provided 9000.",
    "Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 4096, but got 9000 instead.",
    "max_tokens: 9000 > 4096, which is the maximum allowed number of output tokens for claude-3-haiku-20240307",
    "`max_tokens` must be less than or equal to `4096`, the maximum value for `max_tokens` of this model",
    "max_completion_tokens must be at most 4096, got 9000.",
    "Invalid max_tokens value, the valid range of max_tokens is [1, 4096]"
  ]) {
    it.live(`reads the largest output limit from: ${message}`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* Wire.serve(() => ({ status: 400, body: { error: { message } } }))
          const { error } = yield* Wire.ask(provider(`${server.url}/v1`), Wire.question("x"))
          assert.strictEqual(ModelFailure.outputLimit(error!), 4_096)
          assert.strictEqual(ModelFailure.kind(error!), "final")
        })
      )
    )
  }

  // In this order: the words of OpenAI and vLLM, Anthropic, and Together.
  for (const message of [
    "This model's maximum context length is 8192 tokens. However, you requested 9192 tokens (5096 in the messages, 4096 in the completion). Please reduce the length of the messages or completion.",
    "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 8192 tokens and your request has 5096 input tokens (4096 > 8192 - 5096).",
    "input length and `max_tokens` exceed context limit: 5096 + 4096 > 8192, decrease input length or `max_tokens` and try again",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8192. Given: 5096 `inputs` tokens and 4096 `max_new_tokens`, too many tokens"
  ]) {
    it.live(`reads what room the context window has from: ${message.slice(0, 60)}`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* Wire.serve(() => ({ status: 400, body: { error: { message } } }))
          const { error } = yield* Wire.ask(provider(`${server.url}/v1`), Wire.question("x"))
          assert.strictEqual(ModelFailure.outputLimit(error!), 3_096)
          assert.strictEqual(ModelFailure.kind(error!), "overflow")
        })
      )
    )
  }

  for (const status of [408, 409, 500, 503]) {
    it.live(`retries ${status}`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* Wire.serve((_, index) =>
            index === 0 ? { status, body: { error: { message: "later" } } } : { body: completion("ok") }
          )
          const { value } = yield* Wire.ask(provider(`${server.url}/v1`), Wire.question("x"), { attempts: 2 })
          assert.strictEqual(ModelResponse.text(value!), "ok")
        })
      )
    )
  }

  for (const transport of transports) {
    it.live(`ends a call whose body stalls, by ${transport} (midscene#2350)`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* Wire.serve(() => ({ stall: true }))
          const { error } = yield* Wire.ask(
            provider(`${server.url}/v1`, { transport, timeout: 300 }),
            Wire.question("x")
          )
          assert.strictEqual(ModelFailure.kind(error!), "transient")
          assert.include(ModelFailure.message(error!), "300 ms")
        })
      )
    )

    it.live(`aborts the request when it is interrupted, by ${transport} (langchainjs#11592)`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* Wire.serve(() => ({ stall: true }))
          const fiber = yield* Effect.forkChild(
            Wire.ask(provider(`${server.url}/v1`, { transport }), Wire.question("x"))
          )
          while (server.seen.length === 0) yield* Effect.sleep(5)
          yield* Fiber.interrupt(fiber)
          while (server.aborted() === 0) yield* Effect.sleep(5)
          assert.strictEqual(server.aborted(), 1)
        })
      )
    )
  }

  it.live("says that nobody is there", () =>
    Effect.gen(function* () {
      const { error } = yield* Wire.ask(provider("http://127.0.0.1:9/v1"), Wire.question("x"))
      assert.include(ModelFailure.message(error!), "cannot connect to http://127.0.0.1:9")
      assert.isTrue(ModelFailure.isHopeless(error!))
    })
  )

  it.live("sends whole characters only (mastra#15573)", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => ({ body: completion("ok") }))
        yield* Wire.ask(provider(`${server.url}/v1`), Wire.question("abc🍋def".slice(0, 4)))
        yield* Wire.ask(provider(`${server.url}/v1`), Wire.question("whole 🍋 \\ud83c"))
        assert.strictEqual(JSON.parse(server.seen[0]!.body).messages[0].content, "abc\ufffd")
        assert.strictEqual(JSON.parse(server.seen[1]!.body).messages[0].content, "whole 🍋 \\ud83c")
      })
    )
  )

  it.live("learns limits from the headers of its answers", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Wire.serve((_, index) => ({
          body: completion("ok"),
          headers: index === 0 ? { "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "120ms" } : {}
        }))
        const stack = Layer.provide(RateLimit.layer(), provider(`${server.url}/v1`))
        const before = Date.now()
        yield* Wire.over(
          stack,
          Effect.andThen(ModelClient.send(Wire.question("a")), ModelClient.send(Wire.question("b")))
        )
        assert.isAtLeast(Date.now() - before, 115)
      })
    )
  )

  it.live("keeps what only OpenAI knows, and every setting", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => ({ body: completion("ok") }))
        yield* Wire.ask(
          provider(`${server.url}/v1`),
          Wire.question("x", {
            // Of this model nothing is known, so everything is sent.
            model: "my-model",
            settings: {
              temperature: 0,
              topP: 0.5,
              maxTokens: 7,
              stop: ["."],
              seed: 3,
              presencePenalty: 0.1,
              frequencyPenalty: 0.2,
              reasoningEffort: "low",
              topLogprobs: 2
            },
            providerOptions: { openai: { service_tier: "flex" } }
          })
        )
        assert.deepInclude(JSON.parse(server.seen[0]!.body), {
          temperature: 0,
          top_p: 0.5,
          max_tokens: 7,
          stop: ["."],
          seed: 3,
          presence_penalty: 0.1,
          frequency_penalty: 0.2,
          reasoning_effort: "low",
          logprobs: true,
          top_logprobs: 2,
          service_tier: "flex"
        })
      })
    )
  )

  it.effect("names the model's absence", () =>
    Effect.gen(function* () {
      for (const model of [undefined, "", " "]) {
        const { error } = yield* Wire.ask(
          OpenAi.layer({
            apiKey: "sk-test-0123456789abcdef",
            baseUrl: "http://127.0.0.1:9/v1",
            ...(model === undefined ? {} : { model })
          }),
          Wire.question("x")
        )
        assert.include(ModelFailure.message(error!), "no model is named")
      }
    })
  )
})
