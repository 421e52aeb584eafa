/** Samples of rows by the hashes of their content. */
import { assert, describe, it } from "@effect/vitest"
import { Flow, Runner, Sink, Source } from "@pipe/core"
import * as RowSample from "../src/routing/tune/RowSample.ts"
import { Effect, Layer, Stream } from "effect"
import * as fc from "fast-check"
import * as Host from "./Host.ts"

const rowsOf = (values: ReadonlyArray<number>) =>
  Stream.fromIterable(values.map((value, at) => ({ position: String(at), value })))

const taken = (values: ReadonlyArray<number>, sample: RowSample.RowSample) =>
  Effect.runSync(Effect.flatMap(RowSample.take(rowsOf(values), sample), Stream.runCollect)).map((row) =>
    "value" in row ? row.value : Number.NaN
  )

describe("RowSample", () => {
  it("is the same wherever rows stand, without doubles, and disjoint from what comes above its highest hash", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 300 }),
        fc.integer({ min: 1, max: 60 }),
        (values, size) => {
          let upTo = ""
          const onTaken = (found: { readonly rows: number; readonly upTo: string }) =>
            Effect.sync(() => void (upTo = found.upTo))
          const first = taken(values, { size, seed: "a", onTaken })
          assert.deepStrictEqual(first, taken(values.toReversed(), { size, seed: "a" }))
          assert.strictEqual(new Set(first).size, first.length)
          assert.strictEqual(first.length, Math.min(size, new Set(values).size))
          const rest = taken(values, { size: 1_000, seed: "a", above: upTo })
          assert.deepStrictEqual(
            [...first, ...rest].toSorted((a, b) => a - b),
            [...new Set(values)].toSorted((a, b) => a - b)
          )
        }
      )
    )
  })

  it("keeps its rows when others are added, but for those that come before them", () => {
    const first = taken(
      Array.from({ length: 1_000 }, (_, n) => n),
      { size: 50, seed: "a" }
    )
    const later = new Set(
      taken(
        Array.from({ length: 1_100 }, (_, n) => n),
        { size: 50, seed: "a" }
      )
    )
    assert.isAtLeast(first.filter((value) => later.has(value)).length, 38)
    assert.notDeepEqual(
      first,
      taken(
        Array.from({ length: 1_000 }, (_, n) => n),
        { size: 50, seed: "b" }
      )
    )
  })

  it("has about as many of each kind as there are (a sample at random)", () => {
    const ones = taken(
      Array.from({ length: 20_000 }, (_, n) => n),
      { size: 2_000, seed: "a" }
    ).filter((value) => value % 4 === 0).length
    // 500 ± 4 standard deviations.
    assert.closeTo(ones, 500, 4 * Math.sqrt(2_000 * 0.25 * 0.75))
  })

  it.effect("leaves the second side of a join whole", () =>
    Effect.gen(function* () {
      const left = Source.fromIterable(
        "left",
        Array.from({ length: 100 }, (_, n) => ({ n }))
      )
      const right = Source.fromIterable(
        "right",
        Array.from({ length: 100 }, (_, n) => ({ n, word: `w${n}` }))
      )
      const joined = Flow.join("joined", { left }, { right }, { on: [({ n }) => n, ({ n }) => n] })
      const seen: Array<string> = []
      const step = Flow.map("step", { joined }, ({ joined }) => {
        seen.push(joined.right.word)
        return joined.right.word
      })
      yield* Runner.run(Flow.make("sampled", { outputs: [Sink.forEach("out", step, () => Effect.void)] }), {
        sample: { size: 10, seed: "a" }
      })
      assert.lengthOf(seen, 10)
    }).pipe(Effect.provide(Layer.fresh(Host.layerMemory)))
  )
})
