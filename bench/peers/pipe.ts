/** pipe, with ledger, exact cache (writing to a new SQLite file), retry and rate limit all on. */
import { Cache, Flow, Ledger, RateLimit, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi } from "@pipe/plugins"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { model, prompts, type Run } from "../peer.ts"

export const run: Run = async ({ baseURL, concurrency, rows }) => {
  const folder = await mkdtemp(join(tmpdir(), "pipe-bench-"))
  let answers = 0
  const prompt = Source.fromIterable("prompt", prompts(rows))
  const answer = Flow.step("answer", { prompt }, ({ prompt }) =>
    LanguageModel.generateText({ prompt }).pipe(Effect.map((response) => response.text))
  )
  const flow = Flow.make("bench", {
    concurrency,
    outputs: [Sink.forEach("count", answer, () => Effect.sync(() => answers++))],
    stack: Stack.make(
      Ledger.layer,
      Cache.layer({ timeToLive: "30 days" }),
      Retry.layer(),
      RateLimit.layer({ requestsPerMinute: 10_000_000, tokensPerMinute: 1_000_000_000 }),
      OpenAi.layer({ model, baseUrl: baseURL, apiKey: "none" })
    )
  })
  const summary = await Effect.runPromise(
    Runner.run(flow, { errorsFile: join(folder, "errors.jsonl") }).pipe(
      Effect.provide(NodeHost.layer({ store: join(folder, "pipe.db") }))
    )
  )
  await rm(folder, { recursive: true })
  return { rows: answers, tokens: summary.tokens.total }
}
