/** Loops over tools as a step writes them: what came with a call goes back with it, and a call that cannot be made is said in words. */
import { assert, describe, it } from "@effect/vitest"
import { Flow, Ledger, ModelClient, ModelFailure, Plan, Runner, Sink, Source, Stack, ToLanguageModel } from "@pipe/core"
import { NodeHost } from "@pipe/plugins"
import { Effect, Layer, Schema } from "effect"
import { Chat, LanguageModel, Tool, Toolkit } from "effect/ai"
import type { Retry } from "@pipe/core"
import * as Apis from "./Apis.ts"
import * as Wire from "./Wire.ts"

const Weather = Tool.make("weather", {
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.String
})
const Now = Tool.make("now", { success: Schema.String })
const tools = Toolkit.make(Weather, Now)
const handlers = tools.toLayer({
  weather: ({ city }) => Effect.succeed(`sunny in ${city}`),
  now: () => Effect.succeed("noon")
})

/** A loop of at most three turns, as the guide has it. */
const loop = Effect.gen(function* () {
  const model = yield* Effect.flatMap(ModelClient.ModelClient, ToLanguageModel.make)
  const toolkit = yield* tools
  const chat = yield* Chat.fromPrompt("What is the weather in Oslo?")
  for (let turn = 0; turn < 3; turn++) {
    const response = yield* chat
      .generateText({ prompt: [], toolkit })
      .pipe(Effect.provideService(LanguageModel.LanguageModel, model))
    if (response.toolCalls.length === 0) return response.text
  }
  return "no end"
}).pipe(Effect.provide(handlers)) as Effect.Effect<string, never, ModelClient.ModelClient>

type Json = { readonly [name: string]: unknown }
const chat = (message: Json, finish = "stop") => ({
  id: "1",
  object: "chat.completion",
  created: 0,
  model: "gpt-4o-mini",
  choices: [{ index: 0, message: { role: "assistant", content: null, ...message }, finish_reason: finish }],
  usage: { prompt_tokens: 12, completion_tokens: 4, total_tokens: 16 }
})
const call = (more: Json = {}, args = '{"city":"Oslo"}', name = "weather") => ({
  id: "c1",
  type: "function",
  function: { name, arguments: args },
  ...more
})
const message = (content: ReadonlyArray<Json>, stop = "end_turn") => ({
  id: "1",
  type: "message",
  role: "assistant",
  model: "claude-sonnet-4-6",
  content,
  stop_reason: stop,
  stop_sequence: null,
  usage: { input_tokens: 12, output_tokens: 4 }
})
const response = (output: ReadonlyArray<Json>) => ({
  id: "1",
  object: "response",
  created_at: 0,
  status: "completed",
  model: "gpt-4o-mini",
  output,
  usage: { input_tokens: 12, output_tokens: 4, total_tokens: 16 }
})

const last: { readonly [A in Apis.Api]: object } = {
  chat: chat({ content: "It is sunny." }),
  responses: response([
    {
      id: "m",
      type: "message",
      role: "assistant",
      status: "completed",
      content: [{ type: "output_text", text: "It is sunny.", annotations: [] }]
    }
  ]),
  messages: message([{ type: "text", text: "It is sunny." }])
}

interface Turn {
  readonly id: string
  readonly what: string
  readonly api: Apis.Api
  readonly first: object
  /** What the second request holds, as JSON. */
  readonly sent: ReadonlyArray<Json>
}

const thinking = { type: "thinking", thinking: "I look it up.", signature: "SIG" }
const use = { type: "tool_use", id: "c1", name: "weather", input: { city: "Oslo" } }
const details = [{ type: "reasoning.encrypted", data: "ENC", id: "r1", format: "google-gemini-v1", index: 0 }]

const turns: ReadonlyArray<Turn> = [
  {
    id: "tool-01",
    what: "thinking and its signature",
    api: "messages",
    first: message([thinking, use], "tool_use"),
    sent: [thinking, use]
  },
  {
    id: "tool-01-x",
    what: "thinking that is redacted",
    api: "messages",
    first: message([{ type: "redacted_thinking", data: "RED" }, use], "tool_use"),
    sent: [{ type: "redacted_thinking", data: "RED" }, use]
  },
  {
    id: "tool-02",
    what: "the thought signature of a call (Gemini)",
    api: "chat",
    first: chat({ tool_calls: [call({ extra_content: { google: { thought_signature: "SIG" } } })] }, "tool_calls"),
    sent: [{ google: { thought_signature: "SIG" } }]
  },
  {
    id: "tool-02-n1",
    what: "reasoning_content (DeepSeek)",
    api: "chat",
    first: chat({ reasoning_content: "I look it up.", tool_calls: [call()] }, "tool_calls"),
    sent: [{ reasoning_content: "I look it up." }]
  },
  {
    id: "tool-02-n2",
    what: "reasoning_details (OpenRouter)",
    api: "chat",
    first: chat({ reasoning: "I look it up.", reasoning_details: details, tool_calls: [call()] }, "tool_calls"),
    sent: [{ reasoning_details: details }]
  },
  {
    id: "tool-02-x",
    what: "encrypted reasoning (Responses)",
    api: "responses",
    first: response([
      { id: "rs_1", type: "reasoning", summary: [], encrypted_content: "ENC" },
      {
        id: "fc_1",
        type: "function_call",
        call_id: "c1",
        name: "weather",
        arguments: '{"city":"Oslo"}',
        status: "completed"
      }
    ]),
    sent: [{ id: "rs_1", encrypted_content: "ENC", type: "reasoning" }]
  }
]

