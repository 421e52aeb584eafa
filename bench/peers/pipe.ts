/** pipe, with ledger, exact cache (writing to a new SQLite file), retry and rate limit all on. */
import { Cache, Flow, Ledger, type Node, RateLimit, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { type AiError, LanguageModel } from "effect/ai"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { model, type Run } from "../peer.ts"
import { entitle, prompts, shorten, type Task } from "../tasks.ts"

const Message = Schema.Struct({
  subject: Schema.String,
  language: Schema.String,
  sentiment: Schema.String,
  product: Schema.String,
  summary: Schema.String,
  urgency: Schema.Finite,
  confidence: Schema.Finite,
  wantsRefund: Schema.Boolean,
  isAngry: Schema.Boolean,
  tags: Schema.Array(Schema.String)
})

const ask = (prompt: string) => LanguageModel.generateText({ prompt }).pipe(Effect.map((response) => response.text))

const lastOf = (
  prompt: Node.Node<string>,
  kind: Task["kind"]
): Node.Node<unknown, AiError.AiError, LanguageModel.LanguageModel> => {
  if (kind === "object")
    return Flow.step("answer", { prompt }, ({ prompt }) =>
      LanguageModel.generateObject({ prompt, schema: Message, objectName: "message" }).pipe(
        Effect.map((response) => response.value)
      )
    )
  const answer = Flow.step("answer", { prompt }, ({ prompt }) => ask(prompt))
  if (kind === "text") return answer
  const short = Flow.step("short", { prompt, answer }, ({ answer, prompt }) => ask(shorten(answer, prompt)))
  return Flow.step("title", { prompt, short }, ({ prompt, short }) => ask(entitle(short, prompt)))
}

export const run: Run = async ({ baseURL, rows, task }) => {
  const folder = await mkdtemp(join(tmpdir(), "pipe-bench-"))
  let answers = 0
  const last = lastOf(Source.fromIterable("prompt", prompts(task, rows)), task.kind)
  const flow = Flow.make("bench", {
    concurrency: task.concurrency,
    outputs: [Sink.forEach("count", last, () => Effect.sync(() => answers++))],
    stack: Stack.make(
      Ledger.layer,
      Cache.layer({ timeToLive: "30 days" }),
      Retry.layer(),
      // Where the server refuses, its limit is learned.
      RateLimit.layer(
        task.limit === undefined ? { requestsPerMinute: 10_000_000, tokensPerMinute: 1_000_000_000 } : {}
      ),
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
