/**
 * The seam: one small service through which every request to a model goes, and the constructors of layers over it.
 *
 * A layer is a function from `send` to `send`. With a single operation no request can slip past a layer, and a new kind
 * of request goes through every layer that exists. Beside it stands `resolve`, which sends nothing: it says what a request
 * would become on its way down (which model a router would choose, which default a provider would fill in), so that
 * a cache keys by the request that is really sent, wherever it stands in the stack.
 *
 * **Example** (a whole plugin)
 *
 * ```ts
 * import { ModelClient, Usage } from "@pipe/core"
 * import { Effect, Metric } from "effect"
 *
 * const tokens = Metric.counter("tokens")
 *
 * export const meter = ModelClient.middleware((send) => (request) =>
 *   send(request).pipe(
 *     Effect.tap((response) => Metric.update(tokens, response.usage ? Usage.totalTokens(response.usage) : 0))
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type { ModelRequest } from "../data/ModelRequest.ts"
import type { ModelResponse, ResponseTo } from "../data/ModelResponse.ts"
import * as ModelFailure from "./ModelFailure.ts"

/** Sends a request and waits for its answer. */
export type Send = <R extends ModelRequest>(request: R) => Effect.Effect<ResponseTo<R>, AiError.AiError>

/** What a request becomes on its way down. Pure and cheap. */
export type Resolve = <R extends ModelRequest>(request: R) => R

export interface Service {
  readonly send: Send
  readonly resolve: Resolve
}

export class ModelClient extends Context.Service<ModelClient, Service>()("@pipe/core/ModelClient") {}

/** Sends a request to the stack in context. */
export const send = <R extends ModelRequest>(
  request: R
): Effect.Effect<ResponseTo<R>, AiError.AiError, ModelClient> => Effect.flatMap(ModelClient, (client) => client.send(request))

/** A layer from a function over `send`. */
export const middleware = (f: (send: Send) => Send): Layer.Layer<ModelClient, never, ModelClient> =>
  Layer.effect(ModelClient, Effect.map(ModelClient, (next) => ({ send: f(next.send), resolve: next.resolve })))

/** A layer that needs services or state of its own; it may replace `resolve` too. */
export const middlewareEffect = <E, R>(
  f: (next: Service) => Effect.Effect<Send | Service, E, R>
): Layer.Layer<ModelClient, E, ModelClient | Exclude<R, import("effect/Scope").Scope>> =>
  Layer.effect(
    ModelClient,
    Effect.flatMap(ModelClient, (next) =>
      Effect.map(f(next), (made) => typeof made === "function" ? { send: made, resolve: next.resolve } : made))
  )

/** A layer that only changes requests, in `send` and in `resolve` alike: another model, a setting, a system message. */
export const mapRequest = (f: Resolve): Layer.Layer<ModelClient, never, ModelClient> =>
  Layer.effect(
    ModelClient,
    Effect.map(ModelClient, (next) => ({
      send: (request) => next.send(f(request)),
      resolve: (request) => next.resolve(f(request))
    }))
  )

/** One physical attempt at a provider, as it was booked. */
export interface Attempt {
  readonly request: ModelRequest
  readonly provider: string
  readonly startedAt: number
  readonly milliseconds: number
  /** The answer, also one that was then refused as unusable. */
  readonly response?: ModelResponse
  readonly error?: AiError.AiError
  /**
   * `yes`: the provider answered and bills; `no`: it refused before any work; `unknown`: the call was cut on its way,
   * so it may be billed.
   */
  readonly billed: "yes" | "no" | "unknown"
}

/** Receives each attempt at the provider's edge. The `Ledger` layer sets it; by default nobody listens. */
export const Meter = Context.Reference<(attempt: Attempt) => void>("@pipe/core/ModelClient/Meter", {
  defaultValue: () => () => {}
})

/**
 * A check that the caller puts on answers, before they count as good: it returns what is wrong, or `undefined`. `Retry`
 * asks again with those words and `Cache` does not keep what fails. The bridge sets it for structured output.
 */
export const Accept = Context.Reference<(response: ModelResponse) => string | undefined>(
  "@pipe/core/ModelClient/Accept",
  { defaultValue: () => () => undefined }
)

/**
 * The bottom of a stack from a function that asks the provider. Each call is booked as one attempt, whatever comes of it;
 * refusals become failures after they are booked.
 */
export const provider = (options: {
  /** The provider as price tables name it. */
  readonly name: string
  /** Fills in defaults, such as the model. */
  readonly resolve?: Resolve
  readonly send: Send
}): Service => {
  const resolve: Resolve = options.resolve ?? ((request) => request)
  return {
    resolve,
    send: (asked) =>
      Effect.withFiber((fiber) => {
        const request = resolve(asked)
        const clock = fiber.getRef(Clock.Clock)
        const meter = fiber.getRef(Meter)
        const startedAt = clock.currentTimeMillisUnsafe()
        const book = (outcome: Pick<Attempt, "response" | "error" | "billed">) =>
          meter({
            request,
            provider: options.name,
            startedAt,
            milliseconds: clock.currentTimeMillisUnsafe() - startedAt,
            ...outcome
          })
        return Effect.onExitPrimitive(options.send(request), (exit) => {
          if (Exit.isSuccess(exit)) {
            book({ response: exit.value, billed: "yes" })
            const refused = ModelFailure.refusal(exit.value)
            return refused === undefined ? undefined : Effect.fail(refused)
          }
          const failed = exit.cause.reasons.find(Cause.isFailReason)
          book(
            failed === undefined
              ? { billed: "unknown" }
              : { error: failed.error, billed: ModelFailure.mayBeBilled(failed.error) ? "unknown" : "no" }
          )
          return undefined
        })
      })
  }
}
