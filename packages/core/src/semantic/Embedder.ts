/**
 * Turns texts into vectors for layers that compare texts: an `EmbeddingModel` of `effect/ai`, with its name and the
 * texts that it cannot compare.
 *
 * **Example** (vectors from your own model)
 *
 * ```ts
 * import { Embedder } from "@pipe/core"
 * import { Effect, Layer } from "effect"
 * import { EmbeddingModel } from "effect/ai"
 *
 * const acme = EmbeddingModel.make({
 *   embedMany: ({ inputs }) =>
 *     Effect.succeed({ results: inputs.map((text) => [text.length, 1]), usage: { inputTokens: undefined } })
 * })
 *
 * export const embedder = Embedder.layer({
 *   name: "acme/embed-1",
 *   unfit: (text) => (text.length > 2_000 ? "longer than the embedder reads" : undefined)
 * }).pipe(Layer.provide(Layer.effect(EmbeddingModel.EmbeddingModel, acme)))
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RunHooks from "../client/RunHooks.ts"
import * as Simulation from "../client/Simulation.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import * as Vectors from "./Vectors.ts"

/** An embedding model, with its name and its limits. */
export interface Service {
  /** Provider and model. Vectors of different names are never compared. */
  readonly name: string
  /**
   * Why a text must not be compared; `undefined` when it may be. An embedder that would truncate the text, or does not
   * know its language, returns a meaningless vector.
   */
  readonly unfit: (text: string) => string | undefined
  /** The vector, of length 1. */
  readonly embed: (text: string) => Effect.Effect<Float32Array, AiError.AiError>
}

/** The embedder that layers compare texts with. */
export class Embedder extends Context.Service<Embedder, Service>()("@pipe/core/Embedder") {}

/** What must be known of a model. */
export interface Options extends Pick<Service, "name" | "unfit"> {
  /**
   * Set when it calls no provider: simulated runs then use it too. Any other embedder is replaced by the simulator,
   * and by the model of a test.
   */
  readonly isLocal?: boolean
}

export { unit } from "./Vectors.ts"

/** Makes an embedder from an embedding model. Concurrent texts are sent together. */
export const make = (model: EmbeddingModel.EmbeddingModel, { isLocal, name, unfit }: Options): Service => ({
  name,
  unfit,
  embed: (text) =>
    Effect.withFiber((fiber) => {
      const simulation = fiber.getRef(Simulation.Simulation)
      const { standIn } = fiber.getRef(RunHooks.RunHooks)
      if (isLocal === true || (simulation === undefined && standIn === undefined)) {
        return Effect.map(model.embed(text), ({ vector }) => Vectors.unit(vector))
      }
      const request = ModelRequest.embedding({ model: name, inputs: [text] })
      const answer = standIn === undefined ? simulation!.answer(name, request) : standIn.send(name)(request)
      return Effect.map(answer, ({ vectors }) => Vectors.unit(vectors[0]!))
    })
})

/** Makes an embedder from the `EmbeddingModel` in context. */
export const layer = (options: Options): Layer.Layer<Embedder, never, EmbeddingModel.EmbeddingModel> =>
  Layer.effect(
    Embedder,
    Effect.map(EmbeddingModel.EmbeddingModel, (model) => make(model, options))
  )
