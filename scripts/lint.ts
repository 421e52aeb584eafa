/**
 * Runs oxlint and fails on every finding, warnings included, but for those that `lint-exceptions.json` still allows: a number
 * of findings for a rule and a file. An entry that allows more than there is fails too; `--prune` lowers such entries, and
 * nothing raises one.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "..")
const list = path.join(root, "scripts/lint-exceptions.json")
const folders = ["packages", "examples", "scripts", "bench"]

interface Finding {
  readonly message: string
  readonly code: string
  readonly filename: string
  readonly labels: ReadonlyArray<{ readonly span: { readonly line: number; readonly column: number } }>
}

type Exceptions = Record<string, Record<string, number>>

const { error, status, stderr, stdout } = spawnSync(
  "oxlint",
  ["--format", "json", "--report-unused-disable-directives-severity", "error", ...folders],
  { cwd: root, encoding: "utf8", maxBuffer: 1 << 28 }
)
if (error !== undefined || !stdout.startsWith("{")) {
  console.error(error?.message ?? `oxlint ended with ${status}: ${stderr}${stdout}`)
  process.exit(1)
}
const { diagnostics, number_of_files: files } = JSON.parse(stdout) as {
  readonly diagnostics: ReadonlyArray<Finding>
  readonly number_of_files: number
}

const problems: Array<string> = []
const report = ({ code, filename, labels, message }: Finding): void => {
  const at = labels[0]?.span
  problems.push(`${filename}:${at?.line ?? 1}:${at?.column ?? 1}: ${message} (${code})`)
}

const exceptions = JSON.parse(fs.readFileSync(list, "utf8")) as Exceptions
const pruned: Exceptions = {}
const byRule = Map.groupBy(diagnostics, ({ code }) => code)
let allowed = 0

for (const [rule, findings] of byRule) {
  for (const [file, here] of Map.groupBy(findings, ({ filename }) => filename)) {
    const most = exceptions[rule]?.[file] ?? 0
    if (here.length > most) {
      here.forEach(report)
      if (most > 0)
        problems.push(`${file}: lint-exceptions.json allows ${most} of ${rule}, and here are ${here.length}`)
    }
    allowed += Math.min(here.length, most)
    if (most > 0) (pruned[rule] ??= {})[file] = Math.min(here.length, most)
  }
}

const prune = process.argv.includes("--prune")
for (const [rule, entries] of Object.entries(exceptions)) {
  for (const [file, most] of Object.entries(entries)) {
    const needed = pruned[rule]?.[file] ?? 0
    if (needed < most && !prune) {
      problems.push(
        `${file}: lint-exceptions.json allows ${most} of ${rule}, and ${needed} are needed: pnpm lint --prune`
      )
    }
  }
}
if (prune) {
  const sorted = Object.entries(pruned).map(([rule, entries]) => [
    rule,
    Object.fromEntries(Object.entries(entries).sort())
  ])
  fs.writeFileSync(list, `${JSON.stringify(Object.fromEntries(sorted.sort()), undefined, 2)}\n`)
}

// A rule is switched off for a line with its reason: `-- why`.
for (const folder of folders) {
  for (const entry of fs.readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name)
    if (!entry.isFile() || !/\.tsx?$/.test(file) || /[\\/](?:node_modules|dist)[\\/]/.test(file)) continue
    fs.readFileSync(file, "utf8")
      .split("\n")
      .forEach((line, index) => {
        if (/\/[/*] oxlint-disable(?!.* -- \S)/.test(line)) {
          problems.push(
            `${path.relative(root, file)}:${index + 1}: a rule is switched off without its reason: add -- why`
          )
        }
      })
  }
}

for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exit(1)
console.log(`lint: ${files} files, ${allowed} exceptions left`)
