/**
 * Packages that are installed where they are used: the SDKs of providers, drivers of databases. One that is missing is said in a line
 * that ends in the command to type.
 *
 * @since 0.1.0
 */
import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"

/** A package that is not installed. */
export class MissingPeer extends Error {
  override readonly name = "MissingPeer"
}

const manifest = (): { readonly peerDependencies?: { readonly [name: string]: string } } => {
  try {
    return JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as ReturnType<typeof manifest>
  } catch {
    return {}
  }
}

/** The versions of a package that are known to work; `undefined`: any. */
export const rangeOf = (name: string): string | undefined => manifest().peerDependencies?.[name]

const MANAGERS: ReadonlyArray<readonly [lockfile: string, command: string]> = [
  ["pnpm-lock.yaml", "pnpm add"],
  ["yarn.lock", "yarn add"],
  ["bun.lock", "bun add"],
  ["bun.lockb", "bun add"]
]

/** How a project installs packages, by the lock file that is nearest to a folder. */
export const managerOf = (folder: string): string => {
  const found = MANAGERS.find(([lockfile]) => existsSync(join(folder, lockfile)))
  if (found !== undefined) return found[1]
  return dirname(folder) === folder || existsSync(join(folder, "package-lock.json"))
    ? "npm install"
    : managerOf(dirname(folder))
}

/** The command that installs a package: `npm install openai@^7.57.0`. */
export const install = (name: string): string => {
  const range = rangeOf(name)
  return `${managerOf(process.cwd())} ${range === undefined ? name : /[\s<>|]/.test(range) ? `"${name}@${range}"` : `${name}@${range}`}`
}

/**
 * What becomes of an import that fails.
 *
 * **Example** (an optional package)
 *
 * ```ts
 * import { Peer } from "@pipe/plugins"
 *
 * export const load = () => import("node:sqlite").catch(Peer.missing("node:sqlite", "My store"))
 * ```
 */
export const missing =
  (name: string, user: string) =>
  (error: unknown): never => {
    const isMissing =
      error instanceof Error
      && "code" in error
      && (error.code === "ERR_MODULE_NOT_FOUND" || error.code === "MODULE_NOT_FOUND")
      && error.message.includes(`'${name}`)
    if (!isMissing) throw error
    throw new MissingPeer(`${user} needs the package ${name}, which is not installed: ${install(name)}`)
  }
