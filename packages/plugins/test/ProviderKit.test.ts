/** Providers made with the kit, for an API that does not exist. The server's own counts have the expected values. */
import { assert, describe, it } from "@effect/vitest"
import {
  Failure,
  Flow,
  ModelClient,
  ModelFailure,
  ModelRequest,
  ModelResponse,
  Money,
  Plan,
  Runner,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import { NodeHost, OpenAi } from "@pipe/plugins"
import { Connection, Operation, Provider, type Tokens } from "@pipe/plugins/provider"
import { Clock, Effect, Fiber, Schema, Stream } from "effect"
import { AiError, LanguageModel } from "effect/ai"
import { mkdtempSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Wire from "./Wire.ts"

const Answer = Schema.Struct({
  text: Schema.String,
  stop: Schema.optionalKey(Schema.String),
  tokens: Schema.Struct({ in: Schema.Int, out: Schema.Int })
})

const Vectors = Schema.Struct({ vectors: Schema.Array(Schema.Array(Schema.Finite)), tokens: Schema.Int })

const completion = Operation.completion({
  path: (model) => `/models/${model}/answer`,
  accepts: ["maxTokens", "temperature"],
  body: (request, model) => ({ model, prompt: ModelRequest.text(request), most: request.settings.maxTokens }),
  answer: Answer,
  read: ({ stop, text, tokens }) => ({ text, finishReason: stop, usage: { input: tokens.in, output: tokens.out } }),
  stream: {
    fields: { stream: true },
    add: ({ text = "", ...rest }, { piece = "", ...event }) => ({ ...rest, ...event, text: `${text}${piece}` })
  }
})

const definition: Provider.Definition = {
  name: "stratus",
  baseUrl: "https://api.stratus.example",
  completion,
  embedding: Operation.embedding({
    path: "/embed",
    body: ({ inputs }) => ({ texts: inputs }),
    answer: Vectors,
    read: ({ tokens, vectors }) => ({ vectors, usage: { input: tokens, output: 0 } }),
    limits: { inputs: 2 }
  })
}

const layer = (options: Connection.Options = {}, more: Partial<Provider.Definition> = {}) =>
  Provider.layer({ ...definition, ...more }, { model: "stratus-1", ...options })

const whole = (text: string): Wire.Reply => ({ body: { text, tokens: { in: 3, out: 2 } } })

const usage = { uncachedInput: 3, cacheRead: 0, cacheWrite: 0, cacheWrite1h: 0, output: 2, reasoning: 0 }

describe("completions", () => {
  it.live("are sent and read as described, with the key, to a path of the model", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => whole("<think>so</think>Baum"))
      const { value } = yield* Wire.ask(
        layer({ baseUrl: `${server.url}/v1?version=2`, apiKey: "stratus-key" }),
        Wire.question("tree", { settings: { maxTokens: 9 } })
      )
      assert.deepStrictEqual(
        server.seen.map(({ body, headers, path }) => [path, headers.authorization, JSON.parse(body)]),
        [
          [
            "/v1/models/stratus-1/answer?version=2",
            "Bearer stratus-key",
            { model: "stratus-1", prompt: "tree", most: 9 }
          ]
        ]
      )
      assert.deepStrictEqual(value?.parts, [
        { type: "reasoning", text: "so" },
        { type: "text", text: "Baum" }
      ])
      assert.deepStrictEqual(value?.usage, usage)
      assert.strictEqual(value?.finishReason, "stop")
    }).pipe(Effect.scoped)
  )

  it.live("have the reason of their end by the provider's word, or by their length", () =>
    Effect.gen(function* () {
      const stops = ["max_tokens", undefined]
      const server = yield* Wire.serve((_, index) => ({
        body: { text: "a b", tokens: { in: 3, out: 2 }, stop: stops[index] }
      }))
      for (const _ of stops) {
        const { value } = yield* Wire.ask(
          layer({ baseUrl: server.url }),
          Wire.question("tree", { settings: { maxTokens: 2 } })
        )
        assert.strictEqual(value?.finishReason, "length")
      }
    }).pipe(Effect.scoped)
  )

  it.live("are refused before they are sent, when they have what the API does not take", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => whole("no"))
      const provider = layer({ baseUrl: server.url })
      const file = { type: "file" as const, mediaType: "image/png", data: "aGk=" }
      const refused: ReadonlyArray<readonly [ModelRequest.Completion, RegExp]> = [
        [Wire.question("a", { settings: { seed: 1 } }), /stratus does not support seed/],
        [Wire.question("a", { tools: [{ name: "t", parameters: {} }] }), /stratus does not support tools/],
        [ModelRequest.completion({ messages: [{ role: "user", content: [file] }] }), /stratus does not support files/]
      ]
      for (const [request, message] of refused) {
        const { error, sums } = yield* Wire.ask(provider, request)
        assert.match(ModelFailure.message(error!), message)
        assert.strictEqual(sums.spent, Money.zero)
      }
      assert.deepStrictEqual(server.seen, [])
    }).pipe(Effect.scoped)
  )

  it.live("describe the schema of an object in the prompt, when the API has none", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => whole('{"tree":1}'))
      const { value } = yield* Wire.ask(
        layer({ baseUrl: server.url }),
        Wire.question("count", {
          responseFormat: {
            type: "json",
            name: "count",
            schema: { type: "object", properties: { tree: { type: "integer" } } }
          }
        })
      )
      assert.strictEqual(ModelResponse.text(value!), '{"tree":1}')
      assert.match(JSON.parse(server.seen[0]!.body).prompt, /JSON Schema[^]*"tree"[^]*count$/)
    }).pipe(Effect.scoped)
  )

  it.live("that are broken are failures with what is known of their cost", () =>
    Effect.gen(function* () {
      const bodies: ReadonlyArray<readonly [Wire.Reply, RegExp, boolean]> = [
        [{ body: { words: "Baum", tokens: { in: 3, out: 2 } } }, /does not fit its schema.*text/, false],
        [{ body: { error: { message: "out of order" } } }, /out of order/, false],
        [{ body: "<html>", headers: { "content-type": "text/html" } }, /answered text\/html, not JSON/, false],
        [{ body: { error: "busy" }, status: 503 }, /503 busy/, false],
        [{ body: { error: "who" }, status: 401 }, /401 who: the key from the options was not accepted/, true]
      ]
      for (const [reply, message, isFree] of bodies) {
        const server = yield* Wire.serve(() => reply)
        const { error, sums } = yield* Wire.ask(
          layer({ baseUrl: server.url, apiKey: "stratus-key" }, { prices: { "stratus-1": { input: 2, output: 10 } } }),
          Wire.question("tree")
        )
        assert.match(ModelFailure.message(error!), message)
        assert.strictEqual(sums.estimated, isFree ? 0 : 1, String(message))
      }
    }).pipe(Effect.scoped)
  )

  it.live("cost nothing when they fail, where only answers are billed; an author reads unusual refusals", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve((_, index) => ({ body: { fault: "E17" }, status: index === 0 ? 503 : 418 }))
      const provider = layer(
        { baseUrl: server.url },
        {
          billsFailures: false,
          failure: ({ body, status }) =>
            status === 418 ? Failure.rate(`teapot: ${JSON.stringify(body)}`, { after: "7 seconds" }) : undefined
        }
      )
      const first = yield* Wire.ask(provider, Wire.question("tree"))
      assert.strictEqual(ModelFailure.mayBeBilled(first.error!), false)
      const second = yield* Wire.ask(provider, Wire.question("tree"))
      assert.strictEqual(ModelFailure.kind(second.error!), "rate")
      assert.include(ModelFailure.message(second.error!), "E17")
    }).pipe(Effect.scoped)
  )

  it.live("arrive as a stream, whole or cut", () =>
    Effect.gen(function* () {
      const event = (data: unknown) => `data: ${JSON.stringify(data)}\n\n`
      const pieces = [event({ piece: "Ba" }), event({ piece: "um" }), event({ tokens: { in: 3, out: 2 } })].join("")
      const headers = { "content-type": "text/event-stream" }
      const server = yield* Wire.serve((_, index) => ({
        body: index === 0 ? `${pieces}data: [DONE]\n\n` : pieces,
        headers
      }))
      const provider = layer({ baseUrl: server.url, stream: true })
      const { value } = yield* Wire.ask(provider, Wire.question("tree"))
      assert.strictEqual(ModelResponse.text(value!), "Baum")
      assert.deepStrictEqual(value!.usage, usage)
      assert.strictEqual(JSON.parse(server.seen[0]!.body).stream, true)
      const cut = yield* Wire.ask(provider, Wire.question("tree"))
      assert.match(ModelFailure.message(cut.error!), /ended in the middle/)
      // The usage of what arrived is recorded.
      assert.deepStrictEqual(cut.sums.usage, usage)
    }).pipe(Effect.scoped)
  )
})

