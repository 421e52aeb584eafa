/**
 * What a store costs: the same flow with its store on SQLite and on a real PostgreSQL of this machine, in turns; then the
 * same rows again, which are all reused.
 *
 *     node stores.ts [--rows 20000] [--latency 20] [--rounds 3]
 */
import { Cache, Flow, Ledger, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi } from "@pipe/plugins"
import { Effect, Layer } from "effect"
import { LanguageModel } from "effect/ai"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as Servers from "../test/Servers.ts"
import { median, startServer } from "./measure.ts"
import { model } from "./peer.ts"
import { named, prompts } from "./tasks.ts"

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "20000" },
    latency: { type: "string", default: "20" },
    rounds: { type: "string", default: "3" },
    store: { type: "string" },
    server: { type: "string" }
  }
})
const rows = Number(values.rows)

/** One run in this process: rows a second, and CPU in µs a row. */
const measure = (store: string, baseUrl: string) =>
  Effect.gen(function* () {
    const prompt = Source.fromIterable("prompt", prompts(named("text-0"), rows))
    const answer = Flow.step("answer", { prompt }, ({ prompt }) =>
      LanguageModel.generateText({ prompt }).pipe(Effect.map((response) => response.text))
    )
    const flow = Flow.make("bench", {
      concurrency: 64,
      outputs: [Sink.forEach("none", answer, () => Effect.void)],
      stack: Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), OpenAi.layer({ model, baseUrl, apiKey: "none" }))
    })
    const run = Runner.run(flow, { errorsFile: false }).pipe(Effect.provide(Layer.fresh(NodeHost.layer({ store }))))
    const before = process.cpuUsage()
    const started = performance.now()
    yield* run
    const seconds = (performance.now() - started) / 1_000
    const { system, user } = process.cpuUsage(before)
    return { perSecond: rows / seconds, cpu: (system + user) / rows }
  })

if (values.store !== undefined) {
  const measured = await Effect.runPromise(measure(values.store, values.server!))
  console.log(JSON.stringify(measured))
  process.exit()
}

type Measured = Effect.Success<ReturnType<typeof measure>>

/** One run in a process of its own. */
const inProcess = async (store: string, server: string): Promise<Measured> => {
  const child = spawn(
    process.execPath,
    [fileURLToPath(import.meta.url), "--rows", String(rows), "--store", store, "--server", server],
    { stdio: ["ignore", "pipe", "inherit"] }
  )
  let text = ""
  child.stdout.on("data", (chunk) => (text += chunk))
  await once(child, "close")
  return JSON.parse(text)
}

await Effect.runPromise(
  Effect.scoped(
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "pipe-stores-"))
      const found = new Map<string, Array<Measured>>()
      for (let round = 0; round < Number(values.rounds); round++) {
        for (const name of ["SQLite", "PostgreSQL"]) {
          const store = name === "SQLite" ? join(folder, `${round}.db`) : yield* Servers.postgres
          const server = yield* Effect.promise(() => startServer("text-0", values.latency))
          for (const what of ["first", "again"]) {
            const one = yield* Effect.promise(() => inProcess(store, server.url))
            const key = `${name}, ${what}`
            found.set(key, [...(found.get(key) ?? []), one])
          }
          server.end()
        }
      }
      rmSync(folder, { recursive: true })
      for (const [name, all] of found) {
        const perSecond = median(all.map((one) => one.perSecond))
        const cpu = median(all.map((one) => one.cpu))
        console.log(
          `${name.padEnd(18)} ${perSecond.toFixed(0).padStart(7)} rows/s  ${cpu.toFixed(0).padStart(5)} µs CPU a row`
        )
      }
    })
  )
)
