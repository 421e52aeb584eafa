/** `pipe show`: one run, its failed rows, or what was sent to models for a row. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Count from "../../flags/Count.ts"
import * as RunArgument from "../../flags/RunArgument.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"

const flags = {
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

export const command = Command.make("show", flags, (input) =>
  Effect.flatMap(
    Effect.promise(() => import("./handler.ts")),
    ({ showRun }) => showRun(input)
  )
).pipe(
  Command.withDescription(
    "Show a run: its report, the rows that failed, or the prompts, answers, tokens and prices of a row"
  ),
  Command.withExamples([
    { command: "pipe show" },
    { command: "pipe show last --failed" },
    { command: "pipe show last --row reviews.jsonl:12", description: "Every attempt of a row, with its raw answer" },
    { command: "pipe show last --step verdict --sample 5" }
  ])
)
