/** What stands between a provider and its caller: compression, addresses, refusals in any form, a firewall; by every transport. */
import { assert, describe, it } from "@effect/vitest"
import {
  Budget,
  Flow,
  Ledger,
  ModelClient,
  ModelFailure,
  ModelResponse,
  Retry,
  Runner,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import { NodeHost, OpenAi } from "@pipe/plugins"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib"
import * as Apis from "./Apis.ts"
import * as Wire from "./Wire.ts"

const bodies: { readonly [A in Apis.Api]: object } = {
  chat: {
    id: "1",
    object: "chat.completion",
    created: 0,
    model: "gpt-4o-mini",
    choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 12, completion_tokens: 4, total_tokens: 16 }
  },
  responses: {
    id: "1",
    object: "response",
    created_at: 0,
    status: "completed",
    model: "gpt-4o-mini",
    output: [
      {
        id: "m",
        type: "message",
        role: "assistant",
        status: "completed",
        content: [{ type: "output_text", text: "hi", annotations: [] }]
      }
    ],
    usage: { input_tokens: 12, output_tokens: 4, total_tokens: 16 }
  },
  messages: {
    id: "1",
    type: "message",
    role: "assistant",
    model: "claude-sonnet-4-6",
    content: [{ type: "text", text: "hi" }],
    stop_reason: "end_turn",
    stop_sequence: null,
    usage: { input_tokens: 12, output_tokens: 4 }
  }
}

const question = Wire.question("x", { settings: { maxTokens: 500 } })

const codings = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync, zstd: zstdCompressSync } as const

/** Refusals by their ids: bodies as providers and gateways send them, and the words that must be told. */
const refusals: ReadonlyArray<readonly [id: string, what: string, body: unknown, says: string]> = [
  [
    "wire-06",
    "Gemini's list",
    [{ error: { code: 400, message: "response mime type is unsupported", status: "INVALID_ARGUMENT" } }],
    "response mime type is unsupported"
  ],
  ["wire-06-n1", "FastAPI's detail", { detail: "max_tokens is too large" }, "max_tokens is too large"],
  [
    "wire-06-x1",
    "FastAPI's list of details",
    { detail: [{ loc: ["body", "model"], msg: "field required", type: "missing" }] },
    "field required"
  ],
  [
    "wire-06-n2",
    "an object that is an error",
    { object: "error", message: "no such option", code: 400 },
    "no such option"
  ],
  ["wire-06-n4", "a text", "the gateway is out of order", "the gateway is out of order"],
  ["wire-06-n5", "an error that is a text", { error: "model is loading" }, "model is loading"],
  [
    "wire-06-n6",
    "OpenRouter's words for another's",
    {
      error: {
        message: "Provider returned error",
        code: 400,
        metadata: { raw: '{"error":{"message":"prompt is too odd"}}', provider_name: "X" }
      }
    },
    "prompt is too odd"
  ],
  [
    "wire-06-x2",
    "a problem document",
    { title: "Bad Request", status: 400, detail: "seed must be positive" },
    "seed must be positive"
  ],
  ["wire-06-x3", "errors in a list", { errors: [{ message: "top_p is out of range" }] }, "top_p is out of range"]
]

