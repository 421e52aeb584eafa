/** `pipe plan`: estimates the cost of a run before anything is spent. */
import type * as Parameter from "@pipe/core/Parameter"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as ParameterFlags from "../../flags/ParameterFlags.ts"
import { flags, type Input } from "./flags.ts"

export const make = (parameters: ReadonlyArray<Parameter.Any>) =>
  Command.make("plan", { ...flags, parameters: ParameterFlags.make(parameters) }, (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./handler.ts")),
      ({ planFlow }) => planFlow(input as Input)
    )
  ).pipe(
    Command.withDescription(
      "Estimate the cost of a run, counted on the real rows: calls, tokens, money, time, and the cost of other strategies"
    ),
    Command.withExamples([
      { command: "pipe plan reviews.ts", description: "No provider is called, and nothing is paid" },
      { command: "pipe plan reviews.ts --sample 20", description: "Learn the length of answers from 20 rows first" }
    ])
  )