describe("embeddings", () => {
  it.live("are sent in parts, and checked", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve((body) => {
        const { texts } = JSON.parse(body) as { readonly texts: ReadonlyArray<string> }
        const vectors = texts.map((text) => [text.length, 1])
        return { body: { vectors: texts.includes("odd") ? vectors.slice(1) : vectors, tokens: texts.length } }
      })
      const provider = layer({ baseUrl: server.url })
      const embed = (inputs: ReadonlyArray<string>) =>
        Wire.over(provider, ModelClient.send(ModelRequest.embedding({ inputs })))
      const { sums, value } = yield* embed(["a", "bb", "ccc"])
      assert.deepStrictEqual(value?.vectors, [
        [1, 1],
        [2, 1],
        [3, 1]
      ])
      assert.strictEqual(server.seen.length, 2)
      assert.strictEqual(sums.usage.uncachedInput, 3)
      const odd = yield* embed(["odd"])
      assert.match(ModelFailure.message(odd.error!), /no usable vector for each of 1 inputs: it has 0/)
    }).pipe(Effect.scoped)
  )

  it.live("are refused by a provider without them", () =>
    Effect.gen(function* () {
      const { error } = yield* Wire.over(
        layer({ baseUrl: "http://127.0.0.1:1" }, { embedding: undefined }),
        ModelClient.send(ModelRequest.embedding({ inputs: ["a"] }))
      )
      assert.match(ModelFailure.message(error!), /stratus has no embeddings API/)
    })
  )
})

