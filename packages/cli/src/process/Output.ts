/** The standard output and error of the command. All its output goes through here. */
import * as SafeText from "@pipe/core/internal/SafeText"
import * as Secret from "@pipe/core/internal/Secret"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { format } from "node:util"

export interface Output {
  /** Writes to standard output. Secrets are masked, and a terminal receives no control characters. */
  readonly out: (text: string) => void
  /** Writes to standard error. Secrets are masked, and control characters removed. */
  readonly err: (text: string) => void
  /** Erases the last lines of the terminal; 0 erases the current line. */
  readonly erase: (lines: number) => void
  /** Whether standard output is a terminal. */
  readonly outIsTerminal: boolean
  /** The columns of the terminal on standard error. */
  readonly columns: () => number
  /** Whether standard error is a terminal that can be repainted. */
  readonly canRepaint: boolean
  /** Whether the user can be prompted: standard input is a terminal. */
  readonly canPrompt: boolean
}

/** How the user started this command. */
const invocation = (): string => {
  const [, agent] = /^(npm|pnpm|yarn|bun)\//.exec(process.env["npm_config_user_agent"] ?? "") ?? []
  return agent === undefined ? "pipe" : `${agent === "npm" ? "npx" : agent === "bun" ? "bunx" : agent} pipe`
}

const commands =
  /(^|[\s(;:`])pipe (?=(?:run|plan|tune|resume|retry|runs|show|report|ui|labels|batches|cache|store|worker|workers|doctor|graph|prices|init|--help)\b)/g

/** Rewrites commands in a text so that they can be typed as printed. */
const typed = (text: string, name: string): string => (name === "pipe" ? text : text.replace(commands, `$1${name} `))

/** The streams of this process. */
export const fromProcess = (name = invocation()): Output => ({
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(typed(text, name)),
  erase: (lines) => void process.stderr.write(lines === 0 ? "\r\u001b[K" : `\u001b[${lines}A\u001b[0J`),
  outIsTerminal: process.stdout.isTTY === true,
  columns: () => process.stderr.columns || 80,
  canRepaint: process.stderr.isTTY === true && process.env["CI"] === undefined && process.env["TERM"] !== "dumb",
  canPrompt: process.stdin.isTTY === true
})

/** Sanitises everything an output writes. */
const guarded = (output: Output): Output => ({
  ...output,
  out: (text) => output.out(output.outIsTerminal ? SafeText.terminal(text) : Secret.mask(text)),
  err: (text) => output.err(SafeText.terminal(text))
})

export const Output = Context.Reference<Output>("@pipe/cli/Output", { defaultValue: () => guarded(fromProcess()) })

/** Writes a line to standard error. */
export const error = (line: string): Effect.Effect<void> => Effect.map(Output, ({ err }) => err(`${line}\n`))

/** Redirects Effect's console to an output. */
export const layer = (given: Output): Layer.Layer<never> => {
  const output = guarded(given)
  return Layer.mergeAll(
    Layer.succeed(Output, output),
    Layer.succeed(
      Console.Console,
      Object.assign(Object.create(console) as Console.Console, {
        log: (...args: ReadonlyArray<unknown>) => output.out(`${format(...args)}\n`),
        error: (...args: ReadonlyArray<unknown>) => output.err(`${format(...args)}\n`)
      })
    )
  )
}
