/** `pipe show`: shows a run, its failed rows, or the requests and answers of a row. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { flags } from "./flags.ts"

export const command = Command.make("show", flags, (input) =>
  Effect.flatMap(
    Effect.promise(() => import("./handler.ts")),
    ({ showRun }) => showRun(input)
  )
).pipe(
  Command.withDescription(
    "Show a run: its report, its failed rows, or the prompts, answers, tokens and prices of a row"
  ),
  Command.withExamples([
    { command: "pipe show" },
    { command: "pipe show last --failed" },
    { command: "pipe show last --row reviews.jsonl:12", description: "Every attempt of a row, with its raw answer" },
    { command: "pipe show last --step verdict --sample 5" }
  ])
)
