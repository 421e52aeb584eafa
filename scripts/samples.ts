/**
 * Finds the code samples of the documentation: the `ts` blocks with an import in the packages' comments, the README and the pages in
 * `docs`. Blocks with an ellipsis, or without imports, show a form and are not programs.
 */
import * as fs from "node:fs"
import * as path from "node:path"

export const root = path.resolve(import.meta.dirname, "..")

export interface Sample {
  /** `docs-start-first-flow-md-67`. */
  readonly name: string
  readonly document: string
  /** The line of the document above the first line of code. */
  readonly line: number
  readonly code: string
}

const walk = (folder: string): ReadonlyArray<string> =>
  fs
    .readdirSync(path.join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(?:md|ts)$/.test(entry.name))
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))

/** All pages, as paths from the root. */
export const pages = (): ReadonlyArray<string> => [
  ...fs.readdirSync(root).filter((file) => file.endsWith(".md")),
  ...walk("docs").filter((file) => file.endsWith(".md")),
  "examples/README.md",
  "examples/data/README.md",
  "bench/README.md"
]

export const samples = (): ReadonlyArray<Sample> =>
  [...pages(), ...["packages/core/src", "packages/plugins/src"].flatMap(walk)].flatMap((document) => {
    const text = fs.readFileSync(path.join(root, document), "utf8")
    return [...text.matchAll(/^( \* )?```ts\n([\s\S]*?)^(?: \* )?```$/gm)].flatMap((match): ReadonlyArray<Sample> => {
      const code = match[1] === undefined ? match[2]! : match[2]!.replace(/^ \* ?/gm, "")
      if (!code.includes("import ") || code.includes("…)") || code.includes(", …")) return []
      const line = text.slice(0, match.index).split("\n").length
      return [{ name: `${document.replace(/\W+/g, "-")}-${line}`, document, line, code }]
    })
  })
