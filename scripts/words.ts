/**
 * Fails, with one line a place, where a comment, a message or a page uses a word of its own for which the field has a standard one:
 * "begun" for started, "parked" for suspended. Reads the sources of the packages and the pages in `docs`; code in samples does not count.
 */
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "..")

/** What is not to be said, and what the best projects say. */
const WORDS: ReadonlyArray<readonly [pattern: RegExp, instead: string]> = [
  [/\b(?:go|goes|going|gone|went) on\b/i, "resume, continue"],
  [/\bbegun\b/i, "started"],
  [/\bpark(?:s|ed|ing)?\b/i, "suspend"],
  [/\bput(?:s|ting)? down\b/i, "suspend"],
  [/\banew\b/i, "again"],
  [/\b(?:take|takes|taken|took) over\b/i, "reuse, restore"],
  [/\b(?:is|are|be|was|were|been) asked\b(?! for)/i, "is called, is sent"],
  [/\bbook(?:s|ed|ing)\b/i, "ledger, record"],
  [/\b(?:is|are) told\b(?! apart)/i, "receives, is distinguished"],
  [/\b(?:nobody|whoever|somebody)\b/i, "a noun"],
  [/\bon (?:its|their) way\b/i, "in flight, in progress"],
  [/\bunder way\b/i, "in flight, in progress"],
  [/\bby chance\b/i, "at random"],
  [/\bfare(?:s|d)?\b/i, "perform"],
  [/\bof one's own\b/i, "your own, custom"],
  [/\bfor ever\b/i, "indefinitely"],
  [/\b(?<!there )(?:is|are) none\b/i, "is not a …"],
  [/\bstands? (?:in|at|over|under|above|below|beside|there)\b/i, "is, represents"],
  [/\btake(?:s|n)? (?:it |them )?away\b/i, "delete"]
]

const sources = ["core", "plugins", "cli"].flatMap((name) => {
  const folder = path.join(root, "packages", name, "src")
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && entry.name !== "WordNet.ts")
    .map((entry) => path.join(entry.parentPath, entry.name))
})

const pages = [
  "README.md",
  "CONTRIBUTING.md",
  "AGENTS.md",
  ...fs
    .readdirSync(path.join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => path.join("docs", name))
].map((name) => path.join(root, name))

/** Texts of three words or more in quotes. */
const QUOTED = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`/g

/** The prose on a line of a source: its comment, and its messages. */
const proseOf = (line: string): string =>
  /^\s*(?:\/\*\*|\*|\/\/)/.test(line)
    ? line
    : (line.match(QUOTED) ?? []).filter((text) => text.split(/\s+/).length >= 3).join(" ")

let found = 0
for (const file of [...sources, ...pages]) {
  const isPage = file.endsWith(".md")
  let isSample = false
  for (const [index, line] of fs.readFileSync(file, "utf8").split("\n").entries()) {
    if (/^\s*(?:\* )?```/.test(line)) isSample = !isSample
    if (isSample) continue
    const prose = (isPage ? line : proseOf(line)).replaceAll(/`[^`]*`/g, isPage ? "" : "$&")
    for (const [pattern, instead] of WORDS) {
      const said = pattern.exec(prose)?.[0]
      if (said === undefined) continue
      found++
      console.error(`${path.relative(root, file)}:${index + 1}: "${said}": say ${instead}`)
    }
  }
}
if (found > 0) process.exitCode = 1
else console.log(`words: ${sources.length + pages.length} files, no finding`)
