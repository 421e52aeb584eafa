/**
 * What a change costs, in about two minutes: CPU for a row of this checkout beside that of a commit, in turns of fresh
 * processes. The benchmark is this checkout's own; the product is each one's.
 *
 *     node quick.ts [--before HEAD] [--tasks text-0,object-0,steps-0] [--rounds 3]
 */
import { execFileSync } from "node:child_process"
import { cpSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { cpuPerRow, measure, median } from "./measure.ts"
import { callsOf, named } from "./tasks.ts"

const { values } = parseArgs({
  options: {
    before: { type: "string", default: "HEAD" },
    tasks: { type: "string", default: "text-0,object-0,steps-0" },
    rounds: { type: "string", default: "3" }
  }
})
const root = resolve(import.meta.dirname, "..")
const names = values.tasks.split(",")
const rounds = Number(values.rounds)

/** Calls that are measured, and calls before. */
const CALLS = 9_000
const WARM_UP = 6_000

const folder = mkdtempSync(join(tmpdir(), "pipe-before-"))
const before = join(folder, "pipe")
const run = (command: string, args: ReadonlyArray<string>, cwd: string): void => {
  execFileSync(command, args, { cwd, stdio: ["ignore", "ignore", "inherit"] })
}

/** The commit, with its dependencies installed and this checkout's benchmark. */
const prepare = (): void => {
  run("git", ["worktree", "add", "--detach", before, values.before], root)
  rmSync(join(before, "bench"), { recursive: true, force: true })
  cpSync(join(root, "bench"), join(before, "bench"), {
    recursive: true,
    filter: (path) => !path.includes("node_modules")
  })
  for (const at of [before, join(before, "bench")])
    run("npx", ["-y", "pnpm@12.4.2", "install", "--frozen-lockfile", "--prefer-offline"], at)
}

try {
  prepare()
  for (const name of names) {
    const calls = callsOf(named(name))
    const sizes = { rows: Math.ceil(CALLS / calls), warmUp: Math.ceil(WARM_UP / calls) }
    const of = async (checkout?: string): Promise<number> =>
      cpuPerRow(await measure("pipe", name, { ...sizes, checkout }))
    const measured: Array<readonly [then: number, now: number]> = []
    for (let round = 0; round < rounds; round++) measured.push([await of(before), await of()])
    const [then, now] = [median(measured.map(([then]) => then)), median(measured.map(([, now]) => now))]
    const ratio = median(measured.map(([then, now]) => now / then))
    console.log(
      `${name}: ${then.toFixed(0)} → ${now.toFixed(0)} µs of CPU a row, ${ratio.toFixed(2)} of ${values.before} (median of ${rounds} pairs)`
    )
  }
} finally {
  run("git", ["worktree", "remove", "--force", before], root)
  rmSync(folder, { recursive: true, force: true })
}
