/**
 * What every vector index holds to: it finds the nearest vectors as a comparison with all of them does, keeps indexes
 * apart by their names, and finds again what it has saved.
 *
 * **Example** (the index of this package)
 *
 * ```ts
 * import { VectorIndexContract } from "@pipe/core/testing"
 * import { Layer } from "effect"
 *
 * const cases = VectorIndexContract.cases({ index: Layer.empty })
 * for (const { run } of cases) await run()
 * cases.length // => 3
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import * as VectorIndex from "../semantic/VectorIndex.ts"
import * as Case from "./Case.ts"

/** What is tested. */
export interface Options<E> {
  /** Provides the index, as `Usearch.layer` does. */
  readonly index: Layer.Layer<never, E>
  /** The folder for its files, when it saves indexes in files. */
  readonly folder?: string
  /** Whether every index outlives its scope. Default: `false`, since one that is lost is filled from the store. */
  readonly isSaved?: boolean
  /** The share of the twelve nearest vectors that it finds, at least, over many searches. Default: 0.9. */
  readonly recall?: number
}

const DIMENSIONS = 64
const COUNT = 500
const NEAREST = 12

/** Vectors of length 1, the same at each call. */
const vectors: ReadonlyArray<Float32Array> = Array.from({ length: COUNT }, (_, n) => {
  const raw = Array.from({ length: DIMENSIONS }, (_, i) => Math.sin((n + 1) * (i + 1) * 0.37) + Math.cos(n * 0.01 + i))
  const length = Math.hypot(...raw)
  return Float32Array.from(raw, (value) => value / length)
})

const items = (from: number, to: number): ReadonlyArray<VectorIndex.VectorItem> =>
  vectors.slice(from, to).map((vector, at) => ({ id: from + at + 1, vector }))

/** Compares with all vectors. */
const nearest = Effect.fnUntraced(function* (index: VectorIndex.Index, leastRecall: number) {
  const exact = VectorIndex.exact(DIMENSIONS)
  yield* exact.add(items(0, COUNT))
  let same = 0
  const queries = vectors.slice(0, 100)
  for (const query of queries) {
    const found = yield* index.search(query, NEAREST)
    const truth = yield* exact.search(query, NEAREST)
    strictEqual(found[0]?.id, truth[0]?.id, "the nearest vector is another one")
    ok(Math.abs(found[0]!.similarity - 1) < 1e-3, `a vector is ${found[0]!.similarity} similar to itself`)
    const ordered = found.map(({ similarity }) => similarity)
    deepStrictEqual(
      ordered,
      ordered.toSorted((a, b) => b - a),
      "the nearest vectors do not come first"
    )
    const ids = new Set(truth.map(({ id }) => id))
    same += found.filter(({ id }) => ids.has(id)).length
  }
  const recall = same / (queries.length * NEAREST)
  ok(recall >= leastRecall, `${recall} of the nearest vectors are found, and ${leastRecall} are expected`)
})

/** The contract, as tests. */
export const cases = <E>(options: Options<E>): ReadonlyArray<Case.Case> => {
  const { folder, index, isSaved = false, recall = 0.9 } = options
  const open = (name: string) =>
    Effect.flatMap(VectorIndex.VectorIndex, (indexes) => indexes.open({ name, dimensions: DIMENSIONS, folder }))
  const law = <E2>(name: string, effect: Effect.Effect<unknown, E2, Scope.Scope>) =>
    Case.make(name, Effect.provide(effect, Layer.fresh(index)))
  /** Names that no other case uses. */
  let names = 0
  const unused = () => `contract${++names}x${process.pid}`
  return [
    law(
      "finds the nearest vectors, as a comparison with all of them does",
      Effect.gen(function* () {
        const opened = yield* open(unused())
        deepStrictEqual([opened.upto(), opened.size()], [0, 0])
        deepStrictEqual(yield* opened.search(vectors[0]!, 3), [])
        yield* opened.add(items(0, 300))
        yield* opened.add(items(300, COUNT))
        deepStrictEqual([opened.upto(), opened.size()], [COUNT, COUNT])
        yield* nearest(opened, recall)
      })
    ),
    law(
      "gives all vectors when there are fewer than asked for, and none after a reset",
      Effect.gen(function* () {
        const opened = yield* open(unused())
        yield* opened.add(items(0, 2))
        strictEqual((yield* opened.search(vectors[0]!, NEAREST)).length, 2)
        yield* opened.reset
        deepStrictEqual([opened.upto(), opened.size()], [0, 0])
        deepStrictEqual(yield* opened.search(vectors[0]!, NEAREST), [])
        yield* opened.add(items(0, 1))
        strictEqual((yield* opened.search(vectors[0]!, NEAREST))[0]?.id, 1)
      })
    ),
    law(
      "keeps indexes apart by their names, and opens one later as it was, or empty",
      Effect.gen(function* () {
        const [one, other] = [unused(), unused()]
        yield* Effect.scoped(
          Effect.gen(function* () {
            const first = yield* open(one)
            const second = yield* open(other)
            yield* first.add(items(0, COUNT))
            yield* second.add(items(20, 22))
            deepStrictEqual([first.size(), second.size()], [COUNT, 2])
            strictEqual((yield* second.search(vectors[0]!, NEAREST)).length, 2)
          })
        )
        const again = yield* open(one)
        if (!isSaved && again.size() === 0) return strictEqual(again.upto(), 0)
        deepStrictEqual([again.upto(), again.size()], [COUNT, COUNT])
        yield* nearest(again, recall)
      })
    )
  ]
}
