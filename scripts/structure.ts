/**
 * Fails, with one line a problem, where the modules of `packages/*` break the order they keep:
 *
 * - cycle: imports must not run in a circle, those of types and `import()` included;
 * - barrel: only an index imports an index;
 * - node: core imports `node:` modules only where `ON_NODE` lists it;
 * - testing: nothing imports a kit for tests but the kit itself;
 * - kit: the providers import of `provider/` only what its index exports, as anyone can;
 * - direction: cli imports plugins, plugins imports core, never the other way.
 *
 * Reads the packages of the workspace.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

/** A package imports those before it in this list. */
const PACKAGES = ["core", "plugins", "cli"]

/** Folders and files of core that stand on Node itself: files, databases, hashes, a look into functions, and tests. */
const ON_NODE = ["file/", "store/", "closure/", "testing/", "encoding/ContentHash.ts"]

interface Import {
  readonly specifier: string
  readonly line: number
}

interface Module {
  readonly file: string
  readonly package: string
  /** From `src` on. */
  readonly path: string
  readonly imports: ReadonlyArray<Import>
}

const BEFORE_REGEX = /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else|yield|await|void))\s*$/

/** The source with comments, template texts and regular expressions blanked out: imports in them are not imports. */
const blank = (source: string): string => {
  let out = ""
  let at = 0
  /** For each template literal that is open, the depth of braces within its present `${`. */
  const templates: Array<number> = []
  const skip = (end: number): void => {
    out += source.slice(at, end).replace(/[^\n]/g, " ")
    at = end
  }
  const indexAfter = (text: string): number => {
    const found = source.indexOf(text, at + text.length)
    return found < 0 ? source.length : found + text.length
  }
  const template = (): void => {
    let end = at
    while (end < source.length && source[end] !== "`" && !source.startsWith("${", end))
      end += source[end] === "\\" ? 2 : 1
    const open = source.startsWith("${", end)
    skip(Math.min(source.length, end + (open ? 2 : 1)))
    if (open) templates.push(0)
  }
  while (at < source.length) {
    const char = source[at]!
    const depth = templates.at(-1)
    if (source.startsWith("//", at)) {
      const end = source.indexOf("\n", at)
      skip(end < 0 ? source.length : end)
    } else if (source.startsWith("/*", at)) {
      skip(indexAfter("*/"))
    } else if (char === '"' || char === "'") {
      let end = at + 1
      while (end < source.length && source[end] !== char && source[end] !== "\n") end += source[end] === "\\" ? 2 : 1
      out += source.slice(at, end + 1)
      at = end + 1
    } else if (char === "`") {
      skip(at + 1)
      template()
    } else if (char === "/" && BEFORE_REGEX.test(out.slice(-40))) {
      let end = at + 1
      let inClass = false
      while (end < source.length && source[end] !== "\n" && (inClass || source[end] !== "/")) {
        if (source[end] === "[") inClass = true
        else if (source[end] === "]") inClass = false
        end += source[end] === "\\" ? 2 : 1
      }
      skip(end + 1)
    } else if (char === "}" && depth === 0) {
      templates.pop()
      skip(at + 1)
      template()
    } else {
      if (depth !== undefined && (char === "{" || char === "}"))
        templates[templates.length - 1] = depth + (char === "{" ? 1 : -1)
      out += char
      at++
    }
  }
  return out
}

