/** `pipe resume`: resumes a run that did not end. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as RunArgument from "../../flags/RunArgument.ts"
import * as RunFlags from "../../flags/RunFlags.ts"

export const command = Command.make(
  "resume",
  {
    run: RunArgument.run,
    flow: RunFlags.flowFile,
    ...RunFlags.flags
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./handler.ts")),
      ({ resume: goOn }) => goOn(input, "unfinished")
    )
).pipe(
  Command.withDescription(
    "Resume a run that was interrupted, detached or failed, or that reached its budget; finished work is reused"
  ),
  Command.withExamples([
    { command: "pipe resume", description: "The last run" },
    {
      command: "pipe resume --detach",
      description: "Collect finished batches, submit new ones, and exit"
    },
    { command: "pipe resume 20261125 --budget 10usd", description: "With a larger budget; what was spent counts" }
  ])
)
