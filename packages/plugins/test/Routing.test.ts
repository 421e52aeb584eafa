/** Every case of kind `routing` over real HTTP, endpoints by weight, and tuning on answers that a simulator gives. */
import { assert, describe, it } from "@effect/vitest"
import {
  Balance,
  Cache,
  Cascade,
  Fallback,
  Flow,
  Judge,
  Ledger,
  ModelClient,
  ModelFailure,
  ModelResponse,
  Money,
  Plan,
  Retry,
  Router,
  Runner,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import * as Routing from "../../core/src/routing/Routing.ts"
import * as Tune from "../../core/src/routing/tune/Tune.ts"
import { Anthropic, Language, NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect, Layer, Logger, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Soak from "../../../test/Soak.ts"
import * as Wire from "./Wire.ts"

const chat = (content: string, model = "gpt-4o-mini") => ({
  body: {
    id: "1",
    object: "chat.completion",
    created: 0,
    model,
    choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
    usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 }
  }
})

const refused = (status: number, message: string, fields: object = {}) => ({
  status,
  body: { error: { message, ...fields } }
})

const textOf = (response: ModelResponse.CompletionResponse | undefined) =>
  response === undefined ? undefined : ModelResponse.text(response)

const eventStream = { "content-type": "text/event-stream" }

const chunk = (content: string) =>
  `data: ${JSON.stringify({ id: "1", object: "chat.completion.chunk", created: 0, model: "gpt-4o-mini", choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`

const openai = (url: string, apiKey: string, options: OpenAi.Options = {}) =>
  OpenAi.layer({ baseUrl: `${url}/v1`, apiKey, provider: "openai", ...options })

/** Two models at servers of their own, the second behind the first. */
const behind = (first: ReturnType<typeof openai>, second: ReturnType<typeof openai>) =>
  Stack.make(
    Fallback.layer(["gpt-4o-mini", "gpt-4o"]),
    Retry.layer({ attempts: 1 }),
    Router.providers({ models: "gpt-4o-mini", layer: first }, { models: "", layer: second })
  ) as ReturnType<typeof openai>

describe("Fallback over HTTP", () => {
  it.live(
    "throws a broken stream's beginning away, asks the other from the start, and ledger what was cut (route-02)",
    () =>
      Effect.gen(function* () {
        const primary = yield* Wire.serve(() => ({
          headers: eventStream,
          cut: true,
          body: Array.from({ length: 25 }, (_, n) => chunk(`word${n} `)).join("")
        }))
        const other = yield* Wire.serve(() => chat("B", "gpt-4o"))
        const { sums, value } = yield* Wire.ask(
          behind(openai(primary.url, "k-one", { stream: true }), openai(other.url, "k-two")),
          Wire.question("x")
        )
        assert.strictEqual(textOf(value), "B")
        assert.deepStrictEqual([primary.seen.length, other.seen.length], [1, 1])
        assert.strictEqual(sums.estimated, 1)
        assert.isTrue(sums.estimatedSpent > 0n)
        // Who answered is in the answer, and both are in the ledger.
        assert.strictEqual(value?.model, "gpt-4o")
        assert.deepStrictEqual([sums.attempts, sums.failedAttempts], [2, 1])
      })
  )

  it.live("takes an error as the first event of a stream for a failed request (route-07)", () =>
    Effect.gen(function* () {
      const overloaded = `event: error\ndata: ${JSON.stringify({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } })}\n\n`
      const primary = yield* Wire.serve(() => ({ headers: eventStream, body: overloaded }))
      const other = yield* Wire.serve(() => chat("ok"))
      const stack = Stack.make(
        Fallback.layer(["claude-haiku-4-5", "gpt-4o-mini"]),
        Retry.layer({ attempts: 2, base: 1 }),
        Router.providers(
          { models: "claude-", layer: Anthropic.layer({ baseUrl: primary.url, apiKey: "k-one", stream: true }) },
          { models: "", layer: openai(other.url, "k-two") }
        )
      )
      const { value } = yield* Wire.ask(stack as ReturnType<typeof openai>, Wire.question("x"))
      assert.strictEqual(textOf(value), "ok")
      assert.strictEqual(primary.seen.length, 2)

      const openAiError = yield* Wire.serve(() => ({
        headers: eventStream,
        body: `data: ${JSON.stringify({ error: { type: "server_error", message: "The server is overloaded" } })}\n\n`
      }))
      const second = yield* Wire.ask(
        behind(openai(openAiError.url, "k-one", { stream: true }), openai(other.url, "k-two")),
        Wire.question("x")
      )
      assert.strictEqual(textOf(second.value), "ok")
    })
  )

  it.live(
    "knows a request that is too long by the words of an endpoint of your own, and does not try it there again (route-05)",
    () =>
      Effect.gen(function* () {
        for (const [message, options] of [
          ["Request of 9000 tokens does not fit the 8000-token window here.", {}],
          ["Zu lang: 9000 statt 8000", { overflow: /^Zu lang/ }]
        ] as const) {
          const small = yield* Wire.serve(() => refused(400, message))
          const large = yield* Wire.serve(() => chat("ok", "gpt-4o"))
          const own = openai(small.url, "k-one", options)
          const { value } = yield* Wire.ask(behind(own, openai(large.url, "k-two")), Wire.question("x"))
          assert.strictEqual(textOf(value), "ok")
          const alone = yield* Wire.ask(
            Stack.make(Retry.layer({ base: 1 }), own) as typeof own,
            Wire.question("x", { model: "gpt-4o-mini" })
          )
          assert.strictEqual(ModelFailure.kind(alone.error!), "overflow")
          assert.strictEqual(small.seen.length, 2)
        }
      })
  )

  it.live("sends a target's key and headers to its own address alone (route-08)", () =>
    Effect.gen(function* () {
      const one = yield* Wire.serve(() => refused(503, "down"))
      const two = yield* Wire.serve(() => chat("ok"))
      const { value } = yield* Wire.ask(
        behind(
          openai(one.url, "k-one", { headers: { "x-team": "one" } }),
          openai(two.url, "k-two", { headers: { "x-team": "two" } })
        ),
        Wire.question("x")
      )
      assert.strictEqual(textOf(value), "ok")
      const sawOf = ({ seen }: Wire.Served) => seen.map(({ headers }) => [headers.authorization, headers["x-team"]])
      assert.deepStrictEqual(sawOf(one), [["Bearer k-one", "one"]])
      assert.deepStrictEqual(sawOf(two), [["Bearer k-two", "two"]])
    })
  )
})

describe("Balance", () => {
  const send = (stack: Layer.Layer<ModelClient.ModelClient, unknown, never>, count: number) =>
    Effect.forEach(Array.from({ length: count }), () =>
      Effect.exit(ModelClient.send(Wire.question("x", { model: "gpt-4o-mini" })))
    ).pipe(Effect.provide(stack))

  const provided = (layer: ReturnType<typeof openai>) => layer.pipe(Layer.provide(NodeHost.layerMemory))

  it.live("shares requests by weight, each endpoint with its own key", () =>
    Effect.gen(function* () {
      const one = yield* Wire.serve(() => chat("1"))
      const two = yield* Wire.serve(() => chat("2"))
      const stack = Balance.layer([{ layer: openai(one.url, "k-one"), weight: 3 }, { layer: openai(two.url, "k-two") }])
      yield* send(provided(stack), 12)
      assert.deepStrictEqual([one.seen.length, two.seen.length], [9, 3])
      assert.isTrue(one.seen.every(({ headers }) => headers.authorization === "Bearer k-one"))
      assert.isTrue(two.seen.every(({ headers }) => headers.authorization === "Bearer k-two"))
    })
  )

  it.live(
    "goes to the next at once when an endpoint limits, is down or refuses the key, and leaves it alone for a while",
    () =>
      Effect.gen(function* () {
        for (const status of [429, 503, 401]) {
          const bad = yield* Wire.serve(() => refused(status, "no"))
          const good = yield* Wire.serve(() => chat("ok"))
          const stack = Balance.layer(
            [{ layer: openai(bad.url, "k-one"), weight: 5 }, { layer: openai(good.url, "k-two") }],
            { failures: 2, cooldown: "1 hour" }
          )
          const exits = yield* send(provided(stack), 10)
          assert.isTrue(exits.every(({ _tag }) => _tag === "Success"))
          assert.deepStrictEqual([bad.seen.length, good.seen.length], [2, 10])
        }
      })
  )

  it.live(
    "fails for what is wrong with the request, or when all are down; nobody cools down for a request that is too long",
    () =>
      Effect.gen(function* () {
        const long = yield* Wire.serve(() => refused(400, "too long", { code: "context_length_exceeded" }))
        const other = yield* Wire.serve(() => chat("ok"))
        const stack = Balance.layer(
          [
            { layer: openai(long.url, "k-one"), weight: 1 },
            { layer: openai(other.url, "k-two"), weight: 1 }
          ],
          { failures: 1, cooldown: "1 hour" }
        )
        const exits = yield* send(provided(stack), 6)
        assert.deepStrictEqual(
          exits.map(({ _tag }) => _tag),
          ["Failure", "Success", "Failure", "Success", "Failure", "Success"]
        )
        assert.deepStrictEqual([long.seen.length, other.seen.length], [3, 3])

        const down = yield* Wire.serve(() => refused(503, "down"))
        const [exit] = yield* send(
          provided(Balance.layer([{ layer: openai(down.url, "a") }, { layer: openai(down.url, "b") }])),
          1
        )
        assert.strictEqual(exit!._tag, "Failure")
        assert.strictEqual(down.seen.length, 2)
      })
  )
})

describe("Language", () => {
  it("receives from the text that varies, or from what the user says", () => {
    const rule = Language.is("de", "fr")
    assert.isTrue(rule(Wire.question("Wie viel kostet das Zimmer für zwei Nächte?"), {}))
    assert.isFalse(rule(Wire.question("How much is the room for two nights?"), {}))
    assert.strictEqual(Language.of("今天天气很好"), "zh")
    assert.deepStrictEqual(rule.by, ["language", "de", "fr"])
  })
})

const labels = ["account", "card", "loan"]

/** A question and what the models say: the cheap one is wrong on hard questions, and less sure of them. */
const questions = (count: number, hardShare = 0.2) =>
  Array.from({ length: count }, (_, n) => ({
    n,
    label: labels[n % 3]!,
    hard: (n * 7919) % 1_000 < hardShare * 1_000,
    text: `question ${n} about a ${labels[n % 3]!}`
  }))

const truthIn = (prompt: string) => labels.find((label) => prompt.includes(label))!

const isHard = (prompt: string) => prompt.includes("hard")

const simulator: Simulator.Options = {
  answer: ({ model, prompt }) =>
    model === "gpt-4o" || !isHard(prompt) ? truthIn(prompt) : labels[(labels.indexOf(truthIn(prompt)) + 1) % 3]!,
  confidence: ({ prompt }) => (isHard(prompt) ? 0.6 : 0.97)
}

interface Tuned {
  readonly url: string
  readonly folder: string
  readonly rows?: ReadonlyArray<ReturnType<typeof questions>[number]>
  readonly instruction?: string
  readonly label?: boolean
  readonly audit?: number
}

const flowOf = ({ audit, folder, instruction = "Name the product.", label, rows = questions(1_000), url }: Tuned) => {
  const source = Source.fromIterable("question", rows)
  const answer = Flow.step(
    "answer",
    { question: source },
    ({ question }) =>
      Effect.map(
        LanguageModel.generateText({
          prompt: `${instruction}\n\n${question.text}${question.hard ? ", a hard one" : ""}`
        }),
        (response) => response.text
      ),
    {
      version: instruction,
      quality: {
        features: ({ question }) => ({ about: question.label }),
        ...(label === true
          ? { label: ({ question }: { readonly question: { readonly label: string } }) => question.label }
          : undefined)
      }
    }
  )
  return Flow.make("tuned", {
    outputs: [Sink.jsonl(join(folder, "out.jsonl"), { question: source, answer })],
    stack: Stack.make(
      Ledger.layer,
      Cascade.layer({
        models: ["gpt-4o-mini", "gpt-4o"],
        judges: [Judge.logprobs()],
        routing: join(folder, "tuned.routing.json"),
        ...(audit === undefined ? undefined : { audit })
      }),
      Cache.layer(),
      Retry.layer({ base: 1 }),
      openai(url, "test-key-0123")
    )
  })
}

const host = (folder: string) => Layer.fresh(NodeHost.layer({ store: join(folder, "pipe.db") }))

describe("Tune", () => {
  it.live("finds, certifies and writes a routing that the flow then keeps to; what was sent is in the cache", () =>
    Effect.gen(function* () {
      const server = yield* Simulator.start(simulator)
      const folder = mkdtempSync(join(tmpdir(), "pipe-tune-"))
      const flow = flowOf({ url: server.url, folder, audit: 0.2 })
      const asked = () => server.bill().map(({ answers, model }) => [model, answers] as const)

      const tuned = yield* Tune.make(flow, { target: 0.95, sample: 300 }).pipe(Effect.provide(host(folder)))
      assert.deepStrictEqual(asked(), [
        ["gpt-4o", 300],
        ["gpt-4o-mini", 300]
      ])
      const { calibration, standard } = tuned.steps[0]!
      assert.strictEqual(standard, "agreement")
      const certificate = calibration.certificate!
      assert.isAtLeast(certificate.kept, 0.95)
      assert.closeTo(certificate.strongShare, 0.2, 0.06)
      // All of the sample is paid once, and is in the ledger.
      const paid = server
        .bill()
        .reduce(
          (sum, { input, model, output }) =>
            sum + (model === "gpt-4o" ? 2_500_000 * input + 10_000_000 * output : 150_000 * input + 600_000 * output),
          0
        )
      assert.strictEqual(tuned.summary.cost, BigInt(paid))
      assert.strictEqual(tuned.routing.sample.spent, tuned.summary.cost)
      writeFileSync(tuned.file!, Routing.encode(tuned.routing))

      const before = server.requests()
      const summary = yield* Runner.run(flow).pipe(Effect.provide(host(folder)))
      // 700 rows are new to the cheap model, and about a fifth of them to the strong one; audits ask it for a fifth of the others.
      const [routes] = summary.routes!
      assert.strictEqual(routes!.requests, 1_000)
      assert.closeTo(routes!.strong / 1_000, 0.2, 0.03)
      assert.closeTo(routes!.audited / 800, 0.2, 0.06)
      assert.isAtLeast(routes!.agreement, 0.99)
      assert.isBelow(routes!.low, 1)
      assert.deepStrictEqual(routes!.promised, { target: 0.95, standard: "agreement" })
      assert.isBelow(server.requests() - before, 700 + 700 * 0.4)
      assert.isTrue(summary.savings.router > 0n && summary.savings.cache > 0n)
      // Every cent: what the provider billed since, and the baseline of all rows by the strong model.
      const wrong = readFileSync(join(folder, "out.jsonl"), "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
        .filter(({ answer, question }) => answer !== question.label)
      assert.lengthOf(wrong, 0)

      const checked = yield* Tune.check(flow, { sample: 200 }).pipe(Effect.provide(host(folder)))
      assert.deepInclude(checked.steps[0], { name: "answer", standing: "holds", target: 0.95, rows: 200 })
    })
  )

  it.live("says when a routing does not hold any more: by the check, and by the audits of a run", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "pipe-tune-"))
      const server = yield* Simulator.start(simulator)
      const tuned = yield* Tune.make(flowOf({ url: server.url, folder }), { target: 0.95 }).pipe(
        Effect.provide(host(folder))
      )
      writeFileSync(tuned.file!, Routing.encode(tuned.routing))
      // The cheap model has become worse, and is as sure as before.
      const worse = yield* Simulator.start({
        ...simulator,
        answer: (asked) => (asked.model === "gpt-4o" ? truthIn(asked.prompt) : "loan")
      })
      const fresh = mkdtempSync(join(tmpdir(), "pipe-tune-"))
      const flow = flowOf({ url: worse.url, folder, audit: 0.2 })
      const checked = yield* Tune.check(flow, { sample: 100 }).pipe(Effect.provide(host(fresh)))
      assert.strictEqual(checked.steps[0]!.standing, "broken")
      assert.isBelow(checked.steps[0]!.high, 0.95)
      const warnings: Array<string> = []
      yield* Runner.run(flow).pipe(
        Effect.provide(host(fresh)),
        Effect.provide(Logger.layer([Logger.make(({ message }) => void warnings.push(String(message)))]))
      )
      assert.isTrue(
        warnings.some((text) => text.includes("guarantees that 95.0 % of its answers agree")),
        warnings.join("\n")
      )
    })
  )

  it.live("measures by labels where every row has one", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "pipe-tune-"))
      // The strong model errs too, on other questions.
      const server = yield* Simulator.start({
        ...simulator,
        answer: (asked) =>
          asked.model === "gpt-4o" && asked.prompt.includes("7 about") ? "nonsense" : simulator.answer!(asked)
      })
      const tuned = yield* Tune.make(flowOf({ url: server.url, folder, label: true }), {
        target: 0.9,
        sample: 600
      }).pipe(Effect.provide(host(folder)))
      const { calibration, standard } = tuned.steps[0]!
      assert.strictEqual(standard, "label")
      assert.isBelow(calibration.certificate!.strongQuality, 0.95)
      assert.isAtLeast(calibration.certificate!.kept, 0.9)
    })
  )

  it.live("uses the strong model, and says why, where nothing is certified or the step has changed", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "pipe-tune-"))
      const server = yield* Simulator.start({
        ...simulator,
        answer: (asked) => (asked.model === "gpt-4o" ? truthIn(asked.prompt) : "nonsense")
      })
      const warnings: Array<string> = []
      const log = Logger.layer([Logger.make(({ message }) => void warnings.push(String(message)))])
      const flow = flowOf({ url: server.url, folder, rows: questions(400) })
      const tuned = yield* Tune.make(flow, { target: 0.95 }).pipe(Effect.provide(host(folder)))
      assert.isUndefined(tuned.routing.steps["answer"]!.policy)
      writeFileSync(tuned.file!, Routing.encode(tuned.routing))
      const summary = yield* Runner.run(flow).pipe(Effect.provide(host(folder)), Effect.provide(log))
      assert.strictEqual(summary.routes, undefined)
      assert.isTrue(
        warnings.some((text) => text.includes("nothing is certified for it")),
        warnings.join("\n")
      )

      const good = yield* Simulator.start(simulator)
      const again = yield* Tune.make(flowOf({ url: good.url, folder, rows: questions(400) }), { target: 0.95 }).pipe(
        Effect.provide(Layer.fresh(NodeHost.layerMemory))
      )
      writeFileSync(again.file!, Routing.encode(again.routing))
      const changed = flowOf({
        url: good.url,
        folder,
        rows: questions(400),
        instruction: "Say which product it is about."
      })
      const asked = good.bill().find(({ model }) => model === "gpt-4o-mini")!.answers
      yield* Runner.run(changed).pipe(Effect.provide(Layer.fresh(NodeHost.layerMemory)), Effect.provide(log))
      assert.strictEqual(good.bill().find(({ model }) => model === "gpt-4o-mini")!.answers, asked)
      assert.isTrue(
        warnings.some((text) => text.includes("it has changed since it was tuned")),
        warnings.join("\n")
      )
      const refused = yield* Effect.flip(
        Tune.check(changed, {}).pipe(Effect.provide(Layer.fresh(NodeHost.layerMemory)))
      )
      assert.include(refused.message, "has changed since it was tuned")
    })
  )

  it.live.skipIf(!Soak.isSoak)(
    "certifies by what a budget paid for, and by no rows of which only a part is known",
    () =>
      Effect.gen(function* () {
        const folder = mkdtempSync(join(tmpdir(), "pipe-tune-"))
        const server = yield* Simulator.start(simulator)
        const flow = flowOf({ url: server.url, folder, rows: questions(2_000) })
        const tuned = yield* Tune.make(flow, { target: 0.95, sample: 1_000, budget: { usd: "0.03" } }).pipe(
          Effect.provide(host(folder))
        )
        assert.strictEqual(tuned.summary.status, "budget")
        assert.isTrue(tuned.summary.cost <= Money.perMillionTokens(30_000))
        const { calibration, rows } = tuned.steps[0]!
        assert.isBelow(rows, 1_000)
        assert.strictEqual(calibration.singles.length, 2)
        // With the rest of the money it continues from the cache.
        const before = server.requests()
        yield* Tune.make(flow, { target: 0.95, sample: 1_000 }).pipe(Effect.provide(host(folder)))
        assert.isBelow(server.requests() - before, 2_000 - rows)
      })
  )

  it.live(
    "stops before the whole sample is paid where labels are there for some rows only, and takes no sample of which many rows fail",
    () =>
      Effect.gen(function* () {
        const folder = mkdtempSync(join(tmpdir(), "pipe-tune-"))
        const server = yield* Simulator.start({ ...simulator, latency: "5 millis" })
        const flow = (label: (n: number) => string | undefined, answer?: string) => {
          const source = Source.fromIterable("question", questions(400))
          const step = Flow.step(
            "answer",
            { question: source },
            ({ question }) => Effect.map(LanguageModel.generateText({ prompt: question.text }), ({ text }) => text),
            {
              quality: {
                label: ({ question }) => label(question.n),
                ...(answer === undefined ? undefined : { score: () => Number.NaN })
              }
            }
          )
          return Flow.make("labels", {
            outputs: [Sink.forEach("out", step, () => Effect.void)],
            stack: Stack.make(
              Ledger.layer,
              Cascade.layer({ models: ["gpt-4o-mini", "gpt-4o"] }),
              Cache.layer(),
              openai(server.url, "k")
            )
          })
        }
        const mixed = yield* Effect.flip(
          Tune.make(
            flow((n) => (n % 2 === 0 ? "card" : undefined)),
            { target: 0.9 }
          ).pipe(Effect.provide(host(folder)))
        )
        assert.include(mixed.message, "returns a label for only some rows of the sample")
        assert.isBelow(server.requests(), 200)

        const warnings: Array<string> = []
        yield* Tune.make(
          flow(() => "card", "NaN"),
          { target: 0.9 }
        ).pipe(
          Effect.provide(host(folder)),
          Effect.provide(Logger.layer([Logger.make(({ message }) => void warnings.push(String(message)))]))
        )
        assert.isTrue(
          warnings.some((text) => text.includes("`quality.score` failed (it returned NaN")),
          warnings.join("\n")
        )

        // A run asks for no label.
        const thrown = flow((n) => {
          if (n > 0) throw new Error("no label")
          return "card"
        })
        assert.strictEqual((yield* Runner.run(thrown).pipe(Effect.provide(host(folder)))).rows.failed, 0)

        const failing = yield* Wire.serve((body) =>
          body.includes("question 1") ? refused(400, "no") : chat("card", "gpt-4o")
        )
        const rows = Source.fromIterable("question", questions(400))
        const step = Flow.step("answer", { question: rows }, ({ question }) =>
          Effect.map(LanguageModel.generateText({ prompt: question.text }), ({ text }) => text)
        )
        const failed = yield* Effect.flip(
          Tune.make(
            Flow.make("failing", {
              outputs: [Sink.forEach("out", step, () => Effect.void)],
              stack: Stack.make(
                Ledger.layer,
                Cascade.layer({ models: ["gpt-4o-mini", "gpt-4o"] }),
                openai(failing.url, "k")
              )
            }),
            { target: 0.9, errorsFile: join(folder, "errors.jsonl") }
          ).pipe(Effect.provide(host(folder)))
        )
        assert.match(
          failed.message,
          /\d+ of 300 rows of the sample failed, so the others do not represent all; the first: question/
        )
      })
  )

  it.live("records the calls of its judges, to what the server bills", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve((body) => {
        const isJudge = body.includes("How probable is it")
        const answer = isJudge ? JSON.stringify({ probability: 95 }) : "yes"
        const { body: chatted } = chat(answer, JSON.parse(body).model)
        return { body: chatted }
      })
      const rows = Source.fromIterable("question", ["a", "b", "c"])
      const step = Flow.step("answer", { question: rows }, ({ question }) =>
        Effect.map(LanguageModel.generateText({ prompt: question }), ({ text }) => text)
      )
      const flow = Flow.make("judged", {
        outputs: [Sink.forEach("out", step, () => Effect.void)],
        stack: Stack.make(
          Cascade.layer({ models: ["gpt-4o-mini", "gpt-4o"], judges: [Judge.model({ model: "gpt-4o-mini" })] }),
          openai(server.url, "k")
        )
      })
      const summary = yield* Runner.run(flow, { errorsFile: false })
      assert.lengthOf(server.seen, 6)
      assert.strictEqual(summary.calls.attempts, 6)
      // 10 and 5 tokens a call, at 0.15 and 0.60 USD a million (platform.openai.com/docs/pricing).
      assert.strictEqual(summary.cost, 6n * (10n * 150_000n + 5n * 600_000n))
      assert.deepStrictEqual(
        summary.steps.map(({ attempts, step }) => [step, attempts]),
        [
          ["answer", 3],
          ["answer / judge", 3]
        ]
      )
    }).pipe(Effect.provide(Layer.fresh(NodeHost.layerMemory)))
  )

  it.live("plans a cascade with its judges, and sees what tuning has put into the cache", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "pipe-tune-"))
      const server = yield* Simulator.start(simulator)
      const flow = flowOf({ url: server.url, folder, rows: questions(300), audit: 0 })
      const tuned = yield* Tune.make(flow, { target: 0.95, sample: 300 }).pipe(Effect.provide(host(folder)))
      writeFileSync(tuned.file!, Routing.encode(tuned.routing))
      const plan = yield* Plan.make(flow).pipe(Effect.provide(host(folder)))
      assert.strictEqual(
        plan.lines.reduce((sum, { calls }) => sum + calls, 0),
        0
      )

      const rows = Source.fromIterable("question", questions(300))
      const step = Flow.step("answer", { question: rows }, ({ question }) =>
        Effect.map(LanguageModel.generateText({ prompt: question.text }), ({ text }) => text)
      )
      const judged = Flow.make("judged", {
        outputs: [Sink.forEach("out", step, () => Effect.void)],
        stack: Stack.make(
          Ledger.layer,
          Cascade.layer({
            models: ["gpt-4o-mini", "gpt-4o"],
            judges: [Judge.agreement({ samples: 3 }), Judge.model({ model: "gpt-4.1" })]
          }),
          openai(server.url, "k")
        )
      })
      const { lines, notes } = yield* Plan.make(judged).pipe(Effect.provide(Layer.fresh(NodeHost.layerMemory)))
      assert.deepStrictEqual(
        lines.map(({ calls, model, step }) => [step, model, calls]),
        [
          ["answer", "gpt-4o-mini", 300],
          ["answer / judge", "gpt-4o-mini", 900],
          ["answer / judge", "gpt-4.1", 300],
          ["answer", "gpt-4o", 300]
        ]
      )
      assert.include(notes!.join("\n"), "; all are counted here")
    })
  )

  it.live("routes rows that wait in batches, and records each once", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "pipe-tune-"))
      const server = yield* Simulator.start({ ...simulator, batches: { latency: "100 millis" } })
      const flow = flowOf({ url: server.url, folder, rows: questions(300), audit: 0.2 })
      const tuned = yield* Tune.make(flow, { target: 0.95, sample: 250 }).pipe(
        Effect.provide(Layer.fresh(NodeHost.layerMemory))
      )
      writeFileSync(tuned.file!, Routing.encode(tuned.routing))
      const summary = yield* Runner.run(flow, { batch: { polling: { first: "20 millis", most: "20 millis" } } }).pipe(
        Effect.provide(host(folder))
      )
      assert.strictEqual(summary.routes![0]!.requests, 300)
      assert.closeTo(summary.routes![0]!.strong / 300, 0.2, 0.05)
      assert.isTrue(summary.steps.every(({ serviceTier }) => serviceTier === "batch"))
      assert.strictEqual(readFileSync(join(folder, "out.jsonl"), "utf8").trim().split("\n").length, 300)
      const booked = summary.cost + Object.values(summary.savings).reduce((sum, saved) => sum + saved, 0n)
      assert.strictEqual(booked, summary.baseline)
      // A doubted answer that was paid is no cache hit when its row is started again.
      assert.strictEqual(summary.savings.cache, 0n)
      assert.isTrue(Schema.is(Schema.BigInt)(summary.cost))
    })
  )
})
