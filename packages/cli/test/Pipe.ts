/** Runs the command in this process: its arguments, its output and its exit code are those of `pipe`. */
import * as Cli from "../src/Cli.ts"
import * as Program from "../src/Program.ts"
import * as Output from "../src/process/Output.ts"
import { Effect, Layer, Sink, Stdio, Stream } from "effect"
import { environment, type Outcome } from "./Flows.ts"

export { flow, folder } from "./Flows.ts"

export interface Options {
  readonly cwd: string
  readonly env?: { readonly [name: string]: string }
  readonly stdin?: string
}

const capture = () => {
  let stdout = ""
  let stderr = ""
  const output: Output.Output = {
    out: (text) => void (stdout += text),
    err: (text) => void (stderr += text),
    columns: () => 80,
    erase: () => {},
    outIsTerminal: false,
    canRepaint: false,
    canPrompt: false
  }
  return { output, read: () => ({ stdout, stderr }) }
}

/** The standard streams that a flow reads and writes, on the same output as the command's own. */
const streams = ({ err, out }: Output.Output, stdin: string): Stdio.Stdio => {
  const decoder = new TextDecoder()
  const to = (write: (text: string) => void) =>
    Sink.forEach((chunk: string | Uint8Array) =>
      Effect.sync(() => write(typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true })))
    )
  return Stdio.make({
    args: Effect.succeed([]),
    stdout: () => to(out),
    stderr: () => to(err),
    stdin: Stream.make(new TextEncoder().encode(stdin))
  })
}

/** Folder and environment belong to the process: one command at a time. */
let last: Promise<unknown> = Promise.resolve()

const alone = <A>(run: () => Promise<A>): Promise<A> => {
  const next = last.then(run, run)
  last = next.catch(() => {})
  return next
}

const setEnvironment = (to: { readonly [name: string]: string | undefined }): void => {
  for (const name of Object.keys(process.env)) if (to[name] === undefined) delete process.env[name]
  for (const [name, value] of Object.entries(to)) if (value !== undefined) process.env[name] = value
}

/** Runs `pipe` with arguments to its end. */
export const pipe = (args: ReadonlyArray<string>, options: Options): Promise<Outcome> =>
  alone(async () => {
    const before = { cwd: process.cwd(), env: { ...process.env } }
    const { output, read } = capture()
    process.chdir(options.cwd)
    setEnvironment(environment(options.env))
    try {
      const code = await Effect.exit(Program.make(args)).pipe(
        Effect.flatMap(Cli.exitCode),
        Effect.provide(
          Layer.mergeAll(Output.layer(output), Layer.succeed(Stdio.Stdio, streams(output, options.stdin ?? "")))
        ),
        Effect.runPromise
      )
      return { code, ...read() }
    } finally {
      process.chdir(before.cwd)
      setEnvironment(before.env)
    }
  })
