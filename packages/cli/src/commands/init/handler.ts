/** Implements `pipe init`. */
import * as Peer from "@pipe/plugins/Peer"
import * as Prompt from "effect/cli/Prompt"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { join, relative, resolve } from "node:path"
import * as ExitCode from "../../process/ExitCode.ts"
import * as Output from "../../process/Output.ts"
import * as PluginTemplate from "./PluginTemplate.ts"
import * as Project from "./Project.ts"
import type { Input } from "./flags.ts"

/** Creates a project, or adds what one lacks; then installs its packages and runs it with simulated answers. */
export const initProject = Effect.fnUntraced(function* (input: Input) {
  const { folder } = input
  const plugin = Option.getOrUndefined(input.plugin)
  // `--plugin provider` is `--plugin` and a folder of that name.
  const isKind = PluginTemplate.kinds.some((kind) => kind === folder)
  if (plugin !== undefined && isKind && !existsSync(folder)) {
    return yield* ExitCode.refuse(
      `a plugin of the kind ${folder} is written with --plugin=${folder}; for a folder of that name, write ./${folder}`
    )
  }
  const inspected = Project.inspect(folder, plugin)
  if (Result.isFailure(inspected)) return yield* ExitCode.refuse(inspected.failure)
  const { changes, isOccupied, main, notes, test } = inspected.success
  const flow = plugin === undefined ? main : undefined
  for (const note of notes) yield* Output.error(`note: ${note}`)
  if (changes.length > 0) {
    const list = changes.map(({ what }) => `  ${what}`).join("\n")
    if (isOccupied && !input.yes && !(yield* isWanted(list))) {
      yield* Console.log(
        `missing here:\n${list}\n\nadd it: ${commandOf("init", folder)} --yes${plugin === undefined ? "" : ` --plugin=${plugin}`}`
      )
      return
    }
    yield* Effect.try({
      try: () => Project.apply(folder, changes),
      catch: (error) =>
        ExitCode.refuse(`${folder}: cannot be written: ${error instanceof Error ? error.message : error}`)
    })
    yield* Console.log(`written${folder === "." ? "" : ` in ${folder}`}:\n${list}`)
  } else {
    return yield* Console.log("nothing is missing here")
  }
  const go = relative(process.cwd(), resolve(folder)) === "" ? "" : `cd ${quoted(folder)} && `
  const manager = managerFor(folder)
  const lines = (tried: boolean): string =>
    flow === undefined
      ? main === undefined
        ? ""
        : `  ${test}    # ${main} is held to its contract`
      : [
          `  npx pipe run ${flow} --simulate    # ${tried ? "again: finished work is reused" : "no key, no cost"}`,
          `  ${test}`,
          `  npx pipe plan ${flow}              # what a real run will cost`,
          `  OPENAI_API_KEY=… npx pipe run ${flow}`
        ].join("\n")
  if (input.noInstall) return yield* Console.log(`\nnext:\n  ${go}${manager} install\n${lines(false)}`)
  yield* run(manager, ["install"], folder, `${go}${manager} install`)
  const bin = join(folder, "node_modules/@pipe/cli/dist/bin.js")
  const isTried = existsSync(bin) && flow !== undefined
  if (isTried) {
    const args = [...process.execArgv, "--", resolve(bin), "run", flow, "--simulate"]
    yield* run(process.execPath, args, folder, `${go}npx pipe run ${flow} --simulate`)
  }
  yield* Console.log(`\nnext:\n${go === "" ? "" : `  ${go.replace(" && ", "")}\n`}${lines(isTried)}`)
})

const quoted = (path: string): string => (/^[\w./-]+$/.test(path) ? path : JSON.stringify(path))

const commandOf = (name: string, folder: string): string => `pipe ${name}${folder === "." ? "" : ` ${quoted(folder)}`}`

/** Asks at a terminal; elsewhere nothing is added without a flag. */
const isWanted = Effect.fnUntraced(function* (list: string) {
  const { canPrompt: canAsk, canRepaint, err } = yield* Output.Output
  if (!canAsk || !canRepaint) return false
  err(`missing here:\n${list}\n`)
  return yield* Prompt.run(Prompt.Confirm({ message: "Add it?", initial: true }))
})

/** The package manager that started this command, or that of the project. */
const managerFor = (folder: string): string => {
  const [, agent] = /^(npm|pnpm|yarn|bun)\//.exec(process.env["npm_config_user_agent"] ?? "") ?? []
  return agent ?? Peer.managerOf(resolve(folder)).split(" ")[0]!
}

/** Runs another command to its end, with its output on standard error. */
const run = (command: string, args: ReadonlyArray<string>, cwd: string, shown: string) =>
  Effect.callback<void, ExitCode.Failure>((resume) => {
    process.stderr.write(`\n$ ${shown}\n`)
    const child = spawn(command, args, { cwd, stdio: ["ignore", 2, 2] })
    child.on("error", (error) => resume(Effect.fail(ExitCode.refuse(`${command} cannot be started: ${error.message}`))))
    child.on("close", (code) =>
      resume(
        code === 0
          ? Effect.void
          : Effect.fail(
              new ExitCode.Failure({ message: `${shown} failed (exit code ${code})`, exitCode: ExitCode.failed })
            )
      )
    )
    return Effect.sync(() => {
      child.kill()
    })
  })