/** Whether a value holds the fields of another, at any depth. */
const holds = (value: unknown, wanted: Json): boolean => {
  if (typeof value !== "object" || value === null) return false
  const own = value as Json
  if (Object.entries(wanted).every(([name, field]) => JSON.stringify(own[name]) === JSON.stringify(field))) return true
  return Object.values(value).some((inner) => holds(inner, wanted))
}

const run = (api: Apis.Api, way: Apis.Way, replies: ReadonlyArray<object>, retry: Retry.Options = { attempts: 1 }) =>
  Effect.gen(function* () {
    const server = yield* Wire.serve((_, index) =>
      Apis.replyOf(api, replies[Math.min(index, replies.length - 1)]!, way)
    )
    const outcome = yield* Wire.over(Apis.layerOf(api, Apis.baseOf(api, server.url), way), loop, retry)
    return { ...outcome, bodies: server.seen.map(({ body }) => JSON.parse(body) as Json) }
  })

for (const way of Apis.ways) {
  describe(Apis.nameOf(way), () => {
    for (const { api, first, id, sent, what } of turns) {
      it.live(`${id}: ${what} goes back with the call`, () =>
        Effect.scoped(
          Effect.gen(function* () {
            const { bodies, error, value } = yield* run(api, way, [first, last[api]])
            assert.strictEqual(value, "It is sunny.", String(error))
            assert.strictEqual(bodies.length, 2)
            for (const wanted of sent) assert.isTrue(holds(bodies[1], wanted), JSON.stringify(bodies[1]))
            assert.isTrue(JSON.stringify(bodies[1]).includes("sunny in Oslo"))
          })
        )
      )
    }

    it.live("tool-01: thinking comes before the call that it led to", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { bodies } = yield* run("messages", way, [message([thinking, use], "tool_use"), last.messages])
          const messages = bodies[1]!["messages"] as ReadonlyArray<{ role: string; content: ReadonlyArray<Json> }>
          assert.deepStrictEqual(
            messages[1]!.content.map((block) => block["type"]),
            ["thinking", "tool_use"]
          )
        })
      )
    )

    const wrong: ReadonlyArray<readonly [id: string, what: string, call: Json, says: string]> = [
      [
        "tool-03",
        "arguments that are broken JSON",
        call({}, '{"city":"Oslo"'),
        "the arguments of the tool weather are not JSON"
      ],
      [
        "tool-03-x1",
        "arguments that do not fit",
        call({}, '{"town":"Oslo"}'),
        "the arguments of the tool weather do not fit"
      ],
      [
        "tool-03-n1",
        "a tool that does not exist",
        call({}, "{}", "wether"),
        'there is no tool "wether": there is weather, now'
      ]
    ]
    for (const [id, what, odd, says] of wrong) {
      it.live(`${id}: ${what} is one short failure that names the tool, or is requested again`, () =>
        Effect.scoped(
          Effect.gen(function* () {
            const first = chat({ tool_calls: [odd] }, "tool_calls")
            const failed = yield* run("chat", way, [first])
            assert.isUndefined(failed.value)
            assert.include(ModelFailure.message(failed.error!), says)
            assert.isBelow(ModelFailure.message(failed.error!).length, 300)
            const again = yield* run("chat", way, [first, last.chat], { reasks: 1 })
            assert.strictEqual(again.value, "It is sunny.", String(again.error))
            assert.include(JSON.stringify(again.bodies[1]), JSON.stringify(says).slice(1, -1))
            assert.strictEqual(again.sums.attempts, 2)
          })
        )
      )
    }

    it.live("tool-03-x2: different wrong calls are requested again, and the model is shown what it called", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const wrongly = (odd: Json) => chat({ tool_calls: [odd] }, "tool_calls")
          const replies = [wrongly(call({}, "{}", "wether")), wrongly(call({}, '{"town":"Oslo"}')), last.chat]
          const { bodies, error, value } = yield* run("chat", way, replies, { reasks: 3 })
          assert.strictEqual(value, "It is sunny.", String(error))
          assert.include(JSON.stringify(bodies[1]), "wether")
          assert.include(JSON.stringify(bodies[2]), "town")
        })
      )
    )

    it.live("tool-05: a blank answer does not go back to Anthropic", () =>
      Effect.scoped(
        Effect.gen(function* () {
          for (const blank of ["\n\n", " ", "\u00a0"]) {
            const first = message([{ type: "text", text: blank }, use], "tool_use")
            const { bodies, error, value } = yield* run("messages", way, [first, last.messages])
            assert.strictEqual(value, "It is sunny.", String(error))
            const sent = bodies[1]!["messages"] as ReadonlyArray<{ content: ReadonlyArray<Json> }>
            assert.isFalse(sent[1]!.content.some(({ type }) => type === "text"))
          }
        })
      )
    )

    it.live("half of a surrogate pair in arguments goes back as a replacement character", () =>
      Effect.scoped(
        Effect.gen(function* () {
          for (const api of ["chat", "responses"] as const) {
            const args = '{"city":"z\\ud800"}'
            const first =
              api === "chat"
                ? chat({ tool_calls: [call({}, args)] }, "tool_calls")
                : response([
                    {
                      id: "f",
                      type: "function_call",
                      call_id: "c1",
                      name: "weather",
                      arguments: args,
                      status: "completed"
                    }
                  ])
            const { bodies, error } = yield* run(api, way, [first, last[api]])
            assert.strictEqual(bodies.length, 2, String(error))
            assert.notMatch(JSON.stringify(bodies[1]), /ud800/i)
          }
        })
      )
    )

    it.live('tool-06: arguments "" of a tool without parameters are none', () =>
      Effect.scoped(
        Effect.gen(function* () {
          const first = chat({ tool_calls: [call({}, "", "now")] }, "tool_calls")
          const { bodies, error, value } = yield* run("chat", way, [first, last.chat])
          assert.strictEqual(value, "It is sunny.", String(error))
          assert.include(JSON.stringify(bodies[1]), "noon")
        })
      )
    )
  })
}

