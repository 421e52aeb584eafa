/** The flags of `pipe init`. */
import * as Argument from "effect/cli/Argument"
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Switch from "../../flags/Switch.ts"
import * as PluginTemplate from "./PluginTemplate.ts"

export const flags = {
  folder: Argument.String("folder").pipe(
    Argument.withDescription("the folder of the project; created if missing"),
    Argument.withDefault(".")
  ),
  plugin: Flag.Literals("plugin", PluginTemplate.kinds).pipe(
    Flag.withDescription(
      "write a plugin and its test in place of a flow: a layer that changes requests, or what --plugin=<kind> names"
    ),
    Flag.withOptionalValue("layer"),
    Flag.optional
  ),
  yes: Switch.make("yes", "add what is missing to an existing project"),
  noInstall: Switch.make("no-install", "write the files only: install nothing, run nothing")
}

export type Input = Command.Command.Config.Infer<typeof flags>
