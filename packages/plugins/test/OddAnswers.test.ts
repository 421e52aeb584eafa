/**
 * Answers that no provider should give, over every wire format and transport: each is an answer or a failure, never a defect or an
 * empty success, and the ledger never has less than the bill.
 */
import { assert, describe, it } from "@effect/vitest"
import { ModelClient, ModelFailure, ModelRequest, ModelResponse, Money } from "@pipe/core"
import { Anthropic, OpenAi } from "@pipe/plugins"
import { Effect } from "effect"
import * as fc from "fast-check"
import * as Soak from "../../../test/Soak.ts"
import * as Apis from "./Apis.ts"
import * as Streamed from "./Streamed.ts"
import * as Wire from "./Wire.ts"

type Json = Streamed.Json

interface Format {
  readonly name: string
  readonly layer: (url: string) => Parameters<typeof Wire.ask>[0]
  readonly body: () => Json
  /** What the body costs by the providers' price pages, in picodollars. */
  readonly bill: bigint
  readonly usage: string
  readonly counts: readonly [input: string, output: string]
  /** Sets the content of the answer. */
  readonly content: (body: Json, content: unknown) => void
  readonly request: ModelRequest.ModelRequest
  /** The data of the events in which an answer comes, where it comes as a stream. */
  readonly events?: (text: string) => ReadonlyArray<string>
}

const question = Wire.question("x", { settings: { maxTokens: 50 } })

const nameOf = (api: string, way: Apis.Way): string => `${api} ${Apis.nameOf(way)}`

// platform.openai.com/docs/pricing and docs.anthropic.com pricing, 2026-11-28: gpt-4o-mini 0.15 and 0.60, text-embedding-3-small 0.02,
// claude-haiku-4-5 1 and 5 USD per million tokens.
const chat = (way: Apis.Way): Format => ({
  name: nameOf("chat", way),
  layer: (url) => OpenAi.layer({ baseUrl: `${url}/v1`, apiKey: "k", model: "gpt-4o-mini", provider: "openai", ...way }),
  body: () => ({
    id: "1",
    object: "chat.completion",
    created: 0,
    model: "gpt-4o-mini",
    choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 12, completion_tokens: 4, total_tokens: 16 }
  }),
  bill: 12n * 150_000n + 4n * 600_000n,
  usage: "usage",
  counts: ["prompt_tokens", "completion_tokens"],
  content: (body, content) => void (((body["choices"] as Array<Json>)[0]!["message"] as Json)["content"] = content),
  request: question,
  ...(way.stream ? { events: Streamed.chunksOf } : undefined)
})

const responses = (way: Apis.Way): Format => ({
  name: nameOf("responses", way),
  layer: (url) =>
    OpenAi.layer({
      baseUrl: `${url}/v1`,
      apiKey: "k",
      model: "gpt-4o-mini",
      provider: "openai",
      api: "responses",
      ...way
    }),
  body: () => ({
    id: "1",
    object: "response",
    status: "completed",
    model: "gpt-4o-mini",
    output: [{ type: "message", role: "assistant", content: [{ type: "output_text", text: "hi", annotations: [] }] }],
    usage: { input_tokens: 12, output_tokens: 4, total_tokens: 16 }
  }),
  bill: 12n * 150_000n + 4n * 600_000n,
  usage: "usage",
  counts: ["input_tokens", "output_tokens"],
  content: (body, content) => void ((body["output"] as Array<Json>)[0]!["content"] = content),
  request: question,
  ...(way.stream ? { events: Streamed.responseEventsOf } : undefined)
})

const messages = (way: Apis.Way): Format => ({
  name: nameOf("messages", way),
  layer: (url) => Anthropic.layer({ baseUrl: url, apiKey: "k", model: "claude-haiku-4-5", ...way }),
  body: () => ({
    id: "1",
    type: "message",
    role: "assistant",
    model: "claude-haiku-4-5",
    content: [{ type: "text", text: "hi" }],
    stop_reason: "end_turn",
    usage: { input_tokens: 12, output_tokens: 4 }
  }),
  bill: 12n * 1_000_000n + 4n * 5_000_000n,
  usage: "usage",
  counts: ["input_tokens", "output_tokens"],
  content: (body, content) => void (body["content"] = content),
  request: question,
  ...(way.stream ? { events: Streamed.messageEventsOf } : undefined)
})

const embeddings = (transport: "pool" | "sdk"): Format => ({
  name: `embeddings by ${transport}`,
  layer: (url) =>
    OpenAi.layer({
      baseUrl: `${url}/v1`,
      apiKey: "k",
      model: "text-embedding-3-small",
      provider: "openai",
      transport
    }),
  body: () => ({
    object: "list",
    model: "text-embedding-3-small",
    data: [{ object: "embedding", index: 0, embedding: [0.1, 0.2] }],
    usage: { prompt_tokens: 12, total_tokens: 12 }
  }),
  bill: 12n * 20_000n,
  usage: "usage",
  counts: ["prompt_tokens", "prompt_tokens"],
  content: (body, content) => void (body["data"] = content),
  request: ModelRequest.embedding({ inputs: ["a text of some words"] })
})

