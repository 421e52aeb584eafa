/**
 * What turns a text into a vector, for layers that compare texts: an `EmbeddingModel` of `effect/ai`, with what has to be known
 * of it: its name, and which texts it cannot tell apart.
 *
 * **Example** (vectors by a model of one's own)
 *
 * ```ts
 * import { Embedder } from "@pipe/core"
 *
 * export const embedder = Embedder.layer({
 *   name: "acme/embed-1",
 *   unfit: (text) => (text.length > 2_000 ? "longer than the embedder reads" : undefined)
 * })
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Simulation from "../client/Simulation.ts"
import * as ModelRequest from "../model/ModelRequest.ts"

export interface Service {
  /** Provider and model: vectors of one name are never compared with those of another. */
  readonly name: string
  /**
   * Why a text must not be compared, `undefined` if it may: the embedder would cut it, or does not know its language, so that
   * its vector says nothing.
   */
  readonly unfit: (text: string) => string | undefined
  /** The vector, of length 1. */
  readonly embed: (text: string) => Effect.Effect<Float32Array, AiError.AiError>
}

export class Embedder extends Context.Service<Embedder, Service>()("@pipe/core/Embedder") {}

/** What has to be known of a model. */
export interface Options extends Pick<Service, "name" | "unfit"> {
  /** It calls nobody, so simulated runs use it too; any other is replaced by the simulator there. */
  readonly isLocal?: boolean
}

/** The same vector, of length 1. */
export const unit = (vector: ReadonlyArray<number>): Float32Array => {
  let sum = 0
  for (const x of vector) sum += x * x
  const length = Math.sqrt(sum)
  return Float32Array.from(vector, length === 0 ? (x) => x : (x) => x / length)
}

/** On an embedding model. Texts that come together are sent together. */
export const make = (model: EmbeddingModel.EmbeddingModel, { isLocal, name, unfit }: Options): Service => ({
  name,
  unfit,
  embed: (text) =>
    Effect.flatMap(Simulation.Simulation, (simulation) =>
      simulation === undefined || isLocal === true
        ? Effect.map(model.embed(text), ({ vector }) => unit(vector))
        : Effect.map(simulation.answer(name, ModelRequest.embedding({ model: name, inputs: [text] })), ({ vectors }) =>
            unit(vectors[0]!)
          )
    )
})

/** On the `EmbeddingModel` in context. */
export const layer = (options: Options): Layer.Layer<Embedder, never, EmbeddingModel.EmbeddingModel> =>
  Layer.effect(
    Embedder,
    Effect.map(EmbeddingModel.EmbeddingModel, (model) => make(model, options))
  )
