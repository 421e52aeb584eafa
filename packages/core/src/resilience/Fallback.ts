/**
 * Sends a request to another model when the first could not answer: the next model of a list receives the same request.
 *
 * **Details** Put it above `Retry`, so a model is given up only after its retries. The next model is called when the
 * provider is down or rate limited (after retries), the account or key fails, the request does not fit the context
 * window, or the content is refused; not when the request itself is invalid, because it would be invalid there too. The
 * request is sent from the beginning: a broken answer is discarded and stays in the ledger. Messages, tools, schema and
 * settings are sent unchanged, except for settings that a target changes or removes (`"unset"`). The answer names the
 * model that gave it.
 *
 * - A model whose context window is known to be too small is skipped; one whose window is unknown is called last. When
 *   a request did not fit, only larger windows are tried. Windows come from the price table or from the target.
 * - A model that keeps failing is skipped for a while (`cooldown`). A request that is too long or refused does not
 *   count.
 *
 * To spread requests over endpoints of the *same* model, see `Balance`; to choose a model before the call, see
 * `Router`; to accept a cheap answer only when it is good, see `Cascade`.
 *
 * **Example** (two models behind the first; the last does not accept a temperature)
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
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as CallContext from "../client/CallContext.ts"
import * as LayerEvent from "../client/LayerEvent.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Pricing from "../price/Pricing.ts"
import * as Cooldown from "./Cooldown.ts"

/** A model, and what differs when it is called. */
export interface FallbackTarget {
  readonly model: string
  /** Overrides settings; `"unset"` removes one that the model does not accept. */
  readonly settings?: { readonly [K in keyof ModelRequest.Settings]: ModelRequest.Settings[K] | "unset" }
  /** The tokens that it can read and write in total. Default: from the price table. */
  readonly contextWindow?: number
}

