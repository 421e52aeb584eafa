/**
 * Other models for a request that the first could not answer: the next one of a list gets the same request.
 *
 * **Details** Put it above `Retry`, so that a model is given up only when its retries are. The next model is asked when
 * the provider is down or limits (after retries), the account or key fails, the request does not fit the context window,
 * or the content is refused; not when the request itself is wrong, since it would be wrong there too. It is asked from the beginning: what came of a broken
 * answer is thrown away, and stays in the books. Messages, tools, schema and settings go along unchanged, but for settings that a target
 * says otherwise or leaves out (`"unset"`). The answer carries the model that gave it.
 *
 * - A model whose context window is known to be too small for the request is not asked; one whose window is not known is asked last. After a request did not fit, only
 *   larger windows are tried. Windows come from the price table, or from the target.
 * - A model that keeps failing is left alone for a while (`cooldown`). A request that is too long, or refused, counts for itself alone.
 *
 * **Example** (two models behind the first; the last takes no temperature)
 *
 * ```ts
 * import { Fallback } from "@pipe/core"
 *
 * export const fallback = Fallback.layer([
 *   "gpt-4o-mini",
 *   "gpt-4.1-mini",
 *   { model: "o4-mini", settings: { temperature: "unset", parallelToolCalls: "unset" } }
 * ])
 * ```
 *
 * @since 0.1.0
 */
import type * as AiError from "effect/ai/AiError"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Caller from "../client/Caller.ts"
import * as LayerEvent from "../client/LayerEvent.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Pricing from "../price/Pricing.ts"
import * as Cooldown from "./Cooldown.ts"

/** A model, and what is different when it is asked. */
export interface Target {
  readonly model: string
  /** Settings of its own; `"unset"` leaves one out that the model does not take. */
  readonly settings?: { readonly [K in keyof ModelRequest.Settings]: ModelRequest.Settings[K] | "unset" }
  /** Tokens that it reads and writes together. Default: what the price table says. */
  readonly contextWindow?: number
}

