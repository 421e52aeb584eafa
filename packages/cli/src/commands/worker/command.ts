/** `pipe worker`: computes rows of runs that other processes coordinate. */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as RunFlags from "../../flags/RunFlags.ts"
import * as Simulate from "../../flags/Simulate.ts"
import * as StoreFlag from "../../flags/StoreFlag.ts"

const { envFile, grace, quiet } = RunFlags.flags

export const command = Command.make(
  "worker",
  {
    flow: RunFlags.flow,
    run: Flag.String("run").pipe(
      Flag.withMetavar("RUN"),
      Flag.withDescription("work on this run alone, and end with it (default: all runs of the flow, until Ctrl-C)"),
      Flag.optional
    ),
    concurrency: RunFlags.concurrency,
    grace,
    quiet,
    store: StoreFlag.flag,
    storePatience: StoreFlag.patience,
    ...Simulate.flags,
    envFile
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./handler.ts")),
      ({ work }) => work(input)
    )
).pipe(
  Command.withDescription("Compute rows of runs with --workers, on a PostgreSQL store that they share, until Ctrl-C"),
  Command.withExamples([
    { command: "pipe worker reviews.ts --store postgres://db/pipe", description: "On each machine" },
    { command: "pipe run reviews.ts --store postgres://db/pipe --workers any", description: "On one of them" }
  ])
)
