/** Runs a flow of one step in batches, and says what came of it. */
import {
  type Batch,
  type Pricing,
  Flow,
  Ledger,
  type ModelClient,
  Retry,
  type RunEvent,
  Runner,
  Sink,
  Source,
  Stack
} from "@pipe/core"
import { NodeHost } from "@pipe/plugins"
import { Effect, type Layer, Logger } from "effect"
import { type AiError, LanguageModel } from "effect/ai"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export const fast: Batch.Options = { polling: { first: "20 millis" } }

export const newStore = () => join(mkdtempSync(join(tmpdir(), "pipe-batches-")), "pipe.db")

export interface Options extends Runner.Options {
  readonly store?: string
}

/** What came of a run over this many rows, each of which says its name, in batches of a provider. */
export const run = (
  provider: Layer.Layer<ModelClient.ModelClient, AiError.AiError, Pricing.Pricing>,
  n: number,
  options: Options = {}
) =>
  Effect.suspend(() => {
    const out: Array<string> = []
    const failed: Array<string> = []
    const warnings: Array<string> = []
    const rows = Source.fromIterable(
      "rows",
      Array.from({ length: n }, (_, i) => `r${i + 1}`)
    )
    const step = Flow.step("a", { row: rows }, ({ row }) =>
      Effect.map(LanguageModel.generateText({ prompt: row }), (r) => `${row}: ${r.text}`)
    )
    const flow = Flow.make("wire", {
      outputs: [Sink.forEach("out", step, (value) => Effect.sync(() => out.push(value)))],
      stack: Stack.make(Ledger.layer, Retry.layer({ attempts: 1 }), provider)
    })
    const { store = newStore(), ...rest } = options
    return Effect.result(
      Runner.run(flow, {
        errorsFile: join(tmpdir(), `pipe-batches-${process.pid}.jsonl`),
        batch: fast,
        observe: (event) =>
          Effect.sync(() =>
            event._tag === "RowFailed" ? void failed.push(`${event.position}: ${event.message}`) : undefined
          ),
        ...rest
      })
    ).pipe(
      Effect.provide(NodeHost.layer({ store })),
      Effect.provide(Logger.layer([Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))])),
      Effect.map((result) => {
        const failure = result._tag === "Failure" ? result.failure : undefined
        const summary: RunEvent.RunFinished =
          result._tag === "Success" ? result.success : (failure as Runner.RunFailed).summary
        return { out, failed, warnings, failure, summary, store }
      })
    )
  })
