/** The flags of `pipe ui`. */
import * as Argument from "effect/cli/Argument"
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

const isPort = (port: number): boolean => port <= 65_535

export const flags = {
  run: Argument.String("run").pipe(
    Argument.withDescription("open the page of this run, by its name, a prefix, or last (default: the list of runs)"),
    Argument.optional
  ),
  port: Flag.Int("port").pipe(
    Flag.withDescription("the port on 127.0.0.1 (default: any that is free)"),
    Flag.filter(
      (port) => port >= 0 && isPort(port),
      () => "is between 0 and 65535"
    ),
    Flag.withDefault(0)
  ),
  open: Switch.make("open", "open the page in the browser"),
  store: StoreFlag.flag
}

export type Input = Command.Command.Config.Infer<typeof flags>