/** Calls the models in order. A request that names one of them starts there. */
export const layer = (
  models: readonly [string | FallbackTarget, ...Array<string | FallbackTarget>],
  options: Cooldown.Options = {}
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> =>
  ModelClient.layerOf(
    (next) =>
      Effect.gen(function* () {
        const chain: Chain = {
          next,
          targets: models.map((target): FallbackTarget => (typeof target === "string" ? { model: target } : target)),
          pricing: Option.getOrUndefined(yield* Effect.serviceOption(Pricing.Pricing)),
          cooldown: yield* Cooldown.make(options),
          count: yield* TokenCounter.TokenCounter,
          at: yield* Clock.currentTimeMillis,
          warn: LayerEvent.once()
        }
        return {
          resolve: (request, call) => next.resolve(begin(chain, request), call),
          stops: (request, call) => next.stops?.(begin(chain, request), call) ?? [],
          send: (request) => attempt(chain, request)
        } satisfies ModelClient.Service
      }),
    { name: "Fallback", answers: models[0] }
  )

/** The models of a layer, and what they are called with. */
interface Chain {
  readonly next: ModelClient.Service
  readonly targets: ReadonlyArray<FallbackTarget>
  readonly pricing: Pricing.Service | undefined
  readonly count: TokenCounter.Count
  /** When the stack was built, in milliseconds since 1970: the windows of that day count. */
  readonly at: number
  readonly cooldown: Effect.Success<ReturnType<typeof Cooldown.make>>
  readonly warn: ReturnType<typeof LayerEvent.once>
}

/** The context window of a target; `undefined` when not known. */
const windowIn =
  ({ at, pricing }: Chain) =>
  ({ contextWindow, model }: FallbackTarget): number | undefined =>
    contextWindow ?? Option.getOrUndefined(pricing?.lookup({ model, at }) ?? Option.none())?.contextWindow

/** The targets of a request, beginning with the one that it names. */
const orderOf = ({ targets }: Chain, request: ModelRequest.ModelRequest): ReadonlyArray<FallbackTarget> => {
  const own = request.model ?? targets[0]!.model
  const start = targets.find(({ model }) => model === own) ?? { model: own }
  return [start, ...targets.filter((target) => target !== start)]
}

/** The request for the first target that has room for it. */
const begin = <R extends ModelRequest.ModelRequest>(chain: Chain, request: R): R => {
  const order = orderOf(chain, request)
  if (order.every(({ contextWindow }) => contextWindow === undefined) && chain.pricing === undefined)
    return withTarget(request, order[0]!)
  const fits = fitting(order, neededBy(chain.count, request), windowIn(chain))
  return withTarget(request, fits[0] ?? order[0]!)
}

/** Calls one target after the other until one answers. */
const attempt = <R extends ModelRequest.ModelRequest>(
  chain: Chain,
  request: R
): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> =>
  Effect.suspend(() => {
    const order = orderOf(chain, request)
    const windowOf = windowIn(chain)
    const tokens = neededBy(chain.count, request)
    const from = (
      rest: ReadonlyArray<FallbackTarget>,
      failed: AiError.AiError | undefined
    ): Effect.Effect<ModelResponse.ResponseTo<R>, AiError.AiError> => {
      const [target, ...others] = rest
      // All targets are cooling down or too small: the first one reports the failure.
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

/** The targets that may succeed after a failure at one of them; `undefined` when there are none. */
const othersAfter = (
  error: AiError.AiError,
  others: ReadonlyArray<FallbackTarget>,
  tokens: number,
  window: number | undefined,
  windowOf: (target: FallbackTarget) => number | undefined
): ReadonlyArray<FallbackTarget> | undefined => {
  const kind = ModelFailure.kind(error)
  const isTooLong = kind === "overflow" || (kind === "final" && window !== undefined && tokens > window)
  // A window that should have had ample room is not what the table says.
  if (isTooLong) return larger(others, window !== undefined && tokens > window / 2 ? window : undefined, windowOf)
  return mayHelp(error) ? others : undefined
}

/** Calls a target, and warns once about the settings it is called without. */
const send = <R extends ModelRequest.ModelRequest>({ next, warn }: Chain, request: R, target: FallbackTarget) =>
  Effect.andThen(
    Effect.flatMap(CallContext.CallContext, ({ step }) =>
      Effect.forEach(
        leftOut(request, target),
        (name) =>
          warn(
            `step ${step}: ${target.model} is called without ${name}, which it does not accept`,
            `${target.model} ${name}`
          ),
        { discard: true }
      )
    ),
    next.send(withTarget(request, target))
  )

/** The request for a target. */
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

/** The settings of the request that a target removes. */
const leftOut = (request: ModelRequest.ModelRequest, { settings = {} }: FallbackTarget): ReadonlyArray<string> =>
  request._tag === "Completion"
    ? Object.entries(settings).flatMap(([name, value]) => (value === "unset" && name in request.settings ? [name] : []))
    : []

/** The approximate tokens that a request needs: its input, and the longest answer allowed. */
const neededBy = (count: TokenCounter.Count, request: ModelRequest.ModelRequest): number =>
  TokenCounter.inputTokens(count, request) + (request._tag === "Completion" ? (request.settings.maxTokens ?? 0) : 0)

/** The targets with room for this many tokens, those with unknown windows last. */
const fitting = (
  targets: ReadonlyArray<FallbackTarget>,
  tokens: number,
  windowOf: (target: FallbackTarget) => number | undefined
): ReadonlyArray<FallbackTarget> => {
  const [first] = targets
  const known = targets.filter((target) => (windowOf(target) ?? 0) >= tokens)
  const unknown = targets.filter((target) => windowOf(target) === undefined)
  // The first target is tried first, unless it is known to be too small.
  return first !== undefined && windowOf(first) === undefined
    ? [first, ...known, ...unknown.slice(1)]
    : [...known, ...unknown]
}

/** The targets with a larger window than one that was too small, those with unknown windows last. */
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

/** Tests whether another model may succeed with the same request. */
const mayHelp = (error: AiError.AiError): boolean => {
  const kind = ModelFailure.kind(error)
  return kind !== "final" && kind !== "output" && kind !== "budget"
}