const STATIC = /^[ \t]*(?:import|export)\s+(?:[\w$*{}\s,]*?\bfrom\s*)?(["'])([^"'\n]+)\1/gm
const DYNAMIC = /\bimport\s*\(\s*(["'])([^"'\n]+)\1/g

const importsOf = (source: string): ReadonlyArray<Import> => {
  const text = blank(source)
  const line = (index: number): number => text.slice(0, index).split("\n").length
  return [STATIC, DYNAMIC].flatMap((pattern) =>
    Array.from(text.matchAll(pattern), (match): Import => ({ specifier: match[2]!, line: line(match.index) }))
  )
}

type Edges = ReadonlyMap<string, ReadonlyArray<string>>

const isIndex = (file: string): boolean => /^index\.tsx?$/.test(path.basename(file))

const shortestCycle = (edges: Edges, start: string, group: ReadonlySet<string>): ReadonlyArray<string> => {
  const queue: Array<ReadonlyArray<string>> = [[start]]
  const seen = new Set<string>()
  for (const way of queue) {
    for (const next of edges.get(way.at(-1)!) ?? []) {
      if (next === start) return [...way, start]
      if (!group.has(next) || seen.has(next)) continue
      seen.add(next)
      queue.push([...way, next])
    }
  }
  return [start]
}

/** Tarjan: each strongly connected group of two or more modules, or a module on itself, is a cycle. */
const cyclesOf = (edges: Edges): ReadonlyArray<ReadonlyArray<string>> => {
  const cycles: Array<ReadonlyArray<string>> = []
  const order = new Map<string, number>()
  const low = new Map<string, number>()
  const stack: Array<string> = []
  const visit = (file: string): void => {
    order.set(file, order.size)
    low.set(file, order.get(file)!)
    stack.push(file)
    for (const next of edges.get(file) ?? []) {
      if (!order.has(next)) visit(next)
      if (stack.includes(next)) low.set(file, Math.min(low.get(file)!, low.get(next)!))
    }
    if (low.get(file) !== order.get(file)) return
    const group = new Set(stack.splice(stack.indexOf(file)))
    if (group.size === 1 && !edges.get(file)!.includes(file)) return
    cycles.push(shortestCycle(edges, file, group))
  }
  for (const file of edges.keys()) if (!order.has(file)) visit(file)
  return cycles
}

/** The modules of a workspace, and what each package exports. */
const read = (root: string) => {
  const modules = new Map<string, Module>()
  const exportsOf = new Map<string, Record<string, unknown>>()
  for (const name of PACKAGES) {
    const base = path.join(root, "packages", name)
    const src = path.join(base, "src")
    if (!fs.existsSync(src)) continue
    exportsOf.set(name, JSON.parse(fs.readFileSync(path.join(base, "package.json"), "utf8")).exports ?? {})
    for (const entry of fs.readdirSync(src, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !/\.tsx?$/.test(entry.name) || entry.name.endsWith(".d.ts")) continue
      const file = path.join(entry.parentPath, entry.name)
      modules.set(file, {
        file,
        package: name,
        path: path.relative(src, file).split(path.sep).join("/"),
        imports: importsOf(fs.readFileSync(file, "utf8"))
      })
    }
  }
  return { modules, exportsOf }
}

/** What is wrong in a workspace, a line each. */
export const check = (root: string): { readonly modules: number; readonly problems: ReadonlyArray<string> } => {
  const { exportsOf, modules } = read(root)
  const problems: Array<string> = []
  const show = (file: string): string => path.relative(root, file).split(path.sep).join("/")

  /** The file behind an import, when it is one of ours. */
  const resolve = (module: Module, specifier: string): string | undefined => {
    if (specifier.startsWith(".")) return path.resolve(path.dirname(module.file), specifier)
    const [, name, sub] = /^@pipe\/([^/]+)(\/.+)?$/.exec(specifier) ?? []
    const target = name === undefined ? undefined : exportsOf.get(name)?.[`.${sub ?? ""}`]
    return typeof target === "string" ? path.join(root, "packages", name!, target) : undefined
  }
  const edges = new Map<string, ReadonlyArray<string>>()
  for (const module of modules.values()) {
    const { file } = module
    const imported: Array<string> = []
    const isOnNode = module.package !== "core" || ON_NODE.some((place) => module.path.startsWith(place))
    for (const { line, specifier } of module.imports) {
      const report = (problem: string): void => void problems.push(`${show(file)}:${line}: ${problem}`)
      if (specifier.startsWith("node:") && !isOnNode) {
        report(`node: core imports ${specifier} outside ${ON_NODE.join(", ")}`)
      }
      const target = resolve(module, specifier)
      const at = target === undefined ? undefined : modules.get(target)
      if (at?.path.startsWith("testing/") === true && !module.path.startsWith("testing/")) {
        report(`testing: ${specifier} is for tests`)
      }
      if (at?.package === "plugins" && at.path.startsWith("provider/") && !module.path.startsWith("provider/")) {
        const index = modules.get(path.join(path.dirname(at.file), "index.ts"))
        const isPublic = index?.imports.some(({ specifier }) => specifier === `./${path.basename(at.file)}`)
        if (isPublic !== true) report(`kit: ${specifier} is not exported by provider/index.ts`)
      }
      const other = target === undefined ? undefined : modules.get(target)
      const otherPackage = other?.package ?? /^@pipe\/([^/]+)/.exec(specifier)?.[1]
      if (otherPackage !== undefined && otherPackage !== module.package) {
        if (PACKAGES.indexOf(otherPackage) > PACKAGES.indexOf(module.package)) {
          report(
            `direction: ${module.package} imports ${otherPackage}; the way is ${PACKAGES.toReversed().join(" -> ")}`
          )
        } else if (specifier.startsWith(".")) {
          report(`direction: ${specifier} leaves the package; import @pipe/${otherPackage} by a subpath`)
        }
      }
      if (!isIndex(file) && (/^@pipe\/[^/]+$/.test(specifier) || (target !== undefined && isIndex(target)))) {
        report(`barrel: ${specifier} is an index; import the module itself`)
      }
      if (target !== undefined && other !== undefined) imported.push(target)
    }
    edges.set(file, imported)
  }
  for (const cycle of cyclesOf(edges)) problems.push(`${show(cycle[0]!)}: cycle: ${cycle.map(show).join(" -> ")}`)
  return { modules: modules.size, problems }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { modules, problems } = check(path.resolve(import.meta.dirname, ".."))
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exitCode = 1
  else console.log(`structure: ${modules} modules, no problem`)
}
