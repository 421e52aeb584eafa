/**
 * What workers give: the same rows with one, two and four workers, and with one process that has as many calls in flight as
 * four workers together. The store is a real PostgreSQL of this machine, or SQLite for one process.
 *
 *     node workers.ts [--rows 4000] [--latency 200] [--calls 32] [--workers 1,2,4] [--no-alone]
 *
 * `--rows` is for each worker, so that all runs last equally long.
 */
import { Cache, Flow, Ledger, Retry, Runner, Sink, Source, Stack } from "@pipe/core"
import { NodeHost, OpenAi } from "@pipe/plugins"
import { Effect } from "effect"
import { LanguageModel } from "effect/ai"
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as Servers from "../test/Servers.ts"
import { startServer } from "./measure.ts"
import { model } from "./peer.ts"
import { named, prompts } from "./tasks.ts"

const { values } = parseArgs({
  allowNegative: true,
  options: {
    alone: { type: "boolean", default: true },
    rows: { type: "string", default: "4000" },
    latency: { type: "string", default: "200" },
    calls: { type: "string", default: "32" },
    workers: { type: "string", default: "1,2,4" },
    role: { type: "string" },
    store: { type: "string" },
    server: { type: "string" }
  }
})
const [rows, calls] = [Number(values.rows), Number(values.calls)]

/** What a process has used, in all: CPU in seconds, and the most memory in MB. */
interface Used {
  readonly cpu: number
  readonly memory: number
  /** The time of the run, in seconds. */
  readonly seconds: number
}

const flowOf = (baseUrl: string) => {
  const prompt = Source.fromIterable("prompt", prompts(named("text-0"), rows))
  const answer = Flow.step("answer", { prompt }, ({ prompt }) =>
    LanguageModel.generateText({ prompt }).pipe(Effect.map((response) => response.text))
  )
  return Flow.make("bench", {
    concurrency: calls,
    outputs: [Sink.forEach("none", answer, () => Effect.void)],
    stack: Stack.make(Ledger.layer, Cache.layer(), Retry.layer(), OpenAi.layer({ model, baseUrl, apiKey: "none" }))
  })
}

/** One process: a worker until its input ends, a run with workers, or a run alone. */
const perform = async (role: string, store: string, baseUrl: string): Promise<void> => {
  const flow = flowOf(baseUrl)
  const started = performance.now()
  const drain = Effect.promise(() => once(process.stdin.resume(), "end"))
  const work =
    role === "worker"
      ? Runner.work(flow, { drain })
      : Runner.run(flow, { errorsFile: false, workers: role === "coordinator" })
  await Effect.runPromise(
    Effect.asVoid<unknown, unknown, Flow.Host>(work).pipe(Effect.provide(NodeHost.layer({ store })))
  )
  const { system, user } = process.cpuUsage()
  const used: Used = {
    cpu: (system + user) / 1e6,
    memory: process.resourceUsage().maxRSS / 1024,
    seconds: (performance.now() - started) / 1e3
  }
  console.log(JSON.stringify(used))
  process.exit()
}

if (values.role !== undefined) await perform(values.role, values.store!, values.server!)

/** Starts a process of this file. */
const start = (role: string, store: string, server: string, count: number, inFlight: number) => {
  const args = Object.entries({ role, store, server, rows: count, calls: inFlight }).flatMap(([name, value]) => [
    `--${name}`,
    String(value)
  ])
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), ...args], {
    stdio: ["pipe", "pipe", "inherit"]
  })
  let text = ""
  child.stdout.on("data", (chunk) => (text += chunk))
  return { child, used: once(child, "close").then((): Used => JSON.parse(text.trim().split("\n").at(-1)!)) }
}

