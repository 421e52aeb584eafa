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
  /** Some rows. They are repeated where many are needed. */
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

/** Rows before a run is cut: some are written by then. */
const BEFORE_CUT = 100

/** The rows again and again, up to a number of them. */
const repeated = <A>(rows: ReadonlyArray<A>, count: number): ReadonlyArray<A> =>
  Array.from({ length: count }, (_, at) => rows[at % rows.length]!)

/** A flow of the rows. At the gate, if any, it waits: the rows before it are done. */
const flowOf = <A, E, E2>({ sink }: Options<A, E, E2>, rows: ReadonlyArray<A>, gate?: Effect.Effect<void>) => {
  const row = Source.fromIterable(
    "rows",
    rows.map((value, index) => ({ value, index }))
  )
  const passed =
    gate === undefined
      ? Flow.map("passed", { row }, ({ row }) => row.value)
      : Flow.step("passed", { row }, ({ row }) => Effect.as(row.index === BEFORE_CUT ? gate : Effect.void, row.value), {
          by: "gate"
        })
  return Flow.make("contract", { outputs: [sink(passed)] })
}

/** The contract, as tests. They share the place of the output: run them in their order, one at a time. */
export const cases = <A, E, E2>(options: Options<A, E, E2>): ReadonlyArray<Case.Case> => {
  const { expected = options.rows, rows, written } = options
  const law = <E3>(name: string, effect: Effect.Effect<unknown, E3, Flow.Host>) =>
    Case.make(name, Effect.provide(effect, Layer.fresh(options.host)))
  const run = (some: ReadonlyArray<A>, gate?: Effect.Effect<void>) =>
    Runner.run(flowOf(options, some, gate), { errorsFile: false, overwrite: true })
  /** All of the rows, repeated, are there. */
  const has = (count: number, when: string) =>
    Effect.map(written, (all) => {
      strictEqual(all.length, count, `${all.length} rows are written ${when}, and ${count} are expected`)
      deepStrictEqual(all, repeated(expected, count), `the rows are others, or in another order, ${when}`)
    })
  return [
    law("has each row once, in the order of the source", Effect.andThen(run(rows), has(rows.length, "by a run"))),
    law(
      "has the same after an unchanged run",
      Effect.andThen(Effect.andThen(run(rows), run(rows)), has(rows.length, "by a second run"))
    ),
    law(
      "has every row of many, which arrive several at a time",
      Effect.andThen(run(repeated(rows, MANY)), has(MANY, "by a run of many"))
    ),
    law(
      "has each row once after a run that was cut",
      Effect.gen(function* () {
        const many = repeated(rows, 2 * BEFORE_CUT)
        const reached = Deferred.makeUnsafe<void>()
        const gate = Effect.andThen(
          Effect.sync(() => Deferred.doneUnsafe(reached, Effect.void)),
          Effect.never
        )
        const fiber = yield* Effect.forkChild(run(many, gate))
        yield* Effect.raceFirst(Deferred.await(reached), Fiber.await(fiber))
        yield* Fiber.interrupt(fiber)
        yield* run(many)
        yield* has(2 * BEFORE_CUT, "after a run that was cut")
      })
    )
  ]
}
