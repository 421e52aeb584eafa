/**
 * Environment files. Variables that are set win, then `--env-file`, then the nearest `.env`, from the working directory
 * up to the project's root.
 */
import * as Secret from "@pipe/core/internal/Secret"
import * as Effect from "effect/Effect"
import { existsSync, readFileSync, statSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { parseEnv } from "node:util"
import * as StoreFlag from "../flags/StoreFlag.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Output from "./Output.ts"

const FLAG = "--env-file"

/** The file named in arguments. */
const namedIn = (args: ReadonlyArray<string>): string | undefined => {
  const index = args.findIndex((arg) => arg === FLAG || arg.startsWith(`${FLAG}=`))
  return index === -1 ? undefined : args[index] === FLAG ? args[index + 1] : args[index]!.slice(FLAG.length + 1)
}

/**
 * Loads the files, and registers the keys in them and in the environment. A named file that does not exist is an error.
 */
export const load = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const named = namedIn(args)
  for (const arg of args) Secret.registerUrl(arg.replace(/^--[\w-]+=/, ""))
  if (named !== undefined && statSync(named, { throwIfNoEntry: false })?.isDirectory() !== false) {
    return yield* ExitCode.refuse(
      `${named}: ${existsSync(named) ? "is a folder" : "there is no such file"} (--env-file)`
    )
  }
  const nearest = nearestFile(".env", resolve("."))
  for (const file of [named, nearest]) if (file !== undefined) yield* loadFile(file)
  Secret.registerEnvironment(process.env)
  const store = process.env["PIPE_STORE"]?.trim()
  const problem = store ? StoreFlag.problemOf(store) : undefined
  if (problem !== undefined) return yield* ExitCode.refuse(`PIPE_STORE: ${problem}`)
})

const loadFile = Effect.fnUntraced(function* (file: string) {
  const values = yield* Effect.try({
    try: () => parseEnv(decoded(readFileSync(file))),
    catch: (error) =>
      ExitCode.refuse(`${shown(file)}: cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  })
  const set = Object.entries(values).flatMap(([name, value]) => {
    if (value === undefined || process.env[name] !== undefined) return []
    process.env[name] = value
    return [name]
  })
  // An address decides where keys are sent.
  for (const name of set) {
    const [, provider] = /^(.+)_BASE_URL$/.exec(name) ?? []
    const key = `${provider}_API_KEY`
    if (provider === undefined || set.includes(key)) continue
    const host = hostOf(process.env[name]!)
    if (process.env[key] !== undefined) {
      yield* Output.error(`note: ${name} is from ${shown(file)}, and ${key} is not: the key goes to ${host}`)
    } else if (!isLocal(host)) {
      yield* Output.error(
        `note: ${name} is from ${shown(file)}: requests go to ${host}, with the key that the flow names`
      )
    }
  }
})

/** Decodes a file written by an editor or shell on Windows: with a byte order mark, or in UTF-16. */
const decoded = (bytes: Uint8Array): string => {
  if (bytes.length > 3 && bytes[0] !== 0xff && bytes[0] !== 0xfe && bytes.subarray(0, 100).includes(0)) {
    throw new Error("it looks like UTF-16 without a byte order mark: save it as UTF-8")
  }
  const [first, second] = bytes
  const encoding =
    first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : "utf-8"
  return new TextDecoder(encoding).decode(bytes)
}

const shown = (file: string): string => relative(process.cwd(), file) || file

const hostOf = (address: string): string => (URL.canParse(address) ? new URL(address).host : "an invalid URL")

const isLocal = (host: string): boolean => /^(?:localhost|127\.[\d.]+|\[::1\])(?::\d+)?$/.test(host)

/** The root of the project: the nearest folder with a repository, or else with a package; or the folder itself. */
export const rootOf = (folder: string): string => above(folder, ".git") ?? above(folder, "package.json") ?? folder

/** The path of a file from the root of the project: the same on every machine. */
export const inProject = (file: string): string => relative(rootOf(process.cwd()), resolve(file)).replaceAll("\\", "/")

/** The name of a project's package; empty when it has none. */
export const packageNameOf = (root: string): string => {
  try {
    const { name } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly name?: unknown }
    return typeof name === "string" ? name : ""
  } catch {
    return ""
  }
}

const above = (folder: string, name: string): string | undefined =>
  existsSync(join(folder, name)) ? folder : dirname(folder) === folder ? undefined : above(dirname(folder), name)

const find = (name: string, folder: string, root: string): string | undefined => {
  const file = join(folder, name)
  if (statSync(file, { throwIfNoEntry: false })?.isFile() === true) return file
  return folder === root || dirname(folder) === folder ? undefined : find(name, dirname(folder), root)
}

/** The nearest file of a name, from a folder up to the root of its project. */
export const nearestFile = (name: string, folder: string): string | undefined => find(name, folder, rootOf(folder))
