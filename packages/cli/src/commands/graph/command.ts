/** `pipe graph`: prints the flow as a tree or as Mermaid. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Switch from "../../flags/Switch.ts"

export const command = Command.make(
  "graph",
  {
    flow: Argument.String("flow").pipe(Argument.withDescription("the flow's file")),
    mermaid: Switch.make("mermaid", "as a Mermaid flowchart instead of a tree")
  },
  ({ flow: file, mermaid }) =>
    Effect.gen(function* () {
      const { load } = yield* Effect.promise(() => import("../../process/LoadFlow.ts"))
      const FlowGraph = yield* Effect.promise(() => import("@pipe/core/internal/FlowGraph"))
      const { graph } = yield* load(file)
      yield* Console.log(mermaid ? FlowGraph.toMermaid(graph) : FlowGraph.toTree(graph))
    })
).pipe(
  Command.withDescription("Draw a flow: its nodes, what they read, and its outputs"),
  Command.withExamples([{ command: "pipe graph reviews.ts --mermaid", description: "For a README" }])
)
