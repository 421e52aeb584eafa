/**
 * Stays within the provider's rate limits: requests and tokens per minute, for each model, shared by all steps of a
 * flow.
 *
 * **Details** Each model has two token buckets. Before a call its tokens are taken
 * (counted input, expected output); the difference to its real usage is settled with the next call. The buckets of a run
 * with workers are shared, and pace its requests: no minute has more than the limit. Limits in the provider's headers are
 * learned and apply in addition to the options. When the provider refuses a call and names a
 * wait, every call to that model waits that long. When it reports that nothing is left, calls wait until the reset, but
 * at most a minute; then one call tries. A wait longer than `maxWait` fails the calls: the run stops and says when to
 * resume it.
 *
 * **Example** (the limits of your account)
 *
 * ```ts
 * import { RateLimit } from "@pipe/core"
 *
 * export const limit = RateLimit.layer({ requestsPerMinute: 500, tokensPerMinute: 200_000 })
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as LayerAnnotations from "../client/LayerAnnotations.ts"
import * as OptionNames from "../client/OptionNames.ts"
import * as RunHooks from "../client/RunHooks.ts"
import * as SharedState from "../client/SharedState.ts"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as AiError from "effect/ai/AiError"
import * as CallContext from "../client/CallContext.ts"
import * as ModelClient from "../client/ModelClient.ts"
import * as ExpectedUsage from "../model/ExpectedUsage.ts"
import * as ModelFailure from "../model/ModelFailure.ts"
import type * as ModelRequest from "../model/ModelRequest.ts"
import type * as ModelResponse from "../model/ModelResponse.ts"
import * as TokenCounter from "../model/TokenCounter.ts"
import * as Usage from "../model/Usage.ts"
import type * as RateLimitHeaders from "./RateLimitHeaders.ts"
import * as Limiter from "./Limiter.ts"
import * as Patience from "./Patience.ts"

/** The options of `RateLimit.layer`. */
export interface Options {
  /** Requests per minute and model. Default: the limit in the provider's headers; without headers, no limit. */
  readonly requestsPerMinute?: number
  /** Input and output tokens together, per minute and model. Default: the limit in the provider's headers; without headers, no limit. */
  readonly tokensPerMinute?: number
  /** The longest wait that the provider may ask for. Default: 10 minutes. */
  readonly maxWait?: Duration.Input
  /**
   * Limits the calls of each key by themselves, over all models: `by: ({ values }) => values["order"].tenant`. Such limits
   * are your own: the provider's are not learned. Default: one limit for each model.
   */
  readonly by?: (call: CallContext.CallContext) => string
}

/** What is known of a model's limits. Runs of one process share it. */
interface Limits {
  /** What the provider reports. */
  requests: number | undefined
  tokens: number | undefined
  /** No call starts before this time (milliseconds since 1970). */
  pausedUntil: number
  /** The pause that other processes know. */
  sharedUntil: number
  /**
   * Tokens that ended calls used beyond what was taken for them (negative for less). They are settled with the next
   * call.
   */
  owed: number
  /** The hooks of a run, with one that learns these limits: the same for all its calls. */
  learning: { readonly of: RunHooks.RunHooks; readonly hooks: RunHooks.RunHooks } | undefined
}

/** The limits of a layer: its own, and those that the provider reports. */
interface Applied {
  readonly known: Limits
  readonly requests: number | undefined
  readonly tokens: number | undefined
  /** The longest wait, in milliseconds. */
  readonly maxWait: number
  /** Tells the buckets of layers with other limits apart. */
  readonly place: string
}

/** The lower one of two limits that are known. */
const lower = (own: number | undefined, reported: number | undefined): number | undefined =>
  own === undefined || reported === undefined ? (own ?? reported) : Math.min(own, reported)

