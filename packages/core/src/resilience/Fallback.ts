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
export interface FallbackTarget {
  readonly model: string
  /** Settings of its own; `"unset"` leaves one out that the model does not take. */
  readonly settings?: { readonly [K in keyof ModelRequest.Settings]: ModelRequest.Settings[K] | "unset" }
  /** Tokens that it reads and writes together. Default: what the price table says. */
  readonly contextWindow?: number
}

/** The models in the order in which they are asked. A request that names another model starts with that one. */
export const layer = (
  models: readonly [string | FallbackTarget, ...Array<string | FallbackTarget>],
  options: Cooldown.Options = {}
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> =>
  ModelClient.middlewareEffect(
    (next) =>
      Effect.gen(function* () {
        const chain: Chain = {
          next,
          targets: models.map((target): FallbackTarget => (typeof target === "string" ? { model: target } : target)),
          pricing: Option.getOrUndefined(yield* Effect.serviceOption(Pricing.Pricing)),
          cooldown: yield* Cooldown.make(options),
          warn: LayerEvent.once()
        }
        return {
          resolve: (request) => next.resolve(begin(chain, request)),
          send: (request) => attempt(chain, request)
        } satisfies ModelClient.Service
      }),
    { name: "Fallback", answers: models[0] }
  )

/** The models of a layer, and what they are asked by. */
interface Chain {
  readonly next: ModelClient.Service
  readonly targets: ReadonlyArray<FallbackTarget>
  readonly pricing: Pricing.Service | undefined
  readonly cooldown: Effect.Success<ReturnType<typeof Cooldown.make>>
  readonly warn: ReturnType<typeof LayerEvent.once>
}

/** The tokens that a target has room for; `undefined`: nobody knows. */
const windowAt =
  ({ pricing }: Chain, at: number) =>
  ({ contextWindow, model }: FallbackTarget): number | undefined =>
    contextWindow ?? Option.getOrUndefined(pricing?.lookup({ model, at }) ?? Option.none())?.contextWindow

/** The targets of a request, the one that it names first. */
const orderOf = ({ targets }: Chain, request: ModelRequest.ModelRequest): ReadonlyArray<FallbackTarget> => {
  const own = request.model ?? targets[0]!.model
  const start = targets.find(({ model }) => model === own) ?? { model: own }
  return [start, ...targets.filter((target) => target !== start)]
}

/** The request as the first in which it has room is asked it. */
const begin = <R extends ModelRequest.ModelRequest>(chain: Chain, request: R): R => {
  const order = orderOf(chain, request)
  if (order.every(({ contextWindow }) => contextWindow === undefined) && chain.pricing === undefined)
    return withTarget(request, order[0]!)
  const fiber = Fiber.getCurrent()
  const tokens = neededBy(fiber?.getRef(TokenCounter.TokenCounter) ?? TokenCounter.estimate, request)
  const at = fiber?.getRef(Clock.Clock).currentTimeMillisUnsafe() ?? 0
  return withTarget(request, fitting(order, tokens, windowAt(chain, at))[0] ?? order[0]!)
}

/** Asks one target after the other, until one answers. */
const attempt = <R extends ModelRequest.ModelRequest>(
  chain: Chain,
  request: R
): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> =>
  Effect.withFiber((fiber) => {
    const order = orderOf(chain, request)
    const windowOf = windowAt(chain, fiber.getRef(Clock.Clock).currentTimeMillisUnsafe())
    const tokens = neededBy(fiber.getRef(TokenCounter.TokenCounter), request)
    const from = (
      rest: ReadonlyArray<FallbackTarget>,
      failed: AiError.AiError | undefined
    ): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> => {
      const [target, ...others] = rest
      // All are left alone, or too small: the first is the one to say so.
      if (target === undefined) return failed === undefined ? send(chain, request, order[0]!) : Effect.fail(failed)
      return Effect.flatMap(Effect.result(chain.cooldown(target.model)(send(chain, request, target))), (result) => {
        if (result._tag === "Success") {
          return result.success === undefined
            ? from(others, failed)
            : Effect.succeed(result.success as ModelResponse.ResponseTo<R>)
        }
        const next = othersAfter(result.failure, others, tokens, windowOf(target), windowOf)
        return next === undefined ? Effect.fail(result.failure) : from(next, result.failure)
      })
    }
    return from(fitting(order, tokens, windowOf), undefined)
  })

/** Which targets may do better with a request that failed at one; `undefined`: none. */
const othersAfter = (
  error: AiError.AiError,
  others: ReadonlyArray<FallbackTarget>,
  tokens: number,
  window: number | undefined,
  windowOf: (target: FallbackTarget) => number | undefined
): ReadonlyArray<FallbackTarget> | undefined => {
  const kind = ModelFailure.kind(error)
  const isTooLong = kind === "overflow" || (kind === "final" && window !== undefined && tokens > window)
  // A window in which it should have had room by far is not what the table says.
  if (isTooLong) return larger(others, window !== undefined && tokens > window / 2 ? window : undefined, windowOf)
  return mayHelp(error) ? others : undefined
}

/** Asks a target, and says once which settings it is not asked with. */
const send = <R extends ModelRequest.ModelRequest>({ next, warn }: Chain, request: R, target: FallbackTarget) =>
  Effect.andThen(
    Effect.flatMap(Caller.Caller, ({ step }) =>
      Effect.forEach(
        leftOut(request, target),
        (name) =>
          warn(
            `step ${step}: ${target.model} is asked without ${name}, which it does not take`,
            `${target.model} ${name}`
          ),
        { discard: true }
      )
    ),
    next.send(withTarget(request, target))
  )

/** The request as a target is asked it. */
const withTarget = <R extends ModelRequest.ModelRequest>(request: R, { model, settings }: FallbackTarget): R => {
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
const leftOut = (request: ModelRequest.ModelRequest, { settings = {} }: FallbackTarget): ReadonlyArray<string> =>
  request._tag === "Completion"
    ? Object.entries(settings).flatMap(([name, value]) => (value === "unset" && name in request.settings ? [name] : []))
    : []

/** Tokens that a request needs, about: all it has, and the most that may be answered. */
const neededBy = (count: TokenCounter.Count, request: ModelRequest.ModelRequest): number =>
  TokenCounter.inputTokens(count, request) + (request._tag === "Completion" ? (request.settings.maxTokens ?? 0) : 0)

/** Those in which so many tokens have room; where it is not known, last of all. */
const fitting = (
  targets: ReadonlyArray<FallbackTarget>,
  tokens: number,
  windowOf: (target: FallbackTarget) => number | undefined
): ReadonlyArray<FallbackTarget> => {
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
  targets: ReadonlyArray<FallbackTarget>,
  than: number | undefined,
  windowOf: (target: FallbackTarget) => number | undefined
): ReadonlyArray<FallbackTarget> => {
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
