/**
 * Loads a flow from its file. Errors name the file, the line and the remedy.
 *
 * TypeScript is handled by Node's type stripping. A flow outside a project resolves `@pipe/core`, `@pipe/plugins` and
 * `effect` from the command.
 */
import * as Flow from "@pipe/core/Flow"
import * as Node from "@pipe/core/Node"
import * as Peer from "@pipe/plugins/Peer"
import * as Effect from "effect/Effect"
import { existsSync, readFileSync, statSync } from "node:fs"
import { registerHooks, type ResolveFnOutput } from "node:module"
import { relative, resolve } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import * as ExitCode from "./ExitCode.ts"

const EXTENSION = /\.[mc]?[jt]s$/

/** The flow file in arguments: the first that looks like one. */
export const fileIn = (args: ReadonlyArray<string>): string | undefined =>
  args.find((arg, index) => !arg.startsWith("-") && (EXTENSION.test(arg) || index === 0))

const fail = (message: string): Effect.Effect<never, ExitCode.Failure> =>
  Effect.fail(new ExitCode.Failure({ message, exitCode: ExitCode.usage }))

let hooked = false

/** Packages that a flow file may import without a project. */
const own = /^(?:@pipe\/(?:core|plugins)|effect)(?:\/|$)/

const hook = (): void => {
  if (hooked) return
  hooked = true
  registerHooks({
    resolve: (specifier, context, next) => {
      try {
        return asModule(next(specifier, context))
      } catch (error) {
        if (!own.test(specifier)) throw error
        return next(specifier, { ...context, parentURL: import.meta.url })
      }
    }
  })
}

/** An author's file with imports and exports is a module, whatever the `type` of its package. */
const asModule = (found: ResolveFnOutput): ResolveFnOutput => {
  const { format, url } = found
  if ((format !== "commonjs" && format !== "commonjs-typescript") || !isAuthors(url)) return found
  return /^\s*(?:import\b(?!\s*\()|export\b)/m.test(readFileSync(fileURLToPath(url), "utf8"))
    ? { ...found, format: format === "commonjs" ? "module" : "module-typescript" }
    : found
}

const isAuthors = (url: string): boolean => url.startsWith("file:") && !url.includes("/node_modules/")

const loaded = new Map<string, Flow.Any>()

/** Loads the default export of a file as a flow. */
export const load = (file: string): Effect.Effect<Flow.Any, ExitCode.Failure> =>
  Effect.suspend(() => {
    const path = resolve(file)
    const known = loaded.get(path)
    if (known !== undefined) return Effect.succeed(known)
    if (!existsSync(path)) return fail(`${file}: no such flow file`)
    if (statSync(path).isDirectory()) return fail(`${file}: is a folder; name the flow file in it`)
    hook()
    return Effect.flatMap(
      Effect.tryPromise({ try: () => import(pathToFileURL(path).href), catch: (error) => error }).pipe(
        Effect.catch((error) => fail(explain(file, error)))
      ),
      (module: { readonly default?: unknown }) => {
        if (module.default === undefined) {
          return fail(`${file}: has no default export: end it with \`export default Flow.make(…)\``)
        }
        if (!Flow.isFlow(module.default)) {
          return fail(
            `${file}: its default export is ${nameOf(module.default)}, not a flow: export what Flow.make returns`
          )
        }
        loaded.set(path, module.default)
        return Effect.succeed(module.default)
      }
    )
  })

const nameOf = (value: unknown): string => {
  if (typeof value === "function") return "a function"
  if (typeof value !== "object" || value === null) return `a ${typeof value}`
  return Node.TypeId in value ? "a node" : "another object"
}

const explain = (file: string, error: unknown): string => {
  if (!(error instanceof Error)) return `${file}: ${String(error)}`
  const code = "code" in error ? String(error.code) : ""
  const where = placeOf(error) ?? file
  const [firstLine] = error.message.split("\n")
  switch (code) {
    case "ERR_MODULE_NOT_FOUND":
    case "ERR_PACKAGE_PATH_NOT_EXPORTED": {
      const name = /'([^']+)'/.exec(error.message)?.[1] ?? "a module"
      const importer = / imported from '?(\/[^'\n]+?)'?$/m.exec(error.message)?.[1]
      const from = importer === undefined || importer.includes("/node_modules/") ? file : shown(importer)
      return name.startsWith(".") || name.startsWith("/")
        ? `${from}: imports ${shown(name)}, which does not exist: include the extension, such as ./other.ts`
        : `${from}: imports ${name}, which is not installed: ${Peer.install(name)}`
    }
    case "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX":
      return `${where}: ${firstLine}: Node strips types and cannot turn enums, namespaces and parameter properties into JavaScript; write them without (a const object for an enum)`
    case "ERR_INVALID_TYPESCRIPT_SYNTAX":
      return `${where}: does not parse: ${firstLine}`
  }
  if (error instanceof SyntaxError) return `${where}: does not compile: ${firstLine}`
  return `${where}: ${firstLine === "" ? error.name : firstLine}`
}

const shown = (path: string): string => relative(process.cwd(), path) || path

/** The first position in an author's file in an error's stack: `flow.ts:12`. */
const placeOf = (error: Error): string | undefined => {
  for (const match of (error.stack ?? "").matchAll(/((?:file:\/\/)?\/[^\s()]+?\.[mc]?[jt]s):(\d+)/g)) {
    const found = match[1]!.startsWith("file:") ? fileURLToPath(match[1]!) : match[1]!
    if (!found.includes("/node_modules/") && !found.startsWith(HERE)) return `${shown(found)}:${match[2]}`
  }
  return undefined
}

/** The folder of the packages, when they are not installed. */
const HERE = fileURLToPath(new URL("../../..", import.meta.url))
