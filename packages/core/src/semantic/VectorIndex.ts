/**
 * Finds the nearest of many vectors. The default compares all of them, which is exact and takes a millisecond for 5,000
 * vectors. Use `Usearch.layer` of the plugins for more.
 *
 * **Details** An index is not a store: the store keeps the vectors, and an index that is lost, damaged or outdated is
 * filled from it.
 *
 * **Example** (the nearest of two vectors)
 *
 * ```ts
 * import { VectorIndex } from "@pipe/core"
 * import { Effect } from "effect"
 *
 * const index = VectorIndex.exact(2)
 * const near = index
 *   .add([
 *     { id: 1, vector: Float32Array.of(1, 0) },
 *     { id: 2, vector: Float32Array.of(0, 1) }
 *   ])
 *   .pipe(Effect.andThen(index.search(Float32Array.of(1, 0), 1)))
 *
 * await Effect.runPromise(near) // => [{ id: 1, similarity: 1 }]
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Vectors from "./Vectors.ts"

/** A vector that was found, by its id. */
export interface Near {
  readonly id: number
  /** Cosine similarity, from -1 to 1. */
  readonly similarity: number
}

/** A vector of length 1, with its id. */
export interface VectorItem {
  readonly id: number
  readonly vector: Float32Array
}

/** An open index. */
export interface Index {
  /** The highest id that it holds; 0 when it is empty. */
  readonly upto: () => number
  readonly size: () => number
  /** Adds vectors. Their ids are higher than those before. */
  readonly add: (items: ReadonlyArray<VectorItem>) => Effect.Effect<void, VectorIndexError>
  /** The nearest vectors, nearest first. */
  readonly search: (vector: Float32Array, count: number) => Effect.Effect<ReadonlyArray<Near>, VectorIndexError>
  /** Removes everything. */
  readonly reset: Effect.Effect<void, VectorIndexError>
}

/**
 * The vector index cannot be used. Calls are sent without semantic reuse, and a warning says so once.
 *
 * **Remedy** Install the extension or package that the message names, or delete the index file: it is rebuilt from the store.
 */
export class VectorIndexError extends Schema.TaggedError<VectorIndexError>()("VectorIndexError", {
  message: Schema.String
}) {}

/** Opens indexes. */
export interface Service {
  /** Opens an index. It is saved when the scope closes. One that cannot be read is empty. */
  readonly open: (options: {
    /** The name of its content: letters and digits. */
    readonly name: string
    readonly dimensions: number
    /** The folder for its file; `undefined` when it cannot be saved. */
    readonly folder: string | undefined
  }) => Effect.Effect<Index, VectorIndexError, Scope.Scope>
}

/** Compares with every vector. */
export const exact = (dimensions: number): Index => {
  const ids: Array<number> = []
  let vectors = new Float32Array(64 * dimensions)
  return {
    upto: () => ids.at(-1) ?? 0,
    size: () => ids.length,
    reset: Effect.sync(() => void (ids.length = 0)),
    add: (items) =>
      Effect.sync(() => {
        for (const { id, vector } of items) {
          if ((ids.length + 1) * dimensions > vectors.length) {
            const larger = new Float32Array(vectors.length * 2)
            larger.set(vectors)
            vectors = larger
          }
          vectors.set(vector, ids.length * dimensions)
          ids.push(id)
        }
      }),
    search: (vector, count) =>
      Effect.sync(() => {
        const best: Array<Near> = []
        ids.forEach((id, at) => {
          let similarity = 0
          for (let i = 0, from = at * dimensions; i < dimensions; i++) similarity += vector[i]! * vectors[from + i]!
          if (best.length === count && similarity <= best[count - 1]!.similarity) return
          let place = best.length === count ? count - 1 : best.length
          while (place > 0 && best[place - 1]!.similarity < similarity) {
            best[place] = best[place - 1]!
            place--
          }
          best[place] = { id, similarity }
        })
        return best
      })
  }
}

/** The indexes that layers use. */
export const VectorIndex = Context.Reference<Service>("@pipe/core/VectorIndex", {
  defaultValue: () => ({ open: ({ dimensions }) => Effect.succeed(exact(dimensions)) })
})

/**
 * The rows whose vectors are nearest to a vector, nearest first, with their cosine similarity: for a tool that looks
 * things up. All rows are compared. Between rows of a flow, use `Flow.nearest`.
 *
 * **Example**
 *
 * ```ts
 * import { VectorIndex } from "@pipe/core"
 *
 * const animals = [
 *   { name: "bee", vector: [1, 0] },
 *   { name: "cow", vector: [0, 1] }
 * ]
 *
 * VectorIndex.nearest(animals, [3, 0], { by: ({ vector }) => vector }).map(({ value }) => value.name) // => ["bee"]
 * ```
 */
export const nearest = <A>(
  rows: Iterable<A>,
  vector: ArrayLike<number>,
  options: {
    readonly by: (row: A) => ArrayLike<number>
    /** The most rows. Default: 1. */
    readonly count?: number
    /** The lowest similarity. Default: -1. */
    readonly atLeast?: number
  }
): ReadonlyArray<{ readonly value: A; readonly similarity: number }> => {
  const { atLeast = -1, by, count = 1 } = options
  const to = Vectors.unit(vector)
  const compared = Array.from(rows, (value) => ({ value, similarity: Vectors.dot(to, Vectors.unit(by(value))) }))
  return compared
    .filter(({ similarity }) => similarity >= atLeast)
    .sort((a, b) => b.similarity - a.similarity)
    .slice(0, count)
}
