/** A server that runs a flow for each request: many at once in one process, over one store. */
import { assert, describe, it } from "@effect/vitest"
import { Flow, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi, Simulator } from "@pipe/plugins"
import { Effect, ManagedRuntime } from "effect"
import { LanguageModel } from "effect/ai"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import * as Soak from "../../../test/Soak.ts"

const words = Source.lines("words", { path: "words.txt" })

const flowOf = (baseUrl: string) => {
  const german = Flow.step("german", { word: words }, ({ word }) =>
    Effect.map(LanguageModel.generateText({ prompt: `Translate to German: ${word}` }), ({ text }) => text)
  )
  const flow = Flow.make("translate", {
    outputs: [Sink.jsonl("german.jsonl", { word: words, german })],
    stack: Stack.recommended({ provider: OpenAi.layer({ model: "gpt-4o-mini", baseUrl, apiKey: "test-key" }) })
  })
  return { flow, german }
}

const COUNT = Soak.times(150, 1_000)
const DIFFERENT = Math.round(0.7 * COUNT)

describe("a server", () => {
  it.live(
    `runs a flow for each of ${COUNT} requests, 50 at once, and pays once for equal ones`,
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const simulator = yield* Simulator.start({ answer: ({ prompt }) => `de ${prompt.split(": ")[1]!}` })
          const { flow, german } = flowOf(simulator.openAiUrl)
          // One host for all requests: they share the store, and what one has paid for the others reuse.
          const runtime = ManagedRuntime.make(NodeHost.layerMemory)
          yield* Effect.addFinalizer(() => runtime.disposeEffect)
          const server = createServer((request, response) => {
            const word = new URL(request.url!, "http://localhost").searchParams.get("word")!
            const collected = Runner.collect(flow, german, { sources: [Source.given(words, [word])] })
            runtime.runPromise(collected).then(
              (rows) => response.end(JSON.stringify(rows)),
              (error: Error) => response.writeHead(500).end(error.message)
            )
          })
          yield* Effect.acquireRelease(
            Effect.callback<void>((resume) => {
              server.listen(0, "127.0.0.1", () => resume(Effect.void))
            }),
            () =>
              Effect.callback<void>((resume) => {
                server.close(() => resume(Effect.void))
                server.closeAllConnections()
              })
          )
          const { port } = server.address() as AddressInfo
          const answers = yield* Effect.forEach(
            Array.from({ length: COUNT }, (_, n) => n % DIFFERENT),
            (n) =>
              Effect.promise(async () => {
                const response = await fetch(`http://127.0.0.1:${port}/?word=w${n}`)
                return [response.status, await response.text()]
              }),
            { concurrency: 50 }
          )
          assert.deepStrictEqual(
            answers,
            Array.from({ length: COUNT }, (_, n) => [200, `["de w${n % DIFFERENT}"]`])
          )
          assert.strictEqual(simulator.requests(), DIFFERENT)
        })
      ),
    Soak.timeout(60_000)
  )
})
