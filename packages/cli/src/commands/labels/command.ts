/** `pipe labels`: counts the answers that a person has accepted or corrected, and writes them as JSON lines. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { flags } from "./flags.ts"

export const command = Command.make("labels", flags, (input) =>
  Effect.flatMap(
    Effect.promise(() => import("./handler.ts")),
    ({ showLabels }) => showLabels(input)
  )
).pipe(
  Command.withDescription("Count the labels of the review queue, or write them as JSON lines"),
  Command.withExamples([{ command: "pipe labels" }, { command: "pipe labels --flow support --json > labels.jsonl" }])
)
