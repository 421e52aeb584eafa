/** Embeddings as endpoints give them: caps, refused texts, order, base64 and holes; keys and journal by the text alone. */
import { assert, describe, it } from "@effect/vitest"
import {
  Cache,
  Flow,
  FromLanguageModel,
  Ledger,
  ModelClient,
  ModelFailure,
  ModelRequest,
  Money,
  Retry,
  Runner,
  Sink,
  Source,
  Stack,
  Coalesce
} from "@pipe/core"
import { NodeHost, OpenAi } from "@pipe/plugins"
import { Effect, Layer, Stream } from "effect"
import { type AiError, EmbeddingModel, LanguageModel } from "effect/ai"
import * as Wire from "./Wire.ts"

const MODEL = "text-embedding-3-small"

type Asked = { readonly input: ReadonlyArray<string> }

const data = (vectors: ReadonlyArray<unknown>, index: (at: number) => unknown = (at) => at) => ({
  object: "list",
  model: MODEL,
  data: vectors.map((embedding, at) => ({ object: "embedding", embedding, index: index(at) })),
  usage: { prompt_tokens: vectors.length, total_tokens: vectors.length }
})

/** The vector of a text: its number, where it is one. */
const vectorOf = (text: string) => [Number(text.replace(/\D/g, "")) || text.length, 1]

const provider = (url: string, transport: "pool" | "sdk" = "pool") =>
  OpenAi.layer({ baseUrl: `${url}/v1`, apiKey: "k", model: MODEL, provider: "openai", transport })

/** What an endpoint says of some texts: a vector for each, unless one of them is refused. */
const serve = (refused: (text: string) => string | undefined = () => undefined) =>
  Wire.serve((body) => {
    const { input } = JSON.parse(body) as Asked
    const problem = input.map(refused).find((words) => words !== undefined)
    return problem === undefined
      ? { body: data(input.map(vectorOf)) }
      : { status: 400, body: { error: { message: problem, type: "invalid_request_error" } } }
  })

const inputsOf = (served: Wire.Served): ReadonlyArray<ReadonlyArray<string>> =>
  served.seen.map(({ body }) => (JSON.parse(body) as Asked).input)

/** A run of a step that embeds each text for itself. */
const run = <E>(
  texts: ReadonlyArray<string>,
  stack: Layer.Layer<ModelClient.ModelClient, AiError.AiError, Flow.Host>,
  host: Layer.Layer<Flow.Host, E> = NodeHost.layerMemory
) =>
  Effect.gen(function* () {
    const out: Array<readonly [string, ReadonlyArray<number>]> = []
    const text = Source.fromIterable("text", texts)
    const vector = Flow.step("vector", { text }, ({ text }) =>
      Effect.map(
        EmbeddingModel.EmbeddingModel.use((model) => model.embed(text)),
        ({ vector }) => vector
      )
    )
    const flow = Flow.make("embed", {
      concurrency: texts.length,
      outputs: [
        Sink.forEach("out", { text, vector }, ({ text, vector }) => Effect.sync(() => void out.push([text, vector])))
      ],
      stack
    })
    const summary = yield* Effect.provide(Runner.run(flow, { errorsFile: false }), host)
    return { summary, out: new Map(out) }
  })

const stackOf = (url: string) => Stack.make(Ledger.layer, Cache.layer(), Retry.layer({ base: 1 }), provider(url))

const eight = ["1", "2", "3", "", "5", "6", "7", "8"]
const noEmpty = (text: string) => (text === "" ? "'$.input' is invalid. Please check the API reference" : undefined)
const noLong = (text: string) =>
  text.length > 100
    ? "This model's maximum context length is 8192 tokens, however you requested 9000 tokens"
    : undefined

