/**
 * Runs oxlint and fails on every finding, warnings included, and on a rule that is switched off without a reason.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "..")
const folders = ["packages", "examples", "scripts", "bench"]

interface Finding {
  readonly message: string
  readonly code: string
  readonly filename: string
  readonly labels: ReadonlyArray<{ readonly span: { readonly line: number; readonly column: number } }>
}

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

diagnostics.forEach(report)

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
console.log(`lint: ${files} files, no finding`)
