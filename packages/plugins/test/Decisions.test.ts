/** Decisions: what is sent and read, by the decisions API of OpenAI and by completions, and what every layer makes of them. */
import { assert, describe, it } from "@effect/vitest"
import {
  Cache,
  Flow,
  Judge,
  Ledger,
  ModelClient,
  ModelFailure,
  ModelRequest,
  type ModelResponse,
  Money,
  Plan,
  Retry,
  Runner,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import { TestFlow, TestModel } from "@pipe/core/testing"
import { Anthropic, NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect, type Layer, Schema } from "effect"
import { Decision, DecisionModel } from "effect/ai"
import type { DecisionCreateParams, Decision as WireDecision } from "openai/resources/decisions"
import * as Wire from "./Wire.ts"

const KEY = "sk-test-0123456789abcdef"

const request = ModelRequest.decision({
  state: { text: "My card was charged twice." },
  questions: [
    { type: "predicate", name: "urgent", instructions: "It needs an answer today." },
    {
      type: "choice",
      name: "team",
      instructions: "Which team?",
      choices: [{ value: "billing", description: "payments" }, { value: "cards" }]
    },
    { type: "score", name: "anger", instructions: "How angry?", levels: [{ label: "calm" }, { label: "angry" }] }
  ]
})

/** As the API's own types have it. */
const answered: WireDecision = {
  model: "gpt-6-luna-2026-10-01",
  answers: [
    { type: "predicate", name: "urgent", probability: 0.75 },
    {
      type: "choice",
      name: "team",
      choice: "billing",
      confidence: 0.9,
      probabilities: [
        { value: "billing", probability: 0.9 },
        { value: "cards", probability: 0.1 }
      ]
    },
    {
      type: "score",
      name: "anger",
      score: 0.4,
      confidence: 0.6,
      probabilities: [
        { label: "calm", value: 0, probability: 0.6 },
        { label: "angry", value: 1, probability: 0.4 }
      ]
    }
  ],
  usage: {
    input_tokens: 120,
    input_tokens_details: { cached_tokens: 20, cache_write_tokens: 0 },
    output_tokens: 6,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 126
  }
}

const openai = (url: string, options: OpenAi.Options = {}) =>
  OpenAi.layer({ apiKey: KEY, baseUrl: `${url}/v1`, model: "gpt-6-luna", decisions: true, ...options })

describe("the decisions API", () => {
  it.live("receives the questions as its types have them, and gives a probability for each option", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => ({ body: answered }))
      const { sums, value } = yield* Wire.over(openai(server.url), ModelClient.send(request))
      const body: DecisionCreateParams = JSON.parse(server.seen[0]!.body)
      assert.strictEqual(server.seen[0]!.path, "/v1/decisions")
      assert.deepStrictEqual(body, {
        model: "gpt-6-luna",
        input: '{"text":"My card was charged twice."}',
        questions: [
          { type: "predicate", name: "urgent", instructions: "It needs an answer today." },
          {
            type: "choice",
            name: "team",
            instructions: "Which team?",
            choices: [{ value: "billing", description: "payments" }, { value: "cards" }]
          },
          { type: "score", name: "anger", instructions: "How angry?", levels: [{ label: "calm" }, { label: "angry" }] }
        ]
      })
      assert.deepStrictEqual<unknown>(
        { ...value!.answers },
        {
          urgent: { type: "predicate", value: true, probability: 0.75 },
          team: {
            type: "choice",
            value: "billing",
            probabilities: { billing: 0.9, cards: 0.1 },
            confidence: 0.9
          },
          anger: { type: "score", value: 0.4, probabilities: { calm: 0.6, angry: 0.4 }, confidence: 0.6 }
        }
      )
      assert.isUndefined(value!.by)
      assert.deepInclude(value!.usage, { uncachedInput: 100, cacheRead: 20, output: 6 })
      assert.strictEqual(sums.attempts, 1)
    }).pipe(Effect.scoped)
  )

  it.live("is used at OpenAI for the models that it takes; a completion answers others, without probabilities", () =>
    Effect.gen(function* () {
      const answer = '{"urgent":true,"team":"cards","anger":"angry"}'
      const server = yield* Wire.serve((body) => ({
        body: body.includes('"questions"')
          ? answered
          : {
              model: "gpt-4o-mini",
              choices: [{ message: { content: answer }, finish_reason: "stop" }],
              usage: { prompt_tokens: 90, completion_tokens: 12 }
            }
      }))
      for (const provider of [
        openai(server.url, { decisions: false }),
        // Another address than OpenAI's may have a model of any name.
        OpenAi.layer({ apiKey: KEY, baseUrl: `${server.url}/v1`, model: "gpt-6-luna" })
      ]) {
        const { sums, value } = yield* Wire.over(provider, ModelClient.send(request))
        assert.strictEqual(server.seen.at(-1)!.path, "/v1/chat/completions")
        assert.deepStrictEqual<unknown>(
          { ...value!.answers },
          {
            urgent: { type: "predicate", value: true },
            team: { type: "choice", value: "cards" },
            anger: { type: "score", value: 1 }
          }
        )
        assert.strictEqual(value!.by, "completion")
        assert.strictEqual(sums.attempts, 1)
      }
      const body = JSON.parse(server.seen[0]!.body)
      assert.deepStrictEqual(body.response_format.json_schema.schema.properties.team.enum, ["billing", "cards"])
    }).pipe(Effect.scoped)
  )

  it.live("fails a call whose answer is none, at what it has cost", () =>
    Effect.gen(function* () {
      const broken: ReadonlyArray<readonly [change: (answer: Record<string, unknown>) => unknown, says: RegExp]> = [
        [() => [], /answer to each of 3 questions: it has 0/],
        [(first) => [{ ...first, probability: 1.5 }, ...answered.answers.slice(1)], /question urgent at answers\[0\]/],
        [(first) => [{ ...first, type: "choice" }, ...answered.answers.slice(1)], /question urgent/],
        [(first) => [first, { ...answered.answers[1], choice: "sales" }, answered.answers[2]], /question team/],
        [(first) => [first, { ...answered.answers[1], probabilities: [] }, answered.answers[2]], /question team/],
        [(first) => [first, answered.answers[1], { ...answered.answers[2], score: 7 }], /question anger/]
      ]
      for (const [change, says] of broken) {
        const answers = change({ ...answered.answers[0] })
        const server = yield* Wire.serve(() => ({ body: { ...answered, answers } }))
        const { error, sums } = yield* Wire.over(openai(server.url), ModelClient.send(request))
        assert.match(ModelFailure.message(error!), says)
        assert.strictEqual(sums.attempts, 1)
      }
      const wrong = yield* Wire.serve(() => ({
        body: {
          model: "m",
          choices: [{ message: { content: '{"urgent":"yes"}' }, finish_reason: "stop" }],
          usage: { prompt_tokens: 9, completion_tokens: 3 }
        }
      }))
      const { error } = yield* Wire.over(openai(wrong.url, { decisions: false }), ModelClient.send(request))
      assert.match(ModelFailure.message(error!), /none of the answers that question urgent allows/)
      assert.strictEqual(ModelFailure.usageOf(error!)?.output, 3)
    }).pipe(Effect.scoped)
  )
})

