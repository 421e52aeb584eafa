/** Standard output and error of the command: all that it says goes through here. */
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { format } from "node:util"

export interface Output {
  /** Writes text to standard output, as it is. */
  readonly out: (text: string) => void
  /** Writes text to standard error, as it is. */
  readonly err: (text: string) => void
  /** Columns of the terminal that standard error is. */
  readonly columns: () => number
  /** Whether standard error is a terminal that can be painted over. */
  readonly canRepaint: boolean
  /** Whether a question can be put to a person: standard input is a terminal. */
  readonly canAsk: boolean
}

/** The streams of this process. */
export const fromProcess = (): Output => ({
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  columns: () => process.stderr.columns || 80,
  canRepaint: process.stderr.isTTY === true && process.env["CI"] === undefined && process.env["TERM"] !== "dumb",
  canAsk: process.stdin.isTTY === true
})

export const Output = Context.Reference<Output>("@pipe/cli/Output", { defaultValue: fromProcess })

/** Writes a line to standard error. */
export const error = (line: string): Effect.Effect<void> => Effect.map(Output, ({ err }) => err(`${line}\n`))

/** Has Effect's console write to an output. */
export const layer = (output: Output): Layer.Layer<never> =>
  Layer.mergeAll(
    Layer.succeed(Output, output),
    Layer.succeed(
      Console.Console,
      Object.assign(Object.create(console) as Console.Console, {
        log: (...args: ReadonlyArray<unknown>) => output.out(`${format(...args)}\n`),
        error: (...args: ReadonlyArray<unknown>) => output.err(`${format(...args)}\n`)
      })
    )
  )
