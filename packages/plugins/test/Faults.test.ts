/** Faults that were found by use, by their ids: prices, counts, re-asks and what goes out. */
import { assert, describe, it } from "@effect/vitest"
import { Budget, Flow, Ledger, ModelClient, ModelResponse, Plan, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { Anthropic, NodeHost, OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
import { existsSync, mkdtempSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Streamed from "./Streamed.ts"
import * as Wire from "./Wire.ts"

type Json = Streamed.Json

const completion = (model: string, usage: object | undefined, content: unknown = "ok"): Json => ({
  id: "1",
  object: "chat.completion",
  created: 0,
  model,
  choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
  ...(usage === undefined ? undefined : { usage })
})

const thousand = { prompt_tokens: 1_000, completion_tokens: 100, total_tokens: 1_100 }

const ask = (prompt: string) => Effect.map(LanguageModel.generateText({ prompt }), ({ text }) => text)

interface Options {
  readonly model?: string
  readonly rows?: ReadonlyArray<string>
  readonly prices?: Flow.Options<ReadonlyArray<Sink.Any>, never, never, never, never, never>["prices"]
  readonly body?: (row: string) => Effect.Effect<unknown, unknown, LanguageModel.LanguageModel>
  readonly budget?: number
}

const flowOf = (url: string, { body = ask, budget, model = "gpt-4o-mini", prices, rows = ["a"] }: Options) => {
  const row = Source.fromIterable("row", rows)
  const step = Flow.step("step", { row }, ({ row }) => body(row))
  const bottom = OpenAi.layer({ baseUrl: `${url}/v1`, apiKey: "k", model, provider: "openai" })
  return Flow.make("faults", {
    concurrency: 1,
    settings: { maxTokens: 100 },
    ...(prices === undefined ? undefined : { prices }),
    outputs: [Sink.forEach("out", step, () => Effect.void)],
    stack:
      budget === undefined
        ? Stack.make(Ledger.layer, Retry.layer({ base: 1 }), bottom)
        : Stack.make(Budget.layer({ usd: budget }), Ledger.layer, Retry.layer({ base: 1 }), bottom)
  }) as Flow.Flow
}

/** A row that failed, as the errors file has it. */
interface Failed {
  readonly message: string
  readonly answer?: string
}

const run = (url: string, options: Options = {}) =>
  Effect.suspend(() => {
    const errorsFile = join(mkdtempSync(join(tmpdir(), "pipe-faults-")), "errors.jsonl")
    return Runner.run(flowOf(url, options), { errorsFile }).pipe(
      Effect.provide(NodeHost.layerMemory),
      Effect.map((summary) => ({
        summary,
        failed: (existsSync(errorsFile) ? readFileSync(errorsFile, "utf8") : "")
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => JSON.parse(line) as Failed)
      }))
    )
  })

describe("a price of your own", () => {
  const names: ReadonlyArray<readonly [own: string, answered: string]> = [
    ["zeta-2-mini", "zeta-2-mini-2026-03-05"],
    ["gpt-4o-mini", "gpt-4o-mini-2024-07-18"],
    ["gpt-4o-mini", "gpt-4o-mini"],
    ["llama3", "llama3:latest"]
  ]
  for (const [own, answered] of names) {
    it.live(`B1: of ${own} holds for an answer of ${answered}, in plan, budget and ledger`, () =>
      Effect.scoped(
        Effect.gen(function* () {
          const server = yield* Wire.serve(() => ({ body: completion(answered, thousand) }))
          const options: Options = { model: own, prices: { [own]: { input: 100, output: 200 } }, rows: ["a", "b", "c"] }
          const { summary } = yield* run(server.url, options)
          // 1,000 × 100 and 100 × 200 USD a million, three times.
          assert.strictEqual(summary.cost, 3n * (1_000n * 100_000_000n + 100n * 200_000_000n))
          assert.strictEqual(summary.unpriced, 0)
          const plan = yield* Effect.provide(Plan.make(flowOf(server.url, options)), NodeHost.layerMemory)
          assert.strictEqual(
            plan.cost.low,
            3n * (BigInt(plan.lines[0]!.inputTokens / 3) * 100_000_000n)
              + BigInt(plan.lines[0]!.outputTokens.low) * 200_000_000n
          )
          // A row costs 0.12 USD: the budget has room for one and a little, and what it holds is by the same price.
          const sent = server.seen.length
          yield* Effect.ignore(run(server.url, { ...options, budget: 0.125 }))
          assert.strictEqual(server.seen.length - sent, 1)
        })
      )
    )
  }

  it.live("B4: that is no whole picodollar is exact, and fails no row", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const usage = { prompt_tokens: 1_200, completion_tokens: 10, total_tokens: 1_210 }
        const server = yield* Wire.serve(() => ({ body: completion("gpt-4o-mini", usage) }))
        const { failed, summary } = yield* run(server.url, {
          prices: { "gpt-4o-mini": { input: 1 / 12, output: 1 / 3 } }
        })
        assert.deepStrictEqual(failed, [])
        // 100 and 10/3 millionths of a USD: 100,000,000 and 3,333,333.33 picodollars.
        assert.strictEqual(summary.cost, 103_333_333n)
      })
    )
  )
})

