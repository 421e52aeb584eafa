/** Tuning by the vectors of texts. */
import { assert, describe, it } from "@effect/vitest"
import { Cache, Cascade, Flow, Judge, Ledger, Runner, Sink, Source, Stack } from "@pipe/core"
import * as Routing from "../../core/src/routing/Routing.ts"
import * as Tune from "../../core/src/routing/tune/Tune.ts"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Soak from "../../../test/Soak.ts"
import { embedder } from "./Questions.ts"

const openai = (url: string, apiKey: string, options: OpenAi.Options = {}) =>
  OpenAi.layer({ baseUrl: `${url}/v1`, apiKey, provider: "openai", ...options })

const host = (folder: string) => Layer.fresh(NodeHost.layer({ store: join(folder, "pipe.db") }))

describe("Tune", () => {
  // The learning itself is tried without an embedder; this takes the seconds that CI has not.
  it.live.skipIf(!Soak.isSoak)(
    "learns from the vectors of texts which are hard, by an embedder on this machine",
    () =>
      Effect.gen(function* () {
        const folder = mkdtempSync(join(tmpdir(), "pipe-tune-"))
        // What the cheap model does not know is a topic, whatever the words.
        const hard = [
          "the interest on my mortgage",
          "the loan for my house",
          "paying back the credit for my flat",
          "my mortgage payment"
        ]
        const easy = ["where my card is", "the pin of my card", "a card that was stolen", "the delivery of a new card"]
        const openings = [
          "Tell me about",
          "I want to know of",
          "Please explain",
          "A question about",
          "Can you help with",
          "What about",
          "I am asking about",
          "Let us talk about"
        ]
        const ends = ["", " please", " today", " as soon as you can", " if you have time", " again"]
        const texts = [...hard, ...easy].flatMap((core) =>
          openings.flatMap((opening) => ends.map((end) => `${opening} ${core}${end}`))
        )
        const server = yield* Simulator.start({
          answer: ({ model, prompt }) =>
            model === "gpt-4o" || !hard.some((core) => prompt.includes(core)) ? "right" : "wrong"
        })
        const source = Source.fromIterable("text", texts)
        const answer = Flow.step(
          "answer",
          { text: source },
          ({ text }) => Effect.map(LanguageModel.generateText({ prompt: text }), (response) => response.text),
          {
            varies: ({ text }) => text
          }
        )
        const flow = Flow.make("vectors", {
          outputs: [Sink.forEach("out", answer, () => Effect.void)],
          stack: Stack.make(
            Ledger.layer,
            Cascade.layer({
              models: ["gpt-4o-mini", "gpt-4o"],
              judges: [Judge.embedding],
              routing: join(folder, "f.routing.json"),
              audit: 0
            }).pipe(Layer.provide(embedder)),
            Cache.layer(),
            openai(server.url, "k")
          )
        })
        const tuned = yield* Tune.make(flow, { target: 0.95, sample: 320 }).pipe(Effect.provide(host(folder)))
        const { certificate, policy } = tuned.steps[0]!.calibration
        assert.strictEqual(policy?.by, "row")
        assert.lengthOf(policy!.rungs[0]!.own.vector!, 512)
        assert.closeTo(certificate!.strongShare, 0.5, 0.12)
        const text = Routing.encode(tuned.routing)
        // Small enough to stand beside a flow: 512 weights of six digits.
        assert.isBelow(text.length, 12_000)
        writeFileSync(tuned.file!, text)
        const summary = yield* Runner.run(flow).pipe(Effect.provide(host(folder)))
        assert.closeTo(summary.routes![0]!.strong / texts.length, 0.5, 0.1)
      }),
    60_000
  )
})
