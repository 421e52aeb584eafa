/**
 * Fails, with one line a place, where a comment, a message, a name or a page uses a word of its own for which the field has a standard one:
 * "begun" for started, "parked" for suspended. Comments and paragraphs are read as a whole, so a phrase broken over two lines is found. Code
 * in samples, and `code` in pages, do not count.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "..")

/** What is not to be said, and what the best projects say. */
const PHRASES: ReadonlyArray<readonly [pattern: RegExp, instead: string]> = [
  [/\b(?:go|goes|going|gone|went) on\b/i, "resume, continue"],
  [/\bbegun\b/i, "started"],
  [/\bpark(?:s|ed|ing)\b/i, "suspend"],
  [/\bput(?:s|ting)? down\b/i, "suspend"],
  [/\banew\b/i, "again"],
  [/\b(?:take|takes|taken|took) over\b/i, "reuse, restore"],
  [/\b(?:is|are|be|was|were|been) asked\b(?! for)/i, "is called, is sent"],
  [/\bask(?:s|ed|ing)? (?:it |them |a model |models )?again\b/i, "send again"],
  [/\bbook(?:s|ed|ing)\b/i, "ledger, record"],
  [/\b(?:is|are) told\b(?! apart)/i, "receives, is distinguished"],
  [/\b(?:nobody|whoever|somebody)\b/i, "a noun"],
  [/\bno one\b/i, "a noun"],
  [/\bon (?:its|their|the) way\b/i, "in flight, in progress"],
  [/\bunder way\b/i, "in flight, in progress"],
  [/\bby chance\b/i, "at random"],
  [/\bby hindsight\b/i, "in hindsight"],
  [/\bfare(?:s|d)?\b/i, "perform"],
  [/\bof one's own\b/i, "your own, custom"],
  [/\bfor ever\b/i, "indefinitely"],
  [/\b(?<!there )(?:is|are) none\b/i, "is not a …"],
  [/(?<!there )\bis no (?!longer\b|more\b|need\b)(?:\w+ )?(?:of|and|but)\b/i, "is not a …"],
  [/\bstands? (?:in|at|over|under|above|below|beside|there)\b/i, "is, represents"],
  [/\btake(?:s|n)? (?:it |them )?away\b/i, "delete"],
  [/\bat work\b/i, "active, running"],
  [/\bso many\b/i, "this many"]
]

/** Names of the project's own, and the glossary's. Written as words: `parkedRows` has "parked". */
const NAMES: ReadonlyMap<string, string> = new Map([
  ["begun", "started"],
  ["booked", "recorded"],
  ["books", "ledger"],
  ["parked", "suspended"],
  ["told", "a noun"],
  ["nobody", "a noun"],
  ["spool", "file"],
  ["fared", "performance"],
  ["tally", "counter"],
  ["rung", "stage"],
  ["desk", "queue"]
])

/** Names that stores, `--json` and other programs have: they stay. */
const KEPT: ReadonlySet<string> = new Set(["rungs", "@pipe/core/Ledger/Book", "@pipe/core/Ledger/IsBooked"])

/** Data, generated files, and this list. */
const EXEMPT =
  /WordNet\.ts$|\/guard\/(?:Grammar|Words)\.ts$|PackPrompt\.ts$|\/fixtures\/|^examples\/data\/|^api\/|^scripts\/(?:words|lexicon)\.ts$|^README\.zh-CN\.md$|^docs\/zh\/|pnpm-lock|CHANGELOG/

const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.ts", "*.md", "*.yml"], {
  cwd: root,
  encoding: "utf8"
})
  .split("\n")
  .filter((file) => file !== "" && !EXEMPT.test(file) && fs.existsSync(path.join(root, file)))

/** A text with the line on which it begins. */
interface Prose {
  readonly line: number
  readonly text: string
}

/** Paragraphs of a page, without its blocks of code. */
const paragraphsOf = (page: string): ReadonlyArray<Prose> => {
  const found: Array<{ line: number; text: string }> = []
  let isCode = false
  let isOpen = false
  for (const [index, line] of page.split("\n").entries()) {
    if (/^\s*```/.test(line)) isCode = !isCode
    if (isCode || line.trim() === "" || /^\s*```/.test(line)) isOpen = false
    else if (isOpen && !/^\s*(?:[-*|#]|\d+\.)/.test(line)) found.at(-1)!.text += ` ${line.trim()}`
    else {
      found.push({ line: index + 1, text: line })
      isOpen = true
    }
  }
  return found
}

const TOKEN =
  /\/\*[\s\S]*?\*\/|(?:^[ \t]*)?\/\/.*(?:\n[ \t]*\/\/.*)*|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`|\b[A-Za-z_$][\w$]*\b/gm

/** The comments, the messages and the names of a source. */
const proseOf = (source: string): { readonly prose: ReadonlyArray<Prose>; readonly names: ReadonlyArray<Prose> } => {
  const prose: Array<Prose> = []
  const names: Array<Prose> = []
  let line = 1
  let at = 0
  for (const { 0: token, index } of source.matchAll(TOKEN)) {
    line += source.slice(at, index).split("\n").length - 1
    at = index
    if (/^\s*\/[/*]/.test(token)) {
      const text = token.replaceAll(/^[ \t]*(?:\/\*\*?|\*\/|\*|\/\/) ?/gm, "").replaceAll(/\s*\*\/$/g, "")
      for (const one of paragraphsOf(text)) prose.push({ line: line + one.line - 1, text: one.text })
    } else if (/^["`]/.test(token)) {
      const text = token.replaceAll(/\$\{[^}]*\}/g, "…")
      if (text.split(/\s+/).length >= 2) prose.push({ line, text: text.replaceAll(/\s+/g, " ") })
    } else names.push({ line, text: token })
  }
  return { prose, names }
}

const wordsOf = (name: string): ReadonlyArray<string> =>
  name
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .split(/[\s_$]+/)

/** Plain in a test's words, though a page has a better one. */
const LOOSE: ReadonlySet<string> = new Set(["a noun", "is not a …", "is, represents"])

let found = 0
const report = (file: string, line: number, said: string, instead: string): void => {
  found++
  console.error(`${file}:${line}: "${said}": say ${instead}`)
}
for (const file of files) {
  const text = fs.readFileSync(path.join(root, file), "utf8")
  const { names, prose } = file.endsWith(".ts") ? proseOf(text) : { prose: paragraphsOf(text), names: [] }
  for (const one of prose) {
    const spoken = one.text.replaceAll(/`[^`]*`/g, (code) => (code.includes(" ") && file.endsWith(".ts") ? code : "…"))
    for (const [pattern, instead] of PHRASES) {
      if (LOOSE.has(instead) && /(?:^|\/)test\//.test(file)) continue
      const said = pattern.exec(spoken)?.[0]
      if (said !== undefined && !KEPT.has(one.text.slice(1, -1))) report(file, one.line, said, instead)
    }
  }
  if (!/^(?:packages\/[a-z]+\/src|scripts)\//.test(file)) continue
  for (const { line, text: name } of names) {
    if (KEPT.has(name)) continue
    for (const word of wordsOf(name)) {
      const instead = NAMES.get(word)
      if (instead !== undefined) report(file, line, name, instead)
    }
  }
}
if (found > 0) process.exitCode = 1
else console.log(`words: ${files.length} files, no finding`)
