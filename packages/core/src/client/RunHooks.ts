/**
 * What a run offers to the layers of its stack: where they report waits, and what runs around each attempt at a
 * provider. The runner sets it once for a run; a layer may extend it for the calls below.
 *
 * **Example** (a layer that reports its own wait)
 *
 * ```ts
 * import { ModelClient, RunHooks } from "@pipe/core"
 * import { Clock, Effect } from "effect"
 *
 * export const pause = ModelClient.middleware(
 *   (send) => (request) =>
 *     Effect.gen(function* () {
 *       const { onEvent } = yield* RunHooks.RunHooks
 *       const until = (yield* Clock.currentTimeMillis) + 10
 *       onEvent({ _tag: "Wait", reason: "rate limit", model: request.model ?? "", milliseconds: 10, until })
 *       yield* Effect.sleep("10 millis")
 *       return yield* send(request)
 *     }),
 *   { name: "Pause", answers: false }
 * )
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { BatchProvider } from "../batch/BatchProvider.ts"
import type * as RowValues from "./RowValues.ts"
import type * as BatchOptions from "../batch/BatchOptions.ts"
import type * as InterruptedCalls from "../ledger/InterruptedCalls.ts"
import type * as LedgerEntry from "../ledger/LedgerEntry.ts"
import type * as RateLimitHeaders from "../resilience/RateLimitHeaders.ts"
import type * as Trials from "../routing/Trials.ts"
import type * as Attempt from "./Attempt.ts"
import type * as Exchange from "./Exchange.ts"
import type * as LayerEvent from "./LayerEvent.ts"
import type { Send } from "./Send.ts"
import type { Service } from "./Service.ts"
import type * as Suspension from "./Suspension.ts"

/** What answers in place of providers, by their names. */
export interface StandIn {
  readonly send: (provider: string) => Send
  readonly batch: (provider: string) => BatchProvider
  /** A provider that answers itself. Default: none. */
  readonly spares?: string
}

/** The hooks of a run. */
export interface RunHooks {
  /** Receives what layers report, such as waits. */
  readonly onEvent: (event: LayerEvent.LayerEvent) => void
  /** Run around each attempt at a provider, in order. See `ModelClient.onAttempt`. */
  readonly attempts: ReadonlyArray<Attempt.AttemptHook>
  /**
   * Receives the limits that a provider reports with an answer. `RateLimit` sets it to learn them; without it, providers
   * do not read the headers.
   */
  readonly onLimits?: ((observed: RateLimitHeaders.Observed) => void) | undefined
  /** Receives the entries of the ledger as they happen. */
  readonly onEntry: (entry: LedgerEntry.LedgerEntry) => void
  /**
   * The stack is built to be read, by a plan or before tuning: nothing will be sent. A provider then requires no key, and
   * a layer opens nothing but what `resolve` and its annotations need. Read while the stack is built.
   */
  readonly isPlan?: boolean | undefined
  /**
   * Answers in place of every provider, under its name: for tests. A provider then needs no key.
   */
  readonly standIn?: StandIn | undefined
  /**
   * Wraps the single calls of every provider, by its name, inside of the attempt: for faults in tests. What it does is
   * recorded as what the provider did.
   */
  readonly inside?: ((provider: string, send: Send) => Send) | undefined
  /**
   * Numbers a call, and notes it before it is sent: the calls of a killed process are recorded at the most that they can
   * have cost.
   *
   * @internal
   */
  readonly onCall?:
    | ((call: InterruptedCalls.OpenCall) => { readonly number: number; readonly noted: Effect.Effect<void> })
    | undefined
  /**
   * Removes the note of a call that was not sent after all.
   *
   * @internal
   */
  readonly onUnsent?: ((call: number) => void) | undefined
  /**
   * Receives every exchange, for display.
   *
   * @internal
   */
  readonly onExchange?: ((exchange: Exchange.Exchange) => void) | undefined
  /**
   * The run whose rows can be suspended.
   *
   * @internal
   */
  readonly suspension?: Suspension.SuspendedRun | undefined
  /**
   * Receives trials. While it is set, a cascade calls every model and returns the strong one's answer.
   *
   * @internal
   */
  readonly onTrial?: ((trial: Trials.CascadeTrial) => void) | undefined
  /**
   * The answer to a step's inputs that a person has accepted or corrected. Set with `onTrial`.
   *
   * @internal
   */
  readonly reviewed?: ((step: string, values: RowValues.Values) => string | undefined) | undefined
  /**
   * The key of a step: its code, its settings, its parameter values; `undefined` when not known. Read while the stack is
   * built.
   *
   * @internal
   */
  readonly stepKey: (step: string) => string | undefined
  /**
   * Receives the provider with the layers that pace calls to it, before any other layer is added, and can insert a layer
   * there: this is where requests leave for a batch API. Read while the stack is built.
   *
   * @internal
   */
  readonly edge?: ((edge: Service) => Service) | undefined
  /**
   * Set by the command line: `off` sends everything as single calls; options override those of the layer. Read while the
   * stack is built.
   *
   * @internal
   */
  readonly batch?: BatchOptions.Options | "off" | undefined
}

/** The hooks outside a run: none. */
export const none: RunHooks = {
  onEvent: () => {},
  attempts: [],
  onEntry: () => {},
  stepKey: () => undefined
}

/** The hooks of the current run. */
export const RunHooks = Context.Reference<RunHooks>("@pipe/core/RunHooks", { defaultValue: () => none })

/** Runs an effect with some hooks replaced. */
export const provide =
  (changes: Partial<RunHooks>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.updateService(effect, RunHooks, (hooks) => ({ ...hooks, ...changes }))

/**
 * Runs an effect with one more hook around its attempts.
 *
 * @internal
 */
export const withAttempts =
  (hook: Attempt.AttemptHook) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.updateService(effect, RunHooks, (hooks) => ({ ...hooks, attempts: [...hooks.attempts, hook] }))

/**
 * Waits, and shows the wait in the display of the run: `3 waiting for the quiet hours, 20 s`.
 *
 * **Example** (a layer that waits before each call)
 *
 * ```ts
 * import { ModelClient, RunHooks } from "@pipe/core"
 * import { Effect } from "effect"
 *
 * export const quiet = ModelClient.middleware(
 *   (send) => (request) => Effect.andThen(RunHooks.wait("the quiet hours", "2 seconds"), send(request)),
 *   { name: "Quiet", answers: false }
 * )
 * ```
 */
export const wait = (
  reason: string,
  duration: Duration.Input,
  options: { readonly model?: string; readonly of?: string | undefined } = {}
): Effect.Effect<void> =>
  Effect.withFiber((fiber) => {
    const milliseconds = Math.ceil(Duration.toMillis(Duration.fromInputUnsafe(duration)))
    if (milliseconds <= 0) return Effect.void
    const until = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe() + milliseconds
    fiber.getRef(RunHooks).onEvent({
      _tag: "Wait",
      reason,
      model: options.model ?? "",
      ...(options.of === undefined ? undefined : { of: options.of }),
      milliseconds,
      until
    })
    return Effect.sleep(milliseconds)
  })
