/** The flags of `pipe show`. */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Count from "../../flags/Count.ts"
import * as RunArgument from "../../flags/RunArgument.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

export const flags = {
  run: RunArgument.run,
  failed: Switch.make("failed", "its failed rows: position, error and input"),
  row: Flag.String("row").pipe(
    Flag.withMetavar("PLACE"),
    Flag.withDescription("the requests and answers of this row: reviews.jsonl:12"),
    Flag.optional
  ),
  step: Flag.String("step").pipe(Flag.withMetavar("NAME"), Flag.withDescription("of this step only"), Flag.optional),
  sample: Count.make("sample", "the same for this many rows, evenly spread").pipe(
    Flag.withMetavar("ROWS"),
    Flag.optional
  ),
  json: Switch.make("json", "as JSON: the summary; with --failed, --row or --sample one line each"),
  simulate: Switch.make("simulate", "a simulated run"),
  store: StoreFlag.flag
}

export type Input = Command.Command.Config.Infer<typeof flags>