/** Every way to one API, and half of them to the others where time is short: they share how an answer is decoded. */
const waysOf = (half: 0 | 1) => Apis.ways.filter((_, index) => Soak.isSoak || index % 2 === half)

const formats: ReadonlyArray<Format> = [
  ...Apis.ways.map(chat),
  ...waysOf(0).map(responses),
  ...waysOf(1).map(messages),
  embeddings("pool"),
  embeddings("sdk")
]

/** Sends one request to a server that answers with a text; how it ends, and what is recorded. */
const send = (format: Format, text: string, headers: Record<string, string> = {}, status = 200) =>
  Effect.scoped(
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => replyOf(format, text, headers, status))
      const outcome = yield* Wire.over(format.layer(server.url), ModelClient.send(format.request))
      return { ...outcome, requests: server.seen.length }
    })
  )

const replyOf = (format: Format, text: string, headers: Record<string, string>, status: number): Wire.Reply =>
  format.events === undefined || status !== 200 || Object.keys(headers).length > 0
    ? { body: text, headers, status }
    : {
        body: format
          .events(text)
          // A long one comes time and again.
          .flatMap((data) => Array.from({ length: data.length > 1e6 ? 33 : 1 }, () => `data: ${data}\n\n`))
          .join(""),
        headers: { "content-type": "text/event-stream" },
        status
      }

const changed = (format: Format, change: (body: Json) => void): string => {
  const body = format.body()
  change(body)
  return JSON.stringify(body)
}