describe("an answer", () => {
  for (const stream of [false, true]) {
    for (const api of ["chat", "messages"] as const) {
      it.live(`B3: of ${api} without usage is counted and marked${stream ? ", streamed" : ""}`, () =>
        Effect.scoped(
          Effect.gen(function* () {
            const body: Json =
              api === "chat"
                ? completion("gpt-4o-mini", undefined)
                : {
                    id: "1",
                    type: "message",
                    role: "assistant",
                    model: "claude-haiku-4-5",
                    content: [{ type: "text", text: "ok" }],
                    stop_reason: "end_turn"
                  }
            const events = api === "chat" ? Streamed.chunksOf : Streamed.messageEventsOf
            const server = yield* Wire.serve(() =>
              stream
                ? {
                    body: events(JSON.stringify(body))
                      .map((line) => `data: ${line}\n\n`)
                      .join(""),
                    headers: { "content-type": "text/event-stream" }
                  }
                : { body }
            )
            const layer =
              api === "chat"
                ? OpenAi.layer({
                    baseUrl: `${server.url}/v1`,
                    apiKey: "k",
                    model: "gpt-4o-mini",
                    provider: "openai",
                    stream
                  })
                : Anthropic.layer({ baseUrl: server.url, apiKey: "k", model: "claude-haiku-4-5", stream })
            const { error, sums, value } = yield* Wire.over(
              layer,
              ModelClient.send(Wire.question("x", { settings: { maxTokens: 10 } }))
            )
            assert.strictEqual(ModelResponse.text(value!), "ok", String(error))
            assert.strictEqual(sums.estimated, 1)
            assert.isTrue(sums.spent > 0n)
          })
        )
      )
    }
  }

  it.live("E1: that does not fit is requested again with all that is wrong, and not again when it comes again", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* Wire.serve(() => ({
          body: completion("gpt-4o-mini", thousand, '{"label":5,"score":"high"}')
        }))
        const Label = Schema.Struct({ label: Schema.String, score: Schema.Number })
        const { failed } = yield* run(server.url, {
          body: (prompt) => LanguageModel.generateObject({ prompt, schema: Label })
        })
        assert.strictEqual(server.seen.length, 2)
        assert.include(server.seen[1]!.body, "label")
        assert.match(server.seen[1]!.body, /label.*score.*Answer again/s)
        assert.match(failed[0]!.message, /label[^]*score/)
      })
    )
  )

  it.live("E2: that cannot be used is kept with its row", () =>
    Effect.scoped(
      Effect.gen(function* () {
        for (const content of [{ odd: 1 }, '{"label":']) {
          const server = yield* Wire.serve(() => ({ body: completion("gpt-4o-mini", thousand, content) }))
          const { failed } = yield* run(server.url, {
            body: (prompt) => LanguageModel.generateObject({ prompt, schema: Schema.Struct({ label: Schema.String }) })
          })
          assert.include(failed[0]!.answer!, typeof content === "string" ? content : '"odd":1')
        }
      })
    )
  )

  it.live("E5: without choices is not paid six times", () =>
    Effect.scoped(
      Effect.gen(function* () {
        for (const choices of [null, undefined, []]) {
          const server = yield* Wire.serve(() => ({ body: { ...completion("gpt-4o-mini", thousand), choices } }))
          const { failed, summary } = yield* run(server.url)
          assert.strictEqual(failed.length, 1)
          assert.strictEqual(server.seen.length, 3)
          assert.strictEqual(summary.cost, 3n * (1_000n * 150_000n + 100n * 600_000n))
        }
      })
    )
  )
})

describe("a request", () => {
  for (const transport of ["pool", "sdk"] as const) {
    for (const api of ["chat", "responses", "messages"] as const) {
      it.live(`E6: of ${api} by ${transport} holds no half of a surrogate pair`, () =>
        Effect.scoped(
          Effect.gen(function* () {
            const server = yield* Wire.serve(() => ({ status: 400, body: { error: { message: "no" } } }))
            const layer =
              api === "messages"
                ? Anthropic.layer({ baseUrl: server.url, apiKey: "k", model: "claude-haiku-4-5", transport })
                : OpenAi.layer({
                    baseUrl: `${server.url}/v1`,
                    apiKey: "k",
                    model: "gpt-4o-mini",
                    provider: "openai",
                    api,
                    transport
                  })
            yield* Wire.over(layer, ModelClient.send(Wire.question("half \ud83d of a pair, and \udc00")))
            assert.strictEqual(server.seen.length, 1)
            assert.notMatch(server.seen[0]!.body, /\\ud[89a-f]/i)
            assert.include(server.seen[0]!.body, "half \ufffd of a pair")
          })
        )
      )
    }
  }
})

describe("a plan", () => {
  it.live("B5: has the most that an image is, and says of other files that it guesses", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const planOf = (mediaType: string) =>
          Plan.make(
            flowOf("http://127.0.0.1:1", {
              body: () =>
                LanguageModel.generateText({
                  prompt: [{ role: "user", content: [{ type: "file", mediaType, data: new Uint8Array([1]) }] }]
                })
            })
          ).pipe(Effect.provide(NodeHost.layerMemory))
        // platform.openai.com/docs/guides/images-vision: gpt-4o-mini, a base of 2,833 and eight tiles of 5,667.
        const image = yield* planOf("image/png")
        assert.isAtLeast(image.lines[0]!.inputTokens, 2_833 + 8 * 5_667)
        const sound = yield* planOf("audio/wav")
        assert.match(String(sound.notes), /a file of type audio\/wav.*a guess is counted/)
      })
    )
  )
})
