/**
 * Checks the types of sources, tests, examples and documentation samples in one program. The samples are written to `out/samples`, and an
 * error in one names the line of the document.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { root, samples } from "./samples.ts"

const out = path.join(root, "out/samples")
const found = new Map(samples().map((sample) => [`${sample.name}.ts`, sample]))

fs.mkdirSync(out, { recursive: true })
for (const file of fs.readdirSync(out)) if (!found.has(file)) fs.rmSync(path.join(out, file))
for (const [name, { code }] of found) {
  const file = path.join(out, name)
  const text = `${code}\nexport {}\n`
  if (!fs.existsSync(file) || fs.readFileSync(file, "utf8") !== text) fs.writeFileSync(file, text)
}

const check = (project: string) =>
  spawnSync("tsc", ["-p", project], { cwd: root, encoding: "utf8", maxBuffer: 1 << 28 })

// The page of `pipe ui` runs in a browser.
const checked = [check("."), check("packages/cli/src/ui/page")]
const named = checked
  .map(({ stderr, stdout }) => `${stdout}${stderr}`)
  .join("")
  .replace(/^out\/samples\/(\S+)\((\d+),(\d+)\)/gm, (_, name: string, line: string, column: string) => {
    const { document, line: above } = found.get(name)!
    return `${document}(${above + Number(line)},${column})`
  })
if (checked.some(({ status }) => status !== 0)) {
  console.error(named.trim())
  process.exit(1)
}
console.log(`types: sources, tests and ${found.size} samples`)