describe("tokens that expire", () => {
  /** A server that takes the newest token only, and an identity service that counts. */
  const setUp = Effect.gen(function* () {
    let issued = 0
    const server = yield* Wire.serve(() => whole("Baum"))
    const token = (life: number): Effect.Effect<Tokens.Token, AiError.AiError> =>
      Effect.gen(function* () {
        yield* Effect.sleep(5)
        issued++
        return { value: `token-number-${issued}`, expiresAt: (yield* Clock.currentTimeMillis) + life }
      })
    return { server, token, issued: () => issued }
  })

  const ask = ModelClient.send(Wire.question("tree"))

  it.live("are fetched once for all who wait, and used until they end", () =>
    Effect.gen(function* () {
      const { issued, server, token } = yield* setUp
      const calls = Effect.all(
        Array.from({ length: 20 }, () => ask),
        { concurrency: 20 }
      )
      const twice = Effect.andThen(calls, calls)
      yield* Wire.over(layer({ baseUrl: server.url, token: token(60_000) }), twice)
      assert.strictEqual(issued(), 1)
      assert.deepStrictEqual(
        new Set(server.seen.map(({ headers }) => headers.authorization)),
        new Set(["Bearer token-number-1"])
      )
    }).pipe(Effect.scoped)
  )

  it.live("are renewed once when they have ended, also after a caller left", () =>
    Effect.gen(function* () {
      const { issued, server, token } = yield* setUp
      const left = Effect.flatMap(Effect.forkChild(ask), (fiber) =>
        Effect.andThen(Effect.sleep(1), Fiber.interrupt(fiber))
      )
      const calls = Effect.all(
        Array.from({ length: 20 }, () => ask),
        { concurrency: 20 }
      )
      yield* Wire.over(
        layer({ baseUrl: server.url, token: token(30) }),
        left.pipe(Effect.andThen(calls), Effect.andThen(Effect.sleep(40)), Effect.andThen(calls))
      )
      assert.strictEqual(issued(), 2)
      assert.strictEqual(server.seen.length, 40)
    }).pipe(Effect.scoped)
  )

  it.live("are renewed when they are refused, and the call is sent once more", () =>
    Effect.gen(function* () {
      const { issued, token } = yield* setUp
      const server = yield* Wire.serve((_, index) =>
        index === 0 ? { status: 401, body: { error: "old" } } : whole("Baum")
      )
      for (const provider of [
        layer({ baseUrl: server.url, token: token(60_000) }),
        OpenAi.layer({ model: "m", baseUrl: server.url, token: token(60_000), transport: "sdk" })
      ]) {
        server.seen.length = 0
        const { sums } = yield* Wire.over(provider, ask)
        assert.deepStrictEqual(server.seen.map(({ headers }) => headers.authorization).slice(-2).length, 2)
        assert.notStrictEqual(server.seen[0]!.headers.authorization, server.seen[1]!.headers.authorization)
        // One call, whatever it took.
        assert.strictEqual(sums.attempts, 1)
      }
      assert.strictEqual(issued(), 4)
    }).pipe(Effect.scoped)
  )

  it.live("that cannot be fetched fail the calls with the reason, without sending them", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => whole("Baum"))
      const reason = new AiError.AuthenticationError({ kind: "InvalidKey", description: "sign in again" })
      const token = Effect.fail(AiError.make({ module: "identity", method: "signIn", reason }))
      const { error } = yield* Wire.over(layer({ baseUrl: server.url, token }), ask)
      assert.strictEqual(ModelFailure.message(error!), "sign in again")
      assert.deepStrictEqual(server.seen, [])
    }).pipe(Effect.scoped)
  )
})

