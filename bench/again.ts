/**
 * Measures work that is done again: a re-run in which nothing has to be sent, a resume near the end, a plan. Each by the
 * `pipe` command in a process of its own, beside LangChain.js answering from its cache in memory.
 *
 *     node again.ts [--rows 100000]
 */
import { InMemoryCache } from "@langchain/core/caches"
import { ChatOpenAI } from "@langchain/openai"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { apiKey, model, usage } from "./peer.ts"
import { named } from "./tasks.ts"

const { prompt } = named("text-0")

const { values } = parseArgs({ options: { rows: { type: "string", default: "100000" } } })
const rows = Number(values.rows)
const folder = mkdtempSync(join(tmpdir(), "pipe-again-"))
const bin = fileURLToPath(new URL("../packages/cli/src/bin.ts", import.meta.url))

let requests = 0
let firstAt = 0
const server = createServer((request, response) => {
  request.resume()
  request.on("end", () => {
    requests++
    firstAt ||= performance.now()
    response.writeHead(200, { "content-type": "application/json" })
    response.end(
      JSON.stringify({
        id: "chatcmpl-1",
        object: "chat.completion",
        created: 0,
        model,
        choices: [
          {
            index: 0,
            message: { role: "assistant", content: "The cat sleeps on the chair.", refusal: null },
            finish_reason: "stop"
          }
        ],
        usage
      })
    )
  })
})
server.listen(0, "127.0.0.1")
await once(server, "listening")
const baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`

writeFileSync(join(folder, "package.json"), '{"type": "module"}')
writeFileSync(
  join(folder, "flow.ts"),
  `
import { Cache, Flow, Ledger, RateLimit, Retry, Sink, Source, Stack } from "@pipe/core"
import { OpenAi } from "@pipe/plugins"
import { Effect, Schema } from "effect"
import { LanguageModel } from "effect/ai"
const rows = Source.jsonl("rows", { path: "rows.jsonl", schema: Schema.Struct({ id: Schema.Int, text: Schema.String }) })
const answer = Flow.step("answer", { row: rows }, ({ row }) => LanguageModel.generateText({ prompt: row.text }).pipe(Effect.map((r) => r.text)))
export default Flow.make("again", {
  concurrency: 64,
  outputs: [Sink.jsonl("out.jsonl", { row: rows, answer })],
  stack: Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), RateLimit.layer({ requestsPerMinute: 10_000_000, tokensPerMinute: 1_000_000_000 }), OpenAi.layer({ model: "${model}" }))
})`
)
const file = createWriteStream(join(folder, "rows.jsonl"))
for (let id = 0; id < rows; id++) {
  if (!file.write(`${JSON.stringify({ id, text: prompt(id) })}\n`)) await once(file, "drain")
}
file.end()
await once(file, "finish")

/** Runs the command; its time, and its largest resident size while it ran. */
const pipe = async (...args: ReadonlyArray<string>) => {
  requests = 0
  firstAt = 0
  const started = performance.now()
  const child = spawn(process.execPath, ["--max-semi-space-size=16", "--", bin, ...args], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
    env: { PATH: process.env["PATH"], OPENAI_API_KEY: apiKey, OPENAI_BASE_URL: baseURL }
  })
  let peakMB = 0
  const timer = setInterval(() => {
    try {
      peakMB = Math.max(
        peakMB,
        Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1] ?? 0) / 1_024
      )
    } catch {
      // It has ended.
    }
  }, 50)
  const [code] = await once(child, "exit")
  clearInterval(timer)
  if (code !== 0) throw new Error(`pipe ${args.join(" ")} ended with ${code}`)
  return {
    seconds: (performance.now() - started) / 1_000,
    peakMB,
    requests,
    firstCall: firstAt === 0 ? undefined : (firstAt - started) / 1_000
  }
}

const langchain = async (): Promise<number> => {
  const chat = new ChatOpenAI({ apiKey, model, maxRetries: 0, cache: new InMemoryCache(), configuration: { baseURL } })
  const some = Array.from({ length: Math.min(rows, 20_000) }, (_, index) => prompt(index))
  await chat.batch(some, { maxConcurrency: 64 })
  const started = performance.now()
  await chat.batch(some, { maxConcurrency: 64 })
  return some.length / ((performance.now() - started) / 1_000)
}

const done = Math.floor(rows * 0.99)
const planned = await pipe("plan", "flow.ts")
const first = await pipe("run", "flow.ts", "--limit", String(done), "--quiet")
const rest = await pipe("run", "flow.ts", "--quiet")
const again = await pipe("run", "flow.ts", "--quiet")
// Start-up: the first row, twice.
const one = ["run", "flow.ts", "--limit", "1", "--quiet", "--overwrite", "--store", "one.db"]
await pipe(...one)
const start = await pipe(...one)
const cached = await langchain()
server.close()
rmSync(folder, { recursive: true })

if (
  first.requests !== done
  || rest.requests !== rows - done
  || again.requests !== 0
  || start.requests !== 0
  || planned.requests !== 0
) {
  throw new Error(
    `requests: ${planned.requests}, ${first.requests}, ${rest.requests}, ${again.requests}, ${start.requests}`
  )
}
const mb = (n: number) => n.toFixed(0)
console.log(`
| ${rows} rows, with start-up | |
| --- | ---: |
| plan | ${planned.seconds.toFixed(1)} s, ${mb(planned.peakMB)} MB |
| first run of ${done} rows | ${first.seconds.toFixed(1)} s, ${mb(first.peakMB)} MB |
| run of all: first new call after | ${rest.firstCall?.toFixed(1)} s, ${mb(rest.peakMB)} MB |
| run of one row again: the start-up | ${start.seconds.toFixed(1)} s, ${mb(start.peakMB)} MB |
| run of all again, from the store on disk | ${again.seconds.toFixed(1)} s, ${(rows / again.seconds).toFixed(0)} rows/s (${(rows / Math.max(0.001, again.seconds - start.seconds)).toFixed(0)} after the start-up), ${mb(again.peakMB)} MB |
| LangChain.js \`.batch\` from its cache in memory | ${cached.toFixed(0)} rows/s |
`)
