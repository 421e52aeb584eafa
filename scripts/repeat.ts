/**
 * Runs tests again and again, and says which of them ever failed: `pnpm test:repeat 20 --project unit packages/core`. What
 * comes after the number goes to vitest. Exits with 1 when a test failed once.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

interface Report {
  readonly testResults: ReadonlyArray<{
    readonly name: string
    readonly message: string
    readonly status: string
    readonly assertionResults: ReadonlyArray<{ readonly status: string; readonly fullName: string }>
  }>
}

const root = path.resolve(import.meta.dirname, "..")
const [first = "20", ...rest] = process.argv.slice(2).filter((arg) => arg !== "--")
const times = /^\d+$/.test(first) ? Number(first) : 20
const args = /^\d+$/.test(first) ? rest : [first, ...rest]
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "pipe-repeat-"))
const failures = new Map<string, number>()

for (let run = 1; run <= times; run++) {
  const file = path.join(folder, `${run}.json`)
  const started = performance.now()
  const { signal, status, stderr } = spawnSync(
    "vitest",
    ["run", "--reporter=json", `--outputFile.json=${file}`, ...args],
    {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "ignore", "pipe"]
    }
  )
  const failed: Array<string> = []
  if (fs.existsSync(file)) {
    const report = JSON.parse(fs.readFileSync(file, "utf8")) as Report
    for (const { assertionResults, message, name, status } of report.testResults) {
      const tests = assertionResults.filter((test) => test.status === "failed").map(({ fullName }) => fullName)
      const at = path.relative(root, name)
      failed.push(...tests.map((test) => `${at}: ${test}`))
      if (status === "failed" && tests.length === 0) failed.push(`${at}: ${message.split("\n")[0]}`)
    }
  }
  if (status !== 0 && failed.length === 0) {
    failed.push("vitest itself")
    console.error(`vitest ended with ${signal ?? status}:\n${stderr.trim().slice(-4_000)}`)
  }
  for (const test of failed) failures.set(test, (failures.get(test) ?? 0) + 1)
  const seconds = ((performance.now() - started) / 1_000).toFixed(0)
  console.log(`${run} of ${times}: ${failed.length === 0 ? "passed" : `${failed.length} failed`} (${seconds} s)`)
}

fs.rmSync(folder, { recursive: true, force: true })
for (const [test, count] of failures) console.error(`failed ${count} of ${times}: ${test}`)
process.exitCode = failures.size === 0 ? 0 : 1
