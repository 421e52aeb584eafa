/** A run in batches, against a server that keeps jobs in memory. */
import assert from "node:assert/strict"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { after, test } from "node:test"
import { Flow, Money, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost } from "@pipe/plugins"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"
import { layer } from "./plugin.ts"

/** The jobs of the server: the lines of each file are answered at once. */
const files: Array<string> = []
const jobs: Array<string> = []

const server = createServer(async (request, response) => {
  let body = ""
  for await (const chunk of request) body += String(chunk)
  const [, , kind, job, action] = new URL(request.url ?? "", "http://localhost").pathname.split("/")
  const tokens = { input: 3, output: 2 }
  const shown = (id: string) => ({ id, done: true, answered: 3, failed: 0 })
  if (action === "results") {
    for (const line of files[Number(job)]!.trim().split("\n")) {
      response.write(`${JSON.stringify({ id: JSON.parse(line).id, answer: { text: "Baum", tokens } })}\n`)
    }
    return void response.end()
  }
  response.end(
    JSON.stringify(
      kind === "files"
        ? { id: String(files.push(body) - 1) }
        : request.method === "POST"
          ? shown(String(jobs.push(body) - 1))
          : job === undefined
            ? { jobs: [] }
            : shown(job)
    )
  )
})
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
after(() => server.close())

test("three rows are one job, at half the price", async () => {
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const word = Source.fromIterable("words", ["tree", "bee", "sea"])
  const german = Flow.step("german", { word }, ({ word }) =>
    Effect.map(LanguageModel.generateText({ prompt: word }), ({ text }) => text)
  )
  const flow = Flow.make("german", {
    outputs: [Sink.forEach("out", german, () => Effect.void)],
    stack: Stack.make(layer({ model: "nimbus-1", baseUrl }))
  })
  const batch = { polling: { first: "5 millis" } } as const
  const summary = await Effect.runPromise(Runner.run(flow, { batch }).pipe(Effect.provide(NodeHost.layerMemory)))
  assert.equal(jobs.length, 1)
  // Three calls of 3 and 2 tokens, at 1 and 5 USD per million.
  assert.equal(Money.toUsd(summary.cost), "0.000039")
})
