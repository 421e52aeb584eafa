/** `pipe doctor`: checks everything that a run needs. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as StoreFlag from "../../flags/StoreFlag.ts"
import * as Switch from "../../flags/Switch.ts"
import * as RunFlags from "../../flags/RunFlags.ts"

export const command = Command.make(
  "doctor",
  {
    flow: Argument.String("flow").pipe(
      Argument.withDescription("a flow's file: its own providers are checked"),
      Argument.optional
    ),
    offline: Switch.make("offline", "do not contact the providers"),
    json: Switch.make("json", "one JSON line per check"),
    store: StoreFlag.flag,
    envFile: RunFlags.flags.envFile
  },
  (input) =>
    Effect.flatMap(
      Effect.promise(() => import("./handler.ts")),
      ({ examine }) => examine(input)
    )
).pipe(
  Command.withDescription("Check keys, endpoints, the store, the disk and versions; exit code 1 when a check fails"),
  Command.withExamples([
    { command: "pipe doctor" },
    { command: "pipe doctor reviews.ts", description: "The providers of a flow" },
    { command: "pipe doctor --offline" }
  ])
)
