/**
 * Checks the types of sources, tests, examples and documentation samples in one program.
 *
 * The samples are the `ts` blocks with an import in the packages' comments, the README and the guides. They are written to
 * `out/samples`, and an error in one names the line of the document.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "..")
const out = path.join(root, "out/samples")

const walk = (folder: string): ReadonlyArray<string> =>
  fs
    .readdirSync(path.join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(?:md|ts)$/.test(entry.name))
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))

const documents = [
  ...fs.readdirSync(root).filter((file) => file.endsWith(".md")),
  ...["docs", "packages/core/src", "packages/plugins/src"].flatMap(walk)
]

/** Line of the document at which the code of a sample begins, by the sample's file. */
const origins = new Map<string, { readonly document: string; readonly line: number }>()
const samples = new Map<string, string>()

for (const document of documents) {
  const text = fs.readFileSync(path.join(root, document), "utf8")
  for (const match of text.matchAll(/^( \* )?```ts\n([\s\S]*?)^(?: \* )?```$/gm)) {
    const code = match[1] === undefined ? match[2]! : match[2]!.replace(/^ \* ?/gm, "")
    // Fragments (with an ellipsis, or without imports) show a form, they are no programs.
    if (!code.includes("import ") || code.includes("…)") || code.includes(", …")) continue
    const line = text.slice(0, match.index).split("\n").length
    const name = `${document.replace(/\W+/g, "-")}-${line}.ts`
    origins.set(name, { document, line })
    samples.set(name, `${code}\nexport {}\n`)
  }
}

fs.mkdirSync(out, { recursive: true })
for (const file of fs.readdirSync(out)) if (!samples.has(file)) fs.rmSync(path.join(out, file))
for (const [name, code] of samples) {
  const file = path.join(out, name)
  if (!fs.existsSync(file) || fs.readFileSync(file, "utf8") !== code) fs.writeFileSync(file, code)
}

const { status, stderr, stdout } = spawnSync("tsc", ["-p", "."], { cwd: root, encoding: "utf8", maxBuffer: 1 << 28 })
const named = `${stdout}${stderr}`.replace(
  /^out\/samples\/(\S+)\((\d+),(\d+)\)/gm,
  (_, name: string, line: string, column: string) => {
    const origin = origins.get(name)!
    return `${origin.document}(${origin.line + Number(line)},${column})`
  }
)
if (status !== 0) {
  console.error(named.trim())
  process.exit(1)
}
console.log(`types: sources, tests and ${samples.size} samples`)
