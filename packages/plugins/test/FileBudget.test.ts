/** Rows with images under a budget: never above the cap by the provider's own count, and nearly all of it is used. */
import { assert, describe, it } from "@effect/vitest"
import { Flow, Ledger, Money, Plan, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { Anthropic, NodeHost, OpenAi } from "@pipe/plugins"
import { Effect, type Layer } from "effect"
import { LanguageModel } from "effect/ai"
import { deflateSync } from "node:zlib"
import * as Wire from "./Wire.ts"

const KEY = "sk-test-0123456789abcdef"

const crc = (bytes: Uint8Array): number => {
  let value = 0xffffffff
  for (const byte of bytes) {
    value ^= byte
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
  }
  return (value ^ 0xffffffff) >>> 0
}

/** A whole PNG file of one grey. */
const png = (width: number, height: number): Uint8Array => {
  const chunk = (name: string, data: Uint8Array) => {
    const out = Buffer.alloc(12 + data.length)
    out.writeUInt32BE(data.length, 0)
    out.write(name, 4, "latin1")
    out.set(data, 8)
    out.writeUInt32BE(crc(out.subarray(4, 8 + data.length)), 8 + data.length)
    return out
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header[8] = 8
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(Buffer.alloc((width + 1) * height))),
    chunk("IEND", new Uint8Array())
  ])
}

const TEXT = 30
const OUTPUT = 12

/** What each provider counts for an image of 1,000 by 1,000, by the examples of its page. */
const providers: ReadonlyArray<{
  readonly name: string
  readonly image: number
  /** Picodollars of an input and of an output token (the providers' price pages, 2026-11-30). */
  readonly rates: readonly [bigint, bigint]
  readonly layer: (url: string) => Layer.Layer<never, never, never>
  readonly answer: (input: number) => object
}> = [
  {
    name: "gpt-4o-mini",
    // Scaled to 768 squared: four tiles of 5,667, and 2,833.
    image: 2_833 + 4 * 5_667,
    rates: [150_000n, 600_000n],
    layer: (url) => OpenAi.layer({ apiKey: KEY, baseUrl: `${url}/v1`, model: "gpt-4o-mini" }) as never,
    answer: (input) => ({
      model: "gpt-4o-mini",
      choices: [{ message: { content: "grey" }, finish_reason: "stop" }],
      usage: { prompt_tokens: input, completion_tokens: OUTPUT, total_tokens: input + OUTPUT }
    })
  },
  {
    name: "claude-haiku-4-5",
    image: 1_296,
    rates: [1_000_000n, 5_000_000n],
    layer: (url) => Anthropic.layer({ apiKey: KEY, baseUrl: url, model: "claude-haiku-4-5", maxTokens: 64 }) as never,
    answer: (input) => ({
      model: "claude-haiku-4-5",
      content: [{ type: "text", text: "grey" }],
      stop_reason: "end_turn",
      usage: { input_tokens: input, output_tokens: OUTPUT }
    })
  }
]

const flowOf = (layer: Layer.Layer<never, never, never>, data: Uint8Array | URL, rows: number) => {
  const source = Source.fromIterable(
    "row",
    Array.from({ length: rows }, (_, at) => at)
  )
  const step = Flow.step("colour", { row: source }, ({ row }) =>
    Effect.map(
      LanguageModel.generateText({
        prompt: [
          {
            role: "user",
            content: [
              { type: "text", text: `The colour of picture ${row}?` },
              { type: "file", mediaType: "image/png", data }
            ]
          }
        ]
      }),
      ({ text }) => text
    )
  )
  return Flow.make("pictures", {
    outputs: [Sink.forEach("out", step, () => Effect.void)],
    stack: Stack.make(Ledger.layer, Retry.layer(), layer as never)
  })
}

describe("64 rows with images and a budget for 10.5 of them", () => {
  for (const { answer, image, layer, name, rates } of providers) {
    it.live(`are never billed above it: ${name}`, () =>
      Effect.gen(function* () {
        let billed = 0n
        const server = yield* Wire.serve(() => {
          billed += BigInt(TEXT + image) * rates[0] + BigInt(OUTPUT) * rates[1]
          return { body: answer(TEXT + image) }
        })
        const each = BigInt(TEXT + image) * rates[0] + BigInt(OUTPUT) * rates[1]
        const cap = (each * 21n) / 2n
        const flow = flowOf(layer(server.url), png(1_000, 1_000), 64)
        const plan = yield* Plan.make(flow)
        // The image is in the plan: text is estimated.
        assert.approximately(plan.lines[0]!.inputTokens / 64, TEXT + image, 40)
        const error = yield* Effect.flip(
          Runner.run(flow, { errorsFile: false, budget: { usd: Money.toUsd(cap) as `${number}` } })
        )
        assert.strictEqual(error._tag, "RunFailed")
        assert.isTrue(billed <= cap, `${Money.format(billed)} of ${Money.format(cap)}`)
        // What is held for a call is what it may cost, so most of the budget can be used.
        assert.isAtLeast(server.seen.length, 9)
      }).pipe(Effect.scoped, Effect.provide(NodeHost.layerMemory))
    )
  }

  it.live("are refused where no rule bounds the image, in words", () =>
    Effect.gen(function* () {
      const openai = (model: string) => OpenAi.layer({ apiKey: KEY, baseUrl: "http://127.0.0.1:9/v1", model }) as never
      const run = (model: string) =>
        Runner.run(
          { ...flowOf(openai(model), png(10, 10), 2), prices: { "pixel-1": { input: 1, output: 1 } } },
          { errorsFile: false, budget: { usd: "0.01" } }
        )
      const error = yield* Effect.flip(run("pixel-1"))
      assert.include(String(error), "no rule bounds the tokens of a file of type image/png")
    }).pipe(Effect.provide(NodeHost.layerMemory))
  )
})
