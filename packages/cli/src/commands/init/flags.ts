/** The flags of `pipe init`. */
import * as Argument from "effect/cli/Argument"
import type * as Command from "effect/cli/Command"
import * as Switch from "../../flags/Switch.ts"

export const flags = {
  folder: Argument.String("folder").pipe(
    Argument.withDescription("the folder of the project; created if missing"),
    Argument.withDefault(".")
  ),
  yes: Switch.make("yes", "add what is missing to an existing project"),
  noInstall: Switch.make("no-install", "write the files only: install nothing, run nothing")
}

export type Input = Command.Command.Config.Infer<typeof flags>
