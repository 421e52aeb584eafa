/**
 * All the checks that need no test runner, as many at once as there are cores. Prints a line for each, and everything that
 * one says when it fails.
 */
import { spawn } from "node:child_process"
import * as os from "node:os"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "..")

/** The longest first, so that the short ones fill what is left. */
const checks: ReadonlyArray<readonly [name: string, command: string, ...args: ReadonlyArray<string>]> = [
  ["packages", "node", "scripts/packages.ts"],
  [
    "diagnostics",
    "effect-tsgo",
    "diagnostics",
    "--project",
    "tsconfig.json",
    "--severity",
    "error,warning",
    "--strict"
  ],
  ["types", "node", "scripts/types.ts"],
  ["lint", "node", "scripts/lint.ts"],
  ["format", "oxfmt", "--list-different"],
  ["codegen", "node", "scripts/codegen.ts", "--check"],
  ["structure", "node", "scripts/structure.ts"],
  ["reference", "node", "scripts/reference.ts", "--check"],
  ["words", "node", "scripts/words.ts"],
  ["docstrings", "node", "scripts/docstrings.ts"],
  ["links", "node", "scripts/links.ts"],
  ["translations", "node", "scripts/translations.ts"]
]

const waiting = [...checks]
let failed = 0

const run = ([name, command, ...args]: (typeof checks)[number]): Promise<void> =>
  new Promise((done) => {
    const started = performance.now()
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    child.stdout.on("data", (chunk) => (output += chunk))
    child.stderr.on("data", (chunk) => (output += chunk))
    child.on("error", (error) => (output += error.message))
    child.on("close", (code) => {
      const seconds = ((performance.now() - started) / 1000).toFixed(1)
      console.log(`${code === 0 ? "✓" : "✗"} ${name} (${seconds} s)`)
      if (code !== 0) {
        failed++
        console.error(output.trimEnd())
      }
      done()
    })
  })

const lane = async (): Promise<void> => {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await run(next)
}

await Promise.all(Array.from({ length: os.availableParallelism() }, lane))
if (failed > 0) process.exit(1)
