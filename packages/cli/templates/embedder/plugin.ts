/** Vectors for layers that compare texts. Provide `layer` to `SemanticCache.layer()`. */
import { Embedder } from "@pipe/core"
import { Effect, Layer } from "effect"
import { EmbeddingModel } from "effect/ai"

const DIMENSIONS = 256
const MOST = 2_000

/** A text as the counts of its pieces of three letters. A model of your own goes here. */
const vectorOf = (text: string): Array<number> => {
  const vector = Array.from({ length: DIMENSIONS }, () => 0)
  const letters = ` ${text.toLowerCase().replace(/\s+/g, " ").trim()} `
  for (let at = 0; at + 3 <= letters.length; at++) {
    let hash = 7
    for (const letter of letters.slice(at, at + 3)) hash = (hash * 31 + letter.codePointAt(0)!) % DIMENSIONS
    vector[hash]! += 1
  }
  return vector
}

const model = EmbeddingModel.make({
  embedMany: ({ inputs }) => Effect.succeed({ results: inputs.map(vectorOf), usage: { inputTokens: undefined } })
})

export const layer = Embedder.layer({
  // Vectors of different names are never compared: change it with the model.
  name: "pieces/1",
  // A text that it would cut must not be compared.
  unfit: (text) => (text.length > MOST ? `it is longer than ${MOST} characters` : undefined),
  // It calls no provider, so simulated runs use it too.
  isLocal: true
}).pipe(Layer.provide(Layer.effect(EmbeddingModel.EmbeddingModel, model)))
