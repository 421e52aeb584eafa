/** What a cheaper call must not lose: an attempt, a mask, a request that an author changes, a debt, the lines of a batch. */
import { assert, describe, it } from "@effect/vitest"
import {
  type Batch,
  CallContext,
  Flow,
  ModelClient,
  ModelRequest,
  RateLimit,
  Runner,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import * as Secret from "@pipe/core/internal/Secret"
import { TestModel } from "@pipe/core/testing"
import { NodeHost } from "@pipe/plugins"
import { Duration, Effect, Fiber, Layer } from "effect"
import { LanguageModel } from "effect/ai"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as ExchangeSample from "../../core/src/run/ExchangeSample.ts"
import type * as ExchangeRepo from "../../core/src/run/ExchangeRepo.ts"

const quick: Batch.Options = { polling: { first: "5 millis", most: "10 millis" } }

const rows = (count: number) =>
  Source.fromIterable(
    "rows",
    Array.from({ length: count }, (_, index) => `r${index}`)
  )

const ask = (prompt: string) => Effect.map(LanguageModel.generateText({ prompt }), ({ text }) => text)

/** Runs a flow twice over one store; the calls of the model in each run, and the summaries. */
const twice = <E>(
  model: TestModel.TestModel,
  flow: (run: number, out: Array<string>) => Flow.Flow<E>,
  options: Runner.Options = {}
) =>
  Effect.gen(function* () {
    const runs = []
    for (const run of [1, 2]) {
      const before = model.calls().length
      const out: Array<string> = []
      const summary = yield* Runner.run(flow(run, out), { ...options, errorsFile: false })
      runs.push({ sent: model.calls().length - before, out, summary })
    }
    return runs
  }).pipe(Effect.provide(NodeHost.layerMemory))

const into = (out: Array<string>) => (text: string) => Effect.sync(() => void out.push(text))

describe("a secret in an exchange", () => {
  const cases = [
    ["wJalrXUtnFEMI/K7MDENG/bPxRfiCY", String.raw`{"key":"wJalrXUtnFEMI\/K7MDENG\/bPxRfiCY"}`, "wJalr"],
    ['pass"word1234', JSON.stringify({ p: 'pass"word1234' }), "word1234"],
    [undefined, "Authorization: Bearer\nabcdefgh12345678", "abcdefgh"],
    [undefined, "Authorization:\tBearer\tabcdefgh12345678", "abcdefgh"],
    ["tiny1x", "a\ntiny1x", "tiny1x"]
  ] as const
  const kept = (request: ModelRequest.ModelRequest) => {
    const all: Array<ExchangeRepo.WrittenExchange> = []
    ExchangeSample.make({ append: (_, exchange) => void all.push(exchange) }, 1, new Map()).observe({
      caller: { run: "r", step: "s", row: 0 },
      values: undefined,
      at: 0,
      milliseconds: 1,
      origin: "attempt",
      provider: "p",
      model: "m",
      request,
      response: undefined
    })
    return all[0]!.request
  }
  for (const [secret, content, part] of cases)
    it(`is masked in every form: ${JSON.stringify(content)}`, () => {
      if (secret !== undefined) Secret.register(secret)
      const request = kept(ModelRequest.completion({ messages: [{ role: "user", content }] }))
      assert.include(request, "[secret]")
      assert.notInclude(request, part)
    })

  const calling = (params: unknown): ModelRequest.ModelRequest =>
    ModelRequest.completion({
      messages: [{ role: "assistant", content: [{ type: "tool-call", id: "c", name: "find", params }] }]
    } as Parameters<typeof ModelRequest.completion>[0])

  it("is masked in values that have a form of their own in JSON, and these are truncated", () => {
    const secret = "toolsecret-0123456789"
    Secret.register(secret)
    const odd = [
      new URL(`https://example.com/?k=${secret}`),
      new String(secret),
      { toJSON: () => secret },
      new (class {
        readonly inner = secret
      })()
    ]
    for (const value of odd) {
      const request = kept(calling({ at: [{ value }] }))
      assert.include(request, "[secret]")
      assert.notInclude(request, secret)
    }
    const long = kept(calling({ at: new URL(`data:image/png;base64,${"A".repeat(300_000)}`) }))
    assert.isBelow(long.length, 25_000)
  })

  it("is masked in what was without it before", () => {
    const secret = "latersecret-0123456789"
    Secret.register(secret)
    const parameters = { title: "orders" }
    const schema = { parameters }
    assert.include(kept(calling({ schema })), "orders")
    parameters.title = `of ${secret}`
    assert.notInclude(kept(calling({ schema })), secret)
  })
})

describe("a layer that replaces the context of its calls", () => {
  it.live("leaves their attempts recorded", () =>
    Effect.gen(function* () {
      const model = TestModel.make(({ prompt }) => `on ${prompt}`)
      const anonymous = ModelClient.middleware(
        (send) => (request) => Effect.provideService(send(request), CallContext.CallContext, CallContext.empty),
        { name: "Anonymous", answers: false }
      )
      const answer = Flow.step("reply", { row: rows(2) }, ({ row }) => ask(row))
      const flow = (_: number, out: Array<string>) =>
        Flow.make("context", {
          outputs: [Sink.forEach("out", answer, into(out))],
          stack: Stack.make(anonymous, model.layer)
        })
      const [first] = yield* twice(model, flow)
      assert.strictEqual(first!.sent, 2)
      assert.strictEqual(first!.summary.calls.attempts, 2)
    })
  )
})

describe("messages that a step adds to between two calls", () => {
  for (const batch of [undefined, quick])
    it.live(`are the request at the time of each call (${batch === undefined ? "single" : "batches"})`, () =>
      Effect.gen(function* () {
        const model = TestModel.make(({ prompt }) => `on ${prompt}`)
        const answer = Flow.step(
          "reply",
          { row: rows(4) },
          Effect.fnUntraced(function* ({ row }: { readonly row: string }) {
            const messages: Array<ModelRequest.Message> = [{ role: "user", content: row }]
            const one = yield* ModelClient.send(ModelRequest.completion({ messages }))
            messages.push({ role: "assistant", content: one.model }, { role: "user", content: "shorter" })
            const two = yield* ModelClient.send(ModelRequest.completion({ messages }))
            return two.model
          })
        )
        const flow = (_: number, out: Array<string>) =>
          Flow.make("messages", { outputs: [Sink.forEach("out", answer, into(out))], stack: model.layer })
        const [first, second] = yield* twice(model, flow, batch === undefined ? {} : { batch })
        assert.strictEqual(first!.sent, 8)
        assert.strictEqual(first!.summary.calls.answers.provider, 8)
        assert.strictEqual(second!.sent, 0)
        assert.strictEqual(second!.summary.calls.answers.provider, 0)
      })
    )
})

describe("batches of two runs over one store", () => {
  it.live("answer none of a run whose lines are deleted", () =>
    Effect.gen(function* () {
      const model = TestModel.make(({ prompt }) => `on ${prompt}`)
      const flow = (run: number, out: Array<string>) =>
        Flow.make("lines", {
          outputs: [
            Sink.forEach(
              "out",
              Flow.step("reply", { row: rows(10) }, ({ row }) => ask(row), { version: String(run), by: "x" }),
              into(out)
            )
          ],
          stack: model.layer
        })
      const runs = yield* twice(model, flow, { batch: quick })
      for (const { out, sent, summary } of runs) {
        assert.strictEqual(sent, 10)
        assert.lengthOf(out, 10)
        assert.strictEqual(summary.cost, runs[0]!.summary.cost)
      }
    })
  )

  it.live("keep no value that is made without an answer that was given up", () =>
    Effect.gen(function* () {
      const model = TestModel.make(({ prompt }) => `on ${prompt}`)
      // It answers some requests itself, in its own time: they do not go in batches.
      const own = ModelClient.middleware(
        (send) => (request) =>
          request._tag === "Completion" && ModelRequest.text(request).startsWith("own")
            ? Effect.delay(model.standIn.send("test")(request), "80 millis")
            : send(request),
        { name: "Own", answers: false }
      )
      const answer = Flow.step("reply", { row: rows(2) }, ({ row }) =>
        Effect.map(
          Effect.all(
            [Effect.raceFirst(ask(row), Effect.as(Effect.sleep("20 millis"), "nothing in time")), ask(`own ${row}`)],
            { concurrency: 2 }
          ),
          (both) => both.join(" | ")
        )
      )
      const flow = (_: number, out: Array<string>) =>
        Flow.make("given up", {
          outputs: [Sink.forEach("out", answer, into(out))],
          stack: Stack.make(own, model.layer)
        })
      const [first, second] = yield* twice(model, flow, { batch: quick })
      assert.include(first!.out[0], "nothing in time")
      assert.isAbove(second!.sent, 0)
    })
  )
})

describe("a call that is interrupted while it waits for a shared limit", () => {
  it.live("leaves what earlier calls owe to the next one", () =>
    Effect.gen(function* () {
      let requests = 0
      const taken: Array<number> = []
      const limiter = Layer.mock(RateLimiter.RateLimiter)({
        [RateLimiter.TypeId]: RateLimiter.TypeId,
        consume: ({ key, tokens = 1 }) => {
          if (key.startsWith("requests/")) return ++requests === 2 ? Effect.never : Effect.succeed(granted)
          taken.push(tokens)
          return Effect.succeed(granted)
        }
      })
      const granted = { delay: Duration.zero, limit: 1, remaining: 1, resetAfter: Duration.zero }
      const model = TestModel.make(() =>
        TestModel.response({ text: "x", usage: { uncachedInput: 50_000, output: 40_000 } })
      )
      const layer = RateLimit.layerShared({ requestsPerMinute: 100, tokensPerMinute: 200_000 })
      yield* Effect.gen(function* () {
        const send = ModelClient.send(ModelRequest.completion({ messages: [{ role: "user", content: "hi" }] }))
        yield* send
        const waiting = yield* Effect.forkChild(send, { startImmediately: true })
        yield* Fiber.interrupt(waiting)
        yield* send
      }).pipe(Effect.provide(Layer.provide(layer, Layer.merge(model.layer, limiter))))
      assert.lengthOf(taken, 2)
      // The first answer used 90,000 tokens: what was not taken for it is taken with the next call.
      assert.isBelow(taken[0]!, 1_000)
      assert.isAbove(taken[1]!, 89_000)
    })
  )
})
