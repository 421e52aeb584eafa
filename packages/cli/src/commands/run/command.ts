/** `pipe run`: runs a flow. Its parameters are flags. */
import type * as Parameter from "@pipe/core/Parameter"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as ParameterFlags from "../../flags/ParameterFlags.ts"
import { flags, type Input } from "./flags.ts"

export const make = (parameters: ReadonlyArray<Parameter.Any>) =>
  Command.make("run", { ...flags, parameters: ParameterFlags.make(parameters) }, (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./handler.ts")),
      ({ runFlow }) => runFlow(input as Input)
    )
  ).pipe(
    Command.withDescription("Run a flow; its parameters are flags, listed by pipe run <flow> --help"),
    Command.withExamples([
      { command: "pipe run reviews.ts --limit 20 --simulate", description: "Try it on 20 rows without a key" },
      { command: "pipe run reviews.ts --budget 5usd", description: "Never spend more than five dollars" },
      {
        command: "pipe run reviews.ts --batch --deadline 2h",
        description: "At half price; what takes longer is sent as single calls"
      },
      { command: "pipe run reviews.ts --json > events.jsonl", description: "For programs: events and summary" }
    ])
  )
