/**
 * Shares calls in flight: equal ones are sent once, and all callers get the answer. Use it in a layer that answers by
 * itself, such as a cache of your own.
 *
 * **Details** A call runs until it ends or its last caller is interrupted. A failure is that of all who wait. In batches,
 * all of them are suspended together. Callers other than the first get the answer with the origin `shared`, so the ledger
 * counts it once.
 *
 * **Example** (a layer that sends equal requests once at a time)
 *
 * ```ts
 * import { ModelClient, RequestKey, Sharing } from "@pipe/core"
 * import { Effect } from "effect"
 *
 * export const once = ModelClient.middlewareEffect((next) =>
 *   Effect.sync((): ModelClient.Send => {
 *     const share = Sharing.make()
 *     return (request) => share(RequestKey.content(request), next.send(request))
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as Effect from "effect/Effect"
import * as SingleFlight from "../cache/SingleFlight.ts"
import * as ModelResponse from "../model/ModelResponse.ts"

/** Makes a call, or waits for the one with the same key. Calls with one key have answers of one kind. */
export type Share = <A extends ModelResponse.ModelResponse>(
  key: string,
  call: Effect.Effect<A, AiError.AiError>
) => Effect.Effect<A, AiError.AiError>

/** Makes a place where calls are shared. */
export const make = (): Share => {
  const flights = SingleFlight.make<ModelResponse.ModelResponse, AiError.AiError>()
  return <A extends ModelResponse.ModelResponse>(key: string, call: Effect.Effect<A, AiError.AiError>) =>
    Effect.suspend(() => {
      const isShared = flights.has(key)
      const answer = flights.run(key, call) as Effect.Effect<A, AiError.AiError>
      return isShared ? Effect.map(answer, (one) => ModelResponse.again(structuredClone(one), "shared")) : answer
    })
}