for (const way of Apis.ways) {
  describe(Apis.nameOf(way), () => {
    for (const api of Apis.apis) {
      for (const [coding, compress] of Object.entries(codings)) {
        it.live(`wire-05: ${api} answers are read compressed by ${coding}, and so are refusals`, () =>
          Effect.scoped(
            Effect.gen(function* () {
              let isRefused = false
              const server = yield* Wire.serve(() => ({
                bytes: compress(
                  isRefused
                    ? JSON.stringify({ error: { message: "out of range" } })
                    : Apis.replyOf(api, bodies[api], way).body
                ),
                status: isRefused ? 400 : 200,
                headers: {
                  ...(isRefused ? { "content-type": "application/json" } : Apis.replyOf(api, bodies[api], way).headers),
                  "content-encoding": coding
                }
              }))
              const layer = Apis.layerOf(api, Apis.baseOf(api, server.url), way)
              const answered = yield* Wire.over(layer, ModelClient.send(question))
              assert.strictEqual(ModelResponse.text(answered.value!), "hi", String(answered.error))
              isRefused = true
              const refused = yield* Wire.over(layer, ModelClient.send(question))
              assert.include(ModelFailure.message(refused.error!), "out of range")
            })
          )
        )
      }

      for (const [id, what, body, says] of refusals) {
        it.live(`${id}: ${api} refusals keep their words: ${what}`, () =>
          Effect.scoped(
            Effect.gen(function* () {
              const server = yield* Wire.serve(() => ({
                status: 400,
                body: body as object,
                headers: { "content-type": typeof body === "string" ? "text/plain" : "application/json" }
              }))
              const { error, sums } = yield* Wire.over(
                Apis.layerOf(api, Apis.baseOf(api, server.url), way),
                ModelClient.send(question)
              )
              assert.include(ModelFailure.message(error!), says)
              assert.isFalse(ModelFailure.isRetryable(error!))
              assert.strictEqual(sums.spent, 0n)
            })
          )
        )
      }

      it.live(`wire-08: the query of the address stays behind the path of ${api}`, () =>
        Effect.scoped(
          Effect.gen(function* () {
            const server = yield* Wire.serve(() => Apis.replyOf(api, bodies[api], way))
            const url = `${Apis.baseOf(api, server.url)}?api-version=preview`
            const { error, value } = yield* Wire.over(Apis.layerOf(api, url, way), ModelClient.send(question))
            assert.strictEqual(ModelResponse.text(value!), "hi", String(error))
            const path = { chat: "/v1/chat/completions", responses: "/v1/responses", messages: "/v1/messages" }[api]
            assert.strictEqual(server.seen[0]!.path, `${path}?api-version=preview`)
          })
        )
      )
    }

    if (way.stream) {
      for (const api of Apis.apis) {
        it.live(
          `stream-x20: ${api} answers and refusals are read that come under the name of a stream, and are none`,
          () =>
            Effect.scoped(
              Effect.gen(function* () {
                let body = JSON.stringify(bodies[api])
                const server = yield* Wire.serve(() => ({ body, headers: { "content-type": "text/event-stream" } }))
                const layer = Apis.layerOf(api, Apis.baseOf(api, server.url), way)
                const answered = yield* Wire.over(layer, ModelClient.send(question))
                assert.strictEqual(ModelResponse.text(answered.value!), "hi", String(answered.error))
                for (const [sent, says] of [
                  ['{"error":{"message":"org is suspended: contact sales"}}', "org is suspended"],
                  ["upstream is down", "upstream is down"],
                  ["data: Internal Server Error\n\n", "Internal Server Error"],
                  ['data: [{"error":{"code":429,"message":"too fast"}}]\n\n', "too fast"]
                ] as const) {
                  body = sent
                  const refused = yield* Wire.over(layer, ModelClient.send(question))
                  assert.isUndefined(refused.value)
                  assert.include(ModelFailure.message(refused.error!), says)
                  if (!sent.startsWith("data:"))
                    assert.strictEqual(ModelFailure.answerOf(refused.error!)?.includes(says), true)
                }
              })
            )
        )
      }
    }

    for (const model of ["gpt-5-mini", "o4-mini", "openai/gpt-5-nano"]) {
      it.live(`wire-09: the limit of ${model} has the name that it takes, behind a gateway too`, () =>
        Effect.scoped(
          Effect.gen(function* () {
            const server = yield* Wire.serve(() => Apis.replyOf("chat", bodies.chat, way))
            yield* Wire.over(Apis.layerOf("chat", `${server.url}/v1`, way, model), ModelClient.send(question))
            const body = JSON.parse(server.seen[0]!.body) as { readonly [name: string]: unknown }
            assert.strictEqual(body["max_completion_tokens"], 500)
            assert.notProperty(body, "max_tokens")
          })
        )
      )
    }
  })
}

