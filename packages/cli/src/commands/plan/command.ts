/** `pipe plan`: what a run will cost, before a cent is spent. */
import type * as Parameter from "@pipe/core/Parameter"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Count from "../../flags/Count.ts"
import * as Simulate from "../../flags/Simulate.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"
import * as Run from "../run/command.ts"

const flags = {
  flow: Run.flow,
  limit: Run.limit,
  sample: Count.make(
    "sample",
    "run this many rows first, to learn how long answers are; they are paid, and the run reuses them"
  ).pipe(Flag.withMetavar("ROWS"), Flag.optional),
  batch: Switch.make("batch", "as a run with --batch"),
  noCache: Switch.make("no-cache", "as if nothing were in the cache, and nothing done before"),
  json: Switch.make("json", "the plan as JSON"),
  ...Simulate.flags,
  store: StoreFlag.flag,
  envFile: Run.runFlags.envFile
}

export type Input = Command.Command.Config.Infer<typeof flags> & Pick<Run.Input, "parameters">

export const make = (parameters: ReadonlyArray<Parameter.Any>) =>
  Command.make("plan", { ...flags, parameters: Run.parameterFlags(parameters) }, (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./handler.ts")),
      ({ planFlow }) => planFlow(input as Input)
    )
  ).pipe(
    Command.withDescription(
      "Say what a run will cost, counted on the real rows: calls, tokens, money, time, and what other strategies would cost"
    ),
    Command.withExamples([
      { command: "pipe plan reviews.ts", description: "Nothing is asked, and nothing paid" },
      { command: "pipe plan reviews.ts --sample 20", description: "Learn the length of answers from 20 rows first" }
    ])
  )
