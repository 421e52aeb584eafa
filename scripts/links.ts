/**
 * Fails, with one line a problem, where a page links to a file or a heading that does not exist, or where no page that a reader finds from
 * the README links to a page.
 */
import GithubSlugger from "github-slugger"
import * as fs from "node:fs"
import * as path from "node:path"
import { pages, root } from "./samples.ts"

interface Link {
  readonly line: number
  readonly target: string
}

interface Page {
  readonly anchors: ReadonlySet<string>
  readonly links: ReadonlyArray<Link>
}

/** A link or an image, with or without a title; a definition; a link or an image in HTML. */
const LINK = /\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)|^\[[^\]]+\]:\s+(\S+)|(?:href|src)="([^"]+)"/g

/** A heading as its text is shown: without the marks of links, code and emphasis. */
const plain = (heading: string): string => heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[`*]/g, "")

const read = (file: string): Page => {
  const slugger = new GithubSlugger()
  const anchors = new Set<string>()
  const links: Array<Link> = []
  let isCode = false
  for (const [index, text] of fs.readFileSync(path.join(root, file), "utf8").split("\n").entries()) {
    if (/^\s*(?:```|~~~)/.test(text)) isCode = !isCode
    if (isCode) continue
    const heading = /^#{1,6} (.*)$/.exec(text)?.[1]
    if (heading !== undefined) anchors.add(slugger.slug(plain(heading)))
    for (const [, ...targets] of text.replaceAll(/`[^`]*`/g, "").matchAll(LINK)) {
      const target = decodeURIComponent(targets.find((one) => one !== undefined)!)
      if (!/^[a-z]+:/.test(target)) links.push({ line: index + 1, target })
    }
  }
  return { anchors, links }
}

const pageOf = new Map(pages().map((file) => [file, read(file)]))
const problems: Array<string> = []
const found = new Set<string>()

const visit = (file: string): void => {
  if (found.has(file)) return
  found.add(file)
  for (const { target } of pageOf.get(file)?.links ?? []) {
    const to = path.join(path.dirname(file), target.split("#")[0]!)
    if (pageOf.has(to)) visit(to)
  }
}

for (const [file, { links }] of pageOf) {
  for (const { line, target } of links) {
    const [to, anchor] = target.split("#") as [string, string?]
    const at = to === "" ? file : path.join(path.dirname(file), to)
    if (!fs.existsSync(path.join(root, at))) problems.push(`${file}:${line}: ${target} does not exist`)
    else if (anchor !== undefined && pageOf.get(at)?.anchors.has(anchor) !== true) {
      problems.push(`${file}:${line}: ${target}: no such heading`)
    }
  }
}

visit("README.md")
for (const file of pageOf.keys()) {
  // Contributors and their tools open these by name.
  if (!found.has(file) && file !== "AGENTS.md") problems.push(`${file}: no page links to it`)
}

for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
else console.log(`links: ${pageOf.size} pages, no problem`)