const question = Source.fromIterable("question", ["Where is my card?", "I was charged twice!", "Where is my card?"])

const intent = Flow.decide(
  "intent",
  { question },
  { instructions: "What is the intent?", options: ["card_arrival", "charged_twice"] }
)

const flowOf = <E, R extends Flow.Host>(
  node: Parameters<typeof Sink.forEach>[1],
  provider: Layer.Layer<ModelClient.ModelClient, E, R>,
  out: Array<unknown> = []
) =>
  Flow.make("decided", {
    outputs: [
      Sink.forEach("out", node as { readonly it: typeof intent }, (row) => Effect.sync(() => void out.push(row.it)))
    ],
    stack: Stack.make(Ledger.layer, Cache.layer(), Retry.layer({ base: 1 }), provider as ReturnType<typeof openai>),
    prices: { "gpt-6-luna": { input: 0.1, output: 0 } }
  })

describe("Flow.decide", () => {
  it.live("gives value and probability, several questions in one call", () =>
    Effect.gen(function* () {
      const model = TestModel.make(({ values }) =>
        (values["question"] as string).includes("twice")
          ? { decision: "charged_twice", urgent: 0.8, anger: "angry" }
          : { decision: "card_arrival", urgent: false, anger: "calm" }
      )
      const triage = Flow.decide(
        "triage",
        { question, intent },
        {
          state: ({ intent, question }) => ({ question, intent: intent.value }),
          questions: {
            urgent: { instructions: "It needs an answer today." },
            anger: { instructions: "How angry?", levels: { calm: "no", angry: null } }
          }
        }
      )
      const run = yield* TestFlow.run(flowOf({ it: triage }, openai("http://127.0.0.1:9")), { model })
      assert.deepStrictEqual(run.failed, [])
      assert.deepStrictEqual<unknown>(run.rows(intent)[1], {
        value: "charged_twice",
        probability: 1,
        probabilities: { card_arrival: 0, charged_twice: 1 }
      })
      assert.deepStrictEqual<unknown>(run.rows(triage)[1], {
        urgent: { value: true, probability: 0.8 },
        anger: { value: 1, level: "angry", probability: 1 }
      })
      assert.deepStrictEqual<unknown>(run.rows(triage)[0]!.urgent, { value: false, probability: 0 })
      // The third row asks what the first one asks.
      assert.strictEqual(model.calls().length, 4)
      const sent = model.calls().find(({ step }) => step === "triage")!.request as ModelRequest.Decision
      assert.deepStrictEqual(sent.state, { question: "Where is my card?", intent: "card_arrival" })
    })
  )

  it.live("is counted in a plan, priced as the provider bills it, kept, and found again when it means the same", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ seed: "decisions" })
      const provider = openai(simulator.openAiUrl.replace(/\/v1$/, ""))
      const flow = flowOf({ it: intent }, provider)
      const plan = yield* Plan.make(flow)
      assert.deepInclude(plan.lines[0]!, { step: "intent", model: "gpt-6-luna", calls: 2 })
      const first = yield* Runner.run(flow, { errorsFile: false })
      assert.strictEqual(first.calls.attempts, 2)
      // 0.1 USD per million tokens of input, none of output.
      const [bill] = simulator.bill()
      assert.strictEqual(first.cost, 100_000n * BigInt(bill!.input))
      // A plan counts input by an estimate.
      assert.approximately(Number(plan.cost.expected), Number(first.cost), 0.1 * Number(first.cost))
      const again = yield* Runner.run(flow, { errorsFile: false })
      assert.strictEqual(again.calls.attempts, 0)
      const other = Flow.decide(
        "intent",
        { question },
        { instructions: "What is the intent?", options: ["card_arrival", "charged_twice", "top_up"] }
      )
      assert.strictEqual((yield* Runner.run(flowOf({ it: other }, provider), { errorsFile: false })).calls.attempts, 2)
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("is not paid beyond a budget", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator.start({ seed: "decisions" })
      const rows = Source.fromIterable(
        "question",
        Array.from({ length: 64 }, (_, at) => `Where is card ${at}?`)
      )
      const node = Flow.decide("intent", { question: rows }, { instructions: "Intent?", options: ["a", "b"] })
      const flow = flowOf({ it: node }, openai(simulator.openAiUrl.replace(/\/v1$/, "")))
      const cap = Money.fromUsd("0.0002")
      const error = yield* Effect.flip(Runner.run(flow, { errorsFile: false, budget: { usd: "0.0002" } }))
      assert.strictEqual(error._tag, "RunFailed")
      const [bill] = simulator.bill()
      assert.isAbove(bill!.answers, 5)
      assert.isAtMost(Number(100_000n * BigInt(bill!.input)), Number(cap._tag === "Some" ? cap.value : 0n))
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("fails the row of a refusal, and a question that no model can answer when the flow is made", () =>
    Effect.gen(function* () {
      const refused = { ...answered, answers: [{ type: "refusal" as const, name: "decision" }] }
      const server = yield* Wire.serve(() => ({ body: refused }))
      const summary = yield* Runner.run(flowOf({ it: intent }, openai(server.url)), { errorsFile: false })
      assert.strictEqual(summary.rows.failed, 3)
      const untyped = Flow.decide as unknown as (...args: ReadonlyArray<unknown>) => unknown
      // A flow runs without its types being checked.
      for (const [args, words] of [
        [[() => ({ instructions: "Which?" })], "third argument is an object"],
        [[{ instructions: " " }], "needs instructions"],
        [[{ options: ["a", "b"] }], "needs instructions"],
        [[{ instructions: "?", options: ["a", "b"], levels: ["c", "d"] }], "options and levels"],
        [[{ instructions: "?" }, { model: "gpt-4o-mini" }], "third argument"]
      ] as const)
        assert.throws(() => untyped("d", { question }, ...args), words)
      const make = (options: ReadonlyArray<string>) => Flow.decide("d", { question }, { instructions: "?", options })
      for (const options of [[], ["a"], ["a", "a"]])
        assert.throws(() => make(options), "needs 2 to 255 different options")
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )

  it.live("is answered by a provider without decisions", () =>
    Effect.gen(function* () {
      const out: Array<{ readonly value: string; readonly probability: number | undefined }> = []
      const flow = flowOf({ it: intent }, Anthropic.layer({ apiKey: KEY, model: "claude-haiku-4-5" }), out)
      const summary = yield* Runner.run(flow, { errorsFile: false }).pipe(
        Effect.provide(Simulator.layer({ seed: "decisions" }))
      )
      assert.strictEqual(summary.rows.failed, 0)
      assert.lengthOf(out, 3)
      for (const { probability, value } of out) {
        assert.include(["card_arrival", "charged_twice"], value)
        assert.isUndefined(probability)
      }
    }).pipe(Effect.provide(NodeHost.layerMemory))
  )
})

describe("effect/ai's DecisionModel", () => {
  const Triage = Decision.make({
    input: Schema.Struct({ text: Schema.String }),
    decisions: {
      urgent: Decision.probability({ instructions: "It needs an answer today." }),
      team: Decision.classify({ instructions: "Which team?", criteria: { billing: "payments", cards: null } }),
      anger: Decision.rate({ instructions: "How angry?", criteria: ["calm", "angry"] })
    }
  })

  it.live("is that of the flow's stack", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(() => ({ body: answered }))
      const text = Source.fromIterable("text", ["My card was charged twice."])
      const step = Flow.step("triage", { text }, ({ text }) =>
        Effect.map(DecisionModel.decide(Triage, { input: { text } }), ({ answers, usage }) => ({
          ...answers,
          tokens: usage.inputTokens
        }))
      )
      const out: Array<Record<string, unknown>> = []
      yield* Runner.run(flowOf({ it: step as unknown as typeof intent }, openai(server.url), out), {
        errorsFile: false
      })
      assert.deepInclude(out[0], { tokens: 120 })
      assert.strictEqual((out[0]!["team"] as { label: string }).label, "billing")
      assert.strictEqual((out[0]!["anger"] as { label: string }).label, "calm")
      assert.deepStrictEqual({ ...(out[0]!["urgent"] as object) }, { probability: 0.75 })
    }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
  )
})

describe("Judge.decision", () => {
  it.effect("is the probability that an answer is right", () =>
    Effect.gen(function* () {
      const judge = Judge.decision({ model: "gpt-6-luna" })
      const completion = Wire.question("What is 2 + 2?")
      const sent: Array<ModelRequest.ModelRequest> = []
      const answersOf = (probability: number | undefined): ModelResponse.DecisionResponse => ({
        _tag: "DecisionResponse",
        provider: "openai",
        model: "gpt-6-luna",
        requestedModel: "gpt-6-luna",
        origin: "provider",
        answers: { right: { type: "predicate", value: true, ...(probability === undefined ? {} : { probability }) } }
      })
      const facts = (probability: number | undefined) =>
        judge.answer!({
          request: completion,
          response: {} as ModelResponse.CompletionResponse,
          text: "4",
          keyOf: (text) => text,
          send: ((request: ModelRequest.ModelRequest) => {
            sent.push(request)
            return Effect.succeed(answersOf(probability))
          }) as ModelClient.Send
        })
      assert.deepStrictEqual(yield* facts(0.93), { decision: 0.93 })
      assert.deepStrictEqual(yield* facts(undefined), {})
      assert.deepInclude(sent[0]!, { model: "gpt-6-luna", state: { task: "What is 2 + 2?", answer: "4" } })
      assert.deepStrictEqual(judge.asks!(completion)[0]!._tag, "Decision")
    })
  )
})
