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
    "Create a project with a flow, some rows and a test, and run it with simulated answers; in an existing project, list what is missing and add it with --yes. With --plugin, a plugin and its test"
  ),
  Command.withExamples([
    { command: "npx @pipe/cli init my-flow", description: "From nothing to a simulated result with its price" },
    {
      command: "pipe init my-layer --plugin",
      description: "A layer of your own, with a test that holds it to the laws of layers"
    },
    { command: "pipe init my-model --plugin=provider", description: "A provider for an API, with recorded answers" },
    { command: "pipe init --yes", description: "Add what the project in this folder lacks" }
  ])
)