describe("a request for embeddings", () => {
  for (const transport of ["pool", "sdk"] as const) {
    const one = (body: unknown, inputs: ReadonlyArray<string>, retry?: Retry.Options) =>
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => ({ body: body as object }))
        const request = ModelRequest.embedding({ inputs })
        const outcome = yield* Wire.over(provider(server.url, transport), ModelClient.send(request), retry)
        return { ...outcome, requests: server.seen.length }
      })

    it.live(`emb-01: holds no more texts than the endpoint takes, by ${transport}`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* serve()
          const inputs = Array.from({ length: 2_500 }, (_, at) => `text ${at + 1}`)
          const { error, sums, value } = yield* Wire.over(
            provider(server.url, transport),
            ModelClient.send(ModelRequest.embedding({ inputs }))
          )
          assert.deepStrictEqual(value?.vectors, inputs.map(vectorOf), String(error))
          assert.deepStrictEqual(
            inputsOf(server)
              .map(({ length }) => length)
              .sort(),
            [2_048, 452]
          )
          assert.strictEqual(sums.attempts, 2)
          // 2,500 tokens at 0.02 USD per million (platform.openai.com/docs/pricing).
          assert.strictEqual(Money.toUsd(sums.spent), "0.00005")
        })
      )
    )

    const orders: ReadonlyArray<readonly [id: string, what: string, body: unknown]> = [
      ["emb-03", "no index", data([[1], [2], [3]], () => undefined)],
      ["emb-03-n1", "the index 0 alone", data([[1], [2], [3]], () => 0)],
      ["emb-03-x", "an index that is null", data([[1], [2], [3]], () => null)],
      ["emb-06", "another order", data([[3], [2], [1]], (at) => 2 - at)]
    ]
    for (const [id, what, body] of orders) {
      it.live(`${id}: is answered by vectors with ${what}, by ${transport}`, () =>
        Effect.scoped(
          Effect.map(one(body, ["a", "b", "c"]), ({ error, value }) =>
            assert.deepStrictEqual(value?.vectors, [[1], [2], [3]], String(error))
          )
        )
      )
    }

    it.live(`emb-04: is answered in base64, by ${transport}`, () =>
      Effect.scoped(
        Effect.map(
          one(data([Buffer.from(new Float32Array([0.5, -1.25, 2]).buffer).toString("base64")]), ["a"]),
          ({ error, value }) => assert.deepStrictEqual(value?.vectors, [[0.5, -1.25, 2]], String(error))
        )
      )
    )

    const holes: ReadonlyArray<readonly [id: string, what: string, body: unknown]> = [
      ["emb-05", "null in a vector", data([[0.1, null]])],
      ["emb-05-n1", "an empty vector", data([[]])],
      ["emb-05-n2", "texts in a vector", data([["0.1", "NaN"]])],
      ["emb-05-n3", "null in place of a vector", data([null])],
      ["emb-05-x1", "too few vectors", data([])],
      ["emb-05-x2", "too many vectors", data([[1], [2]])],
      ["E7", "an index of no text", data([[1]], () => 7)],
      ["E7", "an index below 0", data([[1]], () => -1)]
    ]
    for (const [id, what, body] of holes) {
      it.live(`${id}: fails in words, and is tried again, with ${what}, by ${transport}`, () =>
        Effect.scoped(
          Effect.map(one(body, ["a"], { attempts: 3 }), ({ error, requests, sums, value }) => {
            assert.isUndefined(value)
            assert.match(ModelFailure.message(error!), /vector/)
            assert.strictEqual(requests, 3)
            // What came is billed, whatever it is worth.
            assert.isTrue(sums.spent > 0n)
          })
        )
      )
    }

    it.live(`emb-05-x3: fails where vectors have more than one length, by ${transport}`, () =>
      Effect.scoped(
        Effect.map(one(data([[1, 2], [3]]), ["a", "b"]), ({ error, value }) => {
          assert.isUndefined(value)
          assert.match(ModelFailure.message(error!), /one length/)
        })
      )
    )
  }
})

