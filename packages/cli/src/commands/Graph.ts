/** `pipe graph`: the flow as a tree, or as Mermaid. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"

export const command = Command.make(
  "graph",
  {
    flow: Argument.String("flow").pipe(Argument.withDescription("the flow's file")),
    mermaid: Flag.Boolean("mermaid").pipe(
      Flag.withDescription("as a Mermaid flowchart instead of a tree"),
      Flag.withoutNegation,
      Flag.withDefault(false)
    )
  },
  ({ flow: file, mermaid }) =>
    Effect.gen(function*() {
      const { load } = yield* Effect.promise(() => import("../LoadFlow.ts"))
      const FlowGraph = yield* Effect.promise(() => import("@pipe/core/FlowGraph"))
      const { graph } = yield* load(file)
      yield* Console.log(mermaid ? FlowGraph.toMermaid(graph) : FlowGraph.toTree(graph))
    })
).pipe(
  Command.withDescription("Draw a flow: its nodes, what they read, and its outputs"),
  Command.withExamples([{ command: "pipe graph reviews.ts --mermaid", description: "For a README" }])
)
