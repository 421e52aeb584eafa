/**
 * What every output holds to: it has each row once and in the order of the source, also after a run that was cut, and
 * the same again after an unchanged run.
 *
 * **Example** (rows in a list, which each run replaces)
 *
 * ```ts
 * import { Sink } from "@pipe/core"
 * import { SinkContract, TestFlow } from "@pipe/core/testing"
 * import { Effect } from "effect"
 *
 * let kept: ReadonlyArray<number> = []
 *
 * const cases = SinkContract.cases({
 *   sink: (rows) =>
 *     Sink.make("list", rows, {
 *       open: Effect.sync(() => {
 *         const some: Array<number> = []
 *         return {
 *           write: (rows: ReadonlyArray<number>) => Effect.sync(() => void some.push(...rows)),
 *           finish: Effect.sync(() => (kept = some))
 *         }
 *       })
 *     }),
 *   rows: [1, 2, 3],
 *   written: Effect.sync(() => kept),
 *   host: TestFlow.host
 * })
 * for (const { run } of cases) await run()
 * cases.length // => 4
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Deferred from "effect/Deferred"
import { deepStrictEqual, strictEqual } from "node:assert/strict"
import * as Flow from "../flow/Flow.ts"
import type * as Node from "../flow/Node.ts"
import type * as Sink from "../flow/Sink.ts"
import * as Source from "../flow/Source.ts"
import * as Runner from "../run/Runner.ts"
import type * as Store from "../store/Store.ts"
import * as Case from "./Case.ts"

/** What is tested. */
export interface Options<A, E, E2> {
  /** Makes the output of some rows. Each case makes one, for the same place. */
  readonly sink: (rows: Node.Node<A>) => Sink.Sink<E, Flow.Host>
  /** Three rows or more. */
  readonly rows: ReadonlyArray<A>
  /** What is in its place after a run. */
  readonly written: Effect.Effect<ReadonlyArray<unknown>, E2, Flow.Host>
  /** `written` of the rows. Default: the rows themselves. */
  readonly expected?: ReadonlyArray<unknown>
  /** Files and a store: `NodeHost.layerMemory`, or `TestFlow.host` for an output that writes no file. */
  readonly host: Layer.Layer<Flow.Host, Store.StoreError>
}

/** Rows in many groups of writes. */
const MANY = 1_000

const flowOf = <A, E, E2>({ sink }: Options<A, E, E2>, rows: ReadonlyArray<A>, gate?: Effect.Effect<void>) => {
  const row = Source.fromIterable("rows", rows)
  let index = 0
  const passed = Flow.map("passed", { row }, ({ row }) => row)
  const gated =
    gate === undefined
      ? passed
      : Flow.step("passed", { row }, ({ row }) => Effect.as(index++ === 2 ? gate : Effect.void, row), { by: "gate" })
  return Flow.make("contract", { outputs: [sink(gated)], concurrency: 1 })
}

/** The contract, as tests. They share the place of the output: run them in their order, one at a time. */
export const cases = <A, E, E2>(options: Options<A, E, E2>): ReadonlyArray<Case.Case> => {
  const { expected = options.rows, rows, written } = options
  const law = <E3>(name: string, effect: Effect.Effect<unknown, E3, Flow.Host>) =>
    Case.make(name, Effect.provide(effect, Layer.fresh(options.host)))
  const write = (some: ReadonlyArray<A>) => Runner.run(flowOf(options, some), { errorsFile: false, overwrite: true })
  return [
    law(
      "has each row once, in the order of the source",
      Effect.gen(function* () {
        yield* write(rows)
        deepStrictEqual(yield* written, expected)
      })
    ),
    law(
      "has the same after an unchanged run",
      Effect.gen(function* () {
        yield* write(rows)
        yield* write(rows)
        deepStrictEqual(yield* written, expected)
      })
    ),
    law(
      "has every row of many",
      Effect.gen(function* () {
        const many = Array.from({ length: MANY }, (_, at) => rows[at % rows.length]!)
        yield* write(many)
        const all = yield* written
        strictEqual(all.length, MANY)
        deepStrictEqual(all.slice(0, rows.length), expected)
      })
    ),
    law(
      "has each row once after a run that was cut",
      Effect.gen(function* () {
        const reached = Deferred.makeUnsafe<void>()
        const gate = Effect.andThen(
          Effect.sync(() => Deferred.doneUnsafe(reached, Effect.void)),
          Effect.never
        )
        const fiber = yield* Effect.forkChild(
          Runner.run(flowOf(options, rows, gate), { errorsFile: false, overwrite: true })
        )
        yield* Effect.raceFirst(Deferred.await(reached), Fiber.await(fiber))
        yield* Fiber.interrupt(fiber)
        yield* write(rows)
        deepStrictEqual(yield* written, expected)
      })
    )
  ]
}
