/** The flags of `pipe init`. */
import * as Argument from "effect/cli/Argument"
import type * as Command from "effect/cli/Command"
import * as Switch from "../../flags/Switch.ts"

export const flags = {
  folder: Argument.String("folder").pipe(
    Argument.withDescription("where the project goes; made if it is not there"),
    Argument.withDefault(".")
  ),
  yes: Switch.make("yes", "add what is missing to the project that is there"),
  noInstall: Switch.make("no-install", "write the files alone: install no packages, and run nothing")
}

export type Input = Command.Command.Config.Infer<typeof flags>