/** The CPU seconds that the processes of a PostgreSQL server have used so far, those that have ended included (proc(5)). */
const cpuOf = (store: string): number => {
  const { port } = new URL(store)
  const main = execFileSync("pgrep", ["-f", `postgres -D .* -p ${port} `], { encoding: "utf8" }).split("\n")[0]!
  const children = execFileSync("ps", ["-o", "pid=", "--ppid", main], { encoding: "utf8" }).trim().split(/\s+/)
  const ticks = (pid: string, first: number): number => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ")
    return Number(fields[first]) + Number(fields[first + 1])
  }
  // Own time, and that of processes that were waited for; 100 ticks are a second.
  return (ticks(main, 11) + ticks(main, 13) + children.reduce((sum, pid) => sum + ticks(pid, 11), 0)) / 100
}

/** The transactions of a server and the bytes of its log so far. A statement alone is a transaction. */
const written = (store: string): { readonly transactions: number; readonly bytes: number } => {
  const [transactions, bytes] = Effect.runSync(
    Servers.sql(
      store,
      "SELECT sum(xact_commit), pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') FROM pg_stat_database WHERE datname = 'postgres'"
    )
  )
    .trim()
    .split("|")
    .map(Number)
  return { transactions: transactions!, bytes: bytes! }
}

/** A provider in a process of its own. */
const provider = Effect.acquireRelease(
  Effect.promise(() => startServer("text-0", values.latency)),
  (server) => Effect.sync(server.end)
)

const row = (name: string, perSecond: number, of: ReadonlyArray<readonly [string, number, string]>): void =>
  console.log(
    `${name.padEnd(28)} ${perSecond.toFixed(0).padStart(6)} rows/s  ${of
      .map(([what, value, unit]) => `${what} ${value.toFixed(unit === "MB" ? 0 : 2)} ${unit}`)
      .join("  ")}`
  )

/** One process with its store in a file. */
const alone = (inFlight: number, count: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { url } = yield* provider
      const folder = mkdtempSync(join(tmpdir(), "pipe-workers-"))
      const { cpu, memory, seconds } = yield* Effect.promise(
        () => start("alone", join(folder, "pipe.db"), url, count, inFlight).used
      )
      rmSync(folder, { recursive: true })
      row(`one process, ${inFlight} calls`, count / seconds, [
        ["CPU", (cpu / count) * 1e3, "ms/row"],
        ["memory", memory, "MB"]
      ])
    })
  )

/** A run with workers. */
const together = (workers: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { url } = yield* provider
      const store = yield* Servers.postgres
      const count = rows * workers
      const all = Array.from({ length: workers }, () => start("worker", store, url, count, calls))
      // They join before the run starts, so that the time is that of their work.
      yield* Effect.repeat(Effect.sleep(50), {
        until: () => {
          try {
            return Effect.runSync(Servers.sql(store, "SELECT count(*) FROM workers")).trim() === String(workers)
          } catch {
            return false
          }
        }
      })
      const before = cpuOf(store)
      const first = written(store)
      const run = yield* Effect.promise(() => start("coordinator", store, url, count, calls).used)
      const server = cpuOf(store) - before
      const last = written(store)
      for (const { child } of all) child.stdin.end()
      const used = yield* Effect.promise(() => Promise.all(all.map(({ used }) => used)))
      row(`${workers} × ${calls} calls`, count / run.seconds, [
        ["coordinator", (run.cpu / count) * 1e3, "ms/row"],
        ["and", run.memory, "MB"],
        ["workers", (used.reduce((sum, { cpu }) => sum + cpu, 0) / count) * 1e3, "ms/row"],
        ["and", Math.max(...used.map(({ memory }) => memory)), "MB"],
        ["PostgreSQL", (server / count) * 1e3, "ms/row"],
        ["and", (last.transactions - first.transactions) / count, "transactions/row"],
        ["and", (last.bytes - first.bytes) / count / 1e3, "kB/row"]
      ])
    })
  )

await Effect.runPromise(
  Effect.gen(function* () {
    const counts = values.workers.split(",").map(Number)
    if (values.alone) {
      yield* alone(calls, rows)
      yield* alone(calls * Math.max(...counts), rows * Math.max(...counts))
    }
    for (const workers of counts) yield* together(workers)
  })
)
