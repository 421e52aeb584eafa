/**
 * Layers as somebody else writes them, with the public API alone: no internal import, no cast. What the framework sees of a built-in one it
 * sees of these.
 */
import { assert, describe, it } from "@effect/vitest"
import { Flow, Ledger, ModelClient, ModelRequest, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"

const words = (count: number) =>
  Source.fromIterable(
    "words",
    Array.from({ length: count }, (_, n) => `word ${n}`)
  )

/** The attempts that a log of attempts has seen. */
const attemptLog = () => {
  const seen: Array<string> = []
  const layer = ModelClient.onAttempt(
    ({ isBatched, request }) =>
      Effect.succeed({
        onEnd: ({ billed, error }) =>
          void seen.push(
            `${isBatched === true ? "batch" : "single"} ${ModelRequest.text(request)}: ${error?.reason._tag ?? billed}`
          )
      }),
    { name: "AttemptLog", answers: false }
  )
  return { layer, seen }
}

describe("a log of attempts", () => {
  const run = (
    log: ReturnType<typeof attemptLog>,
    options: { readonly batch?: {}; readonly simulator?: Simulator.Options }
  ) =>
    Effect.scoped(
      Effect.gen(function* () {
        const simulator = yield* Simulator.start(options.simulator ?? {})
        const row = words(3)
        const answer = Flow.step("answer", { row }, ({ row }) =>
          Effect.map(LanguageModel.generateText({ prompt: row }), ({ text }) => text)
        )
        const flow = Flow.make("log", {
          outputs: [Sink.forEach("out", answer, () => Effect.void)],
          stack: Stack.make(
            Ledger.layer,
            log.layer,
            Retry.layer({ base: "1 millis" }),
            OpenAi.layer({ model: "gpt-4o-mini", baseUrl: simulator.openAiUrl, apiKey: "test" })
          )
        })
        return yield* Runner.run(flow, {
          errorsFile: false,
          ...(options.batch === undefined
            ? undefined
            : { batch: { polling: { first: "10 millis", most: "20 millis" } } })
        }).pipe(Effect.provide(NodeHost.layerMemory))
      })
    )

  it.live("sees each attempt, retries included", () =>
    Effect.gen(function* () {
      const log = attemptLog()
      const summary = yield* run(log, { simulator: { faults: { serverError: 0.4 }, seed: "b" } })
      assert.strictEqual(log.seen.length, summary.calls.attempts)
      assert.isAbove(log.seen.filter((line) => line.includes("InternalProviderError")).length, 0)
      assert.strictEqual(log.seen.filter((line) => line.endsWith(": yes")).length, 3)
    })
  )

  it.live("sees the requests of batches, each with its end (F25)", () =>
    Effect.gen(function* () {
      const log = attemptLog()
      yield* run(log, { batch: {}, simulator: { batches: { latency: "10 millis" } } })
      assert.deepStrictEqual(log.seen.toSorted(), ["batch word 0: yes", "batch word 1: yes", "batch word 2: yes"])
    })
  )
})
