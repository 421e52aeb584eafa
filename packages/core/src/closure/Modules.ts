/**
 * The author's own modules, as Node runs them: the files in which nodes were made, and their relative imports. A
 * function's text is found in one of them; names imported from a package are identified by the package.
 *
 * @internal
 */
import type * as Acorn from "acorn"
import { existsSync, readFileSync, statSync } from "node:fs"
import * as NodeModule from "node:module"
import { dirname, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import * as Syntax from "./Syntax.ts"

/** What a local name refers to. */
export type Import =
  | { readonly _tag: "Package"; readonly specifier: string; readonly name: string }
  | { readonly _tag: "Own"; readonly name: string; readonly file: string | undefined }

export interface Module {
  readonly path: string
  /** Types are replaced by spaces, so positions match the file. */
  readonly text: string
  readonly imports: ReadonlyMap<string, Import>
  readonly scopes: ReadonlyArray<readonly [number, number]>
  /** The code of the initial values of its variables. */
  readonly initials: ReadonlyMap<string, string>
}

/** A file that a module imports. */
interface Target {
  readonly file: string
  /** Imported under a name of its own (`./other.ts?n=1`), so it may be in memory more than once. */
  readonly isRepeated: boolean
}

/** Where a function is declared. */
export interface Home {
  readonly module: Module
  readonly line: number
  /** What names refer to, when all modules with this text agree. */
  readonly imports: ReadonlyMap<string, Import>
  /** Whether it is made once, with its module, and reads only what is declared there. */
  readonly isTop: boolean
}

export interface Modules {
  /** Whether the author's module of an import was found. */
  readonly isFound: (imported: Import) => boolean
  readonly homeOf: (source: string) => Home | undefined
}

/** Suppresses Node's warning about type stripping, which a user of a flow cannot act on. */
const strip = (text: string): string => {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return NodeModule.stripTypeScriptTypes(text)
  } finally {
    process.emitWarning = emitWarning
  }
}

interface Read {
  readonly module: Module
  readonly own: ReadonlyArray<Target>
}

/** The files that this process has read, until they change: a server opens a flow for each request. */
const files = new Map<string, { readonly stamp: string; readonly read: Read }>()

const read = (acorn: typeof Acorn, path: string): Read => {
  const { ctimeNs, ino, size } = statSync(path, { bigint: true })
  const stamp = `${ino} ${size} ${ctimeNs}`
  const known = files.get(path)
  if (known?.stamp === stamp) return known.read
  const made = parse(acorn, path)
  files.set(path, { stamp, read: made })
  return made
}

const parse = (acorn: typeof Acorn, path: string): Read => {
  const source = readFileSync(path, "utf8")
  const text = /\.[mc]?ts$/.test(path) ? strip(source) : source
  const program = acorn.parse(text, { ecmaVersion: "latest", sourceType: "module", allowHashBang: true })
  const imports = new Map<string, Import>()
  const own: Array<Target> = []
  const target = (specifier: string): Target | undefined => {
    const [name = "", query] = specifier.startsWith("#") ? [specifier] : specifier.split("?", 2)
    const file = fileOf(name, path)
    return file !== undefined && existsSync(file) && /\.[mc]?[jt]s$/.test(file)
      ? { file, isRepeated: query !== undefined }
      : undefined
  }
  for (const specifier of Syntax.loadedIn(program)) {
    const found = target(specifier)
    if (found !== undefined) own.push(found)
  }
  for (const statement of program.body) {
    if (!("source" in statement) || !statement.source) continue
    const specifier = String(statement.source.value)
    const file = target(specifier)
    if (file !== undefined) own.push(file)
    if (statement.type !== "ImportDeclaration") continue
    for (const one of statement.specifiers) {
      const name =
        one.type === "ImportSpecifier" && one.imported.type === "Identifier"
          ? one.imported.name
          : one.type === "ImportDefaultSpecifier"
            ? "default"
            : "*"
      imports.set(
        one.local.name,
        file === undefined && !/^(?:[.#/]|file:)/.test(specifier)
          ? { _tag: "Package", specifier, name }
          : { _tag: "Own", name, file: file?.file }
      )
    }
  }
  return {
    module: { path, text, imports, scopes: Syntax.scopesIn(program), initials: Syntax.initialsIn(program) },
    own
  }
}

/** The file of an import: relative to the module, or mapped by its package.json (`#lib/helper`). */
const fileOf = (name: string, from: string): string | undefined => {
  if (name.startsWith(".")) return resolve(dirname(from), name)
  if (!name.startsWith("#")) return undefined
  try {
    const file = NodeModule.createRequire(from).resolve(name)
    return file.includes("/node_modules/") ? undefined : file
  } catch {
    return undefined
  }
}

/** The modules reachable from some files. Unreadable ones are left out. */
export const make = (acorn: typeof Acorn, files: ReadonlyArray<string>): Modules => {
  const found = new Map<string, Module>()
  const seen = new Set<string>()
  const repeated = new Set<string>()
  const visit = ({ file, isRepeated }: Target): void => {
    if (isRepeated) repeated.add(file)
    if (seen.has(file)) return
    seen.add(file)
    try {
      const { module, own } = read(acorn, file)
      found.set(file, module)
      own.forEach(visit)
    } catch {
      // Not JavaScript, or not a file: its functions are not found.
    }
  }
  for (const file of files) visit({ file, isRepeated: false })
  return {
    isFound: (imported) => imported._tag === "Own" && imported.file !== undefined && found.has(imported.file),
    homeOf: (source) => {
      const homes = [...found.values()].filter((module) => module.text.includes(source))
      const [module, ...others] = homes
      if (module === undefined) return undefined
      // The same text may occur in several places: then the context of each counts.
      let isTop = others.length === 0 && !repeated.has(module.path)
      const first = module.text.indexOf(source)
      for (let at = first; at !== -1; at = module.text.indexOf(source, at + 1)) {
        const end = at + source.length
        if (module.scopes.some(([from, to]) => from < at && to >= end)) isTop = false
      }
      const imports = others.length === 0 ? module.imports : agreed(homes)
      return { module, imports, isTop, line: module.text.slice(0, first).split("\n").length }
    }
  }
}

/** What names refer to in all of several modules. */
const agreed = (modules: ReadonlyArray<Module>): ReadonlyMap<string, Import> =>
  new Map(
    [...modules[0]!.imports].filter(([name, one]) =>
      modules.every(({ imports }) => JSON.stringify(imports.get(name)) === JSON.stringify(one))
    )
  )

/** The author's files in the call stack of an error made by `Node.make`: not those of packages, nor of this one. */
export const filesOf = (error: Error): ReadonlyArray<string> => {
  const files = new Set<string>()
  let own: string | undefined
  for (const [, place] of (error.stack ?? "").matchAll(/[\s(]((?:file:\/\/)?\/.*):\d+:\d+\)?$/gm)) {
    let file = place!
    try {
      if (file.startsWith("file:")) file = fileURLToPath(file)
    } catch {
      continue
    }
    own ??= `${dirname(dirname(file))}/`
    if (!file.includes("/node_modules/") && !file.startsWith(own)) files.add(file.replace(/\?.*$/, ""))
  }
  return [...files]
}
