/** Finds what a folder lacks to run flows, and adds it. Existing files stay as they are. */
import * as Result from "effect/Result"
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { basename, dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import * as PluginTemplate from "./PluginTemplate.ts"
import * as Template from "./Template.ts"

/** A missing file or entry. */
export interface Change {
  /** What it adds, for display: `package.json: effect, @pipe/core`. */
  readonly what: string
  readonly apply: () => void
}

export interface Inspected {
  readonly changes: ReadonlyArray<Change>
  /** Remarks on existing files that need no change. */
  readonly notes: ReadonlyArray<string>
  /** Whether the folder has other files already. */
  readonly isOccupied: boolean
  /** The flow or plugin to write; `undefined` when one exists. */
  readonly main: string | undefined
  /** The command that runs its test. */
  readonly test: string
}

interface Manifest {
  readonly type?: string
  readonly scripts?: { readonly [name: string]: string }
  readonly dependencies?: { readonly [name: string]: string }
  readonly devDependencies?: { readonly [name: string]: string }
}

/** Inspects a folder, for a flow or a plugin. Fails with a message when `package.json` cannot be read. */
export const inspect = (folder: string, plugin: PluginTemplate.Kind | undefined): Result.Result<Inspected, string> => {
  const manifest = readManifest(folder)
  if (Result.isFailure(manifest)) return Result.fail(manifest.failure)
  const extension: Template.Extension =
    manifest.success === undefined || manifest.success.type === "module" ? "ts" : "mts"
  const name = plugin === undefined ? "flow" : "plugin"
  const theirs = [`${name}.ts`, `${name}.mts`].find((file) => existsSync(join(folder, file)))
  const own = plugin === undefined ? Template.flowFiles(extension) : PluginTemplate.filesOf(plugin, extension)
  const files = [...(theirs === undefined ? own : []), ...Template.projectFiles]
  const changes = [
    ...ofManifest(folder, manifest.success, theirs === undefined ? Template.scripts(name, extension) : undefined),
    ...files.flatMap(([name, text]): ReadonlyArray<Change> => {
      const file = join(folder, name)
      return existsSync(file) ? [] : [{ what: name, apply: () => writeFileSync(file, text) }]
    }),
    ...ofIgnored(folder)
  ]
  const hasTest = manifest.success?.scripts?.["test"] !== undefined
  return Result.succeed({
    changes,
    notes: [
      theirs,
      ...files
        .map(([file]) => file)
        .filter((file) => /\.m?ts$|\.jsonl?$/.test(file) && file !== "tsconfig.json" && existsSync(join(folder, file)))
    ].flatMap((file) => (file === undefined ? [] : [`${file} exists already and is left unchanged`])),
    // A repository may be new but for what git and its host put there.
    isOccupied:
      existsSync(folder) && readdirSync(folder).some((name) => !/^(?:\.git.*|readme.*|licen[cs]e.*)$/i.test(name)),
    main: theirs === undefined ? `${name}.${extension}` : undefined,
    test: hasTest ? Template.scripts(name, extension).test : "npm test"
  })
}

/** Creates the folder, and everything missing in it. */
export const apply = (folder: string, changes: ReadonlyArray<Change>): void => {
  mkdirSync(folder, { recursive: true })
  for (const change of changes) change.apply()
}

const readManifest = (folder: string): Result.Result<Manifest | undefined, string> => {
  const file = join(folder, "package.json")
  if (!existsSync(file)) return Result.succeed(undefined)
  try {
    const manifest: unknown = JSON.parse(readFileSync(file, "utf8"))
    return typeof manifest === "object" && manifest !== null && !Array.isArray(manifest)
      ? Result.succeed(manifest)
      : Result.fail(`${file}: is not a package manifest: it holds ${JSON.stringify(manifest).slice(0, 40)}`)
  } catch (error) {
    return Result.fail(`${file}: cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** The version of a package for `package.json`: exact, or the source of this command's own packages. */
const versionOf = (name: string): string =>
  name in Template.versions
    ? Template.versions[name as keyof typeof Template.versions]
    : (sourceOf(name) ?? Template.own[name as keyof typeof Template.own])

/** The file that npm installed a package from, if any: a new project then uses it too. */
const sourceOf = (name: string): string | undefined => {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (basename(folder) !== "node_modules" || !existsSync(join(folder, ".package-lock.json"))) {
    if (dirname(folder) === folder) return undefined
    folder = dirname(folder)
  }
  try {
    const lock = JSON.parse(readFileSync(join(folder, ".package-lock.json"), "utf8")) as {
      readonly packages?: { readonly [path: string]: { readonly resolved?: string } }
    }
    const resolved = lock.packages?.[`node_modules/${name}`]?.resolved
    return resolved?.startsWith("file:") === true ? `file:${resolve(dirname(folder), resolved.slice(5))}` : undefined
  } catch {
    return undefined
  }
}

/** What a package lacks. Its `type` stays, because other files may depend on it. */
const ofManifest = (
  folder: string,
  manifest: Manifest | undefined,
  own: { readonly [name: string]: string } | undefined
): ReadonlyArray<Change> => {
  const known = { ...manifest?.dependencies, ...manifest?.devDependencies }
  const missing = (names: ReadonlyArray<string>) =>
    Object.fromEntries(names.flatMap((name) => (name in known ? [] : [[name, versionOf(name)] as const])))
  const [dependencies, devDependencies] = [missing(Template.dependencies), missing(Template.devDependencies)]
  const names = [...Object.keys(dependencies), ...Object.keys(devDependencies)]
  if (names.length === 0) return []
  const scripts = own === undefined ? manifest?.scripts : { ...own, ...manifest?.scripts }
  const changed = {
    ...(manifest ?? { name: packageName(folder), version: "0.0.0", private: true, type: "module" }),
    ...(scripts === undefined ? undefined : { scripts }),
    dependencies: { ...manifest?.dependencies, ...dependencies },
    devDependencies: { ...manifest?.devDependencies, ...devDependencies }
  }
  const what = manifest === undefined ? "package.json" : `package.json: ${names.join(", ")}`
  return [
    { what, apply: () => writeFileSync(join(folder, "package.json"), `${JSON.stringify(changed, undefined, 2)}\n`) }
  ]
}

/** A name that npm accepts (docs.npmjs.com, package.json: name). */
const packageName = (folder: string): string =>
  basename(resolve(folder))
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+|-+$/g, "") || "my-flow"

const ofIgnored = (folder: string): ReadonlyArray<Change> => {
  const file = join(folder, ".gitignore")
  const before = existsSync(file) ? readFileSync(file, "utf8") : ""
  const lines = new Set(before.split("\n").map((line) => line.trim().replace(/^\//, "").replace(/\/$/, "")))
  const missing = Template.ignored.filter((line) => !lines.has(line.replace(/\/$/, "")))
  if (missing.length === 0) return []
  const text = `${before === "" || before.endsWith("\n") ? before : `${before}\n`}${missing.join("\n")}\n`
  return [
    {
      what: before === "" ? ".gitignore" : `.gitignore: ${missing.join(", ")}`,
      apply: () => writeFileSync(file, text)
    }
  ]
}
