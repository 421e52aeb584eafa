/**
 * Runs the peers side by side, each in a fresh process against a fresh server, and prints a table. See `README.md`.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { cpus } from "node:os"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { type Measured, warmUpRows } from "./child.ts"
import { peers } from "./peers.ts"

const concurrency = 64
const defaultRows = 20_000

/** What was measured of one peer at one latency, with the share of one core its server was busy. */
interface Run extends Measured {
  readonly rows: number
  readonly serverBusy: number
}

// Peers read variables (tracing, proxies, keys) that would change what is measured: none but PATH is passed on.
const start = (script: string, args: ReadonlyArray<string>) => {
  const path = fileURLToPath(new URL(script, import.meta.url))
  const child = spawn(process.execPath, [path, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { PATH: process.env["PATH"] }
  })
  const exited = once(child, "exit")
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    /** The next line that is JSON; a peer's library may print others. */
    next: async (): Promise<unknown> => {
      for (let line = await lines.next(); !line.done; line = await lines.next()) {
        if (line.value.startsWith("{")) return JSON.parse(line.value)
      }
      const [code, signal] = await exited
      throw new Error(`${script} ended early (${code ?? signal})`)
    },
    /** Ends its standard input. */
    end: () => child.stdin.end(),
    exited
  }
}

const measure = async (peer: string, rows: number, latency: number): Promise<Run> => {
  const server = start("server.ts", [String(latency)])
  try {
    const { port } = (await server.next()) as { readonly port: number }
    const child = start("child.ts", [peer, `http://127.0.0.1:${port}/v1`, String(rows), String(concurrency)])
    const measured = (await child.next()) as Measured
    server.end()
    const served = (await server.next()) as { readonly requests: number; readonly cpuSeconds: number }
    if (served.requests !== rows + warmUpRows) {
      throw new Error(`${peer} sent ${served.requests} requests for ${rows + warmUpRows} rows`)
    }
    const serverCpuPerRow = served.cpuSeconds / served.requests
    return { ...measured, rows, serverBusy: (serverCpuPerRow * rows) / measured.seconds }
  } finally {
    server.end()
    await server.exited
  }
}

/** Measures, and says so; a peer that fails is reported and leaves a gap in the table. */
const attempt = async (peer: string, rows: number, latency: number): Promise<Run | undefined> => {
  process.stderr.write(`${peer}, ${rows} rows, ${latency} ms … `)
  try {
    const run = await measure(peer, rows, latency)
    process.stderr.write(`${run.seconds.toFixed(1)} s\n`)
    return run
  } catch (error) {
    process.stderr.write(`failed: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
    return undefined
  }
}

const rowsPerSecond = (run: Run) => run.rows / run.seconds
const cpuPerThousand = (run: Run) => (run.cpuSeconds / run.rows) * 1000

const count = (value: number) => Math.round(value).toLocaleString("en-US")
const ratio = (of: (run: Run) => number, run: Run, reference: Run | undefined) =>
  reference === undefined ? "–" : (of(run) / of(reference)).toFixed(2)

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: ReadonlyArray<string>) =>
    `| ${widths
      .map((width, column) => {
        const cell = cells[column] ?? ""
        return column === 0 ? cell.padEnd(width) : cell.padStart(width)
      })
      .join(" | ")} |`
  const rule = widths.map((width, column) => (column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`))
  return [head, rule, ...rows].map(line).join("\n")
}

const compare = async (names: ReadonlyArray<string>, rows: number, latency: number) => {
  const runs = new Map<string, Run>()
  for (const name of names) {
    const run = await attempt(name, rows, latency)
    if (run !== undefined) runs.set(name, run)
  }
  const head = [
    `peer, ${latency} ms`,
    "rows/s",
    "CPU s/1,000 rows",
    "peak MB",
    "CPU ÷ openai-sdk",
    "rows/s ÷ langchain",
    "rows/s ÷ undici",
    "server busy"
  ]
  const lines = Array.from(runs, ([name, run]) => [
    name,
    count(rowsPerSecond(run)),
    cpuPerThousand(run).toFixed(3),
    count(run.peakMB),
    ratio(cpuPerThousand, run, runs.get("openai-sdk")),
    ratio(rowsPerSecond, run, runs.get("langchain")),
    ratio(rowsPerSecond, run, runs.get("undici")),
    `${Math.round(run.serverBusy * 100)} %`
  ])
  console.log(`\n${table(head, lines)}\n`)
}

const compareMemory = async (names: ReadonlyArray<string>, rows: number, latency: number) => {
  const lines: Array<ReadonlyArray<string>> = []
  for (const name of names) {
    const few = await attempt(name, rows, latency)
    const many = await attempt(name, 10 * rows, latency)
    lines.push([
      name,
      few === undefined ? "–" : count(few.peakMB),
      many === undefined ? "–" : count(many.peakMB),
      few === undefined || many === undefined ? "–" : ratio((run) => run.peakMB, many, few)
    ])
  }
  const head = [`peak MB, ${latency} ms`, `${count(rows)} rows`, `${count(10 * rows)} rows`, "ratio"]
  console.log(`\n${table(head, lines)}\n`)
}

const { values } = parseArgs({
  options: {
    peers: { type: "string", default: Object.keys(peers).join(",") },
    rows: { type: "string", default: process.env["ROWS"] ?? String(defaultRows) },
    latency: { type: "string", default: "0,20" },
    memory: { type: "boolean", default: false }
  }
})
const names = values.peers.split(",")
const unknown = names.filter((name) => !Object.hasOwn(peers, name))
if (unknown.length > 0)
  throw new Error(`No such peer: ${unknown.join(", ")}; there are ${Object.keys(peers).join(", ")}`)
const rows = Number(values.rows)
if (!Number.isSafeInteger(rows) || rows < 1)
  throw new Error(`--rows must be a whole number above 0, not "${values.rows}"`)
const latencies = values.latency.split(",").map(Number)
if (latencies.some((latency) => !(latency >= 0)))
  throw new Error(`--latency must be numbers of ms, not "${values.latency}"`)

console.log(`Node ${process.version}, ${cpus().length} cores, ${count(rows)} rows, concurrency ${concurrency}`)
for (const latency of values.memory ? latencies.slice(0, 1) : latencies) {
  await (values.memory ? compareMemory : compare)(names, rows, latency)
}
