/** The flags of `pipe show`. */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Count from "../../flags/Count.ts"
import * as RunArgument from "../../flags/RunArgument.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

export const flags = {
  run: RunArgument.run,
  failed: Switch.make("failed", "its failed rows: where they stand, what failed, with what input"),
  row: Flag.String("row").pipe(
    Flag.withMetavar("PLACE"),
    Flag.withDescription("what was sent for this row, and what came back: reviews.jsonl:12"),
    Flag.optional
  ),
  step: Flag.String("step").pipe(Flag.withMetavar("NAME"), Flag.withDescription("at this step alone"), Flag.optional),
  sample: Count.make("sample", "the same for so many rows, evenly from all").pipe(
    Flag.withMetavar("ROWS"),
    Flag.optional
  ),
  json: Switch.make("json", "as JSON: the summary; with --failed, --row or --sample a line each"),
  simulate: Switch.make("simulate", "a run that was simulated"),
  store: StoreFlag.flag
}

export type Input = Command.Command.Config.Infer<typeof flags>
