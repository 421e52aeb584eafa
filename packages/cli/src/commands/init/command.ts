/** `pipe init`: creates a project with a flow that runs. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { flags } from "./flags.ts"

export const command = Command.make("init", flags, (input) =>
  Effect.flatMap(
    Effect.promise(() => import("./handler.ts")),
    ({ initProject }) => initProject(input)
  )
).pipe(
  Command.withDescription(
    "Make a project with a flow that runs, some rows and a test, and run it on simulated answers; in a project that is there, say what is missing and add it with --yes"
  ),
  Command.withExamples([
    { command: "npx @pipe/cli init my-flow", description: "From nothing to a priced, simulated result" },
    { command: "pipe init --yes", description: "Add what the project in this folder lacks" }
  ])
)
