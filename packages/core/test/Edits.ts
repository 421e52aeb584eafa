/** Flows that are edited between runs. */
import { Flow, type ModelClient, type Node, Runner, Sink, Stack } from "@pipe/core"
import { Effect, type Layer, Logger } from "effect"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Host from "./Host.ts"
import * as Scripted from "./ScriptedModel.ts"

export type Stacked = Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient>

/** Runs nodes one after the other on one store, as edits of one flow: how many calls each made, what came, what was said. */
export const edits = (
  nodes: ReadonlyArray<Node.Any>,
  options: { readonly layers?: (at: number) => Stacked; readonly services?: (at: number) => Layer.Layer<never> } = {}
) =>
  Effect.gen(function* () {
    const at = mkdtempSync(join(tmpdir(), "pipe-closure-"))
    const calls: Array<number> = []
    const outs: Array<ReadonlyArray<unknown>> = []
    const warnings: Array<string> = []
    for (const [index, node] of nodes.entries()) {
      const model = Scripted.make((request) => Scripted.response(Scripted.prompt(request).toUpperCase()))
      const out: Array<unknown> = []
      const flow = Flow.make("edited", {
        outputs: [Sink.forEach("out", node, (row) => Effect.sync(() => out.push(row)))] as unknown as ReadonlyArray<
          Sink.Sink<never, never>
        >,
        stack: options.layers === undefined ? model.layer : (Stack.make(options.layers(index), model.layer) as never),
        ...(options.services === undefined ? undefined : { services: options.services(index) as Layer.Layer<never> })
      })
      yield* Runner.run(flow as Flow.Flow<never>, { errorsFile: join(at, "errors.jsonl") }).pipe(
        Effect.provide(Host.layer({ store: join(at, "pipe.db") })),
        Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))]))
      )
      calls.push(model.requests.length)
      outs.push(out)
    }
    return { calls, outs, warnings }
  })
