/**
 * Bundles the command into `dist/`, in five parts:
 *
 * - `quick/`, from `src/Quick.ts`, self-contained: Effect and the core are inside, so that help needs few files;
 * - `main/`, from `src/Main.ts`, with every package left outside: a flow and the command share one Effect;
 * - `archive/`, with the modules of `main/` and of the packages in one file (see `archive.ts`);
 * - `ui/`, from `src/ui/page`: the page of `pipe ui`, as one script and one style;
 * - `bin.js`, from `src/bin.ts`: turns on Node's compile cache, then loads one of the two.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as archive from "./archive.ts"
import * as uiPage from "./page.ts"
import { type OutputChunk, type OutputOptions, type Plugin, rolldown } from "rolldown"

const root = path.resolve(import.meta.dirname, "..")
const dist = path.join(root, "dist")

const isBare = (id: string): boolean => !id.startsWith(".") && !id.startsWith("\0") && !path.isAbsolute(id)
const isNode = (id: string): boolean => id.startsWith("node:")

/** What the quick path never runs, so that its chunks need not hold it. */
const QUICK_EXTERNAL =
  /^(?:node:|@pipe\/plugins(?:\/|$)|@pydantic\/|openai(?:\/|$)|@anthropic-ai\/|undici$|gpt-tokenizer\/)/

const bundle = async (
  entry: string,
  external: (id: string) => boolean,
  output: OutputOptions,
  plugins: ReadonlyArray<Plugin> = []
): Promise<ReadonlyArray<OutputChunk>> => {
  const build = await rolldown({
    input: path.join(root, "src", entry),
    cwd: root,
    platform: "node",
    external: (id) => external(id),
    plugins: [...plugins],
    treeshake: true
  })
  const result = await build.write({
    format: "esm",
    entryFileNames: "[name].js",
    chunkFileNames: "[name]-[hash].js",
    ...output
  })
  await build.close()
  return result.output.filter((part) => part.type === "chunk")
}

/** The chunks that load with the entry. */
const startChunks = (chunks: ReadonlyArray<OutputChunk>): ReadonlyArray<OutputChunk> => {
  const byName = new Map(chunks.map((chunk) => [chunk.fileName, chunk]))
  const found = new Set(chunks.filter((chunk) => chunk.isEntry))
  for (const chunk of found) {
    for (const name of chunk.imports) {
      const next = byName.get(name)
      if (next !== undefined) found.add(next)
    }
  }
  return Array.from(found)
}

const size = (chunks: ReadonlyArray<OutputChunk>): string =>
  `${Math.round(chunks.reduce((bytes, chunk) => bytes + chunk.code.length, 0) / 1024)} kB`

const binary: Plugin = {
  name: "pipe-bin",
  resolveId(id) {
    if (id === "./Quick.ts") return { id: "./quick/Quick.js", external: true }
    if (id === "./Main.ts") return { id: "./main/Main.js", external: true }
    return undefined
  },
  transform(code, id) {
    if (path.basename(id) !== "bin.ts" || code.includes("enableCompileCache")) return undefined
    const [, hashbang = "", body = ""] = /^(#!.*\n)?([\s\S]*)$/.exec(code) ?? []
    // An older Node has no such name: it gets the message about its version first.
    return `${hashbang}import * as nodeModule from "node:module"\nnodeModule.enableCompileCache?.()\n${body}`
  }
}

fs.rmSync(dist, { recursive: true, force: true })

const quick = await bundle("Quick.ts", (id) => QUICK_EXTERNAL.test(id), { dir: path.join(dist, "quick"), minify: true })
const start = startChunks(quick)
const bundled = new Set(quick.map((chunk) => chunk.fileName))
const outside = new Set(start.flatMap((chunk) => chunk.imports).filter((id) => !bundled.has(id) && !isNode(id)))
if (outside.size > 0) {
  console.error(`Quick.ts is not self-contained: it loads ${Array.from(outside).join(", ")} at once`)
  process.exitCode = 1
}

const main = await bundle("Main.ts", isBare, { dir: path.join(dist, "main"), sourcemap: true })
await bundle("bin.ts", isNode, { dir: dist }, [binary])
fs.chmodSync(path.join(dist, "bin.js"), 0o755)
const page = await uiPage.bundle()
fs.mkdirSync(path.join(dist, "ui"))
fs.writeFileSync(path.join(dist, "ui/page.js"), page.script)
fs.writeFileSync(path.join(dist, "ui/page.css"), page.style)
fs.writeFileSync(path.join(dist, "ui/LICENSES.txt"), uiPage.licences())

const bytes = archive.build(dist)

console.log(
  `cli: quick ${size(start)} at start, ${size(quick)} in all; main ${size(startChunks(main))} at start, ${size(main)} in all; archive ${Math.round(bytes / 1024)} kB; page ${Math.round(page.script.length / 1024)} kB`
)
