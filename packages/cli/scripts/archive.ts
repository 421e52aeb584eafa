/**
 * Writes the modules of the command and of its packages into one file, `archive/modules.txt`, with an index: to find and
 * read hundreds of files is most of what a command takes to start. The text of a module is the installed file's without
 * its comments, line by line, so that functions and stack traces are the same.
 */
import * as acorn from "acorn"
import * as fs from "node:fs"
import { createRequire } from "node:module"
import * as path from "node:path"
import type { Index, Module } from "../src/Archive.ts"

const root = path.resolve(import.meta.dirname, "..")

interface PackageJson {
  readonly name: string
  readonly version: string
  readonly publishConfig?: { readonly exports?: { readonly [name: string]: unknown } }
}

interface Package {
  readonly name: string
  readonly version: string
  /** Where its files are while it is built. */
  readonly folder: string
  /** The published file of an export, for packages of the workspace. */
  readonly exported: ReadonlyMap<string, string>
}

const fileOf = (target: unknown): string | undefined =>
  typeof target === "string"
    ? target
    : typeof target === "object" && target !== null && "default" in target
      ? fileOf(target.default)
      : undefined

const packageAt = (folder: string): Package => {
  const json = JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8")) as PackageJson
  return {
    name: json.name,
    version: json.version,
    folder,
    exported: new Map(
      Object.entries(json.publishConfig?.exports ?? {}).flatMap(([name, target]) => {
        const file = fileOf(target)
        return file === undefined ? [] : [[`${json.name}${name.slice(1)}`, path.join(folder, file)] as const]
      })
    )
  }
}

const installed = (name: string, from: string): string => fs.realpathSync(path.join(from, "node_modules", name))

/** What is in the archive, with the packages that others import. */
const packages = (): ReadonlyArray<Package> => {
  const platform = installed("@effect/platform-node", root)
  return [
    root,
    path.join(root, "../core"),
    path.join(root, "../plugins"),
    installed("effect", root),
    platform,
    installed("@effect/platform-node-shared", path.join(platform, "../../.."))
  ].map(packageAt)
}

/** The specifiers of a module, those that are imported when it is needed too; and its text without comments. */
const read = (file: string): { readonly specifiers: ReadonlySet<string>; readonly text: string } => {
  const source = fs.readFileSync(file, "utf8")
  const comments: Array<acorn.Comment> = []
  const tree = acorn.parse(source, {
    ecmaVersion: "latest",
    sourceType: "module",
    onComment: comments,
    allowHashBang: true
  })
  const specifiers = new Set<string>()
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit)
    if (typeof node !== "object" || node === null) return
    const { source } = node as { readonly source?: { readonly type?: string; readonly value?: unknown } | null }
    if (source?.type === "Literal" && typeof source.value === "string") specifiers.add(source.value)
    for (const part of Object.values(node)) if (typeof part === "object") visit(part)
  }
  visit(tree)
  let [text, at] = ["", 0]
  for (const { end, start } of comments) {
    text += source.slice(at, start) + source.slice(start, end).replace(/[^\n]+/g, " ")
    at = end
  }
  return { specifiers, text: `${text}${source.slice(at)}`.replace(/[ \t]+$/gm, "") }
}

/** The file that a specifier stands for, where it is in one of the packages. */
const resolve = (specifier: string, from: string, all: ReadonlyArray<Package>): string | undefined => {
  if (specifier.startsWith(".")) return path.resolve(path.dirname(from), specifier)
  for (const { exported } of all) if (exported.has(specifier)) return exported.get(specifier)
  const isKnown = all.some(({ name }) => specifier === name || specifier.startsWith(`${name}/`))
  return isKnown ? createRequire(from).resolve(specifier) : undefined
}

/** What is loaded by every run: the command, what a flow imports, and what these import. */
const entriesOf = (dist: string, all: ReadonlyArray<Package>): ReadonlyArray<string> => [
  path.join(dist, "main/Main.js"),
  ...["@pipe/core", "@pipe/plugins", "effect", "effect/ai"].map((name) =>
    resolve(name, path.join(root, "package.json"), all)!
  )
]

/** Returns the bytes of the archive. */
export const build = (dist: string): number => {
  const all = packages()
  const numbers = new Map<string, number>()
  const numberOf = (file: string): number => {
    const known = numbers.get(file)
    if (known !== undefined) return known
    numbers.set(file, numbers.size)
    return numbers.size - 1
  }
  entriesOf(dist, all).forEach(numberOf)
  const modules: Array<Module> = []
  const texts: Array<Buffer> = []
  let length = 0
  for (const file of numbers.keys()) {
    const home = all.findIndex(({ folder }) => file.startsWith(`${folder}${path.sep}`))
    const { specifiers, ...module } = read(file)
    const text = Buffer.from(module.text)
    const imports: { [specifier: string]: number } = {}
    for (const specifier of specifiers) {
      const target = resolve(specifier, file, all)
      if (target?.endsWith(".js") === true && fs.existsSync(target)) imports[specifier] = numberOf(target)
    }
    modules.push({
      home,
      file: path.relative(all[home]!.folder, file).split(path.sep).join("/"),
      size: fs.statSync(file).size,
      start: length,
      end: length + text.length,
      imports
    })
    texts.push(text)
    length += text.length
  }
  const needs = all.map((_, home) => {
    const own = modules.filter((module) => module.home === home).flatMap(({ imports }) => Object.values(imports))
    return [...new Set(own.map((number) => modules[number]!.home))].filter((other) => other !== home)
  })
  const index: Index = {
    packages: all.map(({ name, version }, home) => ({ name, version, needs: needs[home]! })),
    modules
  }
  const folder = path.join(dist, "archive")
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(path.join(folder, "index.json"), JSON.stringify(index))
  fs.writeFileSync(path.join(folder, "modules.txt"), Buffer.concat(texts))
  return length
}
