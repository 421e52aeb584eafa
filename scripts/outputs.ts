/**
 * Runs the commands whose output the documentation shows: an `sh` block, followed by a `text` block marked `output`. The blocks of a page
 * run one after the other in a folder of their own, with the flow of `pipe init` and the examples, and without a key. As a script it
 * rewrites the pages; `test/Outputs.e2e.test.ts` compares them.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import * as Template from "../packages/cli/src/commands/init/Template.ts"
import { pages, root } from "./samples.ts"
import { translations } from "./translations.ts"

const BLOCK = /^(```sh\n((?:(?!```).*\n)+)```\n\n```text output\n)((?:(?!```).*\n)*)```$/gm

export interface Output {
  readonly line: number
  readonly shown: string
  readonly actual: string
}

/** What differs from run to run: times, rates, names of runs, and which of two equal questions was answered first. */
const VARIABLE: ReadonlyArray<readonly [variable: RegExp, name: string]> = [
  [/(?:\d+ min )?\d+(?:\.\d+)? (?:ms|s|min)\b/g, "TIME"],
  [/\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2})?/g, "DATE"],
  [/\d{14}-[a-z0-9]{4}/g, "RUN"],
  [/\d+ times as fast/g, "N times as fast"],
  [/\d+ from the cache, \d+ shared/g, "N reused"],
  [/─+/g, "─"],
  [/ +/g, " "]
]

/** An output without what differs from run to run, for comparisons. */
export const stable = (output: string): string =>
  VARIABLE.reduce((text, [variable, name]) => text.replace(variable, name), output)

/** The packed command, which `pnpm tarballs` builds: its flows use its own packages. */
const bin = path.join(root, "out/packed/app/node_modules/@pipe/cli/dist/bin.js")

const workspace = (): string => {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(tmpdir(), "pipe-docs-")))
  const examples = path.join(root, "examples")
  fs.cpSync(examples, path.join(folder, "examples"), {
    recursive: true,
    filter: (file) => file !== path.join(examples, "out") && file !== path.join(examples, "node_modules")
  })
  for (const [name, text] of Template.flowFiles("ts")) fs.writeFileSync(path.join(folder, name), text)
  return folder
}

/** What `pnpm start` runs. */
const start = (): string => {
  const { scripts }: { readonly scripts: { readonly start: string } } = JSON.parse(
    fs.readFileSync(path.join(root, "package.json"), "utf8")
  )
  return `pipe ${scripts.start.split("bin.ts ")[1]}`
}

const environment = (): NodeJS.ProcessEnv => {
  const kept = Object.entries(process.env).filter(([name]) => !/_API_KEY$|^(?:OPENAI|ANTHROPIC|PIPE|npm)_/.test(name))
  return {
    ...Object.fromEntries(kept),
    NO_COLOR: "1",
    NODE_COMPILE_CACHE: path.join(root, "out/packed/app/compile-cache")
  }
}

const shell = (commands: string, cwd: string): string => {
  const plain = commands
    .replaceAll(/npx -y pnpm@\S+ start/g, start())
    .replaceAll(/npx (?:-y pnpm@\S+ )?pipe /g, "pipe ")
  const pipe = `pipe() { '${process.execPath}' '${bin}' "$@"; }`
  const { stdout } = spawnSync("bash", ["-c", `${pipe}\nexec 2>&1\n${plain}`], {
    cwd,
    encoding: "utf8",
    env: environment(),
    timeout: 60_000
  })
  return stdout
    .replaceAll(`${cwd}/`, "")
    .replaceAll(/^(?:\d+ min )?\d+ s: .*\n/gm, "")
    .replaceAll(/[ \t]+$/gm, "")
    .replaceAll(/^\n+|\n+$/g, "")
}

/** The pages that show outputs. A translation has those of its original. */
export const pagesWithOutputs = (): ReadonlyArray<string> =>
  pages().filter(
    (page) => !translations.has(page) && fs.readFileSync(path.join(root, page), "utf8").includes("```text output")
  )

/** How many outputs a page shows. */
export const blocksIn = (page: string): number =>
  fs.readFileSync(path.join(root, page), "utf8").split("```text output").length - 1

/** Runs the commands of a page. */
export const outputsOf = (page: string): ReadonlyArray<Output> => {
  const text = fs.readFileSync(path.join(root, page), "utf8")
  const cwd = workspace()
  const outputs = [...text.matchAll(BLOCK)].map(({ 2: commands, 3: shown, index }) => ({
    line: text.slice(0, index).split("\n").length,
    shown: shown!.trimEnd(),
    actual: shell(commands!, cwd)
  }))
  fs.rmSync(cwd, { recursive: true })
  return outputs
}

const update = (page: string): void => {
  const file = path.join(root, page)
  const outputs = outputsOf(page).values()
  const text = fs.readFileSync(file, "utf8")
  const updated = text.replace(BLOCK, (block, head: string) => {
    const { actual, shown } = outputs.next().value!
    return stable(shown) === stable(actual) ? block : `${head}${actual}\n\`\`\``
  })
  if (updated !== text) {
    fs.writeFileSync(file, updated)
    console.log(`${page}: updated`)
  }
}

if (import.meta.main)
  for (const page of process.argv.length > 2 ? process.argv.slice(2) : pagesWithOutputs()) update(page)