/** Uses the limiter in context: `RateLimiter.layer` over a store that processes share, such as Redis. */
export const layerShared = (
  options: Options = {}
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | RateLimiter.RateLimiter> =>
  make(options, () => Effect.map(RateLimiter.RateLimiter, Limiter.fromRateLimiter))

/** Limits the calls of this process. Runs at the same time, over one store, share the limits of an account. */
export const layer = (options: Options = {}): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient> =>
  make(options, ({ layers }) =>
    Effect.flatMap(SharedState.Limiters, (limiters) =>
      limiters === undefined
        ? SharedState.at(layers, "RateLimiter", Effect.sync(Limiter.make))
        : Effect.map(SharedState.at(layers, "SharedRateLimiter", limiters(SharedState.placeOf(layers))), Limiter.paced)
    )
  )

const make = <R>(
  options: Options,
  limiterOf: (next: ModelClient.Service) => Effect.Effect<Limiter.Limiter, never, R>
): Layer.Layer<ModelClient.ModelClient, never, ModelClient.ModelClient | Exclude<R, Scope.Scope>> => {
  OptionNames.check("RateLimit.layer", options, ["requestsPerMinute", "tokensPerMinute", "maxWait", "by"])
  OptionNames.checkNumbers("RateLimit.layer", options, {
    requestsPerMinute: OptionNames.ABOVE_0,
    tokensPerMinute: OptionNames.ABOVE_0
  })
  OptionNames.checkDurations("RateLimit.layer", options, ["maxWait"])
  return ModelClient.middlewareEffect(
    (next) =>
      Effect.gen(function* () {
        const limiter = yield* limiterOf(next)
        const { pause } = limiter
        const models = yield* SharedState.at(
          next.layers,
          "RateLimit",
          Effect.sync(() => new Map<string, Limits>())
        )
        const maxWait = Duration.toMillis(Duration.fromInputUnsafe(options.maxWait ?? "10 minutes"))
        const own = [options.requestsPerMinute, options.tokensPerMinute]
        const place = own.every((limit) => limit === undefined)
          ? ""
          : ` at ${own.map((limit) => limit ?? "").join("/")}`
        const limitsOf = (model: string): Applied => {
          let known = models.get(model)
          if (known === undefined) {
            known = {
              requests: undefined,
              tokens: undefined,
              pausedUntil: 0,
              sharedUntil: 0,
              owed: 0,
              learning: undefined
            }
            models.set(model, known)
          }
          return {
            known,
            requests: lower(options.requestsPerMinute, known.requests),
            tokens: lower(options.tokensPerMinute, known.tokens),
            maxWait,
            place
          }
        }
        const send: ModelClient.Send = (request) =>
          Effect.withFiber((fiber) => {
            const call = fiber.getRef(CallContext.CallContext)
            const of = options.by?.(call)
            const resolved = next.resolve(request, call)
            const model = modelIn(resolved, ModelClient.tierAsked(next.layers, resolved))
            const limits = limitsOf(of === undefined ? model : `by ${of}`)
            const clock = fiber.getRef(Clock.Clock)
            const expected = limits.tokens === undefined ? 0 : expectedTokens(fiber, request, limits.tokens)
            const { known } = limits
            const sent = ended(
              of === undefined
                ? Effect.provideService(next.send(request), RunHooks.RunHooks, learning(known, fiber))
                : next.send(request),
              limits,
              { clock, expected, isOwn: of !== undefined }
            )
            const shared = pause === undefined ? sent : sharing(pause, model, limits, clock, sent)
            const turn = waitForTurn(limiter, { model, of }, limits, expected, clock)
            return turn === undefined ? shared : Effect.flatMap(turn, () => shared)
          })
        return options.tokensPerMinute === undefined ? send : seeded(send)
      }),
    {
      name: "RateLimit",
      annotations: Context.make(LayerAnnotations.RateLimited, options).pipe(Context.add(LayerAnnotations.Paces, true))
    }
  )
}

/** The hooks of a call, with one that learns the limits in the headers of its answer. */
const learning = (known: Limits, fiber: Fiber.Fiber<unknown, unknown>): RunHooks.RunHooks => {
  const of = fiber.getRef(RunHooks.RunHooks)
  if (known.learning?.of !== of) {
    const clock = fiber.getRef(Clock.Clock)
    const onLimits = (observed: RateLimitHeaders.Observed) => learn(known, observed, clock.currentTimeMillisUnsafe())
    known.learning = { of, hooks: { ...of, onLimits } }
  }
  return known.learning.hooks
}

/** The model whose limits a request counts against. A service tier has limits of its own; decisions have none. */
const modelIn = ({ _tag, model = "" }: ModelRequest.ModelRequest, tier: string | undefined): string =>
  tier === undefined || tier === "default" || _tag === "Decision" ? model : `${model} (${tier})`

/** Loads the lengths of earlier answers with the first call: a run that reuses all of them makes none. */
const seeded = (send: ModelClient.Send): ModelClient.Send => {
  let isSeeded = false
  const seed = Effect.flatMap(ExpectedUsage.ExpectedUsage, ({ seeded }) =>
    Effect.map(seeded, () => {
      isSeeded = true
    })
  )
  return (request) => (isSeeded ? send(request) : Effect.flatMap(seed, () => send(request)))
}

const expectedTokens = (
  fiber: Fiber.Fiber<unknown, unknown>,
  request: ModelRequest.ModelRequest,
  limit: number
): number => {
  const input = TokenCounter.inputTokens(fiber.getRef(TokenCounter.TokenCounter), request)
  const { expected } = fiber.getRef(ExpectedUsage.ExpectedUsage).of(fiber.getRef(CallContext.CallContext).step, request)
  // A bucket never holds more than its limit: a larger request waits for a full bucket.
  return Math.min(input + Math.ceil(expected), limit)
}

/**
 * Waits until both buckets have room and no pause is set; `undefined` where a call may go at once. A call that ends before
 * its turn gives back what it took.
 */
const waitForTurn = (
  limiter: Limiter.Limiter,
  asked: { readonly model: string; readonly of: string | undefined },
  limits: Applied,
  tokens: number,
  clock: Clock.Clock
): Effect.Effect<void, AiError.AiError> | undefined => {
  const { known } = limits
  const key = `${asked.of === undefined ? asked.model : `by ${asked.of}`}${limits.place}`
  const withOwed = () => {
    const { owed } = known
    known.owed = 0
    return tokens + owed
  }
  const now = clock.currentTimeMillisUnsafe()
  const taken = limiter.take(turnOf(key, limits, 1, withOwed), now)
  if (typeof taken === "number" && taken <= 0 && known.pausedUntil <= now) return undefined
  const giveBack = Effect.suspend(() => {
    const given = limiter.take(
      turnOf(key, limits, -1, () => -tokens),
      clock.currentTimeMillisUnsafe()
    )
    return typeof given === "number" ? Effect.void : given
  })
  const wait = (millis: number) =>
    Effect.onExit(paused(asked, limits, millis), (exit) => (Exit.isFailure(exit) ? giveBack : Effect.void))
  return typeof taken === "number" ? wait(taken) : Effect.flatMap(taken, wait)
}

const turnOf = (key: string, { requests, tokens }: Applied, count: number, amount: () => number): Limiter.Turn => ({
  key,
  requests: requests === undefined ? undefined : { limit: requests, amount: count },
  tokens: tokens === undefined ? undefined : { limit: tokens, amount }
})

/** Waits for a time, and until no pause is set. */
const paused = (
  { model, of }: { readonly model: string; readonly of: string | undefined },
  { known, maxWait }: Applied,
  millis: number
): Effect.Effect<void, AiError.AiError> =>
  Effect.gen(function* () {
    yield* pause(model, millis, of)
    const patience = yield* Patience.Patience
    // A pause can be set or extended while others wait: the clock decides, not the order.
    for (;;) {
      const left = known.pausedUntil - (yield* Clock.currentTimeMillis)
      if (left <= 0) return
      if (left > Math.min(maxWait, patience)) return yield* Effect.fail(tooLong(model, left, maxWait))
      yield* pause(model, left, of)
    }
  })

const pause = (model: string, milliseconds: number, of?: string): Effect.Effect<void> =>
  RunHooks.wait("rate limit", milliseconds, { model, of })

/**
 * Records how much more or less the answer used than was taken for it, all of it after a failure without an answer; and
 * refusals, unless the limit is the author's own.
 */
const ended = <A extends ModelResponse.ModelResponse, R>(
  call: Effect.Effect<A, AiError.AiError, R>,
  { known, tokens }: Applied,
  { clock, expected, isOwn }: { readonly clock: Clock.Clock; readonly expected: number; readonly isOwn: boolean }
): Effect.Effect<A, AiError.AiError, R> =>
  Effect.onExitPrimitive(call, (exit) => {
    if (Exit.isFailure(exit)) {
      if (tokens !== undefined) known.owed -= expected
      const failed = isOwn ? undefined : exit.cause.reasons.find(Cause.isFailReason)
      if (failed !== undefined) refused(known, failed.error, clock.currentTimeMillisUnsafe())
    } else if (tokens !== undefined && exit.value.usage !== undefined) {
      known.owed += Usage.totalTokens(exit.value.usage) - expected
    }
    return undefined
  })

/**
 * The longest wait when a provider reports that nothing is left but has not refused a call. Then the next call tries.
 */
const MOST_UNTIL_ASKED = 60_000

/** The pause for a bucket that is empty at the provider. */
const pauseOf = ({ remaining, resetMillis }: RateLimitHeaders.Dimension): number =>
  remaining === 0 ? (resetMillis ?? 0) : 0

/** Learns the limits that a provider reports, and pauses when it refuses or reports that nothing is left. */
const learn = (limits: Limits, observed: RateLimitHeaders.Observed, now: number): void => {
  const { isRefused, others = [], requests, retryAfterMillis, tokens } = observed
  if (requests?.limit !== undefined && requests.limit > 0) {
    limits.requests = requests.limit
  }
  if (tokens?.limit !== undefined && tokens.limit > 0) {
    limits.tokens = tokens.limit
  }
  const whole = Math.max(0, ...[requests, tokens, ...others].map((one) => (one === undefined ? 0 : pauseOf(one))))
  // A reset says when a limit is full again. It may be the limit of a day.
  const wait = retryAfterMillis ?? (isRefused === true ? whole : Math.min(whole, MOST_UNTIL_ASKED))
  limits.pausedUntil = Math.max(limits.pausedUntil, now + wait)
}

/** Shares a pause that a call has met with other processes. */
const sharing = <A, E, R>(
  pause: NonNullable<Limiter.Limiter["pause"]>,
  model: string,
  { known, place }: Applied,
  clock: Clock.Clock,
  call: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.ensuring(
    call,
    Effect.suspend(() => {
      const { pausedUntil } = known
      if (pausedUntil <= known.sharedUntil) return Effect.void
      known.sharedUntil = pausedUntil
      return pause(`${model}${place}`, pausedUntil - clock.currentTimeMillisUnsafe())
    })
  )

/** A refusal whose wait is in its body, or that has no headers. */
const refused = (limits: Limits, error: AiError.AiError, now: number): void => {
  const wait = ModelFailure.kind(error) === "rate" ? ModelFailure.retryAfter(error) : undefined
  if (wait !== undefined) limits.pausedUntil = Math.max(limits.pausedUntil, now + Duration.toMillis(wait))
}

const tooLong = (model: string, wait: number, maxWait: number): AiError.AiError =>
  AiError.make({
    module: "RateLimit",
    method: "send",
    reason: ModelFailure.waitTooLong(
      `the provider allows no call${model === "" ? "" : ` to ${model}`} for longer than ${Duration.format(Duration.millis(maxWait))} (RateLimit.layer({ maxWait }))`,
      wait
    )
  })
