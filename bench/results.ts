/**
 * Measured figures: their tables, and the file `results.json` that the tables of the README and of this folder are made from.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { join, resolve } from "node:path"
import { cpuPerRow, perSecond, type Run } from "./measure.ts"
import { callsOf, named, tasks } from "./tasks.ts"

export type Runs = Readonly<Record<string, Run>>

/** Megabytes by peer and number of rows. */
export type Memory = Readonly<Record<string, Readonly<Record<number, number>>>>

/** What is kept of a task. */
interface Kept {
  readonly date: string
  readonly machine: string
  readonly runs: Runs
}

interface File {
  readonly versions: Readonly<Record<string, string>>
  readonly tasks: Readonly<Record<string, Kept>>
  readonly memory?: { readonly date: string; readonly machine: string; readonly megabytes: Memory }
}

const here = import.meta.dirname
const path = join(here, "results.json")

export const machine = (): string => `Node ${process.version}, ${cpus().length} cores`

const count = (value: number) => Math.round(value).toLocaleString("en-US")

const ratio = (of: (run: Run) => number, run: Run, reference: Run | undefined) =>
  reference === undefined ? "–" : (of(run) / of(reference)).toFixed(2)

const markdown = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [head, ["---", ...head.slice(1).map(() => "---:")], ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n")

/** The peers on a task. */
export const table = (name: string, runs: Runs): string => {
  const task = named(name)
  const isLimited = task.limit !== undefined
  return markdown(
    [
      task.title,
      "rows/s",
      "÷ undici",
      "CPU, µs a row",
      "÷ openai SDK",
      "peak MB",
      "server busy",
      ...(isLimited ? ["refused a row"] : [])
    ],
    Object.entries(runs).map(([peer, run]) => [
      peer,
      count(perSecond(run)),
      ratio(perSecond, run, runs["undici"]),
      count(cpuPerRow(run)),
      ratio(cpuPerRow, run, runs["openai-sdk"]),
      count(run.peakMB),
      `${Math.round(run.serverBusy * 100)} %`,
      ...(isLimited ? [run.refused.toFixed(2)] : [])
    ])
  )
}

export const memoryTable = (sizes: ReadonlyArray<number>, memory: Memory): string =>
  markdown(
    ["peak MB", ...sizes.map((rows) => `${count(rows)} rows`)],
    Object.entries(memory).map(([peer, by]) => [
      peer,
      ...sizes.map((rows) => (by[rows] === undefined ? "–" : count(by[rows])))
    ])
  )

const read = (): File =>
  existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as File) : { versions: {}, tasks: {} }

const versions = (): File["versions"] =>
  (JSON.parse(readFileSync(join(here, "package.json"), "utf8")) as { readonly dependencies: File["versions"] })
    .dependencies

const save = (file: File): void => {
  writeFileSync(path, `${JSON.stringify({ ...file, versions: versions() }, null, 2)}\n`)
  render()
}

const today = (): string => new Date().toISOString().slice(0, 10)

/** Keeps what was measured of a task, and writes the tables again. */
export const keep = (task: string, runs: Runs): void => {
  const file = read()
  save({ ...file, tasks: { ...file.tasks, [task]: { date: today(), machine: machine(), runs } } })
}

export const keepMemory = (megabytes: Memory): void => {
  save({ ...read(), memory: { date: today(), machine: machine(), megabytes } })
}

/** Replaces what is between the two marks of a file. */
const replace = (file: string, name: string, text: string): void => {
  const at = resolve(here, file)
  const before = readFileSync(at, "utf8")
  const [start, end] = [`<!-- ${name} -->\n`, `\n<!-- /${name} -->`]
  const from = before.indexOf(start)
  const to = before.indexOf(end)
  if (from < 0 || to < from) throw new Error(`${file} has no marks ${start.trim()} … ${end.trim()}`)
  writeFileSync(at, before.slice(0, from + start.length) + text + before.slice(to))
}

const versionsOf = (versions: File["versions"]): string =>
  Object.entries(versions)
    .filter(([, version]) => !version.startsWith("link:"))
    .map(([name, version]) => `${name} ${version}`)
    .join(", ")

/** The words of a README. */
const readmes = {
  "../README.md": { floor: "undici, as a floor", head: ["", "rows/s", "CPU s per 1,000 rows", "peak MB"] },
  "../README.zh-CN.md": { floor: "undici（下限）", head: ["", "行/秒", "每 1,000 行的 CPU 秒数", "内存峰值（MB）"] }
}

/** The short table of a README: bold for `pipe`, names with versions. */
const readmeTable = (
  { tasks: kept, versions }: File,
  { floor, head }: { readonly floor: string; readonly head: ReadonlyArray<string> }
): string => {
  const runs = kept["text-0"]?.runs ?? {}
  const major = (name: string): string => versions[name]?.split(".")[0] ?? ""
  const names: Readonly<Record<string, string>> = {
    undici: floor,
    pipe: "pipe",
    "ai-sdk": `AI SDK ${major("ai")}`,
    "openai-sdk": `openai SDK ${major("openai")}`,
    langchain: `LangChain.js ${major("@langchain/core")}`
  }
  const rows = Object.entries(runs)
    .toSorted(([, one], [, other]) => perSecond(other) - perSecond(one))
    .map(([peer, run]) => {
      const cells = [names[peer] ?? peer, count(perSecond(run)), (cpuPerRow(run) / 1_000).toFixed(3), count(run.peakMB)]
      return peer === "pipe" ? cells.map((cell) => `**${cell}**`) : cells
    })
  const table = markdown(head, rows).replace("|  |", "| |")
  return kept["text-0"] === undefined
    ? table
    : `${table}\n\n${kept["text-0"].date}, ${kept["text-0"].machine}; ${versionsOf(versions)}.`
}

/** Writes the tables from the file. */
export const render = (): void => {
  const file = read()
  const measured = Object.keys(tasks).flatMap((name) => {
    const kept = file.tasks[name]
    if (kept === undefined) return []
    const calls = callsOf(named(name))
    return [`${table(name, kept.runs)}\n\n${kept.date}, ${kept.machine}${calls === 1 ? "" : `, ${calls} calls a row`}.`]
  })
  const { memory } = file
  const sizes = memory === undefined ? [] : Object.keys(Object.values(memory.megabytes)[0] ?? {}).map(Number)
  const parts = [
    ...measured,
    ...(memory === undefined
      ? []
      : [`${memoryTable(sizes, memory.megabytes)}\n\n${memory.date}, ${memory.machine}, a line each, 0 ms.`]),
    `Versions: ${versionsOf(file.versions)}.`
  ]
  replace("README.md", "results", parts.join("\n\n"))
  for (const [readme, words] of Object.entries(readmes)) replace(readme, "bench", readmeTable(file, words))
}
