/** What a model takes: settings that it refuses are left out and said once, tools go where they work, judges say what they need. */
import { assert, describe, it } from "@effect/vitest"
import {
  Cache,
  Cascade,
  Endpoint,
  Flow,
  Judge,
  Ledger,
  ModelClient,
  type ModelRequest,
  Plan,
  Retry,
  Runner,
  Sink,
  Source,
  Stack,
  ToLanguageModel
} from "@pipe/core"
import { Anthropic, NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect, Logger, Schema } from "effect"
import { Chat, LanguageModel, Tool, Toolkit } from "effect/ai"
import * as Wire from "./Wire.ts"

const KEY = "sk-test-0123456789abcdef"

const chat = (body: string) => ({
  body: {
    model: JSON.parse(body).model,
    choices: [{ message: { content: "yes" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 9, completion_tokens: 3 }
  }
})

const response = (body: string) => ({
  body: {
    object: "response",
    status: "completed",
    model: JSON.parse(body).model,
    output: [{ type: "message", role: "assistant", content: [{ type: "output_text", text: "yes", annotations: [] }] }],
    usage: { input_tokens: 9, output_tokens: 3, total_tokens: 12 }
  }
})

const both = (body: string) => ("messages" in JSON.parse(body) ? chat(body) : response(body))

const openai = (url: string, options: OpenAi.Options = {}) =>
  OpenAi.layer({ apiKey: KEY, baseUrl: `${url}/v1`, model: "gpt-6-luna", ...options })

/** OpenAI itself, as far as the provider can tell. */
const official = (url: string) =>
  Effect.provideService(Endpoint.Overrides, { openai: { baseUrl: `${url}/v1`, apiKey: KEY } })

/** Runs an effect, and what it warns of. */
const warned = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const said: Array<string> = []
  const logger = Logger.make(({ message }) => void said.push(String(message)))
  return Effect.map(Effect.provide(effect, Logger.layer([logger])), (value) => ({ said, value }))
}

const ask = (settings: ModelRequest.Settings, fields: Partial<ModelRequest.Completion> = {}) =>
  ModelClient.send(Wire.question("Is it?", { settings, ...fields }))

const tool = { name: "look", parameters: { type: "object", properties: {}, additionalProperties: false } }

describe("a setting that a model refuses", () => {
  it.live("is left out, with one line; the rest is sent", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(chat)
      const { said } = yield* warned(
        Wire.over(
          openai(server.url),
          Effect.andThen(
            ask({ temperature: 0, topLogprobs: 2, maxTokens: 100, seed: 7 }),
            ask({ temperature: 0.5, topLogprobs: 1 })
          )
        )
      )
      const [first, second] = server.seen.map(({ body }) => JSON.parse(body))
      assert.deepInclude(first, { max_completion_tokens: 100, seed: 7 })
      for (const body of [first, second])
        for (const name of ["temperature", "logprobs", "top_logprobs"]) assert.notProperty(body, name)
      const about = said.filter((text) => text.includes("gpt-6-luna"))
      assert.lengthOf(about, 2)
      assert.include(
        about.join("\n"),
        'gpt-6-luna does not take temperature, so it is left out; it does with reasoningEffort: "none"'
      )
    }).pipe(Effect.scoped)
  )

  it.live("is sent where the effort is none, and to models of which nothing is known", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(chat)
      yield* Wire.over(openai(server.url), ask({ temperature: 0, reasoningEffort: "none" }))
      yield* Wire.over(openai(server.url, { model: "llama3" }), ask({ temperature: 0, presencePenalty: 1 }))
      yield* Wire.over(openai(server.url, { model: "gpt-4o-mini" }), ask({ temperature: 0, reasoningEffort: "low" }))
      const [none, llama, mini] = server.seen.map(({ body }) => JSON.parse(body))
      assert.deepInclude(none, { temperature: 0, reasoning_effort: "none" })
      assert.deepInclude(llama, { temperature: 0, presence_penalty: 1 })
      assert.strictEqual(mini.temperature, 0)
      assert.notProperty(mini, "reasoning_effort")
    }).pipe(Effect.scoped)
  )

  it.live("is left out for Claude since 4.7, but for the default that it takes", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve((body) => ({
        body: {
          model: JSON.parse(body).model,
          content: [{ type: "text", text: "yes" }],
          stop_reason: "end_turn",
          usage: { input_tokens: 9, output_tokens: 3 }
        }
      }))
      const anthropic = (model: string) => Anthropic.layer({ apiKey: KEY, baseUrl: server.url, model })
      yield* Wire.over(anthropic("claude-haiku-5-5"), ask({ temperature: 0, topP: 0.9 }))
      yield* Wire.over(anthropic("claude-haiku-5-5"), ask({ temperature: 1 }))
      yield* Wire.over(anthropic("claude-haiku-4-5"), ask({ temperature: 0.2, topP: 0.9 }))
      const [refused, standard, older] = server.seen.map(({ body }) => JSON.parse(body))
      assert.notProperty(refused, "temperature")
      assert.notProperty(refused, "top_p")
      assert.strictEqual(standard.temperature, 1)
      assert.strictEqual(older.temperature, 0.2)
      assert.notProperty(older, "top_p")
    }).pipe(Effect.scoped)
  )

  it.live("is part of the cache key all the same: an answer without it is not that of a request with it", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(chat)
      const stack = Stack.make(Cache.layer(), openai(server.url))
      const send = (settings: ModelRequest.Settings) => Effect.provide(ask(settings), stack)
      const effort = { reasoningEffort: "none" }
      yield* Effect.gen(function* () {
        for (const settings of [{}, { temperature: 0 }, { temperature: 0.7 }, { temperature: 0, ...effort }])
          yield* send(settings)
        assert.lengthOf(server.seen, 4)
        for (const settings of [{}, { temperature: 0 }, { temperature: 0.7 }, { temperature: 0, ...effort }])
          yield* send(settings)
        assert.lengthOf(server.seen, 4)
      }).pipe(Effect.provide(NodeHost.layerMemory))
      assert.deepStrictEqual(
        server.seen.map(({ body }) => JSON.parse(body).temperature),
        [undefined, undefined, undefined, 0]
      )
    }).pipe(Effect.scoped)
  )

  it.live("is noted in a plan, and said in a run in batches", () =>
    Effect.gen(function* () {
      const rows = Source.fromIterable("rows", ["a", "b"])
      const step = Flow.step(
        "reply",
        { rows },
        ({ rows }) => Effect.map(LanguageModel.generateText({ prompt: rows }), ({ text }) => text),
        { settings: { temperature: 0 } }
      )
      const flow = Flow.make("left-out", {
        outputs: [Sink.forEach("out", step, () => Effect.void)],
        stack: Stack.make(Ledger.layer, Retry.layer(), OpenAi.layer({ apiKey: KEY, model: "gpt-6-luna" }))
      })
      const plan = yield* Plan.make(flow)
      assert.include(plan.notes?.join("\n"), "reply: gpt-6-luna does not take temperature")
      const { said } = yield* warned(
        Runner.run(flow, { errorsFile: false, batch: { polling: { first: "10 millis" } } })
      )
      assert.lengthOf(
        said.filter((text) => text.includes("does not take temperature")),
        1
      )
    }).pipe(Effect.provide(Simulator.layer({ batches: { latency: 0 } })), Effect.provide(NodeHost.layerMemory))
  )
})

