/**
 * Runs the peers side by side, each on each task in a fresh process against a fresh server, and prints a table a task. See
 * `README.md`.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { cpuPerRow, measure, medianBy, type Run } from "./measure.ts"
import { peers } from "./peers.ts"
import * as Results from "./results.ts"
import { named, tasks } from "./tasks.ts"

/** Measures, and says so; a peer that fails is reported and leaves a gap in the table. */
const attempt = async (peer: string, task: string, rows?: number, warmUp?: number): Promise<Run | undefined> => {
  process.stderr.write(`${task}, ${peer} … `)
  try {
    const run = await measure(peer, task, { rows, warmUp })
    process.stderr.write(`${run.rows} rows, ${run.seconds.toFixed(1)} s\n`)
    return run
  } catch (error) {
    process.stderr.write(`failed: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
    return undefined
  }
}

/** The peers in turns, so that none has the machine in another state than the others; of each its median by CPU. */
const compare = async (names: ReadonlyArray<string>, task: string, rows?: number): Promise<Results.Runs> => {
  const all = new Map<string, Array<Run>>(names.map((peer) => [peer, []]))
  for (let round = 0; round < rounds; round++) {
    for (const [peer, runs] of all) {
      const run = await attempt(peer, task, rows)
      if (run !== undefined) runs.push(run)
    }
  }
  const runs = Object.fromEntries(
    [...all].flatMap(([peer, runs]) => (runs.length === 0 ? [] : [[peer, medianBy(runs, cpuPerRow)]]))
  )
  console.log(`\n${Results.table(task, runs)}\n`)
  return runs
}

/** The largest resident size for numbers of rows, without a warm-up: a process that does nothing else. */
const compareMemory = async (names: ReadonlyArray<string>, task: string, sizes: ReadonlyArray<number>) => {
  const memory: Record<string, Record<number, number>> = {}
  for (const peer of names) {
    memory[peer] = {}
    for (const rows of sizes) {
      const run = await attempt(peer, task, rows, 0)
      if (run !== undefined) memory[peer][rows] = run.peakMB
    }
  }
  console.log(`\n${Results.memoryTable(sizes, memory)}\n`)
  return memory
}

const { values } = parseArgs({
  options: {
    peers: { type: "string", default: Object.keys(peers).join(",") },
    tasks: { type: "string", default: Object.keys(tasks).join(",") },
    rows: { type: "string" },
    rounds: { type: "string", default: "1" },
    memory: { type: "string" },
    write: { type: "boolean", default: false },
    render: { type: "boolean", default: false },
    help: { type: "boolean", default: false }
  }
})
if (values.help) {
  console.log(readFileSync(join(import.meta.dirname, "README.md"), "utf8").match(/^\| option[^]*?\n\n/m)?.[0])
  process.exit()
}
const whole = (text: string): number => {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`expected whole numbers above 0, got "${text}"`)
  return value
}
const names = values.peers.split(",")
const unknown = names.filter((name) => !Object.hasOwn(peers, name))
if (unknown.length > 0)
  throw new Error(`No such peer: ${unknown.join(", ")}; there are ${Object.keys(peers).join(", ")}`)
const rounds = whole(values.rounds)
const rows = values.rows === undefined ? undefined : whole(values.rows)
const chosen = values.tasks.split(",")
chosen.forEach(named)

if (values.render) Results.render()
else if (values.memory !== undefined) {
  const memory = await compareMemory(names, chosen[0]!, values.memory.split(",").map(whole))
  if (values.write) Results.keepMemory(memory)
} else {
  console.log(Results.machine())
  for (const task of chosen) {
    const runs = await compare(names, task, rows)
    if (values.write) Results.keep(task, runs)
  }
}
