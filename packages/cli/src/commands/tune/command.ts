/** `pipe tune`: finds the cheapest routing that keeps a share of the strong model's quality. */
import type * as Parameter from "@pipe/core/Parameter"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as ParameterFlags from "../../flags/ParameterFlags.ts"
import { flags, type Input } from "./flags.ts"

export const make = (parameters: ReadonlyArray<Parameter.Any>) =>
  Command.make("tune", { ...flags, parameters: ParameterFlags.make(parameters) }, (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./handler.ts")),
      ({ tuneFlow }) => tuneFlow(input as Input)
    )
  ).pipe(
    Command.withDescription(
      "Find the cheapest routing of the flow's cascade that keeps the quality, on a sample of its rows, and write it next to the flow with its certificate"
    ),
    Command.withExamples([
      {
        command: "pipe tune reviews.ts --target 0.95 --sample 300 --budget 2usd",
        description: "Keep 95 % of the strong model's quality, with 95 % confidence"
      },
      {
        command: "pipe tune reviews.ts --html frontier.html",
        description: "With a page of the cost and quality of each routing"
      },
      { command: "pipe tune reviews.ts --check --sample 200", description: "On later rows: does it still hold?" }
    ])
  )