describe("the API of OpenAI", () => {
  it.live("is the responses API for what a model takes there only, and chat completions otherwise", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(both)
      const pathOf = (model: string, settings: ModelRequest.Settings, tools: ReadonlyArray<ModelRequest.Tool> = []) =>
        Effect.map(
          official(server.url)(Wire.over(openai(server.url, { model }), ask(settings, { tools }))),
          ({ error, value }) => {
            assert.isUndefined(error)
            assert.strictEqual((value as { readonly model: string }).model, model)
            return server.seen.at(-1)!.path
          }
        )
      const cases: ReadonlyArray<readonly [string, ModelRequest.Settings, boolean, string]> = [
        ["gpt-6-luna", {}, false, "/v1/chat/completions"],
        ["gpt-6-luna", {}, true, "/v1/responses"],
        ["gpt-6-luna", { reasoningEffort: "none" }, true, "/v1/chat/completions"],
        ["gpt-6-luna", { reasoningEffort: "max" }, false, "/v1/responses"],
        ["gpt-6.1-sol", { reasoningEffort: "low" }, true, "/v1/responses"],
        ["gpt-5.4", {}, true, "/v1/chat/completions"],
        ["gpt-5.4", { reasoningEffort: "high" }, true, "/v1/responses"],
        ["gpt-4o-mini", {}, true, "/v1/chat/completions"],
        // `supported_endpoints` of LiteLLM's table of 2026-11-28.
        ["gpt-5-pro", {}, false, "/v1/responses"],
        ["gpt-5.1-codex-max", {}, false, "/v1/responses"],
        ["o3-pro", {}, false, "/v1/responses"],
        ["o1-pro", {}, false, "/v1/responses"],
        ["gpt-5.4-pro", {}, false, "/v1/responses"],
        ["llama3", {}, true, "/v1/chat/completions"]
      ]
      for (const [model, settings, hasTools, path] of cases)
        assert.strictEqual(
          yield* pathOf(model, settings, hasTools ? [tool] : []),
          path,
          `${model} ${JSON.stringify(settings)} ${hasTools}`
        )
    }).pipe(Effect.scoped)
  )

  it.live("leaves out what responses do not have where they were chosen, and refuses it where the author did", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(both)
      const { said, value } = yield* warned(
        official(server.url)(Wire.over(openai(server.url), ask({ seed: 1, stop: ["."] }, { tools: [tool] })))
      )
      assert.isUndefined(value.error)
      assert.notProperty(JSON.parse(server.seen[0]!.body), "seed")
      assert.include(said.join("\n"), "gpt-6-luna is called without stop: the responses API")
      const chosen = yield* Wire.over(openai(server.url, { api: "responses" }), ask({ seed: 1 }))
      assert.include(String(chosen.error), "the responses API has no seed")
    }).pipe(Effect.scoped)
  )

  it.live("is chat completions at a gateway, which may have no other", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve((body) =>
        "messages" in JSON.parse(body) ? chat(body) : { status: 404, body: { error: { message: "no such route" } } }
      )
      const { error } = yield* Wire.over(openai(server.url, { model: "gpt-5.5" }), ask({}, { tools: [tool] }))
      assert.isUndefined(error)
      assert.strictEqual(server.seen[0]!.path, "/v1/chat/completions")
    }).pipe(Effect.scoped)
  )

  it.live("refuses options that pass by a limit, whichever API they would go to", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve(both)
      for (const tools of [[], [tool]])
        for (const name of ["max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of"]) {
          const { error } = yield* official(server.url)(
            Wire.over(
              openai(server.url),
              ask({ maxTokens: 20 }, { tools, providerOptions: { openai: { [name]: 9_000 } } })
            )
          )
          assert.include(String(error), name)
        }
      assert.lengthOf(server.seen, 0)
    }).pipe(Effect.scoped)
  )

  it.live("stays the responses API for a conversation with its thinking", () =>
    Effect.gen(function* () {
      const server = yield* Wire.serve((body) =>
        "messages" in JSON.parse(body) || JSON.parse(body).tools === undefined
          ? both(body)
          : {
              body: {
                object: "response",
                status: "completed",
                model: "gpt-6-luna",
                output: [
                  { type: "reasoning", id: "rs_1", encrypted_content: "ENC", summary: [] },
                  { type: "function_call", id: "fc_1", call_id: "call_1", name: "look", arguments: '{"word":"bee"}' }
                ],
                usage: { input_tokens: 9, output_tokens: 3, total_tokens: 12 }
              }
            }
      )
      const Look = Tool.make("look", { parameters: Schema.Struct({ word: Schema.String }), success: Schema.String })
      const toolkit = Toolkit.make(Look)
      const turns = Effect.gen(function* () {
        const model = yield* Effect.flatMap(ModelClient.ModelClient, ToLanguageModel.make)
        const conversation = yield* Chat.fromPrompt("Look it up")
        yield* conversation
          .generateText({ prompt: [], toolkit: yield* toolkit })
          .pipe(Effect.provideService(LanguageModel.LanguageModel, model))
        return yield* conversation
          .generateText({ prompt: "Now answer." })
          .pipe(Effect.provideService(LanguageModel.LanguageModel, model))
      }).pipe(Effect.provide(toolkit.toLayer({ look: () => Effect.succeed("found") }))) as Effect.Effect<
        unknown,
        never,
        ModelClient.ModelClient
      >
      const { error } = yield* official(server.url)(Wire.over(openai(server.url), turns))
      assert.isUndefined(error)
      assert.deepStrictEqual(
        server.seen.map(({ path }) => path),
        ["/v1/responses", "/v1/responses"]
      )
      assert.include(server.seen[1]!.body, "ENC")
      // Where chat completions were chosen, that thinking is not sent: they have no field for it.
      const other = yield* Wire.over(openai(server.url, { api: "chat" }), turns)
      assert.isDefined(other)
      for (const { body, path } of server.seen.slice(2)) {
        assert.strictEqual(path, "/v1/chat/completions")
        assert.notInclude(body, "encrypted_content")
      }
    }).pipe(Effect.scoped)
  )

  it.live("calls tools of a model that thinks, to the end of their loop", () =>
    Effect.gen(function* () {
      const Look = Tool.make("look", { parameters: Schema.Struct({ word: Schema.String }), success: Schema.String })
      const toolkit = Toolkit.make(Look)
      const loop = Effect.gen(function* () {
        const model = yield* Effect.flatMap(ModelClient.ModelClient, ToLanguageModel.make)
        const tools = yield* toolkit
        const conversation = yield* Chat.fromPrompt("Look it up")
        for (let turn = 0; turn < 3; turn++) {
          const answer = yield* conversation
            .generateText({ prompt: [], toolkit: tools })
            .pipe(Effect.provideService(LanguageModel.LanguageModel, model))
          if (answer.toolCalls.length === 0) return answer.text
        }
        return "no end"
      }).pipe(Effect.provide(toolkit.toLayer({ look: () => Effect.succeed("found") }))) as Effect.Effect<
        string,
        never,
        ModelClient.ModelClient
      >
      const simulator = yield* Simulator.start({ seed: "tools" })
      for (const stream of [false, true]) {
        const { value } = yield* Wire.over(
          OpenAi.layer({ apiKey: KEY, baseUrl: simulator.openAiUrl, model: "gpt-6-luna", stream }),
          loop
        )
        assert.isString(value)
        assert.notStrictEqual(value, "no end")
      }
      assert.strictEqual(simulator.requests(), 4)
    }).pipe(Effect.scoped)
  )
})

