/** The flags of `pipe report`. */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as RunArgument from "../../flags/RunArgument.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

export const flags = {
  run: RunArgument.run,
  html: Switch.make("html", "one self-contained page, written to a file (default)"),
  json: Switch.make("json", "everything known about the run, as JSON on standard output"),
  csv: Switch.make("csv", "the ledger on standard output: one line per attempt at a provider"),
  rows: Switch.make("rows", "with --csv, one line per step and row: its calls, their time, their cost"),
  all: Switch.make("all", "with --csv, the ledger of all runs"),
  out: Flag.String("out").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("where to write (default for the page: <flow>.report.html)"),
    Flag.optional
  ),
  simulate: Switch.make("simulate", "a simulated run"),
  store: StoreFlag.flag
}

export type Input = Command.Command.Config.Infer<typeof flags>