it.live("a token that does not come fails the call in time, and nothing is billed", () =>
  Effect.gen(function* () {
    const server = yield* Wire.serve(() => whole("Baum"))
    const { error, sums } = yield* Wire.over(
      layer({ baseUrl: server.url, token: Effect.never, timeout: "50 millis" }),
      ModelClient.send(Wire.question("tree"))
    )
    assert.match(ModelFailure.message(error!), /the token was not fetched within 50ms/)
    assert.strictEqual(sums.spent, Money.zero)
    assert.deepStrictEqual(server.seen, [])
  }).pipe(Effect.scoped)
)

it.live("a cost that the provider reports is recorded, with and without usage", () =>
  Effect.gen(function* () {
    const server = yield* Wire.serve(() => whole("Baum"))
    for (const usage of [undefined, { input: 3, output: 2 }]) {
      const completion = Operation.completion({
        path: "/answer",
        accepts: [],
        body: (request) => ({ prompt: ModelRequest.text(request) }),
        answer: Answer,
        read: ({ text }) => ({ text, reportedCost: 0.5, usage })
      })
      const { sums } = yield* Wire.ask(layer({ baseUrl: server.url }, { completion }), Wire.question("tree"))
      assert.strictEqual(Money.toUsd(sums.spent), "0.5")
      assert.strictEqual(sums.unpriced, 0)
    }
  }).pipe(Effect.scoped)
)

