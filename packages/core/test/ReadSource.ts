/** Reads a source to its end: its rows, its failed rows by position, what was said, and why it ended. */
import { Flow, type Node, type RunEvent, Runner, Sink } from "@pipe/core"
import { Effect, Logger } from "effect"
import * as Host from "./Host.ts"

export const read = <A, E>(source: Node.Node<A, E, Flow.Host>) =>
  Effect.gen(function* () {
    const rows: Array<A> = []
    const failed: Array<Extract<RunEvent.RunEvent, { readonly _tag: "RowFailed" }>> = []
    const said: Array<string> = []
    const result = yield* Runner.run(
      Flow.make("read", {
        outputs: [Sink.forEach("rows", source as Node.Node<A>, (row) => Effect.sync(() => rows.push(row)))],
        allowFailedRows: 1_000
      }),
      {
        errorsFile: false,
        observe: (event) =>
          Effect.sync(() => {
            if (event._tag === "RowFailed") failed.push(event)
          })
      }
    ).pipe(
      Effect.result,
      Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void said.push(String(message)))])),
      Effect.provide(Host.layerMemory)
    )
    return {
      rows,
      failed: failed.map(({ message, position }) => [position.replace(/^.*\//, ""), message] as const),
      said: said.join("\n"),
      failure: result._tag === "Failure" ? result.failure.message : undefined
    }
  })
