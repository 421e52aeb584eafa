/** The `pipe` command, and its exit codes. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import type * as Parameter from "@pipe/core/Parameter"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Stdio from "effect/Stdio"
import { version } from "./Version.ts"
import * as Batches from "./commands/batches/command.ts"
import * as Cache from "./commands/cache/command.ts"
import * as Doctor from "./commands/doctor/command.ts"
import * as Graph from "./commands/graph/command.ts"
import * as Init from "./commands/init/command.ts"
import * as Labels from "./commands/labels/command.ts"
import * as Plan from "./commands/plan/command.ts"
import * as Prices from "./commands/prices/command.ts"
import * as Report from "./commands/report/command.ts"
import * as Resume from "./commands/resume/command.ts"
import * as Retry from "./commands/retry/command.ts"
import * as Run from "./commands/run/command.ts"
import * as Runs from "./commands/runs/command.ts"
import * as Show from "./commands/show/command.ts"
import * as Store from "./commands/store/command.ts"
import * as Tune from "./commands/tune/command.ts"
import * as Ui from "./commands/ui/command.ts"
import * as Worker from "./commands/worker/command.ts"
import * as Workers from "./commands/workers/command.ts"
import * as ExitCode from "./process/ExitCode.ts"
import * as Output from "./process/Output.ts"

/** All commands. `parameters` are those of the flow that `run`, `plan` or `tune` uses. */
export const command = (parameters: ReadonlyArray<Parameter.Any>) =>
  Command.make("pipe").pipe(
    Command.withDescription("Run typed LLM flows over data, with exact costs."),
    Command.withSubcommands([
      Run.make(parameters),
      Plan.make(parameters),
      Tune.make(parameters),
      Resume.command,
      Retry.command,
      Runs.command,
      Show.command,
      Report.command,
      Ui.command,
      Labels.command,
      Batches.command,
      Cache.command,
      Store.command,
      Worker.command,
      Workers.command,
      Doctor.command,
      Graph.command,
      Prices.command,
      Init.command
    ])
  )

/** The commands whose flags are the parameters of a flow. */
const ofFlows: ReadonlySet<string> = new Set(["run", "plan", "tune"])

/** Tests whether flags of a command are the parameters of a flow. */
export const takesParameters = (name: string): boolean => ofFlows.has(name)

/** What to do about a flag that may be meant for a parameter. */
const remedy = (error: CliError.CliError, command: string): string => {
  const name = error._tag === "UnrecognizedOption" ? /^--([A-Za-z_]\w*)$/.exec(error.option)?.[1] : undefined
  return name === undefined || !takesParameters(command)
    ? ""
    : `\na parameter of the flow is a flag when the flow lists it: parameters: [${name}]`
}

/** Reports wrong usage in a line or two on standard error. Help is only shown on request. */
const presenter: CliOutput.Presenter = {
  present: (event) => {
    if (event._tag !== "InvalidInvocation") return CliOutput.defaultPresenter.present(event)
    const commands = event.commandPath.slice(1)
    const errors = event.errors.map((error) => `${error.message}${remedy(error, commands[0] ?? "")}`)
    return Console.error(`${errors.join("\n")}\nsee: pipe ${commands.concat("--help").join(" ")}`)
  }
}

const services = Layer.mergeAll(
  NodeServices.layer,
  CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] }),
  CliOutput.layerPresenter(presenter)
)

/** Runs a command with its arguments, on the caller's standard streams. */
export const run = Effect.fnUntraced(function* (self: ReturnType<typeof command>, args: ReadonlyArray<string>) {
  const stdio = yield* Stdio.Stdio
  yield* Command.runWith(self, { version })(args).pipe(
    Effect.provideService(Stdio.Stdio, stdio),
    Effect.provide(services)
  )
})

/** The exit code of a command that has ended. A remaining message goes to standard error. */
export const exitCode = Effect.fnUntraced(function* (exit: Exit.Exit<void, unknown>) {
  if (Exit.isSuccess(exit)) return ExitCode.done
  if (Cause.hasInterruptsOnly(exit.cause)) return ExitCode.interrupted
  const error = Cause.squash(exit.cause)
  if (CliError.isCliError(error) && error._tag === "ShowHelp") {
    return error.errors.length === 0 ? ExitCode.done : ExitCode.usage
  }
  const message = error instanceof Error ? error.message : String(error)
  if (message !== "") yield* Output.error(message)
  return error instanceof ExitCode.Failure ? error.exitCode : ExitCode.failed
})