describe("the plan of a loop over tools", () => {
  it.live("counts the calls and tokens a row that earlier runs have made", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Wire.serve((body) => {
          const turns = (JSON.parse(body) as { messages: ReadonlyArray<{ role: string }> }).messages.filter(
            ({ role }) => role === "tool"
          ).length
          const answer = turns < 2 ? chat({ tool_calls: [call()] }, "tool_calls") : last.chat
          return {
            body: {
              ...answer,
              usage: { prompt_tokens: 100 + 50 * turns, completion_tokens: 20, total_tokens: 120 + 50 * turns }
            }
          }
        })
        const flow = (rows: number) => {
          const row = Source.fromIterable(
            "row",
            Array.from({ length: rows }, (_, at) => at)
          )
          const answer = Flow.step("answer", { row }, ({ row }) =>
            Effect.gen(function* () {
              const toolkit = yield* tools
              const chat = yield* Chat.fromPrompt(`row ${row}`)
              for (let turn = 0; turn < 5; turn++) {
                const response = yield* chat.generateText({ prompt: [], toolkit })
                if (response.toolCalls.length === 0) return response.text
              }
              return "no end"
            }).pipe(Effect.provide(handlers))
          )
          return Flow.make("loop", {
            outputs: [Sink.forEach("out", answer, () => Effect.void)],
            stack: Stack.make(Ledger.layer, Apis.layerOf("chat", Apis.baseOf("chat", server.url), Apis.ways[0]!))
          })
        }
        const host = Layer.succeedContext(yield* Layer.build(NodeHost.layerMemory))
        const first = yield* Effect.provide(Plan.make(flow(4)), host)
        assert.strictEqual(first.lines[0]!.calls, 4)
        assert.match(String(first.notes), /only the run shows/)
        yield* Effect.provide(Runner.run(flow(4), { errorsFile: false }), host)
        const sent = server.seen.length
        const plan = yield* Effect.provide(Plan.make(flow(14)), host)
        const summary = yield* Effect.provide(Runner.run(flow(14), { errorsFile: false }), host)
        assert.strictEqual(plan.lines[0]!.calls, server.seen.length - sent)
        assert.strictEqual(plan.lines[0]!.inputTokens, summary.tokens.uncachedInput)
        assert.strictEqual(plan.cost.expected, summary.cost)
      })
    )
  )
})