describe("a run", () => {
  const run = (url: string, rows: number, above?: ReturnType<typeof Budget.layer>) => {
    const out: Array<string> = []
    const row = Source.fromIterable(
      "row",
      Array.from({ length: rows }, (_, at) => `row ${at}.`)
    )
    const step = Flow.step("step", { row }, ({ row }) =>
      Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => text)
    )
    const bottom = OpenAi.layer({ baseUrl: `${url}/v1`, apiKey: "k", model: "gpt-5-mini", provider: "openai" })
    const flow = Flow.make("endpoint", {
      concurrency: 4,
      outputs: [Sink.forEach("out", step, (text) => Effect.sync(() => void out.push(text)))],
      stack:
        above === undefined
          ? Stack.make(Ledger.layer, Retry.layer({ base: 1 }), bottom)
          : Stack.make(above, Ledger.layer, Retry.layer({ base: 1 }), bottom)
    })
    return Runner.run(flow, { errorsFile: false }).pipe(
      Effect.provide(NodeHost.layerMemory),
      Effect.match({ onFailure: (error) => ({ error: String(error) }), onSuccess: (summary) => ({ summary }) }),
      Effect.map((result) => ({ ...result, out }))
    )
  }

  const blocked = { status: 403, body: "<html>Request blocked</html>", headers: { "content-type": "text/html" } }

  it.live("wire-07: continues where a firewall refuses one row", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Wire.serve((body) => (body.includes("row 3.") ? blocked : { body: bodies.chat }))
        const { out } = yield* run(server.url, 40)
        assert.strictEqual(out.length, 39)
        assert.strictEqual(server.seen.length, 40)
      })
    )
  )

  it.live("wire-07: stops where every row is refused, after a few", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => blocked)
        const result = yield* run(server.url, 200)
        assert.property(result, "error")
        assert.include((result as { readonly error: string }).error, "consecutive rows")
        assert.isAtMost(server.seen.length, 20)
      })
    )
  )

  it.live("wire-07: stops where a key loses its permission in the middle", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Wire.serve((_, index) => (index >= 50 ? blocked : { body: bodies.chat }))
        const { out } = yield* run(server.url, 200)
        assert.strictEqual(out.length, 50)
        assert.isAtMost(server.seen.length, 70)
      })
    )
  )

  it.live("budget-01: keeps to its budget with images, whatever their prompts count", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const usage = { prompt_tokens: 25_000, completion_tokens: 4, total_tokens: 25_004 }
        const server = yield* Wire.serve(() => ({ body: { ...bodies.chat, usage } }))
        const row = Source.fromIterable(
          "row",
          Array.from({ length: 20 }, (_, at) => at)
        )
        const step = Flow.step("step", { row }, ({ row }) =>
          Effect.map(
            LanguageModel.generateText({
              prompt: [
                {
                  role: "user",
                  content: [
                    { type: "text", text: `row ${row}` },
                    { type: "file", mediaType: "image/png", data: new Uint8Array([1, 2, 3]) }
                  ]
                }
              ]
            }),
            ({ text }) => text
          )
        )
        const flow = Flow.make("images", {
          concurrency: 20,
          settings: { maxTokens: 100 },
          outputs: [Sink.forEach("out", step, () => Effect.void)],
          stack: Stack.make(
            Budget.layer({ usd: 0.01 }),
            Ledger.layer,
            OpenAi.layer({ baseUrl: `${server.url}/v1`, apiKey: "k", model: "gpt-4o-mini", provider: "openai" })
          )
        })
        yield* Effect.ignore(Runner.run(flow, { errorsFile: false }).pipe(Effect.provide(NodeHost.layerMemory)))
        // gpt-4o-mini: 0.15 and 0.60 USD per million tokens (platform.openai.com/docs/pricing, 2026-11-28).
        const bill = server.seen.length * (25_000 * 0.15e-6 + 4 * 0.6e-6)
        assert.isAtMost(bill, 0.01)
        assert.isAtLeast(server.seen.length, 1)
      })
    )
  )

  it.live("wire-09-n1: is not made to fail by a budget's limit", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Wire.serve((body) =>
          "max_tokens" in (JSON.parse(body) as object)
            ? { status: 400, body: { error: { message: "Unsupported parameter: 'max_tokens'" } } }
            : { body: bodies.chat }
        )
        const { out } = yield* run(server.url, 10, Budget.layer({ usd: 1 }))
        assert.strictEqual(out.length, 10)
      })
    )
  )
})