describe("texts that are gathered for one request", () => {
  it.live("emb-02: fail alone where one of them is refused", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* serve(noEmpty)
        const { out, summary } = yield* run(eight, stackOf(server.url))
        assert.strictEqual(summary.rows.failed, 1)
        assert.strictEqual(out.size, 7)
        for (const [text, vector] of out) assert.deepStrictEqual(vector, vectorOf(text))
        // The first request holds all of them; what is refused is not billed.
        assert.strictEqual(inputsOf(server)[0]!.length, 8)
        assert.strictEqual(summary.tokens.uncachedInput, 7)
      })
    )
  )

  it.live("emb-02-n1: fail alone under a window", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* serve(noEmpty)
        const { out, summary } = yield* run(
          eight,
          Stack.make(Ledger.layer, Retry.layer({ base: 1 }), Coalesce.layer({ size: 8 }), provider(server.url))
        )
        assert.strictEqual(summary.rows.failed, 1)
        assert.strictEqual(out.size, 7)
        for (const [text, vector] of out) assert.deepStrictEqual(vector, vectorOf(text))
      })
    )
  )

  it.live("emb-02-n2: fail alone where one is too long", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* serve(noLong)
        const { out, summary } = yield* run(["1", "2", "x".repeat(200), "4"], stackOf(server.url))
        assert.strictEqual(summary.rows.failed, 1)
        assert.strictEqual(out.size, 3)
      })
    )
  )

  it.live("emb-02-x: are not searched without end where all are refused", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* serve(() => "no")
        const { summary } = yield* run(
          Array.from({ length: 300 }, (_, at) => `${at}`),
          stackOf(server.url)
        )
        assert.strictEqual(summary.rows.failed, 300)
        assert.isAtMost(server.seen.length, 101)
      })
    )
  )

  it.live("emb-05: are requested again by the next run where a vector has a hole", () =>
    Effect.scoped(
      Effect.gen(function* () {
        let isWhole = false
        const server = yield* Wire.serve((body) => {
          const { input } = JSON.parse(body) as Asked
          return { body: data(input.map((text) => (isWhole || text !== "2" ? vectorOf(text) : [0.1, null]))) }
        })
        const host = yield* Layer.build(NodeHost.layerMemory)
        const first = yield* run(["1", "2"], stackOf(server.url), Layer.succeedContext(host))
        assert.strictEqual(first.summary.rows.failed, 2)
        isWhole = true
        const second = yield* run(["1", "2"], stackOf(server.url), Layer.succeedContext(host))
        assert.strictEqual(second.summary.rows.failed, 0)
        assert.deepStrictEqual(second.out.get("2"), [2, 1])
      })
    )
  )

  it.live("C6: are known by their text alone, whatever request they were in", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* serve()
        const host = yield* Layer.build(NodeHost.layerMemory)
        yield* run(["1", "2", "3"], stackOf(server.url), Layer.succeedContext(host))
        const { out, summary } = yield* run(["3", "4", "1"], stackOf(server.url), Layer.succeedContext(host))
        assert.deepStrictEqual([...out.keys()].sort(), ["1", "3", "4"])
        assert.deepStrictEqual(inputsOf(server), [["1", "2", "3"], ["4"]])
        assert.strictEqual(summary.tokens.uncachedInput, 1)
      })
    )
  )
})

describe("an embedding model of effect/ai", () => {
  const bridge = (results: ReadonlyArray<unknown>) =>
    FromLanguageModel.layer({ provider: "openai", model: MODEL }).pipe(
      Layer.provide(
        Layer.mergeAll(
          Layer.effect(
            EmbeddingModel.EmbeddingModel,
            EmbeddingModel.make({
              embedMany: () =>
                Effect.succeed({ results: results as Array<Array<number>>, usage: { inputTokens: results.length } })
            })
          ),
          Layer.effect(
            LanguageModel.LanguageModel,
            LanguageModel.make({ generateText: () => Effect.succeed([]), streamText: () => Stream.empty })
          )
        )
      )
    )
  const holes: ReadonlyArray<readonly [what: string, results: ReadonlyArray<unknown>]> = [
    ["null in a vector", [[1], [0.1, null]]],
    ["NaN in a vector", [[1], [Number.NaN]]],
    ["an empty vector", [[1], []]],
    ["null in place of a vector", [[1], null]],
    ["one vector too few", [[1]]]
  ]
  for (const [what, results] of holes) {
    it.live(`emb-05: fails with ${what}`, () =>
      Effect.map(
        Wire.over(bridge(results), ModelClient.send(ModelRequest.embedding({ inputs: ["a", "b"] }))),
        ({ error, value }) => {
          assert.isUndefined(value)
          assert.isDefined(error)
        }
      )
    )
  }

  it.live("gives its vectors, and is recorded", () =>
    Effect.map(
      Wire.over(bridge([[1], [2]]), ModelClient.send(ModelRequest.embedding({ inputs: ["a", "b"] }))),
      ({ sums, value }) => {
        assert.deepStrictEqual(value?.vectors, [[1], [2]])
        assert.strictEqual(Money.toUsd(sums.spent), "0.00000004")
      }
    )
  )
})
