/**
 * Limits the number of calls in flight through this point of the stack, whatever the number of rows and steps. Runs at
 * the same time in one process, over one store, share the limit.
 *
 * **Example** (at most two calls at once to a small server)
 *
 * ```ts
 * import { Concurrency, Ledger, Stack } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const stack = Stack.make(Ledger.layer, Concurrency.layer(2), OpenAi.layer({ model: "gpt-4o-mini" }))
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Layer from "effect/Layer"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as SharedState from "../client/SharedState.ts"
import * as OptionNames from "../client/OptionNames.ts"

/** Lets `limit` calls through at a time. The others wait in order. */
export const layer = (limit: number): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> => {
  OptionNames.checkNumbers("Concurrency.layer", { limit }, { limit: OptionNames.COUNT })
  return ModelClient.middlewareEffect(
    (next) =>
      Effect.map(
        // Runs of one process share it, at the same place over the same provider.
        SharedState.at(next.layers, `Concurrency ${limit}`, Semaphore.make(limit)),
        (semaphore): ModelClient.Send =>
          (request) =>
            semaphore.withPermit(next.send(request))
      ),
    { name: "Concurrency", annotations: Context.make(LayerAnnotations.Paces, true) }
  )
}