describe("an author's functions", () => {
  const odd = (more: Partial<Operation.CompletionSpec<typeof Answer.Type>>) =>
    Operation.completion({
      path: "/answer",
      accepts: ["maxTokens"],
      body: (request) => ({ prompt: ModelRequest.text(request) }),
      answer: Answer,
      read: ({ text, tokens }) => ({ text, usage: { input: tokens.in, output: tokens.out } }),
      ...more
    })
  const boom = (): never => {
    throw new Error("boom")
  }
  const unsent: ReadonlyArray<readonly [string, Operation.CompletionOperation]> = [
    ["the body", odd({ body: boom })],
    ["the path", odd({ path: boom })],
    ["a body that is not JSON", odd({ body: () => ({ n: 1n }) })]
  ]
  for (const [what, completion] of unsent) {
    it.live(`that fail before a call cost nothing: ${what}`, () =>
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => whole("Baum"))
        const { error, sums } = yield* Wire.ask(layer({ baseUrl: server.url }, { completion }), Wire.question("tree"))
        assert.strictEqual(ModelFailure.kind(error!), "final")
        assert.strictEqual(sums.spent, Money.zero)
        assert.deepStrictEqual(server.seen, [])
      }).pipe(Effect.scoped)
    )
  }

  const broken: ReadonlyArray<readonly [string, Partial<Provider.Definition>, Wire.Reply]> = [
    ["read", { completion: odd({ read: boom }) }, whole("Baum")],
    ["read, with nothing", { completion: odd({ read: () => null as never }) }, whole("Baum")],
    ["failure", { failure: boom }, { status: 400, body: { error: "no" } }]
  ]
  for (const [what, more, reply] of broken) {
    it.live(`that throw fail the call: ${what}`, () =>
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => reply)
        const { error } = yield* Wire.ask(layer({ baseUrl: server.url }, more), Wire.question("tree"))
        assert.isTrue(AiError.isAiError(error))
      }).pipe(Effect.scoped)
    )
  }

  it.live("that throw in the middle of a stream leave the rest to come", () =>
    Effect.gen(function* () {
      const body = 'data: {"piece":"Baum","tokens":{"in":3,"out":2}}\n\ndata: {"stop":"end"}\n\n'
      const server = yield* Wire.serve(() => ({ body, headers: { "content-type": "text/event-stream" } }))
      const completion = odd({
        stream: {
          fields: { stream: true },
          add: ({ text = "", ...rest }, { piece = "", ...event }) => ({ ...rest, ...event, text: `${text}${piece}` }),
          isWhole: (answer) => (answer["stop"] as string).startsWith("end")
        }
      })
      const provider = layer({ baseUrl: server.url, stream: true, timeout: "5 seconds" }, { completion })
      const { value } = yield* Wire.ask(provider, Wire.question("tree"))
      assert.strictEqual(ModelResponse.text(value!), "Baum")
    }).pipe(Effect.scoped)
  )

  it.live("send the options of the provider, and refuse what they cannot send", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => whole("Baum"))
      const provider = layer({ baseUrl: server.url })
      yield* Wire.ask(provider, Wire.question("tree", { providerOptions: { stratus: { tone: "kind" } } }))
      assert.strictEqual(JSON.parse(server.seen[0]!.body).tone, "kind")
      // What another model, more answers or a longer one would cost is not for options to set.
      for (const options of [{ model: "dear" }, { n: 50 }, { stream: true }, { most: 1e9 }, { prompt: "another" }]) {
        const { error } = yield* Wire.ask(provider, Wire.question("tree", { providerOptions: { stratus: options } }))
        assert.match(ModelFailure.message(error!), /providerOptions\.stratus\.\w+ is not accepted: /)
      }
      const sized = yield* Wire.over(
        provider,
        ModelClient.send(ModelRequest.embedding({ inputs: ["a"], dimensions: 8 }))
      )
      assert.match(ModelFailure.message(sized.error!), /stratus does not support dimensions/)
      assert.strictEqual(server.seen.length, 1)
    }).pipe(Effect.scoped)
  )
})

