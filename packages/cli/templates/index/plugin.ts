/** Finds the nearest vectors, kept as bytes: a quarter of the memory. Provide `layer` to `SemanticCache.layer()`. */
import { VectorIndex } from "@pipe/core"
import { Effect, Layer } from "effect"

/** An index that compares all vectors. It is not saved: one that is lost is filled from the store. */
const open = (dimensions: number): VectorIndex.Index => {
  const kept: Array<{ readonly id: number; readonly bytes: Int8Array }> = []
  const similarityOf = (vector: Float32Array, bytes: Int8Array): number => {
    let [dot, length] = [0, 0]
    for (let at = 0; at < dimensions; at++) {
      dot += vector[at]! * bytes[at]!
      length += bytes[at]! ** 2
    }
    return length === 0 ? 0 : dot / Math.sqrt(length)
  }
  return {
    upto: () => kept.at(-1)?.id ?? 0,
    size: () => kept.length,
    add: (items) =>
      Effect.sync(() => {
        for (const { id, vector } of items) {
          const most = vector.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
          kept.push({ id, bytes: Int8Array.from(vector, (value) => Math.round((127 * value) / (most || 1))) })
        }
      }),
    search: (vector, count) =>
      Effect.sync(() =>
        kept
          .map(({ bytes, id }) => ({ id, similarity: similarityOf(vector, bytes) }))
          .toSorted((a, b) => b.similarity - a.similarity)
          .slice(0, count)
      ),
    reset: Effect.sync(() => void (kept.length = 0))
  }
}

export const layer = Layer.succeed(VectorIndex.VectorIndex, {
  open: ({ dimensions }) => Effect.sync(() => open(dimensions))
})
