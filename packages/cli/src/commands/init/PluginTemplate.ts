/** The files of a new plugin of each kind, and a test that holds it to its contract. */
import { readdirSync, readFileSync } from "node:fs"
import type { Extension } from "./Template.ts"

/** What a plugin is. Each has a folder of templates, and a page of the documentation. */
export const kinds = [
  "layer",
  "router",
  "mask",
  "cache",
  "guardrail",
  "limiter",
  "log",
  "provider",
  "batch",
  "source",
  "sink",
  "embedder",
  "index"
] as const

export type Kind = (typeof kinds)[number]

const folderOf = (kind: Kind): URL => new URL(`../../../templates/${kind}/`, import.meta.url)

/** The files of a plugin. */
export const filesOf = (kind: Kind, extension: Extension): ReadonlyArray<readonly [name: string, text: string]> =>
  readdirSync(folderOf(kind)).map((file) => {
    const text = readFileSync(new URL(file, folderOf(kind)), "utf8")
    return [file.replace(/\.ts$/, `.${extension}`), text.replaceAll("./plugin.ts", `./plugin.${extension}`)] as const
  })
