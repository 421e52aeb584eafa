/** Starts the packed command as a process, as a user's shell does. */
import { spawn } from "node:child_process"
import { resolve } from "node:path"
import { environment, type Outcome } from "./Flows.ts"

export { flow, folder } from "./Flows.ts"

/** Built and unpacked before the first test of the project (`scripts/packages.ts`). */
const app = resolve(import.meta.dirname, "../../../out/packed/app/node_modules")

/** What Node has compiled of it. */
const compileCache = resolve(app, "../compile-cache")

/** The command's file. */
export const bin = resolve(app, "@pipe/cli/dist/bin.js")

export interface Options {
  readonly cwd: string
  readonly env?: { readonly [name: string]: string }
  /** Called with all of standard error so far, whenever more comes. */
  readonly onStderr?: (text: string, child: ReturnType<typeof spawn>) => void
  readonly onStart?: (child: ReturnType<typeof spawn>) => void
  readonly stdin?: string
  /** Closes the reading end of standard output after this many chunks, as `head -1` does. */
  readonly closeStdoutAfter?: number
}

/** Runs `pipe` with arguments to its end. */
export const pipe = (args: ReadonlyArray<string>, options: Options): Promise<Outcome> =>
  new Promise((done, fail) => {
    const child = spawn(process.execPath, ["--", bin, ...args], {
      cwd: options.cwd,
      env: environment({ NODE_COMPILE_CACHE: compileCache, ...options.env })
    })
    child.on("error", fail)
    // The system has no process left to give.
    if (child.pid === undefined) return
    options.onStart?.(child)
    let stdout = ""
    let stderr = ""
    let chunks = 0
    child.stdout.on("data", (chunk) => {
      stdout += chunk
      if (++chunks === options.closeStdoutAfter) child.stdout.destroy()
    })
    child.stderr.on("data", (chunk) => {
      stderr += chunk
      options.onStderr?.(stderr, child)
    })
    child.stdin.end(options.stdin ?? "")
    child.on("close", (code) => done({ code, stdout, stderr }))
  })
