/**
 * Runs a flow: streams the rows of every source through their steps to the outputs.
 *
 * **Details** Memory is bounded whatever the number of rows: a window of rows per source, the state of groups, and the
 * second side of joins. Outputs are in the order of the source. Failed rows are kept, and the others continue.
 *
 * **Example** (running a flow from code)
 *
 * ```ts
 * import { Flow, Runner, Sink, Source } from "@pipe/core"
 * import { NodeHost } from "@pipe/plugins"
 * import { Effect } from "effect"
 *
 * const numbers = Source.fromIterable("numbers", [1, 2, 3])
 * const doubled = Flow.map("doubled", { n: numbers }, ({ n }) => n * 2)
 * const out: Array<number> = []
 *
 * const flow = Flow.make("double", {
 *   outputs: [Sink.forEach("collect", doubled, (n) => Effect.sync(() => out.push(n)))]
 * })
 *
 * await Effect.runPromise(Runner.run(flow).pipe(Effect.provide(NodeHost.layerMemory)))
 * out // => [2, 4, 6]
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Simulation from "../client/Simulation.ts"
import * as Flow from "../flow/Flow.ts"
import type * as Node from "../flow/Node.ts"
import * as Sink from "../flow/Sink.ts"
import type * as Budget from "../ledger/Budget.ts"
import type * as Pricing from "../price/Pricing.ts"
import type * as Store from "../store/Store.ts"
import * as RunEnd from "./RunEnd.ts"
import * as RunEvent from "./RunEvent.ts"
import type * as RunRepo from "./RunRepo.ts"
import * as RunSession from "./RunSession.ts"
import type * as RunOptions from "./RunOptions.ts"
import * as RunRows from "./RunRows.ts"
import * as Worker from "../work/Worker.ts"

export type { RunOptions as Options } from "./RunOptions.ts"

/**
 * The run stopped early: too many rows failed, no call could succeed, the budget was reached, or it was interrupted. `summary` has the
 * details. Finished work is kept.
 *
 * **Remedy** Fix the cause that the message names and resume with `pipe resume`, or run the flow again: finished rows cost nothing.
 */
export class RunFailed extends Schema.TaggedError<RunFailed>()("RunFailed", {
  message: Schema.String,
  summary: RunEvent.RunFinished
}) {}

/** What prevents a run from starting. */
export type StartError = Node.FlowError | Pricing.PriceError | RunRepo.RunError | Budget.BudgetError | Store.StoreError

export { check } from "./RunSession.ts"

/** Runs a flow to its end and returns the summary, including when rows failed. */
export const run = <E>(
  flow: Flow.Flow<E>,
  options: RunOptions.RunOptions = {}
): Effect.Effect<RunEvent.RunFinished, RunFailed | StartError, Flow.Host> =>
  Effect.scoped(
    Effect.gen(function* () {
      const session = yield* RunSession.open(flow, options, yield* Simulation.Simulation)
      const { state } = session
      let ended = false
      yield* Effect.addFinalizer(() => (ended ? Effect.void : RunEnd.cut(session)))
      yield* state.emit(state.started())
      const { exchanges, outcome } = yield* RunRows.run(session)
      const { exit } = outcome
      if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) && state.stopped() === undefined) {
        return yield* Effect.interrupt
      }
      const stop = RunEnd.stopOf(session, outcome)
      const summary = yield* RunEnd.summaryOf(session, outcome, stop)
      ended = true
      exchanges.end()
      yield* RunEnd.keep(session, outcome, stop, summary)
      yield* state.emit(state.progress(summary.at))
      yield* state.emit(summary)
      return stop === undefined ? summary : yield* new RunFailed({ message: stop.message, summary })
    })
  )

export type { WorkOptions } from "../work/Worker.ts"