describe.each(formats)("$name", (format) => {
  const counts = (value: unknown) => (body: Json) => void (body[format.usage] = value)
  const figure = (value: unknown) => (body: Json) => void ((body[format.usage] as Json)[format.counts[0]] = value)

  const usages: ReadonlyArray<readonly [name: string, change: (body: Json) => void]> = [
    ["none", (body) => void delete body[format.usage]],
    ["{}", counts({})],
    ["null", counts(null)],
    ["a list", counts([1])],
    ["a text", counts("12")],
    ["a figure that is text", figure("12")],
    [
      "a figure that is null, and no total",
      (body) => {
        figure(null)(body)
        delete (body[format.usage] as Json)["total_tokens"]
      }
    ],
    ["a negative figure", figure(-12)],
    ["a broken figure", figure(1.5)],
    ["a figure that is too large", figure(1e15)],
    ["a figure that is an object", figure({})]
  ]
  for (const [name, change] of usages) {
    it.live(`takes a usage of which nothing is known for unknown, and ledger a bound: ${name}`, () =>
      Effect.gen(function* () {
        const { error, sums, value } = yield* send(format, changed(format, change))
        assert.isUndefined(error)
        assert.isUndefined(value?.usage)
        assert.deepInclude(sums, { attempts: 1, estimated: 1, unpriced: 0 })
        assert.isTrue(sums.spent >= format.bill, `${Money.format(sums.spent)} of ${Money.format(format.bill)}`)
      })
    )
  }

  it.live("takes a figure beyond all numbers for unknown", () =>
    Effect.gen(function* () {
      const withoutTotal = changed(format, (body) => void delete (body[format.usage] as Json)["total_tokens"])
      const text = withoutTotal.replace(`"${format.counts[0]}":12`, `"${format.counts[0]}":1e999`)
      const { error, sums } = yield* send(format, text)
      assert.isUndefined(error)
      assert.deepInclude(sums, { attempts: 1, estimated: 1 })
    })
  )

  for (const [name, model] of [
    ["a list", ["gpt-4o-mini"]],
    ["a number", 5],
    ["an object", {}],
    ["null", null],
    ["empty", ""],
    ["of two lines", "a\nb"],
    ["with an escape", "\u001b[31m"],
    ["endless", "x".repeat(1_000)]
  ] as const) {
    it.live(`keeps the model that was requested where the answer's is ${name}`, () =>
      Effect.gen(function* () {
        const { error, sums, value } = yield* send(
          format,
          changed(format, (body) => void (body["model"] = model))
        )
        assert.isUndefined(error)
        assert.strictEqual(value?.model, value?.requestedModel)
        assert.strictEqual(sums.spent, format.bill)
      })
    )
  }

  for (const content of [5, "text", {}, [5], [null], [[]], [{ type: 5 }], [{ type: "text", text: {} }]]) {
    // A text is a content, also where a list is usual.
    if (!format.name.startsWith("embeddings") && content === "text") continue
    it.live(`fails, and is recorded, where the content is ${JSON.stringify(content)}`, () =>
      Effect.gen(function* () {
        const { error, sums, value } = yield* send(
          format,
          changed(format, (body) => format.content(body, content))
        )
        assert.isUndefined(value)
        assert.strictEqual(error?.reason._tag, "InvalidResponseError", String(error))
        assert.strictEqual(sums.attempts, 1)
        // The provider has counted it: that is what it costs. Vectors that are none are not looked at for theirs.
        if (format.name.startsWith("embeddings")) assert.isTrue(sums.spent >= format.bill)
        else assert.strictEqual(sums.spent, format.bill)
      })
    )
  }

  if (format.name === "chat by pool" || format.name.startsWith("responses")) {
    it.live("takes what a total counts beside input and output for output", () =>
      Effect.gen(function* () {
        const { sums } = yield* send(
          format,
          changed(format, (body) => void ((body["usage"] as Json)["total_tokens"] = 516))
        )
        // 12 and 504 tokens: 500 of reasoning beside the 4 of the answer.
        assert.strictEqual(sums.spent, 12n * 150_000n + 504n * 600_000n)
        assert.strictEqual(sums.estimated, 0)
      })
    )
  }

  for (const text of ["null", "[]", "42", '"text"', "{}", "true", '{"error":{"message":"no"}}', "", "\ufeff{}", "{"]) {
    it.live(`fails, and ledger a bound, where the body is ${JSON.stringify(text)}`, () =>
      Effect.gen(function* () {
        const { error, sums, value } = yield* send(format, text)
        assert.isUndefined(value)
        assert.strictEqual(ModelFailure.kind(error!), "transient", String(error))
        assert.deepInclude(sums, { attempts: 1, estimated: 1 })
        assert.isTrue(sums.spent >= format.bill)
      })
    )
  }

  // The limit is that of the transport: one format shows it where time is short.
  const isLimitTried = Soak.isSoak || format.name === "chat by pool"
  it.live.skipIf(!isLimitTried)("does not read an answer without end", () =>
    Effect.gen(function* () {
      // Vectors may take 256 MiB, anything else 32; a stream comes in pieces.
      const piece = "x".repeat(1024 * 1024)
      const text =
        format.events === undefined
          ? changed(format, () => {}).replace(/^\{/, `{${" ".repeat(33 * piece.length)}`)
          : changed(format, (body) =>
              format.content(body, format.name.startsWith("chat") ? piece : [{ type: "text", text: piece }])
            )
      const { error, sums, value } = yield* send(format, text)
      if (format.name.startsWith("embeddings")) return assert.isDefined(value)
      assert.strictEqual(error?.reason._tag, "InvalidResponseError", String(error))
      assert.include(String(error?.reason.message), "more than 32 MiB")
      assert.deepInclude(sums, { attempts: 1, estimated: 1 })
      assert.isTrue(sums.spent >= format.bill)
    })
  )

  it.live("ledger a page in place of an answer, and does not send again", () =>
    Effect.gen(function* () {
      const { error, requests, sums } = yield* send(format, "<html>hi</html>", { "content-type": "text/html" })
      assert.isDefined(error)
      assert.strictEqual(requests, 1)
      assert.deepInclude(sums, { attempts: 1, estimated: 1 })
      assert.isTrue(sums.spent >= format.bill)
    })
  )

  it.live("ledger a failure of the server that may be billed, and none that is not", () =>
    Effect.gen(function* () {
      const error = JSON.stringify({ type: "error", error: { type: "x", message: "no" } })
      for (const [status, estimated] of [
        [500, 1],
        [503, 1],
        [400, 0],
        [401, 0],
        [429, 0]
      ] as const) {
        const { sums } = yield* send(format, error, {}, status)
        assert.strictEqual(sums.estimated, estimated, String(status))
        assert.strictEqual(sums.spent >= format.bill, estimated === 1, String(status))
      }
    })
  )

  const runs = Soak.times(3, 20_000 / formats.length)
  it.live(
    `survives ${Math.round(runs)} mutations without a defect, an empty success or a made-up figure`,
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          let text = ""
          const server = yield* Wire.serve(() => replyOf(format, text, {}, 200))
          const odd = fc.constantFrom(null, "", 0, -1, 1.5, [], {}, "x", [null], { a: 1 }, true, "__proto__", 1e30)
          yield* Effect.promise(() =>
            fc.assert(
              fc.asyncProperty(fc.nat(), odd, fc.constantFrom("retype", "drop", "double"), (place, value, how) => {
                const body = format.body()
                mutate(body, place, value, how)
                text = JSON.stringify(body)
                return Effect.runPromise(
                  Effect.map(
                    Wire.over(format.layer(server.url), ModelClient.send(format.request)),
                    ({ error, sums, value }) => {
                      assert.isTrue(value !== undefined || error !== undefined)
                      assert.strictEqual(sums.attempts, 1)
                      if (value?.usage !== undefined) {
                        for (const name of ["uncachedInput", "output"] as const) assert.isAtLeast(value.usage[name], 0)
                      } else if (value !== undefined) assert.isTrue(sums.estimated === 1 || sums.unpriced === 1)
                      // No text is made of what is none.
                      if (value !== undefined) assert.notInclude(ModelResponse.text(value), "[object")
                    }
                  )
                )
              }),
              { numRuns: Math.round(runs) }
            )
          )
        })
      ),
    Soak.timeout(60_000)
  )
})