describe("calls beside those for answers", () => {
  const Any = Schema.Struct({ id: Schema.String })
  const connected = (baseUrl: string, options: Connection.Options = {}) =>
    Connection.make(
      { module: "Stratus", baseUrl: "https://api.stratus.example", environment: { apiKey: "NONE", baseUrl: "NONE" } },
      { baseUrl, timeout: "200 millis", ...options }
    )
  const large = () => {
    const file = join(mkdtempSync(join(tmpdir(), "pipe-upload-")), "large.jsonl")
    writeFileSync(file, "x".repeat(6_000_000))
    return file
  }

  it.live("send a form with a file, and survive a connection that breaks in the middle of it", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => ({ body: { id: "f" } }))
      const { http } = yield* connected(server.url, { timeout: "5 seconds" })
      const upload = { file: large(), form: { field: "file", name: "a.jsonl", fields: { purpose: "batch" } } }
      assert.deepStrictEqual(yield* http.upload(Any, "POST", "/files", upload), { id: "f" })
      assert.match(server.seen[0]!.headers["content-type"] ?? "", /^multipart\/form-data; boundary=/)
      assert.match(server.seen[0]!.body, /name="purpose"\r\n\r\nbatch\r\n[^]*filename="a\.jsonl"[^]*x{1000}/)

      const breaking = createServer((request) => void request.once("data", () => request.socket.destroy()))
      yield* Effect.callback<void>((resume) => void breaking.listen(0, "127.0.0.1", () => resume(Effect.void)))
      const address = breaking.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      const cut = yield* connected(`http://127.0.0.1:${port}`, { timeout: "5 seconds" })
      const error = yield* Effect.flip(cut.http.upload(Any, "POST", "/files", upload))
      assert.strictEqual(ModelFailure.kind(error), "transient")
      breaking.close()
    }).pipe(Effect.scoped)
  )

  it.live("end in time, whatever of an answer stays away, and name a file that is missing", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => ({ stall: true }))
      const { http } = yield* connected(server.url)
      for (const call of [
        http.json(Any, "GET", "/jobs"),
        http.call("POST", "/jobs"),
        Stream.runDrain(http.lines("/results"))
      ]) {
        const error = yield* Effect.flip(call)
        assert.strictEqual(ModelFailure.kind(error), "transient")
      }
      const missing = yield* Effect.flip(http.upload(Any, "PUT", "/files", { file: "no/such/file" }))
      assert.match(ModelFailure.message(missing), /no\/such\/file cannot be read/)
    }).pipe(Effect.scoped)
  )
})

const flowOf = (provider: ReturnType<typeof layer>, prices: Flow.Any["prices"] = {}) => {
  const word = Source.fromIterable("words", ["tree", "bee", "sea"])
  const german = Flow.step("german", { word }, ({ word }) =>
    Effect.map(LanguageModel.generateText({ prompt: `Translate: ${word}` }), ({ text }) => text)
  )
  return Flow.make("german", {
    prices,
    outputs: [Sink.forEach("out", german, () => Effect.void)],
    stack: Stack.make(provider)
  })
}