/** The models in the order in which they are asked. A request that names another model starts with that one. */
export const layer = (
  models: readonly [string | Target, ...Array<string | Target>],
  options: Cooldown.Options = {}
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> =>
  ModelClient.middlewareEffect(
    (next) =>
      Effect.gen(function* () {
        const pricing = Option.getOrUndefined(yield* Effect.serviceOption(Pricing.Pricing))
        const cooldown = yield* Cooldown.make(options)
        const warn = LayerEvent.once()
        const targets = models.map((target): Target => (typeof target === "string" ? { model: target } : target))
        const windowOf = (target: Target, at: number): number | undefined =>
          target.contextWindow
          ?? Option.getOrUndefined(pricing?.lookup({ model: target.model, at }) ?? Option.none())?.contextWindow

        const ask = <R extends ModelRequest.ModelRequest>(
          request: R,
          order: ReadonlyArray<Target>
        ): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> =>
          Effect.withFiber((fiber) => {
            const at = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
            const tokens = neededBy(fiber.getRef(TokenCounter.TokenCounter), request)
            const send = (target: Target) =>
              Effect.andThen(
                Effect.forEach(
                  leftOut(request, target),
                  (name) =>
                    warn(
                      `step ${fiber.getRef(Caller.Caller).step}: ${target.model} is asked without ${name}, which it does not take`,
                      `${target.model} ${name}`
                    ),
                  { discard: true }
                ),
                next.send(withTarget(request, target))
              )
            const from = (
              rest: ReadonlyArray<Target>,
              failed: AiError.AiError | undefined
            ): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> => {
              const [target, ...others] = rest
              // All are left alone, or too small: the first is the one to say so.
              if (target === undefined) return failed === undefined ? send(order[0]!) : Effect.fail(failed)
              return Effect.flatMap(Effect.result(cooldown(target.model)(send(target))), (result) => {
                if (result._tag === "Success") {
                  return result.success === undefined
                    ? from(others, failed)
                    : Effect.succeed(result.success as ModelResponse.ResponseTo<R>)
                }
                const error = result.failure
                const window = windowOf(target, at)
                if (
                  ModelFailure.kind(error) === "overflow"
                  || (ModelFailure.kind(error) === "final" && window !== undefined && tokens > window)
                ) {
                  // A window in which it should have had room by far is not what the table says.
                  return from(
                    larger(others, window !== undefined && tokens > window / 2 ? window : undefined, (other) =>
                      windowOf(other, at)
                    ),
                    error
                  )
                }
                return mayHelp(error) ? from(others, error) : Effect.fail(error)
              })
            }
            return from(
              fitting(order, tokens, (target) => windowOf(target, at)),
              undefined
            )
          })

        const orderOf = (request: ModelRequest.ModelRequest): ReadonlyArray<Target> => {
          const own = request.model ?? targets[0]!.model
          const start = targets.find(({ model }) => model === own) ?? { model: own }
          return [start, ...targets.filter((target) => target !== start)]
        }

        /** The request as the first in which it has room is asked it. */
        const begin: ModelClient.Resolve = (request) => {
          const order = orderOf(request)
          if (order.every(({ contextWindow }) => contextWindow === undefined) && pricing === undefined)
            return withTarget(request, order[0]!)
          const fiber = Fiber.getCurrent()
          const tokens = neededBy(fiber?.getRef(TokenCounter.TokenCounter) ?? TokenCounter.estimate, request)
          const at = fiber?.getRef(Clock.Clock).currentTimeMillisUnsafe() ?? 0
          return withTarget(request, fitting(order, tokens, (target) => windowOf(target, at))[0] ?? order[0]!)
        }

        return {
          resolve: (request) => next.resolve(begin(request)),
          send: (request) => ask(request, orderOf(request))
        } satisfies ModelClient.Service
      }),
    { name: "Fallback", answers: models[0] }
  )

/** The request as a target is asked it. */
const withTarget = <R extends ModelRequest.ModelRequest>(request: R, { model, settings }: Target): R => {
  const asked = ModelRequest.withModel(request, model)
  if (settings === undefined || asked._tag !== "Completion") return asked
  return {
    ...asked,
    settings: Object.fromEntries(
      Object.entries({ ...asked.settings, ...settings }).filter(([, value]) => value !== "unset")
    )
  }
}

/** Settings of the request that a target leaves out. */
const leftOut = (request: ModelRequest.ModelRequest, { settings = {} }: Target): ReadonlyArray<string> =>
  request._tag === "Completion"
    ? Object.entries(settings).flatMap(([name, value]) => (value === "unset" && name in request.settings ? [name] : []))
    : []

/** Tokens that a request needs, about: all it has, and the most that may be answered. */
const neededBy = (count: TokenCounter.Count, request: ModelRequest.ModelRequest): number =>
  TokenCounter.inputTokens(count, request) + (request._tag === "Completion" ? (request.settings.maxTokens ?? 0) : 0)

/** Those in which so many tokens have room; where it is not known, last of all. */
const fitting = (
  targets: ReadonlyArray<Target>,
  tokens: number,
  windowOf: (target: Target) => number | undefined
): ReadonlyArray<Target> => {
  const [first] = targets
  const known = targets.filter((target) => (windowOf(target) ?? 0) >= tokens)
  const unknown = targets.filter((target) => windowOf(target) === undefined)
  // The first is asked first, unless it is known to be too small.
  return first !== undefined && windowOf(first) === undefined
    ? [first, ...known, ...unknown.slice(1)]
    : [...known, ...unknown]
}

/** Those with a larger window than one that was too small; where it is not known, last of all. */
const larger = (
  targets: ReadonlyArray<Target>,
  than: number | undefined,
  windowOf: (target: Target) => number | undefined
): ReadonlyArray<Target> => {
  const known = targets.filter(
    (target) => windowOf(target) !== undefined && (than === undefined || windowOf(target)! > than)
  )
  return [
    ...known.toSorted((a, b) => (than === undefined ? windowOf(b)! - windowOf(a)! : 0)),
    ...targets.filter((target) => windowOf(target) === undefined)
  ]
}

/** Whether another model may do better with the same request. */
const mayHelp = (error: AiError.AiError): boolean => {
  const kind = ModelFailure.kind(error)
  return kind !== "final" && kind !== "output" && kind !== "budget"
}
