/** A layer calls what is below it once for each request that it sends: what is there may act as soon as it is called. */
import { assert, describe, it } from "@effect/vitest"
import {
  Batch,
  Budget,
  Cache,
  Cascade,
  Coalesce,
  Concurrency,
  Fallback,
  Flow,
  Hedge,
  Ledger,
  ModelClient,
  Pack,
  PromptCache,
  RateLimit,
  Retry,
  Router,
  Runner,
  SemanticCache,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const ROWS = 60

const layers = {
  Batch: Batch.layer({ polling: { first: 1, most: 5 } }),
  Budget: Budget.layer({ usd: 5 }),
  Cache: Cache.layer(),
  Cascade: Cascade.layer({ models: ["gpt-4o-mini", "gpt-4o"] }),
  Coalesce: Coalesce.layer({ wait: 1 }),
  Concurrency: Concurrency.layer(8),
  Fallback: Fallback.layer(["gpt-4o-mini", "gpt-4o"]),
  Hedge: Hedge.layer(),
  Pack: Pack.layer({ wait: 5 }),
  PromptCache: PromptCache.layer(),
  RateLimit: RateLimit.layer({ requestsPerMinute: 100_000 }),
  Retry: Retry.layer(),
  Router: Router.layer({ cheap: "gpt-4o-mini", strong: "gpt-4o", when: Router.promptShorterThan(10) }),
  SemanticCache: SemanticCache.layerModel({ model: "text-embedding-3-small" })
}

/** The plain calls of what is below a layer, and how many of them were run. */
const below = (layer: (typeof layers)[keyof typeof layers]) =>
  Effect.gen(function* () {
    const simulator = yield* Simulator.start({ batches: { latency: 1 } })
    const calls = { made: 0, run: 0 }
    const counting = ModelClient.middleware(
      (send) => (request) => {
        calls.made++
        return Effect.suspend(() => {
          calls.run++
          return send(request)
        })
      },
      { name: "counting", answers: false }
    )
    const text = Source.fromIterable(
      "text",
      Array.from({ length: ROWS }, (_, row) => `question ${row} of ${ROWS}`)
    )
    const label = Flow.step(
      "label",
      { text },
      ({ text }) => Effect.map(LanguageModel.generateText({ prompt: `Answer: ${text}` }), (response) => response.text),
      { varies: ({ text }) => text, reuse: { maxErrorRate: 0.05 }, pack: { size: 5 } }
    )
    const flow = Flow.make("calls", {
      outputs: [Sink.forEach("out", { label }, () => Effect.void)],
      stack: Stack.make(
        Ledger.layer,
        layer,
        counting,
        OpenAi.layer({ baseUrl: simulator.openAiUrl, apiKey: "test-key-0123", model: "gpt-4o-mini" })
      )
    })
    const { rows } = yield* Runner.run(flow, {
      errorsFile: join(mkdtempSync(join(tmpdir(), "pipe-calls-")), "errors.jsonl")
    })
    assert.strictEqual(rows.failed, 0)
    return calls
  }).pipe(Effect.scoped, Effect.provide(Layer.fresh(NodeHost.layerMemory)))

describe("a layer calls what is below it", () => {
  for (const [name, layer] of Object.entries(layers)) {
    it.live(`as often as it sends: ${name}`, () =>
      Effect.gen(function* () {
        const { made, run } = yield* below(layer)
        assert.strictEqual(made, run)
        // Requests in batches go another way.
        if (name !== "Batch") assert.isAbove(run, 0)
      })
    )
  }
})
