/**
 * Optional packages that a project installs: SDKs of providers, database drivers. A missing one is reported in one
 * line, with the command that installs it.
 *
 * @since 0.1.0
 */
import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"

/**
 * An optional package is not installed, such as the SDK of a provider or a database driver.
 *
 * **Remedy** Run the command at the end of the message.
 */
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

/** The versions of a package known to work; `undefined` for any. */
export const rangeOf = (name: string): string | undefined => manifest().peerDependencies?.[name]

const MANAGERS: ReadonlyArray<readonly [lockfile: string, command: string]> = [
  ["pnpm-lock.yaml", "pnpm add"],
  ["yarn.lock", "yarn add"],
  ["bun.lock", "bun add"],
  ["bun.lockb", "bun add"]
]

/** The package manager of a project, by the nearest lock file. */
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
 * Handles a failed import.
 *
 * **Example** (an optional package)
 *
 * ```ts
 * import { Peer } from "@pipe/plugins"
 *
 * const load = () => import("node:sqlite").catch(Peer.missing("node:sqlite", "My store"))
 *
 * const { DatabaseSync } = await load()
 * typeof DatabaseSync // => "function"
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