describe("streams that end in odd ways", () => {
  const stream = (events: ReadonlyArray<object | string>, named = "") =>
    Effect.scoped(
      Effect.gen(function* () {
        const body = events
          .map((event) => `${named}data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`)
          .join("")
        const server = yield* Wire.serve(() => ({ body, headers: { "content-type": "text/event-stream" } }))
        return yield* Wire.ask(
          formats.find(({ name }) => name === "chat by pool, streamed")!.layer(server.url),
          question
        )
      })
    )
  const chunk = (content: string, fields: object = {}) => ({
    id: "1",
    object: "chat.completion.chunk",
    model: "gpt-4o-mini",
    choices: [{ index: 0, delta: { content }, finish_reason: null, ...fields }]
  })
  const end = { ...chunk(""), choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }
  const usage = { prompt_tokens: 12, completion_tokens: 4, total_tokens: 16 }
  const counted = { ...end, choices: [], usage }
  const BILL = 12n * 150_000n + 4n * 600_000n

  it.live("fail where the end of the answer has not come", () =>
    Effect.gen(function* () {
      for (const events of [
        [chunk("half of"), "[DONE]"],
        [chunk("half of")],
        [chunk("half of"), { error: { message: "overloaded", code: 503 } }, "[DONE]"]
      ]) {
        const { error, sums, value } = yield* stream(events)
        assert.isUndefined(value)
        assert.strictEqual(ModelFailure.kind(error!), "transient", String(error))
        assert.deepInclude(sums, { attempts: 1, estimated: 1 })
      }
      const named = yield* stream([{ message: "overloaded", code: 503 }], "event: error\n")
      assert.include(String(named.error), "overloaded")
    })
  )

  it.live("have no count where more came after it", () =>
    Effect.gen(function* () {
      const early = { ...chunk("a"), usage: { prompt_tokens: 12, completion_tokens: 0, total_tokens: 12 } }
      const { sums, value } = yield* stream([early, chunk("b"), end, "[DONE]"])
      assert.strictEqual(ModelResponse.text(value!), "ab")
      assert.isUndefined(value!.usage)
      assert.strictEqual(sums.estimated, 1)
      assert.strictEqual((yield* stream([early, chunk("b"), end, counted])).sums.spent, BILL)
    })
  )

  it.live("cost what was counted, though they fail", () =>
    Effect.gen(function* () {
      const { error, sums } = yield* stream([chunk("a"), counted, { error: { message: "rate limit", code: 429 } }])
      assert.isDefined(error)
      assert.strictEqual(sums.spent, BILL)
      assert.strictEqual(sums.estimated, 0)
    })
  )

  it.live("are those of the first of several answers", () =>
    Effect.gen(function* () {
      const other = { ...chunk("ZZ"), choices: [{ index: 1, delta: { content: "ZZ" }, finish_reason: null }] }
      const { value } = yield* stream([chunk("a"), other, chunk("b"), end, counted])
      assert.strictEqual(ModelResponse.text(value!), "ab")
    })
  )

  it.live("are read as a whole where the endpoint gives one", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const format = formats.find(({ name }) => name === "chat by pool, streamed")!
        const server = yield* Wire.serve(() => ({ body: format.body() }))
        const { sums, value } = yield* Wire.ask(format.layer(server.url), question)
        assert.strictEqual(ModelResponse.text(value!), "hi")
        assert.strictEqual(sums.spent, format.bill)
      })
    )
  )
})

/** Changes the value at one of the places of a body. */
const mutate = (body: Json, place: number, value: unknown, how: "retype" | "drop" | "double"): void => {
  const places: Array<readonly [Json, string]> = []
  const walk = (at: unknown): void => {
    if (typeof at !== "object" || at === null) return
    for (const key of Object.keys(at)) {
      places.push([at as Json, key])
      walk((at as Json)[key])
    }
  }
  walk(body)
  const [at, key] = places[place % places.length]!
  if (how === "retype") at[key] = value
  else if (how === "drop") delete at[key]
  else at[key] = [at[key], at[key]]
}