/**
 * Works for runs of a flow that have `workers: true`, on the store that they share: takes rows, computes them, and keeps
 * the results in the store, where the run finds them. Ends when `drain` ends, or with the run that `run` names. Returns the
 * number of rows.
 *
 * **Details** A worker needs the same code as the run: the same steps, layers and version of pipe. Otherwise it says what differs, and
 * gets no rows. Rows of a worker that ends are computed by others.
 *
 * **Example** (a worker until Ctrl-C)
 *
 * ```ts
 * import { Flow, Runner, Sink, Source } from "@pipe/core"
 * import { NodeHost } from "@pipe/plugins"
 * import { Effect } from "effect"
 *
 * const numbers = Source.fromIterable("numbers", [1, 2, 3])
 * const flow = Flow.make("numbers", { outputs: [Sink.forEach("out", numbers, () => Effect.void)] })
 *
 * export const worker = Runner.work(flow).pipe(Effect.provide(NodeHost.layer({ store: "postgres://localhost/pipe" })))
 * ```
 */
export const work = <E>(
  flow: Flow.Flow<E>,
  options: Worker.WorkOptions = {}
): Effect.Effect<number, StartError, Flow.Host> => Effect.scoped(Worker.work(flow, options))

/** The options of `Runner.collect` and `Runner.stream`. Failed rows are in the error; no file is written for them. */
export type ReadOptions = Omit<RunOptions.RunOptions, "outputs" | "detach">

/** Runs a flow for the values of a node. More failed rows than the flow allows fail it. */
const reading = <A, E, R, F>(
  flow: Flow.Flow<F>,
  node: Node.Node<A, E, R>,
  options: ReadOptions,
  receive: (rows: ReadonlyArray<A>) => Effect.Effect<unknown>
): Effect.Effect<RunEvent.RunFinished, RunFailed | StartError, Flow.Host> => {
  const output = Sink.make("rows", node, {
    open: Effect.succeed({ write: (rows: ReadonlyArray<A>) => receive(rows) })
  })
  let failure: string | undefined
  const observe: ReadOptions["observe"] = (event) => {
    if (event._tag === "RowFailed") failure ??= `${event.position}: ${event.node}: ${event.message}`
    return options.observe?.(event) ?? Effect.void
  }
  return Effect.flatMap(
    run(Flow.withOutputs(flow, [output]), { errorsFile: false, ...options, observe }),
    (summary) => {
      const { failed } = summary.rows
      return failed <= flow.allowFailedRows
        ? Effect.succeed(summary)
        : Effect.fail(
            new RunFailed({
              message: `${failed} of ${summary.rows.read} rows failed${failure === undefined ? "" : `, the first: ${failure}`}`,
              summary
            })
          )
    }
  )
}

/**
 * Runs the part of a flow that a node needs, and returns the values of the node in the order of the source. Outputs are not
 * written. Use it in a script, a test or a server; `stream` returns the values one by one.
 *
 * **Details** Fails with `RunFailed` when more rows failed than the flow allows (`allowFailedRows`), and when the run
 * stopped early. Finished work is kept in the store.
 *
 * **Example** (the values of a node)
 *
 * ```ts
 * import { Flow, Runner, Sink, Source } from "@pipe/core"
 * import { NodeHost } from "@pipe/plugins"
 * import { Effect } from "effect"
 *
 * const numbers = Source.fromIterable("numbers", [1, 2, 3])
 * const doubled = Flow.map("doubled", { n: numbers }, ({ n }) => n * 2)
 * const flow = Flow.make("double", { outputs: [Sink.jsonl("doubled.jsonl", doubled)] })
 *
 * await Effect.runPromise(Runner.collect(flow, doubled).pipe(Effect.provide(NodeHost.layerMemory))) // => [2, 4, 6]
 * ```
 */
export const collect = <A, E, R, F>(
  flow: Flow.Flow<F>,
  node: Node.Node<A, E, R>,
  options: ReadOptions = {}
): Effect.Effect<ReadonlyArray<A>, RunFailed | StartError, Flow.Host> =>
  Effect.suspend(() => {
    const all: Array<A> = []
    return Effect.as(
      reading(flow, node, options, (rows) => Effect.sync(() => void all.push(...rows))),
      all
    )
  })

