/** `pipe report`: writes a run's report as a page or JSON, or its ledger as CSV. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { flags } from "./flags.ts"

export const command = Command.make("report", flags, (input) =>
  Effect.flatMap(
    Effect.promise(() => import("./handler.ts")),
    ({ writeReport }) => writeReport(input)
  )
).pipe(
  Command.withDescription("Write a run's report or ledger: a page for the browser, JSON, or CSV"),
  Command.withExamples([
    { command: "pipe report", description: "The last run as a page" },
    { command: "pipe report --csv --rows", description: "What each row of the last run cost" },
    { command: "pipe report --csv --all --out ledger.csv", description: "Every attempt of every run" }
  ])
)
