/**
 * What every source holds to: it gives its rows, decoded and with their positions, in the same order at each reading;
 * a row that does not fit fails alone; and a reading that ends early closes what it has opened.
 *
 * **Example** (a source of one page)
 *
 * ```ts
 * import { Source } from "@pipe/core"
 * import { SourceContract, TestFlow } from "@pipe/core/testing"
 * import { Effect, Schema, Stream } from "effect"
 *
 * const orders = Source.make("orders", {
 *   schema: Schema.Struct({ id: Schema.Int }),
 *   open: Effect.succeed({ rows: Stream.make({ position: "orders/17", value: { id: 17 } }) })
 * })
 *
 * const cases = SourceContract.cases({ source: orders, rows: [{ id: 17 }], host: TestFlow.host })
 * for (const { run } of cases) await run()
 * cases.length // => 3
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import * as Flow from "../flow/Flow.ts"
import type * as Node from "../flow/Node.ts"
import * as Sink from "../flow/Sink.ts"
import * as Runner from "../run/Runner.ts"
import type * as Store from "../store/Store.ts"
import * as Case from "./Case.ts"

/** What is tested. */
export interface Options<A, E> {
  readonly source: Node.Node<A, E, Flow.Host>
  /** The rows that it gives, in their order. */
  readonly rows: ReadonlyArray<A>
  /** How many rows do not fit the schema. They fail, with their positions. Default: 0. */
  readonly failing?: number
  /** Files and a store: `NodeHost.layerMemory`, or `TestFlow.host` for a source that reads no file. */
  readonly host: Layer.Layer<Flow.Host, Store.StoreError>
}

/** Reads the source through a run. */
const read = <A, E>({ source }: Options<A, E>, options: Runner.Options = {}) =>
  Effect.gen(function* () {
    const rows: Array<A> = []
    const failed: Array<{ readonly position: string; readonly message: string }> = []
    const flow = Flow.make("contract", {
      allowFailedRows: 1,
      outputs: [Sink.forEach("rows", source, (row) => Effect.sync(() => void rows.push(row)))]
    })
    const summary = yield* Runner.run(flow, {
      errorsFile: false,
      ...options,
      observe: (event) =>
        Effect.sync(() => {
          if (event._tag === "RowFailed") failed.push({ position: event.position, message: event.message })
        })
    })
    return { rows, failed, summary }
  })

/** The contract, as tests. */
export const cases = <A, E>(options: Options<A, E>): ReadonlyArray<Case.Case> => {
  const { failing = 0, rows: expected } = options
  const law = <E2>(name: string, effect: Effect.Effect<unknown, E2, Flow.Host>) =>
    Case.make(name, Effect.provide(effect, Layer.fresh(options.host)))
  return [
    law(
      "gives its rows in their order; those that do not fit fail with their positions",
      Effect.gen(function* () {
        const { failed, rows } = yield* read(options)
        deepStrictEqual(rows, expected)
        strictEqual(failed.length, failing, `rows fail: ${failed.map(({ message }) => message).join("; ")}`)
        for (const { message, position } of failed) ok(position !== "", `a failed row has no position: ${message}`)
        strictEqual(new Set(failed.map(({ position }) => position)).size, failing, "two rows have the same position")
      })
    ),
    law(
      "gives the same rows at each reading, as runs in batches need",
      Effect.gen(function* () {
        const first = yield* read(options)
        const second = yield* read(options)
        deepStrictEqual(second.rows, first.rows)
        deepStrictEqual(second.failed, first.failed)
      })
    ),
    law(
      "gives its first rows when no more are read, and all of them again afterwards",
      Effect.gen(function* () {
        const first = yield* read(options, { limit: 1 })
        ok(first.rows.length + first.failed.length <= 1, "more than one row is read")
        deepStrictEqual(first.rows, expected.slice(0, first.rows.length))
        deepStrictEqual((yield* read(options)).rows, expected)
      })
    )
  ]
}
