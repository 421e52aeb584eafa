/**
 * Compiles every example of the documentation: the `ts` blocks with an import in the packages' comments, the README and the
 * guides. Exits with 1 when one does not compile, and names where it stands.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "..")
const out = path.join(root, "node_modules/.cache/doctest")

const files = [
  path.join(root, "README.md"),
  ...walk(path.join(root, "docs")).filter((file) => file.endsWith(".md")),
  ...["core", "plugins"].flatMap((name) => walk(path.join(root, "packages", name, "src")))
]

function walk(folder: string): ReadonlyArray<string> {
  return fs
    .readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
}

fs.rmSync(out, { recursive: true, force: true })
fs.mkdirSync(out, { recursive: true })
const origins = new Map<string, string>()

for (const file of files) {
  const text = fs.readFileSync(file, "utf8")
  for (const match of text.matchAll(/^( \* )?```ts\n([\s\S]*?)^(?: \* )?```$/gm)) {
    const code = match[1] === undefined ? match[2]! : match[2]!.replace(/^ \* ?/gm, "")
    // Fragments (with an ellipsis, or without imports) show a form, they are no programs.
    if (!code.includes("import ") || code.includes("…)") || code.includes(", …")) continue
    const name = `example-${origins.size + 1}.ts`
    const line = text.slice(0, match.index).split("\n").length
    origins.set(name, `${path.relative(root, file)}:${line}`)
    fs.writeFileSync(path.join(out, name), `${code}\nexport {}\n`)
  }
}

fs.writeFileSync(
  path.join(out, "tsconfig.json"),
  JSON.stringify({
    extends: path.relative(out, path.join(root, "tsconfig.base.json")),
    compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
    include: ["*.ts"]
  })
)

try {
  execFileSync("tsc", ["-p", out], { cwd: root, encoding: "utf8", stdio: "pipe" })
  console.log(`${origins.size} examples compile`)
} catch (error) {
  const { stdout } = error as { readonly stdout: string }
  console.error(
    stdout.replace(/\S*(example-\d+\.ts)\((\d+)/g, (_, name, line) => `${origins.get(name)} (example line ${line}`)
  )
  process.exit(1)
}