/**
 * The same as a stream: values come as rows finish, in the order of the source. The run reads no further than its consumer
 * (up to a window of rows), and ends when the stream is interrupted.
 *
 * **Example** (the first two values; the run then ends)
 *
 * ```ts
 * import { Flow, Runner, Sink, Source } from "@pipe/core"
 * import { NodeHost } from "@pipe/plugins"
 * import { Effect, Stream } from "effect"
 *
 * const numbers = Source.fromIterable("numbers", [1, 2, 3])
 * const doubled = Flow.map("doubled", { n: numbers }, ({ n }) => n * 2)
 * const flow = Flow.make("double", { outputs: [Sink.jsonl("doubled.jsonl", doubled)] })
 *
 * const firstTwo = Runner.stream(flow, doubled).pipe(Stream.take(2), Stream.runCollect)
 * await Effect.runPromise(firstTwo.pipe(Effect.provide(NodeHost.layerMemory))) // => [2, 4]
 * ```
 */
export const stream = <A, E, R, F>(
  flow: Flow.Flow<F>,
  node: Node.Node<A, E, R>,
  options: ReadOptions = {}
): Stream.Stream<A, RunFailed | StartError, Flow.Host> =>
  Stream.callback<A, RunFailed | StartError, Flow.Host>(
    (queue) =>
      Effect.matchCauseEffect(
        reading(flow, node, options, (rows) => Queue.offerAll(queue, rows)),
        {
          onFailure: (cause) => Queue.failCause(queue, cause),
          onSuccess: () => Queue.end(queue)
        }
      ),
    { bufferSize: WINDOW, strategy: "suspend" }
  )

/**
 * Runs a flow, outputs included, and returns its events as a stream: progress and failed rows while it runs, and
 * `RunFinished` with the summary at its end. Use it to show the state of a run. A run that stops early fails the stream, after
 * its last event; a stream that is interrupted ends the run.
 *
 * **Example** (the rows of a summary)
 *
 * ```ts
 * import { Flow, Runner, Sink, Source } from "@pipe/core"
 * import { NodeHost } from "@pipe/plugins"
 * import { Effect, Stream } from "effect"
 *
 * const numbers = Source.fromIterable("numbers", [1, 2, 3])
 * const flow = Flow.make("numbers", { outputs: [Sink.forEach("out", numbers, () => Effect.void)] })
 *
 * const done = Runner.events(flow).pipe(
 *   Stream.filter((event) => event._tag === "RunFinished"),
 *   Stream.map(({ rows }) => rows.read),
 *   Stream.runCollect
 * )
 * await Effect.runPromise(done.pipe(Effect.provide(NodeHost.layerMemory))) // => [3]
 * ```
 */
export const events = <F>(
  flow: Flow.Flow<F>,
  options: RunOptions.RunOptions = {}
): Stream.Stream<RunEvent.RunEvent, RunFailed | StartError, Flow.Host> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const queue = yield* Queue.bounded<RunEvent.RunEvent, RunFailed | StartError | Cause.Done>(WINDOW)
      const observe: RunOptions.RunOptions["observe"] = (event) =>
        Effect.andThen(Queue.offer(queue, event), options.observe?.(event) ?? Effect.void)
      yield* Effect.forkScoped(
        Effect.matchCauseEffect(run(flow, { ...options, observe }), {
          onFailure: (cause) => Queue.failCause(queue, cause),
          onSuccess: () => Queue.end(queue)
        })
      )
      // Closed before the run is interrupted: its last events have no reader.
      yield* Effect.addFinalizer(() => Queue.shutdown(queue))
      return Stream.fromQueue(queue)
    })
  )

/** How many values may wait for a slow consumer. */
const WINDOW = 16
