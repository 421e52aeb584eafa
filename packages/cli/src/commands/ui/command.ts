/** `pipe ui`: a local page of the runs, their rows and their money, with the review queue. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { flags } from "./flags.ts"

export const command = Command.make("ui", flags, (input) =>
  Effect.flatMap(
    Effect.promise(() => import("./handler.ts")),
    ({ serveUi }) => serveUi(input)
  )
).pipe(
  Command.withDescription(
    "Serve a local page of the runs: rows, prompts, money, errors, comparisons, and a queue to review answers"
  ),
  Command.withExamples([
    { command: "pipe ui --open" },
    { command: "pipe ui last --port 4400", description: "The page of the last run" },
    { command: "pipe ui --store postgres://localhost/pipe" }
  ])
)