describe("a judge that cannot work on a model", () => {
  const rows = Source.fromIterable("rows", ["a", "b"])
  const flowOf = (judge: Judge.Judge, models: readonly [string, string], settings: ModelRequest.Settings = {}) => {
    const step = Flow.step(
      "reply",
      { rows },
      ({ rows }) => Effect.map(LanguageModel.generateText({ prompt: rows }), ({ text }) => text),
      { settings }
    )
    return Flow.make("judged", {
      outputs: [Sink.forEach("out", step, () => Effect.void)],
      stack: Stack.make(
        Ledger.layer,
        Cascade.layer({ models, judges: [judge] }),
        Retry.layer(),
        OpenAi.layer({ apiKey: KEY })
      )
    })
  }

  it.live("says so before the run, with the way out; and works where it can", () =>
    Effect.gen(function* () {
      const luna = ["gpt-6-luna", "gpt-4o"] as const
      const refused = flowOf(Judge.logprobs(), luna)
      for (const attempt of [Runner.run(refused, { errorsFile: false }), Plan.make(refused), Plan.check(refused)]) {
        const error = yield* Effect.flip(attempt as Effect.Effect<unknown, { readonly message: string }, Flow.Host>)
        assert.strictEqual(
          error.message,
          'step reply: the judge logprobs cannot work on gpt-6-luna, which does not take topLogprobs while it thinks: use Judge.decision or Judge.agreement, or set reasoningEffort: "none"'
        )
      }
      const without = yield* Effect.flip(
        Runner.run(flowOf(Judge.decision({ model: "gpt-4o-mini" }), ["gpt-4o-mini", "gpt-4o"]), { errorsFile: false })
      )
      assert.include(
        String(without),
        "the judge decision needs the probability of a decision, and gpt-4o-mini gives none"
      )
      for (const flow of [
        flowOf(Judge.logprobs(), luna, { reasoningEffort: "none" }),
        flowOf(Judge.logprobs(), ["gpt-4o-mini", "gpt-4o"]),
        flowOf(Judge.agreement(), luna),
        flowOf(Judge.decision({ model: "gpt-6-luna" }), luna)
      ]) {
        const summary = yield* Runner.run(flow, { errorsFile: false })
        assert.strictEqual(summary.rows.failed, 0)
      }
    }).pipe(Effect.provide(Simulator.layer({ seed: "judges" })), Effect.provide(NodeHost.layerMemory))
  )
})