describe("a declaration", () => {
  const prices = { "stratus-1": { input: 2, output: 10 } }

  it.live("prices a run and its plan; the flow's own prices come first", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => whole("Baum"))
      const flow = flowOf(layer({ baseUrl: server.url }, { prices }))
      assert.deepStrictEqual((yield* Plan.make(flow)).unpriced, [])
      // Three calls of 3 and 2 tokens, at 2 and 10 USD per million.
      assert.strictEqual(Money.toUsd((yield* Runner.run(flow)).cost), "0.000078")
      const own = flowOf(layer({ baseUrl: `${server.url}/` }, { prices }), { "stratus-1": { input: 1, output: 0 } })
      assert.strictEqual(Money.toUsd((yield* Runner.run(own, { cache: false })).cost), "0.000009")
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("with an invalid price stops the run before anything is sent", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => whole("Baum"))
      const flow = flowOf(layer({ baseUrl: server.url }, { prices: { "stratus-1": { input: -1, output: 0 } } }))
      const error = yield* Effect.flip(Runner.run(flow))
      assert.match(error.message, /price of stratus-1/)
      assert.deepStrictEqual(server.seen, [])
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("is part of the identity of results: an edit of the body runs them again", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => whole("Baum"))
      const edited = Operation.completion({
        path: "/models/stratus-1/answer",
        accepts: [],
        body: (request) => ({ prompt: `Please: ${ModelRequest.text(request)}` }),
        answer: Answer,
        read: ({ text, tokens }) => ({ text, usage: { input: tokens.in, output: tokens.out } })
      })
      const attempts = (provider: ReturnType<typeof layer>) =>
        Effect.map(Runner.run(flowOf(provider)), ({ calls }) => calls.attempts)
      assert.strictEqual(yield* attempts(layer({ baseUrl: server.url })), 3)
      assert.strictEqual(yield* attempts(layer({ baseUrl: server.url })), 0)
      assert.strictEqual(yield* attempts(layer({ baseUrl: server.url }, { completion: edited })), 3)
      assert.strictEqual(yield* attempts(layer({ baseUrl: server.url })), 0)
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("of prices is that of its run, whatever others declare at the same time", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => whole("Baum"))
      const at = (input: number) =>
        flowOf(layer({ baseUrl: server.url }, { prices: { "stratus-1": { input, output: 0 } } }))
      // Neither reuses what the other has in the store by then.
      const [low, high] = yield* Effect.all(
        [Runner.run(at(1), { cache: false }), Runner.run(at(100), { cache: false })],
        { concurrency: 2 }
      )
      assert.deepStrictEqual([Money.toUsd(low.cost), Money.toUsd(high.cost)], ["0.000009", "0.0009"])
      const undeclared = yield* Runner.run(flowOf(layer({ baseUrl: server.url })), { cache: false })
      assert.strictEqual(undeclared.unpriced, 3)
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("counts with its path, its headers, its stream and the author's own options, and keeps none of them", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => whole("Baum"))
      const spec = {
        path: "/answer",
        accepts: [],
        body: (request: ModelRequest.Completion) => ({ prompt: ModelRequest.text(request) }),
        answer: Answer,
        read: ({ text, tokens }: typeof Answer.Type) => ({ text, usage: { input: tokens.in, output: tokens.out } })
      }
      const own = (more: object, definition: Partial<Provider.Definition> = {}) =>
        Provider.layer(
          {
            name: "stratus",
            baseUrl: "https://api.stratus.example",
            completion: Operation.completion(spec),
            ...definition
          },
          { model: "stratus-1", baseUrl: server.url, ...more }
        )
      /** What the body captures. */
      const inTone = (tone: string) =>
        Operation.completion({ ...spec, body: (request) => ({ prompt: `${tone} ${ModelRequest.text(request)}` }) })
      const Trimmed = Schema.Struct({ ...Answer.fields, text: Schema.Trim })
      const attempts = (provider: ReturnType<typeof own>) =>
        Effect.map(Runner.run(flowOf(provider)), ({ calls }) => calls.attempts)
      assert.strictEqual(yield* attempts(own({})), 3)
      assert.strictEqual(yield* attempts(own({})), 0)
      const others = [
        own({ tone: /kind/ }),
        own({ clientSecret: "a-secret-option-9f3c" }),
        own({}, { headers: { "stratus-version": "2" } }),
        own({}, { completion: Operation.completion({ ...spec, path: "/v2/answer" }) }),
        own({}, { completion: inTone("kind") }),
        own({}, { completion: inTone("harsh") }),
        own({}, { completion: Operation.completion({ ...spec, answer: Trimmed }) })
      ]
      for (const other of others) assert.strictEqual(yield* attempts(other), 3)
      assert.strictEqual(yield* attempts(own({})), 0)
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("nested without end in an answer or a refusal fails the call in words", () =>
    Effect.gen(function* () {
      const deep = `${"[".repeat(20_000)}${"]".repeat(20_000)}`
      for (const status of [200, 400]) {
        const server = yield* Wire.serve(() => ({ status, body: `{"text": 3, "error": ${deep}}` }))
        const { error } = yield* Wire.ask(layer({ baseUrl: server.url }), Wire.question("tree"))
        assert.notInclude(ModelFailure.message(error!), "call stack")
      }
    }).pipe(Effect.scoped)
  )

  it("with a limit that no request fits is refused", () => {
    const spec = { path: "/embed", body: () => ({}), answer: Vectors, read: () => ({ vectors: [] }) }
    assert.throws(
      () => Operation.embedding({ ...spec, limits: { inputs: 0 } }),
      /limits\.inputs is 0; expected 1 or more/
    )
  })

  it("names an option that does not exist", () => {
    assert.throws(
      () => Provider.layer({ ...definition, completion: undefined }, { stream: true }),
      /has no option stream/
    )
    assert.throws(
      () => Provider.layer(definition, { timout: 5 } as Connection.Options),
      /has no option timout.*timeout/
    )
    assert.throws(() => layer({ timeout: "soon" as never }), /timeout is "soon"; expected a duration/)
  })
})
