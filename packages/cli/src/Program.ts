/**
 * Prepares a command from its arguments: loads environment files first, because a flow file may read them when it is
 * loaded, then the flow, because its parameters are flags.
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Cli from "./Cli.ts"
import * as PlanFlags from "./commands/plan/flags.ts"
import * as RunFlags from "./commands/run/flags.ts"
import * as TuneFlags from "./commands/tune/flags.ts"
import * as ParameterFlags from "./flags/ParameterFlags.ts"
import * as Environment from "./process/Environment.ts"
import * as ExitCode from "./process/ExitCode.ts"
import * as LoadFlow from "./process/LoadFlow.ts"

export const make = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  yield* Environment.load(args)
  return yield* Effect.provideService(commandOf(args), ConfigProvider.ConfigProvider, ConfigProvider.fromEnv())
})

/** The flags of pipe, which a parameter cannot be named after: a flow is run, planned and tuned with the same ones. */
const names: ReadonlySet<string> = new Set([
  ...[RunFlags, PlanFlags, TuneFlags].flatMap(({ flags }) =>
    Object.keys(flags).map((name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`))
  ),
  "help",
  "c",
  "h",
  "q",
  "version",
  "completions"
])

const commandOf = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const file = Cli.takesParameters(args[0] ?? "") ? LoadFlow.fileIn(args.slice(1)) : undefined
  const parameters = file === undefined ? [] : (yield* LoadFlow.load(file)).parameters
  const problem = ParameterFlags.problemOf(parameters, names)
  if (problem !== undefined) return yield* ExitCode.refuse(`${file}: ${problem}`)
  yield* Cli.run(Cli.command(parameters), args)
})
