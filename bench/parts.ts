/**
 * What each part of a call costs, in µs of CPU a row: a bare undici pool, then the provider, the bridge to `effect/ai`, a run
 * with its ledger and its store on disk, and its layers one by one. All in one process, in turns, so that the machine's
 * drift is shared; the least of the turns counts.
 *
 *     node parts.ts [--rows 4000] [--rounds 12]
 */
import {
  Cache,
  Flow,
  Ledger,
  ModelClient,
  ModelRequest,
  Pricing,
  RateLimit,
  Retry,
  Runner,
  Sink,
  Source,
  Stack,
  ToLanguageModel
} from "@pipe/core"
import { NodeHost, OpenAi } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { LanguageModel } from "effect/ai"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { startServer } from "./measure.ts"
import { model } from "./peer.ts"
import { run as undici } from "./peers/undici.ts"
import { named, prompts } from "./tasks.ts"

const { values } = parseArgs({
  options: { rows: { type: "string", default: "4000" }, rounds: { type: "string", default: "12" } }
})
const rows = Number(values.rows)
const task = named("text-0")
const server = await startServer("text-0")
const baseURL = server.url
const provider = OpenAi.layer({ model, baseUrl: baseURL, apiKey: "none" })

const alone = (
  call: (prompt: string) => Effect.Effect<unknown, unknown, LanguageModel.LanguageModel | ModelClient.ModelClient>
) =>
  Effect.suspend(() =>
    Effect.forEach(prompts(task, rows), call, { concurrency: task.concurrency, discard: true })
  ).pipe(Effect.provide(ToLanguageModel.layer.pipe(Layer.provideMerge(provider), Layer.provide(Pricing.layer({})))))

const [ledger, cache, retry, rateLimit] = [
  Ledger.layer,
  Cache.layer({ timeToLive: "30 days" }),
  Retry.layer(),
  RateLimit.layer({ requestsPerMinute: 10_000_000, tokensPerMinute: 1_000_000_000 })
]

const whole = Stack.make(ledger, cache, retry, rateLimit, provider)

/** A run with a stack. */
const flow = (stack: typeof whole) =>
  Effect.suspend(() => {
    const folder = mkdtempSync(join(tmpdir(), "pipe-parts-"))
    const prompt = Source.fromIterable("prompt", prompts(task, rows))
    const answer = Flow.step("answer", { prompt }, ({ prompt }) =>
      Effect.map(LanguageModel.generateText({ prompt }), (response) => response.text)
    )
    const made = Flow.make("parts", {
      concurrency: task.concurrency,
      outputs: [Sink.forEach("none", answer, () => Effect.void)],
      stack
    })
    return Runner.run(made, { errorsFile: false }).pipe(
      Effect.provide(Layer.fresh(NodeHost.layer({ store: join(folder, "pipe.db") }))),
      Effect.ensuring(Effect.sync(() => rmSync(folder, { recursive: true })))
    )
  })

const parts: Readonly<Record<string, Effect.Effect<unknown, unknown>>> = {
  "undici alone": Effect.promise(() => undici({ baseURL, rows, task })),
  "the provider": alone((content) =>
    ModelClient.send(ModelRequest.completion({ messages: [{ role: "user", content }] }))
  ),
  "effect/ai's LanguageModel": alone((prompt) => LanguageModel.generateText({ prompt })),
  "a run: rows, journal, ledger, store": flow(Stack.make(provider)),
  "Ledger.layer": flow(Stack.make(ledger, provider)),
  "Cache.layer": flow(Stack.make(ledger, cache, provider)),
  "Retry.layer": flow(Stack.make(ledger, cache, retry, provider)),
  "RateLimit.layer": flow(whole)
}

const least = new Map<string, number>()
for (let round = -3; round < Number(values.rounds); round++) {
  for (const [name, part] of Object.entries(parts)) {
    const before = process.cpuUsage()
    await Effect.runPromise(part)
    const { system, user } = process.cpuUsage(before)
    if (round >= 0) least.set(name, Math.min(least.get(name) ?? Number.POSITIVE_INFINITY, (system + user) / rows))
  }
}
server.end()

console.log("| up to | µs a row | more |\n| --- | ---: | ---: |")
let below = 0
for (const [name, cost] of least) {
  console.log(`| ${name} | ${cost.toFixed(0)} | ${(cost - below).toFixed(0)} |`)
  below = cost
}
process.exit()
