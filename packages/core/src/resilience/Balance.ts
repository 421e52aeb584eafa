/**
 * Spreads requests over several endpoints or keys for the same models, by weight. Use it at the bottom of a stack. An
 * endpoint that keeps failing is skipped for a while.
 *
 * **Details** Each endpoint is a separate provider with its own address, key and headers; nothing of one is sent to
 * another. When an endpoint is rate limited, down, or rejects the key, the request goes to the next one at once, and
 * fails when all have failed. A request that is invalid, too long or refused fails as it is. Shares are exact (smooth
 * weighted round robin), not random. A `RateLimit` above counts all endpoints together.
 *
 * To use another *model* instead, see `Fallback`; to repeat the same call, see `Retry`; to send a second request for a
 * slow one, see `Hedge`.
 *
 * **Example** (two keys, the second with a third of the requests)
 *
 * ```ts
 * import { Balance } from "@pipe/core"
 * import { OpenAi } from "@pipe/plugins"
 *
 * export const openai = Balance.layer([
 *   { layer: OpenAi.layer({ apiKey: process.env["OPENAI_KEY_A"]!, model: "gpt-4o-mini" }), weight: 2 },
 *   { layer: OpenAi.layer({ apiKey: process.env["OPENAI_KEY_B"]!, model: "gpt-4o-mini" }) }
 * ])
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ModelClient from "../client/ModelClient.ts"
import * as OptionNames from "../client/OptionNames.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as Cooldown from "./Cooldown.ts"

/** One of several endpoints. */
export interface BalancedEndpoint<E, R> {
  readonly layer: Layer.Layer<ModelClient.ModelClient, E, R>
  /** Its weight, relative to the others. Default: 1. */
  readonly weight?: number
}

/** Spreads requests over endpoints. */
export const layer = <
  const P extends readonly [BalancedEndpoint<unknown, unknown>, ...Array<BalancedEndpoint<unknown, unknown>>]
>(
  endpoints: P,
  options: Cooldown.Options = {}
): Layer.Layer<
  ModelClient.ModelClient,
  P[number] extends BalancedEndpoint<infer E, unknown> ? E : never,
  P[number] extends BalancedEndpoint<unknown, infer R> ? R : never
> => {
  for (const endpoint of endpoints) {
    OptionNames.checkNumbers("Balance.layer", endpoint, { weight: OptionNames.FROM_0 })
  }
  return Layer.effect(
    ModelClient.ModelClient,
    Effect.gen(function* () {
      const cooldown = yield* Cooldown.make(options)
      const made = yield* Effect.forEach(endpoints, ({ layer, weight = 1 }, at) =>
        Effect.map(Layer.build(Layer.fresh(layer)), (context) => ({
          client: Context.get(context as Context.Context<ModelClient.ModelClient>, ModelClient.ModelClient),
          at,
          weight: Math.max(0, weight)
        }))
      )
      const first = made[0]!.client
      /** How far each endpoint is behind its share. */
      const owed = made.map(() => 0)
      const total = made.reduce((sum, { weight }) => sum + weight, 0)

      /** The endpoints in the order in which a request tries them: the one furthest behind first. */
      const turn = () => {
        made.forEach(({ weight }, at) => void (owed[at]! += weight))
        const order = made.toSorted((a, b) => owed[b.at]! - owed[a.at]!)
        owed[order[0]!.at]! -= total
        return order
      }

      const send = <R extends ModelRequest.ModelRequest>(
        request: R
      ): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> => {
        const order = turn()
        const from = (
          at: number,
          failed: AiError.AiError | undefined
        ): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> => {
          const endpoint = order[at]
          // All endpoints are cooling down. The layer above decides whether to wait, so one of them reports its
          // failure.
          if (endpoint === undefined) return failed === undefined ? order[0]!.client.send(request) : Effect.fail(failed)
          return Effect.matchEffect(cooldown(String(endpoint.at))(endpoint.client.send(request)), {
            onSuccess: (response) => (response === undefined ? from(at + 1, failed) : Effect.succeed(response)),
            onFailure: (error) => (Cooldown.isItsOwn(error) ? from(at + 1, error) : Effect.fail(error))
          })
        }
        return from(0, undefined)
      }

      return {
        ...(made.every(({ client }) => client.isEdge === true) ? { isEdge: true as const } : undefined),
        ...(first.batch === undefined ? undefined : { batch: first.batch }),
        // An endpoint that is not a provider is reported elsewhere.
        layers: (made.find(({ client }) => !ModelClient.hasProviders(client.layers))?.client ?? first).layers ?? [],
        resolve: first.resolve,
        ...(first.stops === undefined ? undefined : { stops: first.stops }),
        send
      } satisfies ModelClient.Service
    })
  ) as never
}
