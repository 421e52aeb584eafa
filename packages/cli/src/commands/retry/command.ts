/** `pipe retry`: runs the failed rows of a run again. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as RunArgument from "../../flags/RunArgument.ts"
import * as Switch from "../../flags/Switch.ts"
import * as RunFlags from "../../flags/RunFlags.ts"

export const command = Command.make(
  "retry",
  {
    run: RunArgument.run,
    failed: Switch.make("failed", "the failed rows (only those can be retried)"),
    flow: RunFlags.flowFile,
    ...RunFlags.flags
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("../resume/handler.ts")),
      ({ resume: goOn }) => goOn(input, "failed")
    )
).pipe(
  Command.withDescription("Run only the failed rows of a run again; its outputs are then written completely, in order"),
  Command.withExamples([{ command: "pipe retry last --failed" }])
)
