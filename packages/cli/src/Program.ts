/**
 * Prepares a command from its arguments: loads environment files first, because a flow file may read them when it is
 * loaded, then the flow, because its parameters are flags.
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Cli from "./Cli.ts"
import * as RunFlags from "./commands/run/flags.ts"
import * as Environment from "./process/Environment.ts"
import * as ExitCode from "./process/ExitCode.ts"
import * as LoadFlow from "./process/LoadFlow.ts"

export const make = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  yield* Environment.load(args)
  return yield* Effect.provideService(commandOf(args), ConfigProvider.ConfigProvider, ConfigProvider.fromEnv())
})

const commandOf = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const file = Cli.takesParameters(args[0] ?? "") ? LoadFlow.fileIn(args.slice(1)) : undefined
  const parameters = file === undefined ? [] : (yield* LoadFlow.load(file)).parameters
  const taken = parameters.find(({ parameter }) => RunFlags.names.has(parameter.name))
  if (taken !== undefined) {
    return yield* ExitCode.refuse(
      `${file}: its parameter ${taken.parameter.name} has the name of a flag of pipe: rename it`
    )
  }
  yield* Cli.run(Cli.command(parameters), args)
})
