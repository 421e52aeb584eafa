/**
 * Runs a flow in a test: rows from code, a `TestModel` in place of every provider, a store in memory, no file and no network.
 * Nothing is written. Time is that of the test: under `TestClock`, waits take none.
 *
 * **Example** (a test of a flow)
 *
 * ```ts
 * import { Flow, Sink, Source, Stack } from "@pipe/core"
 * import { TestFlow, TestModel } from "@pipe/core/testing"
 * import { OpenAi } from "@pipe/plugins"
 * import { Effect } from "effect"
 * import { LanguageModel } from "effect/ai"
 *
 * const words = Source.lines("words", { path: "words.txt" })
 * const german = Flow.step("german", { word: words }, ({ word }) =>
 *   Effect.map(LanguageModel.generateText({ prompt: `Translate to German: ${word}` }), ({ text }) => text)
 * )
 * const flow = Flow.make("translate", {
 *   outputs: [Sink.jsonl("german.jsonl", { word: words, german })],
 *   stack: Stack.recommended({ provider: OpenAi.layer({ model: "gpt-4o-mini" }) })
 * })
 *
 * const model = TestModel.make({ german: ({ values }) => ({ tree: "Baum", bee: "Biene" })[values["word"] as "tree"] })
 *
 * const run = await Effect.runPromise(
 *   TestFlow.run(flow, { model, sources: [Source.given(words, ["tree", "bee"])] })
 * )
 * run.rows(german) // => ["Baum", "Biene"]
 * run.failed // => []
 * model.calls().length // => 2
 * ```
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import * as Stdio from "effect/Stdio"
import * as RunHooks from "../client/RunHooks.ts"
import * as Flow from "../flow/Flow.ts"
import type * as Node from "../flow/Node.ts"
import * as Sink from "../flow/Sink.ts"
import * as Pricing from "../price/Pricing.ts"
import type * as RunEvent from "../run/RunEvent.ts"
import * as Runner from "../run/Runner.ts"
import * as Store from "../store/Store.ts"
import * as TestModel from "./TestModel.ts"

/** What nothing is read from or written to. */
const platform = Layer.mergeAll(FileSystem.layerNoop({}), Path.layer, Stdio.layerTest({}), Digest.layerWebCrypto)

/** The host of a test: prices, and a store in memory that each run has for itself. */
export const host: Layer.Layer<Flow.Host> = Layer.suspend(() =>
  Layer.mergeAll(Pricing.layer().pipe(Layer.orDie), Store.layerCache.pipe(Layer.provideMerge(Store.layerMemory))).pipe(
    Layer.provideMerge(platform)
  )
)

/** The options of `TestFlow.run`. */
export interface Options extends Runner.ReadOptions {
  /**
   * Answers in place of every provider. Default: one without answers, which fails the rows
   * that call it; a `TestModel.layer` in the flow's own stack answers itself.
   */
  readonly model?: TestModel.TestModel
  /** Files, prices and the store. Default: `TestFlow.host`. Provide one to several runs, and they share its store. */
  readonly host?: Layer.Layer<Flow.Host, Store.StoreError>
}

/** A failed row. */
export type FailedRow = Extract<RunEvent.RunEvent, { readonly _tag: "RowFailed" }>

/** What a run came to. */
export interface TestRun {
  /** The values of a node, in the order of its source. Rows that failed or were filtered have none. */
  readonly rows: <A, E, R>(node: Node.Node<A, E, R>) => ReadonlyArray<A>
  readonly failed: ReadonlyArray<FailedRow>
  /** Status, rows, calls, tokens, cost in picodollars and savings. */
  readonly summary: RunEvent.RunFinished
  readonly events: ReadonlyArray<RunEvent.RunEvent>
}

/** Runs a flow. A run that stops early is a result too: its `summary` says why. */
export const run = <F>(flow: Flow.Flow<F>, options: Options = {}): Effect.Effect<TestRun, Runner.StartError> =>
  Effect.suspend(() => {
    const { host: given = host, model, observe, ...rest } = options
    const values = new Map<Node.Any, Array<unknown>>()
    const events: Array<RunEvent.RunEvent> = []
    const outputs = flow.graph.nodes.map((node) =>
      Sink.make(node.name, node, {
        open: Effect.sync(() => {
          const all: Array<unknown> = []
          values.set(node, all)
          return { write: (rows: ReadonlyArray<unknown>) => Effect.sync(() => void all.push(...rows)) }
        })
      })
    )
    const tested = Flow.withOutputs(flow, outputs)
    // What is only looked up stays so: `limit` and `sample` leave it whole.
    const graph = { ...tested.graph, driving: flow.graph.driving }
    const ran = Runner.run(
      { ...tested, graph },
      {
        errorsFile: false,
        ...rest,
        observe: (event) => {
          events.push(event)
          return observe?.(event) ?? Effect.void
        }
      }
    ).pipe(
      Effect.catchTag("RunFailed", ({ summary }) => Effect.succeed(summary)),
      RunHooks.provide({ standIn: model?.standIn ?? TestModel.none })
    )
    return Effect.map(
      Effect.flatMap(Layer.build(given), (context: Context.Context<Flow.Host>) => Effect.provideContext(ran, context)),
      (summary): TestRun => ({
        rows: <A, E, R>(node: Node.Node<A, E, R>) => {
          if (!flow.graph.nodes.includes(node)) throw new Error(`flow ${flow.name} has no node ${node.name}`)
          return (values.get(node) ?? []) as ReadonlyArray<A>
        },
        failed: events.filter((event) => event._tag === "RowFailed"),
        summary,
        events
      })
    ).pipe(Effect.scoped)
  })
