/** The flags of `pipe labels`. */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

export const flags = {
  flow: Flag.String("flow").pipe(Flag.withMetavar("NAME"), Flag.withDescription("of this flow only"), Flag.optional),
  json: Switch.make("json", "the labels as JSON lines on standard output: inputs are named by their key"),
  simulate: Switch.make("simulate", "labels of simulated runs"),
  store: StoreFlag.flag
}

export type Input = Command.Command.Config.Infer<typeof flags>
