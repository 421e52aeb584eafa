/**
 * The modules of the installed command and its packages, from one file (`scripts/archive.ts`) in place of hundreds. A
 * module keeps its address, so there is one of it for every importer, wherever it is read from. A file of another
 * size than the archive's is read as it is installed, and packages of other versions are left alone.
 */
import { readFileSync, realpathSync, statSync } from "node:fs"
// An older Node lacks names of it: the command says so.
import * as nodeModule from "node:module"
import { dirname, join, sep } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

/** A module: bytes of the archive, and what it imports, by number. */
export interface Module {
  /** The number of its package. */
  readonly home: number
  /** Its place in the package. */
  readonly file: string
  /** The bytes of the installed file. */
  readonly size: number
  readonly start: number
  readonly end: number
  readonly imports: { readonly [specifier: string]: number }
}

export interface Index {
  /** The command's own comes first. */
  readonly packages: ReadonlyArray<{
    readonly name: string
    readonly version: string
    /** The numbers of the packages that it imports. */
    readonly needs: ReadonlyArray<number>
  }>
  readonly modules: ReadonlyArray<Module>
}

/** Where a package is installed for a folder. */
const installedFor = (name: string, folder: string): string | undefined => {
  for (let at = folder; ; at = dirname(at)) {
    try {
      return realpathSync(join(at, "node_modules", name))
    } catch {
      if (dirname(at) === at) return undefined
    }
  }
}

const versionOf = (folder: string): unknown =>
  (JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { readonly version?: unknown }).version

/** Where the packages are; `undefined` unless all are there, of these versions, and one copy of each is seen by all. */
const foldersOf = (packages: Index["packages"], own: string): ReadonlyArray<string> | undefined => {
  const folders = [own]
  for (const { name } of packages.slice(1)) {
    const found = folders.map((folder) => installedFor(name, folder)).find((folder) => folder !== undefined)
    if (found === undefined) return undefined
    folders.push(found)
  }
  const isOne = folders.every(
    (folder, at) =>
      versionOf(folder) === packages[at]!.version
      && packages[at]!.needs.every((other) => installedFor(packages[other]!.name, folder) === folders[other])
  )
  return isOne ? folders : undefined
}

/** Modules are read from the archive in this folder from now on. */
export const open = (folder: URL): void => {
  let index: Index
  try {
    index = JSON.parse(readFileSync(new URL("index.json", folder), "utf8")) as Index
  } catch {
    // The sources have none.
    return
  }
  const own = realpathSync(fileURLToPath(new URL("../..", folder)))
  // In a workspace, packages lead to their sources.
  const folders = own.includes(`${sep}node_modules${sep}`) ? foldersOf(index.packages, own) : undefined
  if (folders === undefined) return
  const modules = readFileSync(new URL("modules.txt", folder))
  const paths = index.modules.map(({ file, home }) => join(folders[home]!, file))
  const urls = paths.map((path) => pathToFileURL(path).href)
  const numbers = new Map(urls.map((url, number) => [url, number]))
  nodeModule.registerHooks({
    resolve: (specifier, context, next) => {
      const parent = numbers.get(context.parentURL ?? "")
      const target = parent === undefined ? undefined : index.modules[parent]!.imports[specifier]
      return target === undefined
        ? next(specifier, context)
        : { url: urls[target]!, format: "module", shortCircuit: true }
    },
    load: (url, context, next) => {
      const number = numbers.get(url)
      if (number === undefined) return next(url, context)
      const { end, size, start } = index.modules[number]!
      return statSync(paths[number]!, { throwIfNoEntry: false })?.size === size
        ? { format: "module", source: modules.toString("utf8", start, end), shortCircuit: true }
        : next(url, context)
    }
  })
}
