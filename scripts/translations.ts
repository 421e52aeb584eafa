/**
 * Keeps the Chinese pages in step with the English ones: the same headings by level, and the same code, commands and outputs. With `--write`
 * the blocks are copied from the English page.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "./samples.ts"

/** The English page of each translation. */
export const translations: ReadonlyMap<string, string> = new Map([
  ["README.zh-CN.md", "README.md"],
  ["docs/zh/first-flow.md", "docs/start/first-flow.md"],
  ["docs/zh/cut-costs.md", "docs/guides/cut-costs.md"]
])

const BLOCK = /^```[\s\S]*?^```$/gm

const read = (page: string): string => fs.readFileSync(path.join(root, page), "utf8")
const blocksOf = (text: string): ReadonlyArray<string> => text.match(BLOCK) ?? []
/** What a translation has as often as its original: rows of tables, items of lists. */
const countsOf = (text: string): ReadonlyArray<number> =>
  [/^\|/gm, /^- /gm].map((pattern) => text.replace(BLOCK, "").match(pattern)?.length ?? 0)
const levelsOf = (text: string): ReadonlyArray<number> =>
  [...text.replace(BLOCK, "").matchAll(/^(#+) /gm)].map(([, signs]) => signs!.length)

const differences = (translation: string, original: string): ReadonlyArray<string> => {
  const [here, there] = [read(translation), read(original)]
  const [levels, expected] = [levelsOf(here), levelsOf(there)]
  const [blocks, others] = [blocksOf(here), blocksOf(there)]
  return [
    ...(levels.join() === expected.join() ? [] : [`has the headings ${levels}, not ${expected}`]),
    ...(countsOf(here).join() === countsOf(there).join()
      ? []
      : [`has ${countsOf(here).join(" and ")} table rows and list items, not ${countsOf(there).join(" and ")}`]),
    ...(blocks.length === others.length ? [] : [`has ${blocks.length} code blocks, not ${others.length}`]),
    ...blocks.flatMap((block, at) =>
      others[at] === undefined || block === others[at] ? [] : [`code block ${at + 1} differs: pnpm translations`]
    )
  ].map((problem) => `${translation} ${problem} (${original})`)
}

/** Copies the blocks in order. When one was added or removed, the translator has to say where it belongs. */
const copyBlocks = (translation: string, original: string): void => {
  if (blocksOf(read(translation)).length !== blocksOf(read(original)).length) return
  const blocks = blocksOf(read(original)).values()
  const text = read(translation).replace(BLOCK, (block) => blocks.next().value ?? block)
  fs.writeFileSync(path.join(root, translation), text)
}

if (import.meta.main) {
  if (process.argv.includes("--write")) for (const [page, original] of translations) copyBlocks(page, original)
  const unknown = fs.readdirSync(path.join(root, "docs/zh")).filter((file) => !translations.has(`docs/zh/${file}`))
  const missing = [...translations.keys()].filter((page) => !fs.existsSync(path.join(root, page)))
  const problems = [
    ...unknown.map((file) => `docs/zh/${file} is the translation of no page that scripts/translations.ts knows`),
    ...missing.map((page) => `${page} does not exist`),
    ...[...translations].flatMap(([page, original]) => (missing.includes(page) ? [] : differences(page, original)))
  ]
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exit(1)
}
